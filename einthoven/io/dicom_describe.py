"""What a DICOM ECG says besides its signal: the person, the moment, the device, and the machine's statements and measurements."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.errors import FormatError
from einthoven.io.demographics import age_at, age_of, known, only_known, sex_of, stamp, stamped_day
from einthoven.io.dicom_object import items, number, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_AGE_UNITS = {"Y": "years", "M": "months", "W": "weeks", "D": "days"}
_TO_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3}
_REMOVED = {"removed", "deleted", "redacted", "anonymised", "anonymized"}


def describe(content: Dataset, path: Path) -> tuple[str | None, dict[str, Any]]:
    """(patient, meta) of an object; meta has ``age, sex, time, device, report, measurements``, each where it is known."""
    patient = known(text(content, "PatientID"))
    if patient is not None and patient.lower() in _REMOVED:
        patient = None
    time = _time(content)
    age = _stated_age(text(content, "PatientAge"))
    if age is None:
        age = age_at(stamped_day(text(content, "PatientBirthDate")), time)
    maker, model = (known(text(content, keyword)) for keyword in ("Manufacturer", "ManufacturerModelName"))
    statements, measurements = _annotations(content, path)
    found = {
        "age": age,
        "sex": sex_of(text(content, "PatientSex")),
        "time": time,
        "device": " ".join(part for part in (maker, model) if part),
        "report": "\n".join(statements),
        "measurements": measurements,
    }
    return patient, only_known(found)


def _time(content: Dataset) -> datetime | None:
    """When the recording began: as acquired, else as its content or study is dated."""
    if (stated := stamp(text(content, "AcquisitionDateTime"))) is not None:
        return stated
    for kind in ("Acquisition", "Content", "Study"):
        date = text(content, f"{kind}Date").replace(".", "")  # "1999.12.23" and "10:07:09" are how ACR-NEMA wrote them
        clock = text(content, f"{kind}Time").replace(":", "")
        if clock and (found := stamp(date + clock)) is not None:
            return found
    return None


def _stated_age(stated: str) -> float | None:
    """An age as DICOM writes it: ``042Y``, ``018M``, ``003W``, ``010D``."""
    found = re.fullmatch(r"(\d{1,3})([YMWD])", stated)
    return age_of(found[1], _AGE_UNITS[found[2]]) if found else None


def _annotations(content: Dataset, path: Path) -> tuple[list[str], dict[str, float]]:
    """Statements, and measurements of the whole recording by their names. Marks in the signal, and values of one lead, are neither.

    Times are in ms, whatever the unit they are stored in; an interval or a rate of 0 was not measured. A damaged annotation is left out.
    """
    statements: list[str] = []
    measurements: dict[str, float] = {}
    for item in items(content, "WaveformAnnotationSequence", path):
        if text(item, "TemporalRangeType"):
            continue
        try:
            name, coded, unit = (_meaning(item, f"{kind}CodeSequence", path) for kind in ("ConceptName", "Concept", "MeasurementUnits"))
            value, said = number(item, "NumericValue", path), text(item, "UnformattedTextValue")
        except FormatError:
            continue
        if value is not None:
            is_nothing = value == 0 and (unit[0] in _TO_MS or unit[0].endswith("/min"))  # an interval that was not measured
            if name[1] and _is_global(item) and not is_nothing:
                measurements.setdefault(name[1], value * _TO_MS.get(unit[0], 1.0))
        elif statement := said or coded[1]:
            statements.append(statement)
    return statements, measurements


def _meaning(item: Dataset, keyword: str, path: Path) -> tuple[str, str]:
    """The code and the meaning (else the code again) of the first item of a sequence of codes; "" where there is none."""
    for code in items(item, keyword, path):
        return text(code, "CodeValue"), text(code, "CodeMeaning") or text(code, "CodeValue")
    return "", ""


def _is_global(item: Dataset) -> bool:
    """Whether an annotation is of a whole group, (group, 0), or of several channels, and not of one."""
    channels = re.findall(r"\d+", text(item, "ReferencedWaveformChannels"))
    return len(channels) != 2 or channels[1] == "0"
