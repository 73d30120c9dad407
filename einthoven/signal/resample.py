"""Another sampling frequency for the same signal.

``polyphase`` is ours: an anti-aliasing FIR filter, padded along the line from the first to the last sample, so that a drifting
baseline does not ring at the ends. The others are the ways of older systems, kept because published weights were trained behind them:

``linear``             fairseq-signals, newer pipeline: N' = int(N·to/from) points, the old samples spread evenly over [0, N' − 1]. It aliases.
``linear-fractional``  fairseq-signals, older pipeline: the same with the old samples spread over [0, N·to/from − 1], not rounded.
``fft``                the whole record as one period: sharp, and wrong at the ends when they differ.
``image``              ecg-selfsupervised: each lead resized like a line of an image (Gaussian blur, cubic spline, never beyond the lead's extremes).
                       Its blur takes more than the aliases: from 500 to 100 Hz a quarter of 30 Hz.
``spline``             the PTB-XL benchmark's copy of CPSC2018: a cubic spline through the old samples, the ends on the ends. It aliases.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

METHODS = ("polyphase", "linear", "linear-fractional", "fft", "image", "spline")
MAX_FACTOR = 2000
"""Largest up or down factor of the polyphase filter. A rate off by 1 / (2·2000²) moves the end of a 10 s record at 500 Hz by 0.0006 samples."""


def resample(signal: np.ndarray, fs: float, to_fs: float, method: str = "polyphase") -> np.ndarray:
    """A signal at another sampling frequency: (..., lead, time) at ``fs`` -> (..., lead, time') at ``to_fs``, same dtype.

    A lead that is NaN throughout stays so. NaN gaps are bridged by a straight line before filtering and are NaN again afterwards,
    from the first to the last missing sample. Equal rates return the signal itself. ``polyphase`` gives ceil(N·to/from) samples, the others
    int(N·to/from). Raises ValueError for an unknown method or a rate that is not above 0.
    """
    if method not in METHODS:
        raise ValueError(f"expected a resampling method of {', '.join(METHODS)}; got {method!r}")
    if not (fs > 0 and to_fs > 0):
        raise ValueError(f"expected sampling frequencies above 0 Hz; got {fs} and {to_fs}")
    if fs == to_fs:
        return signal
    if signal.shape[-1] == 0:
        return signal
    missing = np.isnan(signal)
    if not missing.any():
        return _resample(signal, fs, to_fs, method)
    out = _resample(_bridge(signal, missing), fs, to_fs, method)
    # Where each new sample lies among the old ones; it is missing when an old neighbour is.
    where = np.arange(out.shape[-1]) * (fs / to_fs)
    before = np.minimum(where.astype(int), signal.shape[-1] - 1)
    after = np.minimum(np.ceil(where).astype(int), signal.shape[-1] - 1)
    out[missing[..., before] | missing[..., after]] = np.nan
    return out


def _bridge(signal: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Gaps filled by a line between their neighbours (at the ends: by the nearest value), missing leads by 0."""
    out = np.where(missing, 0, signal)
    samples = np.arange(signal.shape[-1])
    for index in np.ndindex(signal.shape[:-1]):
        gap = missing[index]
        if gap.any() and not gap.all():
            out[index][gap] = np.interp(samples[gap], samples[~gap], signal[index][~gap])
    return out


def _resample(signal: np.ndarray, fs: float, to_fs: float, method: str) -> np.ndarray:
    if method == "polyphase":
        return _polyphase(signal, fs, to_fs)
    n = int(signal.shape[-1] * to_fs / fs)
    if method == "fft":
        from scipy.signal import resample as fft_resample

        return fft_resample(signal.astype(np.float64), n, axis=-1).astype(signal.dtype) if n else signal[..., :0]
    if method in ("image", "spline"):
        return (_as_image if method == "image" else _as_spline)(signal, n)
    span = n if method == "linear" else signal.shape[-1] * to_fs / fs
    knots, points = np.linspace(0, span - 1, signal.shape[-1]), np.arange(n)
    rows = [np.interp(points, knots, row) for row in signal.reshape(-1, signal.shape[-1])]
    return np.asarray(rows, dtype=signal.dtype).reshape(*signal.shape[:-1], n)


def _polyphase(signal: np.ndarray, fs: float, to_fs: float) -> np.ndarray:
    from scipy.signal import resample_poly

    ratio = Fraction(to_fs).limit_denominator(10**6) / Fraction(fs).limit_denominator(10**6)
    if max(ratio.numerator, ratio.denominator) > MAX_FACTOR:
        # limit_denominator bounds the lower number; approximate the quotient that is below 1.
        ratio = ratio.limit_denominator(MAX_FACTOR) if ratio < 1 else 1 / (1 / ratio).limit_denominator(MAX_FACTOR)
    if signal.shape[-1] < 2:  # a line needs two points
        return np.repeat(signal, -(-signal.shape[-1] * ratio.numerator // ratio.denominator), axis=-1)
    window = _filter(max(ratio.numerator, ratio.denominator), np.dtype(signal.dtype).name)
    return resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, window=window, padtype="line").astype(
        signal.dtype, copy=False
    )


def _as_image(signal: np.ndarray, n: int) -> np.ndarray:
    """What scikit-image's ``resize`` makes of each row (order 3, reflecting, anti-aliasing, clipping), bit for bit, from scipy's parts."""
    from scipy.ndimage import gaussian_filter1d

    n_old = signal.shape[-1]
    width = (n_old / max(n, 1) - 1) / 2
    blurred = gaussian_filter1d(signal, width, axis=-1, mode="mirror") if width > 0 else signal
    low, high = signal.min(axis=-1, keepdims=True), signal.max(axis=-1, keepdims=True)
    return np.clip(_zoom(blurred, n, mode="mirror", grid_mode=True), low, high)


def _as_spline(signal: np.ndarray, n: int) -> np.ndarray:
    return _zoom(signal, n)


def _zoom(signal: np.ndarray, n: int, **how: Any) -> np.ndarray:
    """scipy's cubic zoom to ``n`` samples, row by row: a zoom of all rows at once would fit splines across the leads as well."""
    from scipy.ndimage import zoom

    rows = [zoom(row, n / len(row), order=3, **how) for row in signal.reshape(-1, signal.shape[-1])] if n else []
    return np.asarray(rows, dtype=signal.dtype).reshape(*signal.shape[:-1], n)


@lru_cache(maxsize=16)
def _filter(factor: int, dtype: str) -> np.ndarray:
    """scipy's own anti-aliasing filter for an up or down factor (Kaiser, 5.0), which it would design anew for every record: 10,000 taps at 257 Hz."""
    from scipy.signal import firwin

    return firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0)).astype(dtype)
