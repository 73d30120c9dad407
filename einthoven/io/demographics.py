"""What a header says of a person, and of the moment of recording: placeholders that mean nothing, sex, age, dates and times."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

SEX_BY_NUMBER = {1: "male", 2: "female"}
"""ISO/IEC 5218, which SCP-ECG and ISHNE follow; 0 is not known, 9 not applicable."""

SEX_LETTERS = {"female": "F", "male": "M"}
"""As DICOM, HL7 and EDF+ write it."""

OLDEST = 120
"""Years. PTB-XL writes 300 for "over 89"."""

FIRST_YEAR = 1950
"""No digital ECG is older; 1900-01-01 is how a time that is not known is filled in where a format demands one."""

_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}
_NOTHING = re.compile(r"[-?.*_/\s]*|x{3,}|(?:unknown|undefined|unspecified|anonym(?:ous|ized|ised)?|n/?a|none|null|nan)", re.IGNORECASE)
_PER_YEAR = {"year": 1.0, "month": 12.0, "week": 365.25 / 7, "day": 365.25, "hour": 365.25 * 24}
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d+))?)?)?)?(?:Z|[+-]\d{1,4})?")


def known(text: str | None) -> str | None:
    """A text that says something; None for an empty one and for placeholders (``---``, ``xxxxx``, ``UNKNOWN``)."""
    text = (text or "").strip()
    return None if _NOTHING.fullmatch(text) else text


def known_id(text: str | None) -> str | None:
    """The same of an id that a device fills with zeros where it has none."""
    stated = known(text)
    return stated if stated and stated.strip("0") else None


def only_known(said: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that say something: ``meta`` has none for what is not known."""
    return {name: value for name, value in said.items() if value is not None and value not in ("", [], {})}


def sex_of(text: str | None) -> str | None:
    """ "female" or "male"; None for anything else."""
    return _SEX.get((text or "").strip().lower())


def years(text: str | float | None) -> float | None:
    """An age in years, or None where the text states none that can be one."""
    try:
        age = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return age if 0 <= age <= OLDEST else None


def age_of(value: float | str | None, unit: str | None = "years") -> float | None:
    """An age in years from a number of years, months, weeks, days or hours (``YEARS``, ``Month``; no unit is years).

    None where none is known, or the unit is another.
    """
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    per_year = _PER_YEAR.get((unit or "years").strip().lower().removesuffix("s"))
    return years(number / per_year) if per_year else None


def age_at(birth: date | None, time: date | None) -> float | None:
    """Years from birth to a recording; None where one of the two is not known, or they contradict one another."""
    if birth is None or time is None:
        return None
    return years(round((_day(time) - _day(birth)).days / 365.25, 2))


def _day(time: date) -> date:
    return time.date() if isinstance(time, datetime) else time


def moment_of(*numbers: int) -> datetime | None:
    """The moment of a year, month, day, and perhaps hour, minute and second; None where there is none such."""
    try:
        return datetime(*numbers)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None


def moment(text: str | None, *forms: str) -> datetime | None:
    """A date and time in the first of these forms of ``strptime`` that fits; None where none does."""
    for form in forms:
        try:
            return datetime.strptime(text.strip(), form) if text else None
        except ValueError:
            continue
    return None


def iso_moment(text: str | None) -> datetime | None:
    """A date and time in ISO form (``2020-03-12 10:00``, ``2020-03-12T10:00:00``); None where the text is none."""
    try:
        return datetime.fromisoformat(text.strip()) if text else None
    except ValueError:
        return None


def stamp(text: str | None) -> datetime | None:
    """When a recording was made, as DICOM (DA, DT, TM) and HL7 (TS) write it: ``20081123194446.000-0500``.

    It is the time that the clock on the wall showed (an offset from UTC is left away). None where the text is no such time, has no hour, or is a
    year's filling.
    """
    time = _parts(text, n_least=4)
    return time if time is not None and time.year >= FIRST_YEAR else None


def stamped_day(text: str | None) -> datetime | None:
    """A date in that form, with or without a time after it; None where the text is none, or says the year or month alone."""
    return _parts(text, n_least=3)


def _parts(text: str | None, n_least: int) -> datetime | None:
    found = _STAMP.fullmatch((text or "").strip())
    parts = [int(part) for part in found.groups()[:6] if part is not None] if found else []
    if found is None or len(parts) < n_least:
        return None
    return moment_of(*parts, *[0] * (6 - len(parts)), int((found[7] or "0")[:6].ljust(6, "0")))
