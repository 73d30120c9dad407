"""What a file of bare numbers does not say of itself: told by keywords, or by a small JSON file beside it.

``<stem>.json`` beside the file, or ``signals.json`` for all files of a folder: ``{"fs": 500, "unit": "uV", "leads": ["I", "II", …]}``, each of the
three where it is needed. Keywords go before the file's own sidecar, that before the folder's. Nothing is assumed, and nothing that the file
says of itself is overruled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt

FOLDER = "signals.json"
_KEYS = ("fs", "unit", "leads")
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Told:
    """None where nobody told it. ``leads`` may begin with "time", for a first column that is the time in s."""

    fs: float | None = None
    unit: str | None = None
    leads: tuple[str, ...] | None = None


def sidecars(paths: Iterable[Path]) -> set[Path]:
    """Those files of a folder that tell of the others, and are no recordings themselves."""
    paths = list(paths)
    stems = {path.with_suffix("") for path in paths if path.suffix.lower() != ".json"}
    return {path for path in paths if path.name == FOLDER or (path.suffix.lower() == ".json" and path.with_suffix("") in stems)}


def told(path: Path, fs: float | None = None, unit: str | None = None, names: Sequence[str] | None = None) -> Told:
    """What the keywords and the JSON files beside ``path`` say. Raises FormatError where one of them cannot be understood."""
    values: dict[str, Any] = {}
    for place in (path.with_name(FOLDER), path.with_suffix(".json")):
        if place.is_file() and place != path:
            values |= _read(place)
    values |= {key: value for key, value in (("fs", fs), ("unit", unit), ("leads", names)) if value is not None}
    rate, leads, voltage = values.get("fs"), values.get("leads"), values.get("unit")
    if rate is not None and not (isinstance(rate, int | float | np.number) and not isinstance(rate, bool) and is_rate(float(rate))):
        raise FormatError(f"{path}: expected fs, told from outside, as a rate in Hz; got {rate!r}.")
    if voltage is not None and (not isinstance(voltage, str) or in_millivolt(voltage) is None):
        raise FormatError(f"{path}: expected unit, told from outside, as mV, uV or V; got {voltage!r}.")
    if leads is not None and (
        isinstance(leads, str) or not all(isinstance(name, str) and name.strip() for name in leads) or not len(leads)
    ):
        raise FormatError(f"{path}: expected the leads, told from outside, as a list of names; got {leads!r}.")
    return Told(None if rate is None else float(rate), voltage, None if leads is None else tuple(name.strip() for name in leads))


def _read(place: Path) -> dict[str, Any]:
    """The keys of a sidecar; none where a file of that name is something else."""
    if place.stat().st_size > _MOST_BYTES:
        return {}
    try:
        content = json.loads(place.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f'{place}: expected JSON such as {{"fs": 500, "unit": "uV", "leads": ["I", "II"]}}: {error}.') from None
    return {key: content[key] for key in _KEYS if key in content} if isinstance(content, dict) else {}


def agreed(path: Path, what: str, said: Any, told: Any) -> Any:
    """The value of what the file says and what was told. Raises FormatError where the two contradict one another."""
    if said is not None and told is not None and said != told:
        raise FormatError(f"{path}: says itself that its {what} {said}; it was told {told}: leave that out, or mend the file.")
    return said if said is not None else told


def ask_for(path: Path, missing: Sequence[str]) -> FormatError:
    """The error for a file of which something must be told."""
    keys = {"rate": '"fs": 500', "unit": '"unit": "uV"', "lead names": '"leads": ["I", "II", …]'}
    words = {"rate": "fs=", "unit": "unit=", "lead names": "names="}
    return FormatError(
        f"{path}: does not say its {', '.join(missing)}: give {', '.join(words[name] for name in missing)}, "
        f"or put {path.stem}.json beside it (or {FOLDER} into its folder) with {{{', '.join(keys[name] for name in missing)}}}."
    )
