"""What the comments of a WFDB header say of the person and the diagnosis, in the several ways in which corpora write them."""

from __future__ import annotations

import re
from typing import Any

from einthoven.io.demographics import iso_moment, known, only_known, sex_of, years

_FIELD = re.compile(r"<?\s*(?P<key>[A-Za-z][A-Za-z ]{0,40}?)\s*>?\s*:\s*(?P<value>.*?)\s*$")
_BRACKETED = re.compile(r"<(?P<key>[A-Za-z ]+)>:\s*(?P<value>[^<]*)")
_MIT_BIH = re.compile(r"(?P<age>\d{1,3})\s+(?P<sex>[MF])\s+\d+\s")  # "69 M 1085 1629 x1"
_CHAGAS = {"true": True, "false": False}


def describe(comments: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, float] | None, str | None]:
    """What a header's comments say of the person and the diagnosis: (meta, labels, patient).

    meta    : ``age`` in years, ``sex``, ``time`` (in ISO form), ``report`` (its lines one after another), ``device``, ``exam_id``, ``chagas``
              (bool), ``comments`` (the lines as they stand); only what is known
    labels  : SNOMED CT codes of ``Dx`` -> 1.0; None where there is no Dx, or none that is known
    patient : the value of ``Patient ID``, else None

    Time, report, device and patient are our own writer's (``wfdb_write``). An age outside 0–120 years (PTB-XL writes 300 for "over 89") or that
    is no number is not known.
    """
    fields: dict[str, str] = {}
    report = []
    for comment in comments:
        pairs = _BRACKETED.findall(comment)
        if not pairs and (found := _FIELD.match(comment)):
            pairs = [(found["key"], found["value"])]
        elif not pairs and (found := _MIT_BIH.match(comment)):
            pairs = [("age", found["age"]), ("sex", found["sex"])]
        for key, text in pairs:
            if (value := known(text)) is not None:
                fields.setdefault(key.strip().lower(), value)
                report += [value] if key.strip().lower() == "report" else []
    said = {
        "age": years(fields.get("age")),
        "sex": sex_of(fields.get("sex", fields.get("gender"))),
        "time": iso_moment(fields.get("recording time")),
        "report": "\n".join(report),
        "device": fields.get("device"),
        "exam_id": fields.get("exam id"),
        "chagas": _CHAGAS.get(fields.get("chagas label", "").lower()),
        "comments": list(comments),
    }
    codes = [code for code in re.split(r"[,;|\s]+", fields.get("dx", "")) if re.fullmatch(r"\d{5,18}", code)]
    return only_known(said), dict.fromkeys(codes, 1.0) if codes else None, fields.get("patient id")
