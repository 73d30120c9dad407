"""How noisy each lead is: baseline, mains and muscle, in µV; and how the leads move together, for those who look at their order.

One spectrum of a stretch of at most 20 s serves all but the muscle noise, which is taken between the beats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from einthoven.signal.beats import STEP, boxcar

LONGEST = 20.0
"""Seconds that are looked at, from the middle of a longer recording."""

BASELINE = 2.0
"""Seconds: what is left of a lead when it is averaged over them is its baseline; the slowest beats come faster."""

WAVES = (1.0, 30.0)
"""Hz between which P, QRS and T have nearly all of their energy."""

LINE = 6.0
"""A line stands out when the hertz around it hold this many times the power of the median hertz within ± 5 Hz, in the middle lead."""

LEAST = 0.001
"""mV RMS that a line has at least, in the middle lead."""


@dataclass(frozen=True)
class Interference:
    """Amplitudes (lead,) in µV RMS, for a signal in mV.

    baseline : of movements slower than BASELINE
    mains    : at 50 or 60 Hz, whichever is stronger; 0 where no line stands out
    noise    : muscle and amplifier: above some 40 Hz in the quietest quarter of the time (between the beats), without the mains
    snr      : dB: 20 log10 of the lead's steepest 20 ms over its noise
    line     : Hz, where between 40 and 160 Hz a lonely line stands out that is no multiple of 50 or 60 Hz, and is stronger than any that is; else None
    together : (lead, lead) covariance between 1 and 30 Hz, mV²
    """

    baseline: np.ndarray
    mains: np.ndarray
    noise: np.ndarray
    snr: np.ndarray
    line: float | None
    together: np.ndarray


def measure(signal: np.ndarray, fs: float) -> Interference:
    """Look at a recording, (lead, time) in mV without NaN."""
    n = signal.shape[1]
    n_seen = min(n, round(LONGEST * fs))
    part = signal[:, (n - n_seen) // 2 : (n - n_seen) // 2 + n_seen]
    part = part - part.mean(axis=1, keepdims=True)
    spectrum, frequency = _spectrum(part, fs)
    waves = spectrum[:, (frequency >= WAVES[0]) & (frequency <= WAVES[1])]
    mains, line = _lines(spectrum, frequency)
    noise = np.sqrt(np.maximum(_between_beats(part, fs) ** 2 - mains**2, 0.0))
    reach = max(1, round(STEP * fs))
    steep = np.abs(part[:, reach:] - part[:, :-reach]).max(axis=1, initial=0.0)
    snr = 20 * np.log10(np.maximum(steep, 1e-6) / np.maximum(noise, 1e-4))
    baseline = boxcar(part[:, :: max(1, round(fs / 25))], round(25 * BASELINE)).std(axis=1)
    return Interference(1000 * baseline, 1000 * mains, 1000 * noise, snr, line, (waves @ waves.conj().T).real.astype(np.float64))


def _spectrum(part: np.ndarray, fs: float) -> tuple[np.ndarray, np.ndarray]:
    """Hann-windowed, scaled so that the summed squares of a band are its power in mV²: (lead, frequency) complex, (frequency,) Hz."""
    from scipy.fft import next_fast_len, rfft

    n = part.shape[1]
    n_fft = next_fast_len(max(n, round(4 * fs)), real=True)
    window = _hann(n)
    spectrum = rfft(part * window, n_fft, axis=1) * np.float32(np.sqrt(2 / (n_fft * float((window**2).sum()))))
    return spectrum, np.arange(spectrum.shape[1]) * (fs / n_fft)


@lru_cache(maxsize=64)
def _hann(n: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)


def _lines(spectrum: np.ndarray, frequency: np.ndarray) -> tuple[np.ndarray, float | None]:
    """The mains in each lead, mV RMS, and a line where none should be. A regular rhythm is a comb of lines; a lonely one is a machine's."""
    last = int(min(frequency[-1] - 1, 166))
    mains = np.zeros(len(spectrum))
    if last < 56:
        return mains, None
    hertz = np.searchsorted(frequency, np.arange(30, last + 2) - 0.5)
    power = np.square(np.abs(spectrum[:, hertz[0] : hertz[-1]]))
    power = np.add.reduceat(power, hertz[:-1] - hertz[0], axis=1)  # (lead, 30 … last Hz)
    floor = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(power, [(0, 0), (5, 5)], mode="edge"), 11, axis=1), axis=-1)
    ratio = np.median(power / np.maximum(floor, 1e-15), axis=0)
    heard = np.median(power, axis=0) > LEAST**2  # not the edge of what a coarser rate, or a filter, has left over
    out = [int(at) + 30 for at in np.flatnonzero((ratio > LINE) & heard)]
    usual = [at for at in out if min(at % 50, -at % 50, at % 60, -at % 60) <= 1]
    strange = [at for at in out if at not in usual and 40 <= at <= 160]
    strongest = max((at for at in usual if at < 66), key=lambda at: ratio[at - 30], default=None)
    if strongest is not None:
        mains = np.sqrt(np.maximum(power[:, strongest - 30] - floor[:, strongest - 30], 0.0))
    if 1 <= len(strange) <= 2 and strange[-1] - strange[0] <= 1 and not usual:
        place = max(strange, key=lambda at: ratio[at - 30])
        inside = slice(*np.searchsorted(frequency, [place - 1.0, place + 1.0]))
        return mains, float(frequency[inside][np.median(np.abs(spectrum[:, inside]), axis=0).argmax()])
    return mains, None


def _between_beats(part: np.ndarray, fs: float) -> np.ndarray:
    """What is left of each lead less its mean over 25 ms, in the quietest quarter of blocks of 80 ms: (lead,) mV RMS."""
    width = max(3, round(0.025 * fs) | 1)
    fast = part - boxcar(part, width)
    block = max(2, round(0.08 * fs))
    n = fast.shape[1] // block
    if n < 4:
        return np.sqrt((fast**2).mean(axis=1))
    square = np.square(fast[:, : n * block]).reshape(len(fast), n, block).mean(axis=2)
    # White noise loses one part in `width` to the mean that is taken out of it.
    return np.sqrt(np.quantile(square, 0.25, axis=1) * width / (width - 1))
