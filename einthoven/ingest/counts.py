"""One recording as a store keeps it: leads in order, at the store's rate, int16, and what the table says of its signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import LIMB, TWELVE, canonical, select
from einthoven.record import Record
from einthoven.signal.gaps import fill_gaps
from einthoven.signal.quality import CLIPPED_SHARE, MAX_FS, MAX_SD, MIN_FS, MIN_SD, check
from einthoven.signal.resample import resample

FINEST = 1.0
"""µV per count of a record whose peak allows it: ± 32.8 mV. The devices' own steps are 1 to 5 µV."""
COARSEST = 100.0
"""A record that would need more µV per count than this (beyond ± 3.2 V) is no ECG in mV."""

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
        signal, names, interrupted, n_filled = fill_gaps(signal, names, record.fs)
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
        "derived": " ".join(name for name in names if name not in recorded or name in record.meta.get("derived", ())),
        "interrupted": " ".join(interrupted),
        "n_filled": n_filled,
        "limb_residual": _limb_residual(stored, names),
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
    total, square, n_extreme = np.empty(n_leads), np.empty(n_leads), np.empty(n_leads, dtype=np.int64)
    line, exact = np.empty(n_samples, dtype=np.float32), np.empty(n_samples)
    for lead, own in enumerate(counts):
        np.multiply(signal[lead], np.float32(1000.0 / step), out=line)
        np.rint(line, out=line)
        own[...] = line
        exact[...] = line
        total[lead], square[lead] = exact.sum(), exact @ exact
        n_extreme[lead] = max(np.count_nonzero(own == own.min()), np.count_nonzero(own == own.max()))
    # Sums of whole numbers below 2^53 are exact, so this difference loses nothing, and a flat lead has exactly 0.
    variance = (n_samples * square - total**2) / n_samples**2
    scale = step / 1000
    mean, sd = total / n_samples * scale, np.sqrt(np.maximum(variance, 0)) * scale
    return _Stored(counts, step, mean.astype(np.float32), sd.astype(np.float32), n_extreme)


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


# lead + a * I + b * II = 0: Einthoven's and Goldberger's laws, as in einthoven.leads
_LAWS = {"III": (1.0, -1.0), "aVR": (0.5, 0.5), "aVL": (-1.0, 0.5), "aVF": (0.5, -1.0)}


def _limb_residual(stored: _Stored, names: tuple[str, ...]) -> float | None:
    """What leads.limb_law_residual says at most of the stored counts, in mV, in a tenth of the time; None without I, II or a third."""
    laws = [name for name in _LAWS if name in names]
    if not laws or "I" not in names or "II" not in names:
        return None
    one, two = (stored.counts[names.index(name)].astype(np.float32) for name in ("I", "II"))
    worst = 0.0
    for name in laws:
        a, b = _LAWS[name]
        left = stored.counts[names.index(name)] + np.float32(a) * one + np.float32(b) * two  # halves below 2^24: exact
        worst = max(worst, float(left @ left))
    return float(np.sqrt(worst / len(one))) * stored.step / 1000


def _lead_order(leads: tuple[str, ...]) -> tuple[list[int], tuple[str, ...]]:
    """Rows of the leads in the order of a store, and their names."""
    names = ["_".join(canonical(name).split()) for name in leads]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Unusable(f"has several leads of the name {' '.join(twice)} among {' '.join(leads)}")
    rows = sorted(range(len(names)), key=lambda row: (_PLACE.get(names[row], len(TWELVE)), row))
    return rows, tuple(names[row] for row in rows)
