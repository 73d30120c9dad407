"""The Apple Watch's ECG as Health exports it: a CSV of "key,value" lines in the language of the phone, then one column of numbers.

The keys are translated, their order is not: name, date of birth, date of recording, classification, symptoms, software, device ("Watch4,2" in every
language), sampling rate, then lead and unit. Where commas are decimal signs, they are so in the rate too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut
from einthoven.io.demographics import age_at, moment
from einthoven.io.rates import is_rate
from einthoven.io.texts import decoded
from einthoven.io.units import in_millivolt, to_millivolt
from einthoven.leads import canonical
from einthoven.record import Record

MAX_BYTES = 50_000_000
"""Half a minute has 120 kB."""

_DEVICE = re.compile(r"Watch\d{1,2},\d{1,2}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_HEADER_LINES = 40
_BIRTH_FORMS = ("%Y-%m-%d", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d.%m.%Y")


def is_apple_watch(text: str) -> bool:
    """Whether a text that begins so (4 kB) is an ECG of an Apple Watch: it names the watch, a rate, and a unit of voltage, key by key."""
    header = _header(text)
    return header is not None and any(_DEVICE.fullmatch(value) for _, value in header) and any(_unit(value) for _, value in header)


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """An exported ECG in mV. The classification is the report. Raises FormatError where rate, unit or numbers are missing or damaged."""
    path = Path(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise FormatError(f"{path}: expected an ECG of half a minute; the file has {size} bytes; export it again.")
    text = decoded(path.read_bytes())
    header = _header(text)
    if header is None:
        raise FormatError(
            f"{path}: expected the export of an Apple Watch: lines of 'key,value', then one column of numbers; it has another layout."
        )
    values = [value for _, value in header]
    rates = [number for value in values if (number := _rate(value)) is not None]
    unit = next((value for value in values if _unit(value)), None)
    if not rates or unit is None or not is_rate(rates[0]):
        raise FormatError(
            f"{path}: expected a sampling rate in hertz and a unit such as µV before the numbers; got {'; '.join(values)[:120]!r}; export it again."
        )
    lead = next((value for key, value in header[values.index(unit) - 1 :: -1] if value and value != unit), "")
    name = canonical(lead.split()[-1]) if lead.split() else "I"
    signal, names, _ = to_millivolt(path, _numbers(path, text)[None], [name], [unit])
    return cut(Record(signal, rates[0], names, record=path.stem, meta=_meta(header)), path, leads=leads, start=start, stop=stop)


def _header(text: str) -> list[tuple[str, str]] | None:
    """The lines before the first number as (key, value); None where something else stands there, or no number follows."""
    pairs: list[tuple[str, str]] = []
    for line in re.split(r"\r\n|\r|\n", text.lstrip("\ufeff"))[:_HEADER_LINES]:
        line = line.strip()
        if _NUMBER.fullmatch(line.strip('"')):
            return pairs if len(pairs) >= 3 else None
        if line:
            key, _, value = line.partition(";" if ";" in line and "," not in line.partition(";")[0] else ",")
            pairs.append((key.strip(' "'), value.strip().strip('"').strip()))
    return None


def _unit(value: str) -> bool:
    return in_millivolt(value) is not None


def _rate(value: str) -> float | None:
    """``512 hertz``, ``511,844 hertz``, ``512 Гц``: a number and a word, and no date, version or age."""
    found = re.fullmatch(r"(\d{2,5}(?:[.,]\d+)?)\s*[^\d\s.,][^\d]*", value)
    return float(found[1].replace(",", ".")) if found else None


def _numbers(path: Path, text: str) -> np.ndarray:
    """(time,) in the file's unit."""
    lines = [line.strip().strip('"') for line in re.split(r"\r\n|\r|\n", text)]
    first = next(k for k, line in enumerate(lines) if _NUMBER.fullmatch(line))
    numbers = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line:
            numbers.append(np.nan)
        elif _NUMBER.fullmatch(line):
            numbers.append(float(line.replace(",", ".")))
        else:
            raise FormatError(f"{path}, line {number}: expected a number; got {line[:40]!r}; export it again.")
    while numbers and np.isnan(numbers[-1]):  # empty lines at the end
        numbers.pop()
    return np.array(numbers)


def _meta(header: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """By the place of the line, since its key may be in any language. The name is left aside: it is nobody's id."""
    values = [value for _, value in header]
    meta: dict[str, Any] = {}
    at = next((k for k, value in enumerate(values) if _TIME.match(value)), None)
    if at is not None and (time := moment(values[at][:19], "%Y-%m-%d %H:%M:%S")) is not None:
        meta["time"] = time
        if at + 1 < len(values) and values[at + 1] and not _DEVICE.fullmatch(values[at + 1]):
            meta["report"] = values[at + 1]
        if at and (age := age_at(moment(values[at - 1], *_BIRTH_FORMS), time)) is not None:
            meta["age"] = age
    if (device := next((value for value in values if _DEVICE.fullmatch(value)), None)) is not None:
        meta["device"] = f"Apple {device}"
    return meta
