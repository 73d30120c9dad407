"""What every reader does last: make names unique, pick leads, cut a part out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.leads import canonical
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
