"""The PTB-XL benchmark's features for its wavelet baseline: 72 numbers per lead, 864 for twelve.

A five-level discrete wavelet transform with Daubechies' filter of six vanishing moments (db6), mirrored at the ends, gives six sets of
coefficients from the coarsest approximation to the finest detail; of each, twelve numbers (``FEATURES``).

Source: Strodthoff et al., IEEE JBHI 25(5) 2021, after Sharma et al., Biocybern. Biomed. Eng. 2018; Daubechies, Comm. Pure Appl. Math. 41,
1988.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb

import numpy as np

LEVELS = 5
MOMENTS = 6
PERCENTILES = (5, 25, 75, 95)
FEATURES = ("entropy", "zero_crossings", "mean_crossings", "p5", "p25", "p75", "p95", "median", "mean", "sd", "variance", "mean_absolute")
SETS = ("cA5", "cD5", "cD4", "cD3", "cD2", "cD1")


@lru_cache(maxsize=8)
def daubechies(n_moments: int) -> np.ndarray:
    """The scaling filter with ``n_moments`` vanishing moments and minimal phase: (2·n_moments,) float64, its squares sum up to 1.

    From its definition: of the polynomial that makes the filter orthogonal, the zeros inside the unit circle. Beyond 10 or so moments the
    zeros are no longer exact.
    """
    # P(y) with y = (2 - z - 1/z) / 4, times z^(n-1): sum over k of binom(n - 1 + k, k) y^k.
    polynomial = np.zeros(2 * n_moments - 1)
    for k in range(n_moments):
        term = np.array([comb(n_moments - 1 + k, k)], dtype=np.float64)
        for _ in range(k):
            term = np.convolve(term, [-0.25, 0.5, -0.25])
        polynomial[n_moments - 1 - k : n_moments + k] += term
    zeros = np.roots(polynomial)
    taps = np.poly(np.concatenate([zeros[np.abs(zeros) < 1], -np.ones(n_moments)])).real
    return taps * np.sqrt(2) / taps.sum()


def dwt(signal: np.ndarray, levels: int = LEVELS, n_moments: int = MOMENTS) -> list[np.ndarray]:
    """(..., time) -> the approximation of the last level and the details from the last level to the first, each (..., coefficient).

    A level of n samples and a filter of L taps has (n + L - 1) // 2 coefficients. Raises ValueError for a signal without samples.
    """
    if signal.shape[-1] == 0:
        raise ValueError("expected a signal with at least one sample; got none")
    low = daubechies(n_moments)
    high = low[::-1] * (-1.0) ** np.arange(len(low))
    details, smooth = [], np.asarray(signal, dtype=np.float64)
    for _ in range(levels):
        pieces = _windows(smooth, len(low))
        # Not by ``@``: its blocks may round equal stretches differently, and the entropy counts exactly equal values.
        details.append((pieces * high).sum(axis=-1))
        smooth = (pieces * low).sum(axis=-1)
    return [smooth, *details[::-1]]


def _windows(signal: np.ndarray, n_taps: int) -> np.ndarray:
    """Every second stretch of ``n_taps`` samples of the signal mirrored at its ends (the end sample twice): (..., coefficient, tap)."""
    n = signal.shape[-1]
    places = np.arange(2 - n_taps, n, 2)[:, None] + np.arange(n_taps)
    turn = places % (2 * n)
    return signal[..., np.where(turn < n, turn, 2 * n - 1 - turn)]


def wavelet_features(signal: np.ndarray) -> np.ndarray:
    """(..., lead, time) -> (..., lead * 72): lead by lead, the sets ``SETS``, the numbers ``FEATURES`` of each.

    NaN must be filled before. The entropy counts exactly equal values, so that it says how much of a recording is flat: of n different ones
    it is log n.
    """
    by_set = [_describe(values) for values in dwt(signal)]
    features = np.stack(by_set, axis=-2)  # (..., lead, set, feature)
    return features.reshape(*signal.shape[:-2], -1)


def _describe(values: np.ndarray) -> np.ndarray:
    """(..., coefficient) -> (..., feature)."""
    mean = values.mean(axis=-1, keepdims=True)
    crossings = [np.count_nonzero(np.diff(values > level, axis=-1), axis=-1) for level in (0.0, mean)]
    percentiles = np.percentile(values, [*PERCENTILES, 50], axis=-1)
    numbers = [
        _entropy(values),
        *crossings,
        *percentiles,
        mean[..., 0],
        values.std(axis=-1),
        values.var(axis=-1),
        np.abs(values).mean(axis=-1),
    ]
    return np.stack(numbers, axis=-1)


def _entropy(values: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats of how often each exact value occurs: (..., coefficient) -> (...)."""
    out = np.empty(values.shape[:-1])
    for index in np.ndindex(out.shape):
        share = np.unique(values[index], return_counts=True)[1] / values.shape[-1]
        out[index] = -(share * np.log(share)).sum()
    return out
