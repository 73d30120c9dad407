"""What an electrocardiograph records besides the heart: noise of the nine measuring electrodes, from which the leads are formed.

Noise that is made per electrode is correlated over the leads as in life, and leaves the laws of the limb leads intact. The
tenth electrode (RL) carries the common mode; amplifiers take it off every lead, but for the mains' share that unequal
contacts turn into a difference. Levels are those of diagnostic resting ECGs.
"""

from __future__ import annotations

import numpy as np

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

# µV (root mean square). Arms tremble more than legs, and against each other: what they share is in I, not in Wilson's terminal.
MUSCLE = np.array([1.43, 2.1, 0.93, 0.65, 1.25, 1.08, 0.66, 0.7, 0.48])
ARMS = np.array([-1.3, 1.75])
WANDER = np.array([16.0, 17.0, 28.0, 25.0, 30.0, 38.0, 46.0, 40.0, 36.0])
MOTION = np.array([12.8, 15.3, 6.0, 8.5, 7.5, 8.0, 7.0, 7.5, 7.5])
BREATH = np.array([8.0, 8.0, 16.0, 8.0, 10.0, 12.0, 14.0, 16.0, 16.0])


def leads_from_electrodes(potential: np.ndarray) -> np.ndarray:
    """(electrode=9, time) -> I II V1 … V6 against Wilson's terminal, (lead=8, time)."""
    right, left, foot = potential[0], potential[1], potential[2]
    wilson = (right + left + foot) / 3.0
    return np.concatenate([(left - right)[None], (foot - right)[None], potential[3:] - wilson])


def _coloured(rng: np.random.Generator, n_sources: int, amplitude: np.ndarray, n_fft: int) -> np.ndarray:
    """Gaussian noise (source, n_fft) with the given one-sided spectrum (frequency,), unit root mean square."""
    spectrum = rng.standard_normal((n_sources, amplitude.size, 2)).view(np.complex128)[..., 0] * amplitude
    power = 2.0 * 2.0 * (amplitude**2).sum() / n_fft**2  # E|re + i·im|² = 2, positive and negative frequencies
    return np.fft.irfft(spectrum, n_fft, axis=-1) / np.sqrt(power)


def electrode_noise(rng: np.random.Generator, n_samples: int, fs: float, contact: np.ndarray, breath: np.ndarray) -> np.ndarray:
    """Noise of one recording in mV: (electrode=9, time).

    contact : (9,) factor per electrode; a bad contact is noisier in everything
    breath  : (time,) lung volume, about −1 … 1, the slow line that the chest's movement writes
    """
    t = np.arange(n_samples) / fs
    # Longer than the record and a length that the FFT likes: noise of an FFT closes on itself, the record must not.
    n_fft = 1 << int(np.ceil(np.log2(n_samples + 4.0 * fs)))
    f = np.fft.rfftfreq(n_fft, 1.0 / fs)

    muscle = _coloured(rng, 10, np.where(f > 5.0, (f / 60.0) ** 2 / (1.0 + (f / 100.0) ** 3) / (1.0 + (f / 125.0) ** 8), 0.0), n_fft)[
        :, :n_samples
    ]
    tension = np.exp(1.07 * np.sin(2 * np.pi * rng.uniform(0.1, 1.0, (10, 1)) * t + rng.uniform(0, 2 * np.pi, (10, 1))))
    relaxed = np.exp(np.where(np.arange(9) < 3, 0.3, 0.22) * rng.standard_normal())  # limbs differ more than chests
    total = relaxed[:, None] * contact[:, None] * MUSCLE[:, None] * tension[:9] * muscle[:9]
    total[:2] += relaxed[0] * contact[:2].mean() * ARMS[:, None] * tension[9] * muscle[9]

    slow = np.zeros_like(f)
    slow[1:] = np.where(f[1:] < 8.0, 1.0 / np.maximum(f[1:], 0.04), 0.0)
    restless = np.exp(rng.normal(0.0, 0.75))
    total += (
        restless
        * np.sqrt(contact)[:, None]
        * WANDER[:, None]
        * np.exp(rng.normal(0, 0.3, (9, 1)))
        * _coloured(rng, 9, slow, n_fft)[:, :n_samples]
    )
    total += np.exp(rng.normal(0.0, 0.5)) * BREATH[:, None] * rng.normal(0.5, 0.8, (9, 1)) * breath

    # Between the two: skin, breath and small movements, 0.5–10 Hz.
    middle = np.where((f > 0.3) & (f < 10.0), 1.0 / np.maximum(f, 0.3), 0.0)
    total += np.exp(rng.normal(0.0, 0.34)) * np.sqrt(contact)[:, None] * MOTION[:, None] * _coloured(rng, 9, middle, n_fft)[:, :n_samples]

    mains = rng.choice([50.0, 60.0]) + rng.normal(0.0, 0.05)
    level = rng.uniform(5.0, 25.0) if rng.random() < 0.08 else rng.uniform(0.0, 1.5)  # most machines remove it
    phase = rng.uniform(0, 2 * np.pi)
    hum = sum(
        part * np.sin(2 * np.pi * order * mains * t + order * phase) for order, part in ((1, 1.0), (3, 0.15)) if order * mains < fs / 2
    )
    total += level * contact[:, None] * rng.normal(0.0, 1.0, (9, 1)) * hum

    for _ in range(rng.poisson(0.012 * n_samples / fs)):  # an electrode is pulled, and comes back
        electrode, start = rng.integers(9), rng.uniform(0.0, t[-1] if n_samples else 0.0)
        rise, fall = rng.uniform(0.03, 0.1), rng.uniform(0.15, 0.8)
        since = np.maximum(t - start, 0.0)
        total[electrode] += rng.normal(0.0, 150.0) * (np.exp(-since / fall) - np.exp(-since / rise))
    total += 0.5 * rng.standard_normal((9, n_samples))  # amplifier
    return 0.001 * total
