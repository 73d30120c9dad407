"""One recording as a store keeps it: leads in order, at the store's rate, int16, and what the table says of its signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import LIMB, TWELVE, canonical, limb_law_residual, select
from einthoven.record import Record
from einthoven.signal.quality import CLIPPED_SHARE, MAX_FS, MAX_SD, MIN_FS, MIN_SD, check
from einthoven.signal.resample import resample

FINEST = 1.0
"""µV per count of a record whose peak allows it: ± 32.8 mV. The devices' own steps are 1 to 5 µV."""
COARSEST = 100.0
"""A record that would need more µV per count than this (beyond ± 3.2 V) is no ECG in mV."""
LONGEST_GAP = 0.2
"""Seconds that may be missing from a lead and be interpolated; a longer gap could hide a beat."""

_PEAK = 32767  # -32768 stays free
_PLACE = {name: position for position, name in enumerate(TWELVE)}


@dataclass(frozen=True)
class Converted:
    """One recording as it lies in a shard: counts (lead, time) int16, and its row of the table without place and ids."""

    counts: np.ndarray
    row: dict[str, Any]


class Unusable(EinthovenError):
    """A recording that was read, but cannot go into a store."""


def convert(record: Record, *, fs: float, resampling: str = "polyphase") -> Converted:
    """A recording as a store keeps it: leads in the standard order and then the others, at the store's rate, int16.

    A lead of which nothing was recorded is left out, and so is one with a gap longer than LONGEST_GAP; shorter gaps are
    interpolated. Limb leads that follow from I and II are derived, as a signal contract does at prediction. Flat, clipped and
    derived leads are named in the row. Raises Unusable, with the reason.
    """
    rows, names = _lead_order(record.leads)
    signal = record.signal if rows == sorted(rows) else record.signal[rows]
    if signal.shape[1] == 0:
        raise Unusable("has no samples")
    interrupted: tuple[str, ...] = ()
    n_filled = 0
    if not np.isfinite(signal.sum()):
        signal, names, interrupted, n_filled = _fill_gaps(signal, names, record.fs)
    recorded = names
    quality = None
    if record.fs != fs:
        quality = check(signal, record.fs, names)
        if quality.problem:
            raise Unusable(quality.problem)
        signal = resample(signal, record.fs, fs, method=resampling)
    if len(names) < len(TWELVE) and "I" in names and "II" in names:
        names = tuple(name for name in TWELVE if name in names or name in LIMB) + tuple(name for name in names if name not in _PLACE)
        signal = select(signal, recorded, names)
    stored = _quantise(signal)
    if quality is None and not _looks_sound(stored, fs, [name in recorded for name in names]):
        quality = check(signal, fs, names)
        if quality.problem:
            raise Unusable(quality.problem)
    row = {
        "fs": fs,
        "source_fs": record.fs,
        "n_samples": stored.counts.shape[1],
        "leads": " ".join(names),
        "microvolt_per_count": stored.step,
        "mean": stored.mean,
        "sd": stored.sd,
        "flat": " ".join(name for name, spread in zip(names, stored.sd) if spread == 0),
        "clipped": "" if quality is None else " ".join(quality.clipped_leads),
        "derived": " ".join(name for name in names if name not in recorded),
        "interrupted": " ".join(interrupted),
        "n_filled": n_filled,
        "limb_residual": max(limb_law_residual(signal, names).values(), default=None) if quality is None else quality.limb_residual,
    }
    return Converted(stored.counts, row)


@dataclass(frozen=True)
class _Stored:
    """counts (lead, time) int16 of ``step`` µV; mean, sd (lead,) float32 in mV; n_extreme (lead,): how often the highest or lowest value comes."""

    counts: np.ndarray
    step: float
    mean: np.ndarray
    sd: np.ndarray
    n_extreme: np.ndarray


