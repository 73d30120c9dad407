"""R peaks, by sleepecg's detector (after Pan and Tompkins, IEEE Trans Biomed Eng 1985); needs ``pip install einthoven[peaks]``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import canonical

PREFERRED = ("II", "MLII", "I", "V5", "V2", "V6", "V4", "V3", "V1")
"""Where the R wave is upright and tall in most hearts, first; a flat or missing lead is passed over."""

SNAP = 0.05
"""Seconds around a detection in which the R peak, the largest deflection from the median, is looked for."""


def r_peaks(signal: np.ndarray, fs: float, leads: Sequence[str], lead: str | None = None) -> np.ndarray:
    """Times of the R peaks in seconds, rising: (beat,) float64.

    signal : (lead, time) in mV
    lead   : where to look; by default the first usable one of PREFERRED, else the first that is neither flat nor missing

    Where no lead can be used, or the recording is shorter than two seconds, there is no peak. Raises ValueError for a lead that is not there, and
    EinthovenError when sleepecg is not installed.
    """
    names = [canonical(name) for name in leads]
    if signal.ndim != 2 or signal.shape[0] != len(names):
        raise ValueError(f"expected a signal of shape (lead={len(names)}, time) for {' '.join(names)}; got {signal.shape}")
    if lead is not None and canonical(lead) not in names:
        raise ValueError(f"asked for R peaks in {lead}; the leads are {' '.join(names)}")
    order = (
        [canonical(lead)]
        if lead is not None
        else [*(name for name in PREFERRED if name in names), *(name for name in names if name not in PREFERRED)]
    )
    line = next((known for name in order if (known := _usable(signal[names.index(name)])) is not None), None)
    if line is None or len(line) < 2 * fs:
        return np.empty(0)
    try:
        from sleepecg import detect_heartbeats
    except ImportError:
        raise EinthovenError("R peaks need sleepecg: pip install 'einthoven[peaks]'.") from None
    beats = detect_heartbeats(line, fs)
    # The detector answers where its filtered signal peaks; the R peak itself is close by.
    reach = max(1, round(SNAP * fs))
    snapped = []
    for beat in beats:
        first = max(0, int(beat) - reach)
        window = line[first : int(beat) + reach + 1]
        snapped.append(first + int(np.argmax(np.abs(window - np.median(window)))))
    return np.unique(np.asarray(snapped, dtype=np.int64)) / fs


def _usable(line: np.ndarray) -> np.ndarray | None:
    """A lead in float64 with its gaps bridged; None where it is flat or half of it is missing."""
    known = np.isfinite(line)
    if known.mean() < 0.5 or np.ptp(line[known]) == 0:
        return None
    samples = np.arange(len(line))
    return np.interp(samples, samples[known], line[known].astype(np.float64))
