"""Atria without P waves: the f waves of fibrillation and the saw-tooth of flutter, as a dipole (x, y, z) over time in mV."""

from __future__ import annotations

import numpy as np


def fibrillation_waves(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """f waves (3, time): a saw-tooth of three harmonics whose rate and height wander, and noise around the same rate.

    Every axis has a slightly different rate, so that leads drift in and out of phase. Sources: saw-tooth with frequency
    modulation, Stridh and Sörnmo 2001; levels per axis and band noise, Petrėnas et al. 2012.
    """
    rate = float(np.clip(rng.normal(5.9, 0.9), 4.2, 8.0))
    level = np.exp(rng.normal(0.0, 0.35)) * rng.uniform([0.006, 0.010, 0.010], [0.011, 0.021, 0.022])  # mV RMS
    waves = np.empty((3, time.size))
    for axis, factor in enumerate(1.0 + rng.normal(0.0, 0.03, 3)):
        f0, wander = rate * factor, rng.uniform(0.1, 0.3)
        phase = (
            2 * np.pi * f0 * time + rng.uniform(0, 2 * np.pi) + (0.25 / 0.2) * np.sin(2 * np.pi * 0.2 * time + rng.uniform(0, 2 * np.pi))
        )
        for _ in range(4):  # the fibrillating fronts come and go: a narrow band, not a line
            phase += 0.45 * np.sin(2 * np.pi * rng.uniform(0.3, 1.3) * time + rng.uniform(0, 2 * np.pi))
        height = 1.0 + 0.33 * np.sin(2 * np.pi * wander * time + rng.uniform(0, 2 * np.pi))
        saw = sum(2.0 / (i * np.pi) * np.sin(i * phase) for i in (1, 2, 3)) * height
        side = sum(
            np.sin(2 * np.pi * f0 * rng.choice([rng.uniform(0.7, 0.9), rng.uniform(1.1, 1.3)]) * time + rng.uniform(0, 2 * np.pi))
            for _ in range(6)
        )
        saw = saw / saw.std() + 0.4 * side / side.std()
        waves[axis] = level[axis] * saw / saw.std()
    return waves


def flutter_waves(rng: np.random.Generator, time: np.ndarray, cycle: float, first: float) -> np.ndarray:
    """Flutter waves (3, time) of ``cycle`` seconds, one of which begins at ``first``.

    Typical (counter-clockwise): a slow descent and a fast rise in the inferior leads, upright in V1; a few run the other way.
    """
    phase = ((time - first) / cycle) % 1.0
    harmonics = np.arange(1, 8)
    fall = 0.72  # share of the cycle that descends
    # Fourier series of a triangle that falls for `fall` of the cycle, its corners rounded by damping the harmonics.
    weight = np.sin(np.pi * harmonics * fall) / (harmonics**2 * fall * (1 - fall) * np.pi**2) * np.exp(-0.5 * (harmonics / 4.0) ** 2)
    saw = (weight[:, None] * np.sin(2 * np.pi * harmonics[:, None] * (phase - fall / 2 + 0.5))).sum(axis=0)
    bump = np.exp(3.0 * (np.cos(2 * np.pi * (phase - 0.86)) - 1.0))
    bump -= np.exp(-3.0) * np.i0(3.0)
    height = float(np.exp(rng.normal(np.log(0.34), 0.25)))
    sign = -1.0 if rng.random() < 0.15 else 1.0
    x, y, z = rng.normal(0.0, 0.07), -1.0, -rng.uniform(0.30, 0.5)
    return height * np.stack([x * saw, -y * sign * saw * 0.9, z * sign * bump * 0.8 + 0.1 * saw])
