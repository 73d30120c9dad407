"""Numbers by which two stores' rows can be recognised as one recording, whatever its rate, scale, beginning and length.

A recording is cut at its heartbeats, which are found again wherever a copy begins; the 3.2 s around each beat, without their scale and what is
beyond 10 Hz, become a word of 64 bits: the signs of random mixtures of the principal components of the recordings at hand. Of a word whose least
certain bits may turn by a little noise, every form is kept. Copies share most of their words: in 178 real recordings,
resampled, scaled, cut or made noisier, all share three and more at the same distance. Of 500,000 pairs of different ones, 60 share a word and one
shares two.

Source of the idea: landmarks as in audio fingerprinting (Wang, ISMIR 2003), signs of projections (Charikar, STOC 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from einthoven.leads import TWELVE, canonical
from einthoven.signal.beats import boxcar, peaks, slope

BEFORE, AFTER, RATE = 0.2, 3.0, 50.0
"""Seconds around a beat that make a word, and the rate at which they are looked at."""

N_SAMPLES = round((BEFORE + AFTER) * RATE)

GRID = 250.0
"""Hz at which beats are looked for: a part of the rates that most recordings have."""

SMOOTH = 0.05
"""Seconds of the two averages that leave what every rate from 50 Hz up can hold."""

BITS, COMPONENTS, PROBED = 64, 40, 3

LONG = 120.0
"""Seconds beyond which only one word in eight is kept, the same ones wherever they come: a day has 100,000 beats."""

_PREFERRED = ("II", "MLII", "I", "V5", "V2")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """times : (beat,) s from the recording's beginning; shapes : (beat, sample) float32, zero mean and unit RMS."""

    times: np.ndarray
    shapes: np.ndarray


def landmarks(signal: np.ndarray, fs: float, leads: Sequence[str]) -> list[Landmarks]:
    """The beats of up to two channels of a recording, (lead, time) without NaN: one lead by itself (II where it is there), and all twelve together,
    which no mistake with the names or signs of leads changes."""
    if signal.shape[1] < (BEFORE + AFTER + 0.5) * fs:
        return []
    smooth = _at_grid(boxcar(signal, round(SMOOTH * fs)), fs)
    smooth = boxcar(smooth, round(SMOOTH * GRID))
    smooth = smooth - boxcar(smooth, round(GRID))
    names = [canonical(name) for name in leads]
    live = [row for row, line in enumerate(signal) if np.ptp(line) > 0]
    if not live:
        return []
    order = sorted(live, key=lambda row: (_PREFERRED.index(names[row]) if names[row] in _PREFERRED else len(_PREFERRED), row))
    channels = [smooth[order[0]]]
    standard = [row for row in live if names[row] in TWELVE]
    if len(standard) >= 6:
        channels.append(np.sqrt((smooth[standard] ** 2).sum(axis=0)))
    elif len(order) > 1:
        channels.append(smooth[order[1]])
    return [_of_channel(channel) for channel in channels]


def _at_grid(smooth: np.ndarray, fs: float) -> np.ndarray:
    """At one rate whatever the recording's, so that the averages that follow are of equal length to the sample: (lead, time at GRID)."""
    if fs % GRID == 0:
        return smooth[:, :: round(fs / GRID)]
    times, own = np.arange(int((smooth.shape[1] - 1) / fs * GRID) + 1) / GRID, np.arange(smooth.shape[1]) / fs
    return np.stack([np.interp(times, own, line) for line in smooth])


def _of_channel(channel: np.ndarray) -> Landmarks:
    # Two averages: a beat of two humps is one beat.
    steep = boxcar(boxcar(slope(channel[None], GRID), round(0.08 * GRID)), round(0.08 * GRID))
    found = peaks(steep, GRID)
    found = found[(found > 0) & (found < len(steep) - 1)]
    left, top, right = steep[found - 1], steep[found], steep[found + 1]
    bend = left - 2 * top + right
    times = (found + np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1), 0)) / GRID
    times = times[(times >= BEFORE) & (times <= (len(channel) - 1) / GRID - AFTER)]
    grid = np.arange(N_SAMPLES) / RATE - BEFORE
    shapes = np.interp((times[:, None] + grid) * GRID, np.arange(len(channel)), channel)
    shapes -= shapes.mean(axis=1, keepdims=True)
    size = np.sqrt((shapes**2).mean(axis=1, keepdims=True))
    return Landmarks(times, (shapes / np.maximum(size, 1e-12)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Alphabet:
    """How shapes become words: (sample, bit) mixtures and (bit,) thresholds."""

    mixtures: np.ndarray
    middle: np.ndarray

    @classmethod
    def learned(cls, shapes: np.ndarray, seed: int = 0) -> Alphabet:
        """From some hundred beats and more, (beat, N_SAMPLES): mixtures of their principal components, each component with the same say."""
        rng = np.random.default_rng(seed)
        n_samples = shapes.shape[1]
        turn = rng.standard_normal((COMPONENTS, BITS))
        if len(shapes) < 2 * COMPONENTS:  # nothing to learn from: smooth random mixtures
            basis = np.cos(np.pi * np.arange(1, COMPONENTS + 1)[None] * (np.arange(n_samples)[:, None] + 0.5) / n_samples)
            return cls(basis @ turn, np.zeros(BITS))
        centre = shapes.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov((shapes - centre).T))
        best = vectors[:, -COMPONENTS:] / np.sqrt(np.maximum(values[-COMPONENTS:], 1e-9 * values[-1]))
        mixtures = best @ turn
        return cls(mixtures, np.median(shapes @ mixtures, axis=0))

    def of(self, shapes: np.ndarray) -> np.ndarray:
        """(beat, 2 ** PROBED) uint64: the word of each shape in its first column, then the forms that it takes when its least certain bits turn."""
        value = shapes @ self.mixtures - self.middle
        word = ((value > 0).astype(np.uint64) << np.arange(BITS, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
        weak = np.argpartition(np.abs(value), PROBED, axis=1)[:, :PROBED].astype(np.uint64)
        forms = [word]
        for bit in range(PROBED):
            turned = np.uint64(1) << weak[:, bit]
            forms += [form ^ turned for form in forms]
        return np.stack(forms, axis=1)


def kept(words: np.ndarray, seconds: float) -> np.ndarray:
    """Which beats of a long recording are remembered, (beat,) bool: a choice by the word itself, so that a piece of it keeps the same ones."""
    if seconds <= LONG:
        return np.ones(len(words), dtype=bool)
    # A product that spreads the bits (Fibonacci hashing); each form decides for itself whether it is kept.
    return (words[:, 0] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(61) == 0
