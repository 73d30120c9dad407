"""What a file of bare numbers does not say of itself: told by keywords, or by a small JSON file beside it.

``<stem>.json`` beside the file, or ``signals.json`` for all files of a folder: ``{"fs": 500, "unit": "uV", "leads": ["I", "II", …]}``, each of the
three where it is needed. Keywords go before the file's own sidecar, that before the folder's. Nothing is assumed, and nothing that the file
says of itself is overruled.

The file's own sidecar may say besides who was recorded and what was found (``ABOUT``); our tables are written with one (``sidecar_write.py``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.demographics import iso_moment, known, only_known, sex_of, years
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt
from einthoven.record import Record

FOLDER = "signals.json"
SIGNAL = ("fs", "unit", "leads")
ABOUT = ("record", "patient", "age", "sex", "time", "report", "device", "measurements", "labels", "label_system")
"""What a sidecar may say of the signal, and of the recording: age in years, time in ISO form, labels as code -> 1, 0 or null (uncertain)."""

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
            values |= _read(place, SIGNAL)
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


def described(record: Record, path: Path) -> Record:
    """A file's recording with what its own sidecar says of it, where the file is silent. Raises FormatError for values that cannot be.

    The sidecar of a file that holds many recordings speaks for none of them.
    """
    place = path.with_suffix(".json")
    said = _read(place, ABOUT) if record.record == path.stem and place != path and place.is_file() else {}
    if not said:
        return record
    about = {key: None if value is None else _understood(place, key, value) for key, value in said.items()}
    labels, system = (about.get("labels"), about.get("label_system")) if record.labels is None else (record.labels, record.label_system)
    return replace(
        record,
        record=about.get("record") or record.record,
        patient=about.get("patient") if record.patient is None else record.patient,
        labels=labels,
        label_system=system,
        meta={**only_known({key: value for key, value in about.items() if key in _META}), **record.meta},
    )


_META = ("age", "sex", "time", "report", "device", "measurements")
_FORMS = {
    "age": "a number of years",
    "sex": '"female" or "male"',
    "time": 'a text such as "2020-03-12T10:00:00"',
    "measurements": "numbers by their names",
    "labels": "1, 0 or null by their codes",
}


def _understood(place: Path, key: str, value: Any) -> Any:
    """A value as ``Record`` has it; None for one that says nothing, such as "unknown". Raises FormatError for what cannot be one."""
    match key, value:
        case _, bool():
            pass
        case "age", int() | float():
            return years(value)
        case "sex", str():
            return sex_of(value)
        case "time", str() if known(value) is None or iso_moment(value) is not None:
            return iso_moment(value)
        case "measurements" | "labels", dict() if all(one is None or isinstance(one, int | float) for one in value.values()):
            return {name: math.nan if one is None else float(one) for name, one in value.items() if one is not None or key == "labels"}
        case "report", str():
            return value
        case "record" | "patient" | "device" | "label_system", str() | int():
            return known(str(value))
    raise FormatError(f"{place}: expected {_FORMS.get(key, 'a text')} as {key}; got {str(value)[:60]!r}; mend it, or leave it out.")


def _read(place: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Those keys of a sidecar; none where a file of that name is something else."""
    if place.stat().st_size > _MOST_BYTES:
        return {}
    try:
        # A whole number of 400 digits is more than a float holds; as infinity it is refused like any other that cannot be.
        content = json.loads(place.read_bytes(), parse_int=lambda text: int(text) if len(text) < 20 else math.inf)
    except (ValueError, RecursionError) as error:
        raise FormatError(f'{place}: expected JSON such as {{"fs": 500, "unit": "uV", "leads": ["I", "II"]}}: {error}.') from None
    return {key: content[key] for key in keys if key in content} if isinstance(content, dict) else {}


def agreed(path: Path, what: str, said: Any, told: Any) -> Any:
    """The value of what the file says and what was told. Raises FormatError where the two contradict one another."""
    if said is not None and told is not None and said != told:
        raise FormatError(f"{path}: says itself that its {what} {said}; it was told {told}: leave that out, or mend the file.")
    return said if said is not None else told


def ask_for(path: Path, missing: Sequence[str]) -> FormatError:
    """The error for a file of which something must be told."""
    keys = {"rate": '"fs": 500', "unit": '"unit": "uV"', "lead names": '"leads": ["I", "II", …]'}
    python = {"rate": "fs=", "unit": "unit=", "lead names": "names="}
    command = {"rate": "-o rate=…", "unit": "-o unit=…", "lead names": "-o leads=…"}
    return FormatError(
        f"{path}: does not say its {', '.join(missing)}: give {', '.join(python[name] for name in missing)} "
        f"(einthoven ingest folder … {' '.join(command[name] for name in missing)}), or put {path.stem}.json beside it (or {FOLDER} into its folder) with {{{', '.join(keys[name] for name in missing)}}}."
    )
