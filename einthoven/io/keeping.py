"""What each written format keeps of a recording besides its signal, and what of a recording it therefore loses.

Kept means: read back it is the same, but for what the form of the format rounds (DICOM writes an age in whole years).
"""

from __future__ import annotations

from datetime import datetime

from einthoven.io.aecg_write import is_coded
from einthoven.io.demographics import FIRST_YEAR
from einthoven.io.edf_write import YEARS
from einthoven.record import Record

FIELDS = ("patient", "age", "sex", "time", "report", "device", "measurements", "labels")

_PERSON = {"patient", "age", "sex", "time", "report", "device"}
KEPT = {
    "WFDB": {*_PERSON, "labels"},
    "EDF": _PERSON,
    "DICOM": _PERSON,
    "HL7 aECG XML": {*_PERSON, "measurements"},
    "table": {*FIELDS},
}
"""Format -> the fields that it has a place for. A table's place is the JSON file beside it."""


def lost(record: Record, format: str) -> tuple[str, ...]:
    """Those of FIELDS that a recording states and a file of this format (a key of io.WRITERS) does not keep, or keeps in part."""
    stated = {**record.meta, "patient": record.patient, "labels": record.labels}
    known = [field for field in FIELDS if stated.get(field) not in (None, "", {})]
    return tuple(field for field in known if field not in KEPT[format] or not _is_whole(record, field, format))


def _is_whole(record: Record, field: str, format: str) -> bool:
    """Whether a field is of the kind for which the format has its place."""
    if field == "labels" and format == "WFDB":  # codes that are present; nothing says that one is absent or uncertain
        return record.label_system == "SNOMED CT" and set((record.labels or {}).values()) == {1.0}
    if field == "measurements" and format == "HL7 aECG XML":
        return all(map(is_coded, record.meta["measurements"]))
    if field == "time":
        first, last = {"EDF": YEARS, "DICOM": (FIRST_YEAR, 9999), "HL7 aECG XML": (FIRST_YEAR, 9999)}.get(format, (1, 9999))
        return isinstance(time := record.meta["time"], datetime) and first <= time.year <= last
    return True
