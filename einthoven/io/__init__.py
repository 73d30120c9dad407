"""ECG files: one format, one module. ``read(path)`` finds the format by looking into the file, ``write(record, path)`` takes it from the name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from einthoven.errors import FormatError
from einthoven.io import recognise as kinds
from einthoven.io.channels import ecg_leads
from einthoven.io.on_use import OnUse
from einthoven.io.recognise import is_annotation, is_companion
from einthoven.record import Record

__all__ = ["READERS", "WRITERS", "ecg_leads", "is_annotation", "is_companion", "read", "recognise", "taken_by", "write"]

READERS: dict[str, Callable[..., Record]] = {
    "WFDB": OnUse("wfdb", "read"),
    "MATLAB": OnUse("matlab", "read"),
    "GE MUSE XML": OnUse("muse", "read"),
    "GE CardioSoft XML": OnUse("cardiosoft", "read"),
    "Philips SierraECG XML": OnUse("philips", "read"),
    "Schiller EDI XML": OnUse("schiller", "read"),
    "HL7 aECG XML": OnUse("aecg", "read"),
    "DICOM": OnUse("dicom", "read"),
    "SCP-ECG": OnUse("scp", "read"),
    "ISHNE Holter": OnUse("ishne", "read"),
    "EDF": OnUse("edf", "read"),
    "BDF": OnUse("edf", "read"),
    "HDF5": OnUse("hdf5", "read"),
    "NumPy array": OnUse("numpy_file", "read"),
    "NumPy archive": OnUse("numpy_file", "read"),
    "Parquet table": OnUse("parquet", "read"),
    "Apple Watch CSV": OnUse("apple_watch", "read"),
    "table": OnUse("table", "read"),
}
"""Format -> reader: ``read(path, *, leads=None, start=None, stop=None) -> Record``, start and stop in seconds; some take more."""

WRITERS: dict[str, Callable[[Record, Path], None]] = {
    "WFDB": OnUse("wfdb_write", "write"),
    "EDF": OnUse("edf_write", "write"),
    "DICOM": OnUse("dicom_write", "write"),
    "HL7 aECG XML": OnUse("aecg_write", "write"),
    "table": OnUse("table_write", "write"),
}
"""Format -> writer: ``write(record, path)``. Raises FormatError where the format cannot hold the record."""

SUFFIXES = {".hea": "WFDB", ".dcm": "DICOM", ".edf": "EDF", ".xml": "HL7 aECG XML", ".csv": "table", ".tsv": "table"}
"""What a name's ending asks for when a recording is written."""


def recognise(path: Path | str) -> str:
    """The name (a key of READERS) of the format that a path holds. Raises FormatError that says what it looks like instead."""
    return kinds.recognise(path, READERS)


def taken_by(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Of what was told, that which the reader of a format (a key of READERS) takes: the others' files say it themselves."""
    known = inspect.signature(READERS[name]).parameters
    return {key: value for key, value in told.items() if key in known}


def read(
    path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None, **told: Any
) -> Record:
    """An ECG file of any format we know, in mV; the format is found by content.

    leads       : only these leads, in this order (FormatError where the file lacks one)
    start, stop : only this part, in seconds
    told        : what the file itself does not say, for the formats whose reader takes it: ``fs``, ``unit`` and ``names`` of a table without
                  a header, ``record`` of a file that holds many

    A WFDB record is named with or without its extension. Raises FormatError, in one line that names the file.
    """
    try:
        name = recognise(path)
        if unknown := told.keys() - taken_by(name, told).keys():
            raise FormatError(f"{path}: a file of the format {name} takes no {', '.join(sorted(unknown))}: it says this itself.")
        return READERS[name](path, leads=leads, start=start, stop=stop, **told)
    except OSError as error:
        raise FormatError(f"{error.filename or path}: cannot be read: {error.strerror or error}.") from error


def write(record: Record, path: Path | str, format: str | None = None) -> None:
    """A recording as a file that appears whole or not at all; the format is a key of WRITERS, by default told by the name's ending.

    What a format has no place for is left out without a word: ``io.keeping.lost(record, format)`` says what. A table has a JSON file beside it
    for that. Raises FormatError for an ending that says nothing, and where the format cannot hold the record.
    """
    path = Path(path)
    name = format or SUFFIXES.get(path.suffix.lower())
    if name not in WRITERS:
        endings = ", ".join(f"{suffix} ({kind})" for suffix, kind in SUFFIXES.items() if kind in WRITERS)
        raise FormatError(
            f"{path}: expected a name that ends in {endings}, or a format among {', '.join(WRITERS)}; got {format or path.name!r}."
        )
    WRITERS[name](record, path)
