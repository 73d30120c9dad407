"""Which of a file's channels are an ECG."""

from __future__ import annotations

from einthoven.leads import TWELVE, canonical
from einthoven.record import Record

_ECG = {
    *(*TWELVE, "X", "Y", "Z", "V", "V7", "V8", "V9", "V3R", "V4R", "V5R", "V6R"),
    *("ML", "MLI", "MLII", "MLIII", "MCL1", "CM5", "ECG"),
}
_OTHER = ("RESP", "PLETH", "PPG", "ABP", "ART", "PAP", "CVP", "ICP", "BP", "SPO2", "CO2", "EEG", "EMG", "EOG", "ACC", "NASAL", "FLOW")


def ecg_leads(record: Record) -> tuple[str, ...]:
    """The names of a record's ECG leads, in its order: known lead names, else every channel in a unit of voltage that is not named as
    another signal (pressure, respiration, pulse wave)."""
    known = tuple(name for name in record.leads if canonical(name) in _ECG)
    if known:
        return known
    units = record.meta.get("units", {})
    return tuple(name for name in record.leads if name not in units and not name.upper().startswith(_OTHER))
