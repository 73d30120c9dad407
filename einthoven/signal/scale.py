"""Standardisation: each lead less its mean, over its standard deviation."""

from __future__ import annotations

import numpy as np

FLAT = ("zero", "nan", "constant")


def moments(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of each lead over its recorded samples, in float64: (..., lead, time) -> (..., lead) twice.

    A lead that was not recorded has NaN for both. A lead that does not change has a deviation of exactly 0: rounding in the mean
    of a constant would otherwise leave one of 1e-17, and a "standardised" lead of noise.
    """
    signal = np.asarray(signal)
    missing = np.isnan(signal)
    n = (~missing).sum(axis=-1)
    if missing.any():
        known = np.where(missing, 0.0, signal).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = known.sum(axis=-1) / n
            sd = np.sqrt((np.where(missing, 0.0, signal - mean[..., None]) ** 2).sum(axis=-1) / n)
        low, high = np.where(missing, np.inf, signal).min(axis=-1), np.where(missing, -np.inf, signal).max(axis=-1)
    elif signal.shape[-1] == 0:
        nothing = np.full(signal.shape[:-1], np.nan)
        return nothing, nothing.copy()
    else:
        # Divisor n, not n - 1: the reference standardised with numpy's default, and torch's differs.
        mean = signal.mean(axis=-1, dtype=np.float64)
        sd = np.sqrt(np.square(signal - mean[..., None]).mean(axis=-1))
        low, high = signal.min(axis=-1), signal.max(axis=-1)
    return mean, np.where((low == high) & (n > 0), 0.0, sd)


def standardise(signal: np.ndarray, flat: str = "zero") -> np.ndarray:
    """Each lead less its mean over its population standard deviation: (..., lead, time), float64 in, float64 out, else float32.

    flat : what becomes of a lead that does not change: ``zero`` (exactly 0), ``nan``, or ``constant`` (divided by 1: 0 up to rounding)

    NaN samples stay NaN and do not count. Source: fairseq-signals' preprocessing, with two differences: there one NaN
    sample made its whole lead NaN, and a constant lead was recognised by a computed deviation of 0.
    """
    if flat not in FLAT:
        raise ValueError(f"expected flat as one of {', '.join(FLAT)}; got {flat!r}")
    mean, sd = moments(signal)
    divisor = np.where(sd == 0, {"zero": np.inf, "nan": np.nan, "constant": 1.0}[flat], sd)
    out = (signal - mean[..., None]) / divisor[..., None]
    return out.astype(np.float64 if np.asarray(signal).dtype == np.float64 else np.float32, copy=False)


def pooled_moments(n: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> tuple[float, float]:
    """One mean and population SD of all samples together, from those of their parts (leads, recordings): any shape, the same for the three.

    n, mean, sd : samples of each part, and its moments; a part that was not recorded (NaN, or n = 0) does not count

    The PTB-XL benchmark standardises every lead with one such pair, of all leads of its training records: a signal contract with scaling="corpus"
    that has the same value for every lead. Raises ValueError where there is no sample at all.
    """
    mean, sd = np.asarray(mean, dtype=np.float64), np.asarray(sd, dtype=np.float64)
    n = np.where(np.isnan(mean), 0, np.broadcast_to(n, mean.shape)).astype(np.float64)
    if not n.sum() > 0:
        raise ValueError(f"expected at least one sample in {mean.size} parts; got none")
    share, mean, sd = n / n.sum(), np.where(n > 0, mean, 0.0), np.where(n > 0, sd, 0.0)
    middle = (share * mean).sum()
    return float(middle), float(np.sqrt((share * (sd**2 + (mean - middle) ** 2)).sum()))