def _quantise(signal: np.ndarray) -> _Stored:
    """Finite mV to counts, with the moments of what is stored. Lead by lead: large intermediate arrays cost more than the arithmetic."""
    microvolt = 1000.0 * max(float(signal.max()), -float(signal.min()))
    step = FINEST if microvolt <= _PEAK * FINEST else float(np.ceil(microvolt / _PEAK))
    if step > COARSEST:
        raise Unusable(f"its peak of {microvolt / 1000:.4g} mV cannot be an ECG's; check the unit and gain in the file")
    n_leads, n_samples = signal.shape
    counts = np.empty((n_leads, n_samples), dtype=np.int16)
    mean, sd, n_extreme = np.empty(n_leads), np.empty(n_leads), np.empty(n_leads, dtype=np.int64)
    line, exact = np.empty(n_samples, dtype=np.float32), np.empty(n_samples)
    for lead in range(n_leads):
        np.multiply(signal[lead], np.float32(1000.0 / step), out=line)
        counts[lead] = np.rint(line, out=line)
        exact[...] = counts[lead]
        mean[lead] = exact.mean()
        exact -= mean[lead]
        low, high = counts[lead].min(), counts[lead].max()
        sd[lead] = np.sqrt(exact @ exact / n_samples) if low < high else 0.0
        n_extreme[lead] = max(np.count_nonzero(counts[lead] == low), np.count_nonzero(counts[lead] == high))
    scale = step / 1000
    return _Stored(counts, step, (mean * scale).astype(np.float32), (sd * scale).astype(np.float32), n_extreme)


def _looks_sound(stored: _Stored, fs: float, recorded: list[bool]) -> bool:
    """Whether nothing can be wrong by signal.quality, from what is known already; if not, quality.check has the say.

    Its limits are taken with a margin, and rounding to counts can only add to the repetitions by which clipping shows.
    """
    n_samples, spread = stored.counts.shape[1], stored.sd[recorded]
    return bool(
        MIN_FS <= fs <= MAX_FS
        and n_samples >= fs
        and spread.min() > 0
        and 2 * MIN_SD <= np.median(spread) <= MAX_SD / 2
        and stored.n_extreme.max() < max(3, CLIPPED_SHARE * n_samples)
    )


def _lead_order(leads: tuple[str, ...]) -> tuple[list[int], tuple[str, ...]]:
    """Rows of the leads in the order of a store, and their names."""
    names = ["_".join(canonical(name).split()) for name in leads]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Unusable(f"has several leads of the name {' '.join(twice)} among {' '.join(leads)}")
    rows = sorted(range(len(names)), key=lambda row: (_PLACE.get(names[row], len(TWELVE)), row))
    return rows, tuple(names[row] for row in rows)


def _fill_gaps(signal: np.ndarray, names: tuple[str, ...], fs: float) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], int]:
    """Without what was not recorded: (signal, names, interrupted leads, number of interpolated samples).

    Time at either end in which no lead was recorded is cut off.
    """
    recorded = np.isfinite(signal)
    instants = np.flatnonzero(recorded.any(axis=0))
    if instants.size == 0:
        raise Unusable("nothing was recorded: every sample of every lead is missing")
    signal, recorded = signal[:, instants[0] : instants[-1] + 1], recorded[:, instants[0] : instants[-1] + 1]
    time = np.arange(signal.shape[1])
    filled, kept, interrupted, n_filled = [], [], [], 0
    for lead, there, name in zip(signal, recorded, names):
        if not there.any():
            continue
        edges = np.diff(np.concatenate([[1], there, [1]]).astype(np.int8))
        longest = np.max(np.flatnonzero(edges == 1) - np.flatnonzero(edges == -1), initial=0)
        if longest > LONGEST_GAP * fs:
            interrupted.append(name)
            continue
        n_filled += int((~there).sum())
        filled.append(lead if there.all() else np.interp(time, time[there], lead[there]).astype(np.float32))
        kept.append(name)
    if not filled:
        raise Unusable(f"no lead without a gap longer than {LONGEST_GAP:g} s ({' '.join(interrupted)})")
    return np.stack(filled), tuple(kept), tuple(interrupted), n_filled
