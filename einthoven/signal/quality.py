"""Whether a recording can be used at all, and what is wrong with its leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from einthoven.leads import limb_law_residual
from einthoven.signal.scale import moments

MIN_FS, MAX_FS = 50.0, 2000.0
"""Below 50 Hz a QRS is two or three samples; above 2000 Hz no corpus records the surface ECG, but counts of another kind are read as a rate."""

MIN_SD, MAX_SD = 0.002, 20.0
"""Plausible standard deviation of the middle lead, in mV. In 853 real recordings it lies between 0.02 and 5.6; microvolt or
counts taken for mV lie above 20, volt taken for mV below 0.002."""

CLIPPED_SHARE = 0.02
"""A lead is clipped when this share of its samples stands at its very highest or lowest value, in runs."""


@dataclass(frozen=True)
class Quality:
    """What ``check`` found. Amplitudes in mV.

    missing_leads : not recorded (NaN throughout)
    flat_leads    : recorded, and always the same value
    clipped_leads : at their highest or lowest value in runs of three and more, for 2 % of the time
    nan_share     : share of samples that were not recorded, of all leads
    limb_residual : largest root mean square by which III, aVR, aVL or aVF breaks its law; None without I and II
    amplitude     : standard deviation of the middle lead among those that are neither missing nor flat
    problem       : why the recording cannot be used; None when it can
    problem_kind  : ``rate``, ``short``, ``flat`` (nothing recorded, or nothing that moves) or ``amplitude``; None where there is no problem
    """

    missing_leads: tuple[str, ...]
    flat_leads: tuple[str, ...]
    clipped_leads: tuple[str, ...]
    nan_share: float
    limb_residual: float | None
    amplitude: float
    problem: str | None
    problem_kind: str | None


def check(signal: np.ndarray, fs: float, leads: Sequence[str], *, min_seconds: float = 1.0) -> Quality:
    """Look at a recording of shape (lead, time) in mV.

    min_seconds : a shorter recording has a problem
    """
    if signal.ndim != 2 or signal.shape[0] != len(leads):
        raise ValueError(f"expected a signal of shape (lead={len(leads)}, time) for {' '.join(leads)}; got {signal.shape}")
    finite = np.isfinite(signal)
    _, sd = moments(np.where(finite, signal, np.nan) if not finite.all() else signal)
    missing = ~finite.any(axis=-1)
    flat = ~missing & (sd == 0)
    live = ~missing & ~flat
    clipped = np.array([bool(row) and _is_clipped(line[ok]) for row, line, ok in zip(live, signal, finite)], dtype=bool)
    residual = limb_law_residual(signal, leads) if live.any() else {}
    amplitude = float(np.median(sd[live])) if live.any() else 0.0
    kind, problem = _problem(signal.shape[1], fs, missing, flat, amplitude, min_seconds)
    return Quality(
        missing_leads=_names(leads, missing),
        flat_leads=_names(leads, flat),
        clipped_leads=_names(leads, clipped),
        nan_share=float(1 - finite.mean()) if finite.size else 1.0,
        limb_residual=max(residual.values()) if residual else None,
        amplitude=amplitude,
        problem=problem,
        problem_kind=kind,
    )


def _names(leads: Sequence[str], which: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, yes in zip(leads, which) if yes)


def _is_clipped(line: np.ndarray) -> bool:
    """An amplifier at its limit repeats its last value; a peak that is merely quantised does so for a sample or two."""
    for limit in (line.max(), line.min()):
        at = line == limit
        if np.count_nonzero(at) >= max(3, CLIPPED_SHARE * len(line)) and np.count_nonzero(
            at[2:] & at[1:-1] & at[:-2]
        ) >= CLIPPED_SHARE / 2 * len(line):
            return True
    return False


def _problem(
    n_samples: int, fs: float, missing: np.ndarray, flat: np.ndarray, amplitude: float, min_seconds: float
) -> tuple[str, str] | tuple[None, None]:
    """Its kind and a sentence."""
    if not MIN_FS <= fs <= MAX_FS:
        return "rate", f"sampled at {fs:g} Hz; an ECG has {MIN_FS:g} to {MAX_FS:g} Hz"
    if n_samples < min_seconds * fs:
        return "short", f"{n_samples / fs:.3g} s long; at least {min_seconds:g} s are needed"
    if missing.all():
        return "flat", "no lead has a recorded sample (all NaN)"
    if (missing | flat).all():
        return "flat", f"all {np.count_nonzero(flat)} recorded leads are flat"
    if not MIN_SD <= amplitude <= MAX_SD:
        words = f"the middle lead has a standard deviation of {amplitude:.3g} mV ({MIN_SD:g} to {MAX_SD:g} expected); is the gain right?"
        return "amplitude", f"implausible amplitude: {words}"
    return None, None
