"""The JSON file beside a table that we write: what a table has no place for, in the words that ``sidecar.py`` reads."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from einthoven.errors import FormatError
from einthoven.io.demographics import only_known
from einthoven.io.sidecar import ABOUT, SIGNAL
from einthoven.record import Record
from einthoven.whole import write_json

_BARE = (".csv", ".tsv", ".txt", ".npy", ".npz", ".mat", ".parquet", ".h5", ".hdf5")
"""How files of bare numbers end, which a sidecar of their name may be speaking for already."""


def about(record: Record, path: Path) -> dict[str, Any]:
    """What a sidecar of ``path`` would say of a recording; empty where nothing is known but its signal."""
    meta = record.meta
    time = meta.get("time")
    said = {
        "record": record.record if record.record != path.stem else None,
        "patient": record.patient,
        "age": None if meta.get("age") is None else float(meta["age"]),
        "sex": meta.get("sex"),
        "time": time.isoformat() if isinstance(time, datetime) else None,
        "report": meta.get("report"),
        "device": meta.get("device"),
        "measurements": _numbers(meta.get("measurements") or {}),
        "labels": _numbers(record.labels or {}),
        "label_system": record.label_system,
    }
    return only_known(said)


def _numbers(values: Any) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {str(name): None if math.isnan(value) else float(value) for name, value in values.items()}


def check_free(path: Path, said: dict[str, Any]) -> None:
    """Raise FormatError where a sidecar of ``path`` would take the place of a JSON file that speaks for others, or would be spoken over by it."""
    place = path.with_suffix(".json")
    there = _content(place)
    if there is None or there == said:
        return
    is_sidecar = isinstance(there, dict) and there.keys() <= {*SIGNAL, *ABOUT}
    if is_sidecar and path.exists() and not any(path.with_suffix(ending).exists() for ending in _BARE if ending != path.suffix):
        return
    if is_sidecar or said:
        needs = f"; {path.name} needs it for {', '.join(said)}" if said else ""
        raise FormatError(f"{place}: is there, and speaks for another file{needs}; choose another name, or another folder.")


def put(path: Path, said: dict[str, Any]) -> None:
    """Write the sidecar of a file that is about to appear at ``path``, or take away that of the file which it replaces."""
    place = path.with_suffix(".json")
    there = _content(place)
    if said and there != said:
        write_json(place, said)
    elif not said and isinstance(there, dict) and there and there.keys() <= {*SIGNAL, *ABOUT}:
        place.unlink()


def _content(place: Path) -> Any:
    """None where there is no file; its text where that is no JSON."""
    try:
        data = place.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data
