"""PTB Diagnostic ECG Database: twelve leads and Frank's three at 1000 Hz, for up to two minutes, with the clinical summary of each person.

A folder for each person (``patient001/s0010_re.hea``), which is the person's id: recordings of one person must not stand on two sides of a
split. The label is the reason for admission as the header writes it ("Myocardial infarction", "Healthy control"); 22 persons have none.
The remaining summary stands in ``meta["summary"]`` by the names of its lines. The Challenges 2020 and 2021 hold 516 of these recordings
without Frank's leads and without the persons (their set ``ptb``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import existing_root, headers_in, listed, read

__all__ = ["FACTS", "read", "records"]

SYSTEM = "PTB"
FACTS = Facts(
    name="PTB Diagnostic ECG Database",
    version="1.0.0",
    licence="ODC-By 1.0",
    citation=(
        "Bousseljot et al., Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das Internet, "
        "Biomedizinische Technik 40 (Ergänzungsband 1):S317-S318, 1995"
    ),
    url="https://physionet.org/content/ptbdb/1.0.0/",
    records=549,
    patients=290,
    fs=1000.0,
    label_system=SYSTEM,
)

LAYOUT = "the database's folder with patient001/s0010_re.hea, …"
_UNKNOWN = {"", "n/a", "unknown", "not specified"}
_IN_META = ("age", "sex", "ECG date", "Reason for admission")


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every recording by person and name. Raises EinthovenError where there is none.

    A recording outside a person's folder has no person. A header that cannot be read, or whose signal is not there, is given with its
    problem.
    """
    root = existing_root(root, LAYOUT)
    for path in headers_in(root, LAYOUT):
        ref, comments = listed(path, path.stem)
        person = path.parent.name if re.fullmatch(r"patient\d+", path.parent.name) else None
        yield _with_summary(replace(ref, patient=person), comments)


def _with_summary(ref: RecordRef, comments: tuple[str, ...]) -> RecordRef:
    said = {}
    for line in comments:
        name, colon, value = line.partition(":")
        if colon and value.strip().lower() not in _UNKNOWN:
            said[name.strip()] = value.strip()
    meta: dict[str, Any] = dict(ref.meta)
    if (day := _date(said.get("ECG date", ""))) is not None:
        meta["time"] = day
    if summary := {name: value for name, value in said.items() if name not in _IN_META}:
        meta["summary"] = summary
    reason = said.get("Reason for admission")
    return replace(ref, labels={reason: 1.0} if reason else None, label_system=SYSTEM if reason else None, meta=meta)


def _date(text: str) -> str | None:
    """``01/10/1990`` -> ``1990-10-01``: the day comes first, as in the summaries' other dates of the same weeks."""
    found = re.fullmatch(r"(\d\d?)[/.](\d\d?)[/.](\d{4})", text)
    try:
        return date(int(found[3]), int(found[2]), int(found[1])).isoformat() if found else None
    except ValueError:
        return None
