"""Dates and times as DICOM (DA, DT, TM) and HL7 (TS) write them: ``20081123194446.000-0500``."""

from __future__ import annotations

import re
from datetime import datetime

_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d+))?)?)?)?(?:Z|[+-]\d{1,4})?")
FIRST_YEAR = 1950
"""No digital ECG is older; 1900-01-01 is how a time that is not known is filled in where a format demands one."""


def moment(text: str | None) -> datetime | None:
    """When a recording was made, as the clock on the wall showed it (an offset from UTC is left away).

    None where the text is no such time, has no hour, or is a year's filling.
    """
    time = _parse(text, n_least=4)
    return time if time is not None and time.year >= FIRST_YEAR else None


def day(text: str | None) -> datetime | None:
    """A date, with or without a time after it; None where the text is none, or says the year or month alone."""
    return _parse(text, n_least=3)


def _parse(text: str | None, n_least: int) -> datetime | None:
    found = _STAMP.fullmatch((text or "").strip())
    parts = [int(part) for part in found.groups()[:6] if part is not None] if found else []
    if found is None or len(parts) < n_least:
        return None
    year, month, day_, hour, minute, second = parts + [0] * (6 - len(parts))
    try:
        return datetime(year, month, day_, hour, minute, second, int((found[7] or "0")[:6].ljust(6, "0")))
    except ValueError:
        return None
