"""What the comments of a WFDB header say of the person and the diagnosis, in the several ways in which corpora write them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

_FIELD = re.compile(r"<?\s*(?P<key>[A-Za-z][A-Za-z ]{0,40}?)\s*>?\s*:\s*(?P<value>.*?)\s*$")
_BRACKETED = re.compile(r"<(?P<key>[A-Za-z ]+)>:\s*(?P<value>[^<]*)")
_MIT_BIH = re.compile(r"(?P<age>\d{1,3})\s+(?P<sex>[MF])\s+\d+\s")  # "69 M 1085 1629 x1"
_UNKNOWN = {"", "unknown", "nan", "n/a", "na", "none", "null", "-", "?"}
_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}


def describe(comments: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, float] | None, str | None]:
    """What a header's comments say of the person and the diagnosis: (meta, labels, patient).

    meta    : ``age`` in years, ``sex``, ``time`` (of recording; our synthetic heart writes it in ISO form), ``exam_id``, ``chagas`` (bool), ``comments`` (the lines as they stand); only what is known
    labels  : SNOMED CT codes of ``Dx`` -> 1.0; None where there is no Dx, or none that is known
    patient : the value of ``Patient ID``, else None

    An age outside 0–120 years (PTB-XL writes 300 for "over 89") or that is no number is not known.
    """
    fields: dict[str, str] = {}
    for comment in comments:
        pairs = _BRACKETED.findall(comment)
        if not pairs and (found := _FIELD.match(comment)):
            pairs = [(found["key"], found["value"])]
        elif not pairs and (found := _MIT_BIH.match(comment)):
            pairs = [("age", found["age"]), ("sex", found["sex"])]
        for key, value in pairs:
            if value.strip().lower() not in _UNKNOWN:
                fields.setdefault(key.strip().lower(), value.strip())
    meta: dict[str, Any] = {}
    age = years(fields.get("age"))
    if age is not None:
        meta["age"] = age
    sex = _SEX.get(fields.get("sex", fields.get("gender", "")).lower())
    if sex:
        meta["sex"] = sex
    if (time := _time(fields.get("recording time"))) is not None:
        meta["time"] = time
    if "exam id" in fields:
        meta["exam_id"] = fields["exam id"]
    if fields.get("chagas label", "").lower() in ("true", "false"):
        meta["chagas"] = fields["chagas label"].lower() == "true"
    if comments:
        meta["comments"] = list(comments)
    codes = [code for code in re.split(r"[,;|\s]+", fields.get("dx", "")) if re.fullmatch(r"\d{5,18}", code)]
    return meta, dict.fromkeys(codes, 1.0) if codes else None, fields.get("patient id")


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def years(text: str | float | None) -> float | None:
    """An age in years, or None where the text states none that can be one."""
    try:
        age = float(text) if text is not None else float("nan")
    except ValueError:
        return None
    return age if 0 <= age <= 120 else None
