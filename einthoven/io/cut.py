"""What every reader does last: make names unique, pick leads, cut a part out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.leads import INDEPENDENT, TWELVE, canonical, select
from einthoven.record import Record


def unique_names(names: Sequence[str]) -> list[str]:
    """Lead names made different from one another: an empty one by its position, a second ``ECG`` as ``ECG (2)``."""
    out: list[str] = []
    for position, name in enumerate(names, start=1):
        name = name or f"lead {position}"
        candidate, n = name, 1
        while candidate in out:
            n += 1
            candidate = f"{name} ({n})"
        out.append(candidate)
    return out


def cut(
    record: Record, path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None
) -> Record:
    """The leads asked for, in that order, between start and stop (s). Raises FormatError where the file lacks one of them."""
    signal, names = record.signal, record.leads
    if leads is not None:
        wanted = [canonical(name) for name in leads]
        missing = [name for name in wanted if name not in names]
        if missing:
            raise FormatError(f"{path}: asked for {', '.join(missing)}; the file has {', '.join(names)}.")
        signal, names = signal[[names.index(name) for name in wanted]], tuple(wanted)
    if start is not None or stop is not None:
        first = 0 if start is None else max(round(start * record.fs), 0)
        last = signal.shape[1] if stop is None else max(round(stop * record.fs), first)
        signal = signal[:, first:last]
    if signal is record.signal:
        return record
    return replace(record, signal=signal, leads=names)


def with_limb_leads(record: Record) -> Record:
    """A resting ECG that was stored as its eight independent leads, as twelve: III, aVR, aVL and aVF follow exactly from I and II.

    Their names go to ``meta["derived"]``. A record that lacks one of the eight, or has all twelve, is returned as it is; a lead that was
    recorded is never replaced.
    """
    missing = tuple(name for name in TWELVE if name not in record.leads)
    if not missing or not set(INDEPENDENT) <= set(record.leads):
        return record
    names = TWELVE + tuple(name for name in record.leads if name not in TWELVE)
    derived = (*record.meta.get("derived", ()), *missing)
    return replace(record, signal=select(record.signal, record.leads, names), leads=names, meta={**record.meta, "derived": list(derived)})
