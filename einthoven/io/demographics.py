"""What the header of a clinical file says of a person: placeholders that mean nothing, sex, age."""

from __future__ import annotations

import math
import re
from datetime import datetime

from einthoven.io.wfdb_comments import years

_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}
_NOTHING = re.compile(r"[-?.*_/\s]*|x{3,}|(?:unknown|undefined|unspecified|anonym(?:ous|ized|ised)?|n/?a|none|null|nan)", re.IGNORECASE)
_PER_YEAR = {"year": 1.0, "month": 12.0, "week": 365.25 / 7, "day": 365.25, "hour": 365.25 * 24}


def known(text: str | None) -> str | None:
    """A text that says something; None for an empty one and for placeholders (``---``, ``xxxxx``, ``UNKNOWN``)."""
    text = (text or "").strip()
    return None if _NOTHING.fullmatch(text) else text


def sex_of(text: str | None) -> str | None:
    """ "female" or "male"; None for anything else."""
    return _SEX.get((text or "").strip().lower())


def age_of(value: float | str | None, unit: str | None = "years") -> float | None:
    """An age in years from a number of years, months, weeks, days or hours (``YEARS``, ``Month``; no unit is years); None where none is known, or the unit is another."""
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    per_year = _PER_YEAR.get((unit or "years").strip().lower().removesuffix("s"))
    return years(number / per_year) if per_year else None


def age_at(birth: datetime | None, time: datetime | None) -> float | None:
    """Years from birth to a recording; None where one of the two is not known, or they contradict one another."""
    return years(round((time - birth).days / 365.25, 2)) if birth is not None and time is not None else None


def moment(text: str | None, form: str) -> datetime | None:
    """A date and time in the form of ``strptime``; None where the text has another."""
    try:
        return datetime.strptime(text.strip(), form) if text else None
    except ValueError:
        return None
