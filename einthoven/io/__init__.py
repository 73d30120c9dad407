"""ECG files: one format, one module. ``read(path)`` finds the format by looking into the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.io import mat, wfdb
from einthoven.leads import LIMB, TWELVE, canonical
from einthoven.record import Record

__all__ = ["READERS", "ecg_leads", "is_annotation", "read", "recognise"]

READERS: dict[str, Callable[..., Record]] = {
    "WFDB": wfdb.read,
    "MATLAB": mat.read,
}
"""Format -> reader: ``read(path, *, leads=None, start=None, stop=None) -> Record``, start and stop in seconds."""

# What a file of a kind that is not read begins with: (offset, bytes, name).
_MAGIC = [
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"MATLAB 7.3", "MATLAB 7.3 (HDF5)"),
    (128, b"DICM", "DICOM"),
    (0, b"ISHNE1.0", "ISHNE Holter"),
    (0, b"ANN  1.0", "ISHNE annotations"),
    (0, b"0       ", "EDF"),
    (0, b"\xffBIOSEMI", "BDF"),
    (0, b"%PDF", "PDF"),
    (0, b"\x89PNG", "PNG picture"),
    (0, b"\xff\xd8\xff", "JPEG picture"),
    (0, b"\x93NUMPY", "NumPy array"),
    (0, b"PAR1", "Parquet table"),
    (0, b"\x1f\x8b", "gzip archive"),
    (0, b"PK\x03\x04", "zip archive (or .npz, .xlsx, .pt)"),
    (0, b"\x80\x02", "Python pickle"),
    (0, b"\x80\x04", "Python pickle"),
]
_XML_ROOTS = {
    "restingecg": "GE MUSE XML",
    "cardiologyxml": "GE CardioSoft XML",
    "sapphire": "GE Sapphire XML",
    "restingecgdata": "Philips SierraECG XML",
    "annotatedecg": "HL7 aECG XML",
    "com.xiriuz.sema.xml.schilleredi.schilleredi": "Schiller EDI XML",
    "html": "HTML",
}


_PRINTABLE = bytes([*b"\t\r\n\f", *range(32, 127), *range(160, 256)])


def recognise(path: Path | str) -> str:
    """The name (a key of READERS) of the format that a path holds. Raises FormatError that says what it looks like instead."""
    path = Path(path)
    header = wfdb.header_path(path)
    if path.is_dir() and header is None:
        raise FormatError(f"{path}: is a folder, not an ECG; name a file in it, or ingest the folder.")
    if not path.exists() and header is None:
        beside = "" if path.suffix else f", and no {path.name}.hea beside it"
        raise FormatError(f"{path}: no such file{beside}.")
    if path.is_file() and path.stat().st_size == 0:
        raise FormatError(f"{path}: is empty.")
    if not path.is_file():
        return "WFDB"
    head = _head(path)
    if path.suffix.lower() == ".hea":
        kind = _looks_like(head)
        if kind is None or kind == "text":
            return "WFDB"
        raise FormatError(f"{path}: expected a WFDB header; it looks like {kind}.")
    if header is not None and (path.suffix.lower() in (".dat", ".mat") or _names(header, path)):
        return "WFDB"
    if mat.is_mat(head):
        return "MATLAB"
    kind = _looks_like(head)
    if header is not None and is_annotation(path):
        raise FormatError(
            f"{path}: lies beside the WFDB record {header.name} without being its signal (an annotation?); name {header.name}."
        )
    if kind is None and path.suffix.lower() == ".dat":
        raise FormatError(f"{path}: a WFDB signal file is read by its header, and {path.stem}.hea is not there.")
    what = f"it looks like {kind}" if kind else "its content is of no kind that we know"
    raise FormatError(f"{path}: cannot be read as an ECG: {what}; formats read so far: {', '.join(READERS)}.")


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """An ECG file of any format we know, in mV; the format is found by content.

    leads       : only these leads, in this order (FormatError where the file lacks one)
    start, stop : only this part, in seconds

    A WFDB record is named with or without its extension. Raises FormatError, in one line that names the file.
    """
    try:
        return READERS[recognise(path)](path, leads=leads, start=start, stop=stop)
    except OSError as error:
        raise FormatError(f"{error.filename or path}: cannot be read: {error.strerror or error}.") from error


def is_annotation(path: Path) -> bool:
    """Whether a file lies beside a WFDB header of its name and is of no format of its own: annotations (``.atr``, ``.avf``), notes."""
    is_beside = path.suffix.lower() not in (".hea", ".dat", ".mat") and path.with_suffix(".hea").is_file()
    return is_beside and _looks_like(_head(path)) in (None, "text")


def ecg_leads(record: Record) -> tuple[str, ...]:
    """The names of a record's ECG leads, in its order: known lead names, else every channel in a unit of voltage that is not named as
    another signal (pressure, respiration, pulse wave)."""
    known = tuple(name for name in record.leads if canonical(name) in _ECG)
    if known:
        return known
    units = record.meta.get("units", {})
    return tuple(name for name in record.leads if name not in units and not name.upper().startswith(_OTHER))


_ECG = {
    *TWELVE,
    *LIMB,
    "X",
    "Y",
    "Z",
    "V",
    "V7",
    "V8",
    "V9",
    "V3R",
    "V4R",
    "V5R",
    "V6R",
    "ML",
    "MLI",
    "MLII",
    "MLIII",
    "MCL1",
    "CM5",
    "ECG",
}
_OTHER = ("RESP", "PLETH", "PPG", "ABP", "ART", "PAP", "CVP", "ICP", "BP", "SPO2", "CO2", "EEG", "EMG", "EOG", "ACC", "NASAL", "FLOW")


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


def _names(header: Path, path: Path) -> bool:
    """Whether a header beside a file of unusual extension (``s0010_re.xyz``) names it as its signal."""
    return path.name in {Path(signal.file).name for signal in wfdb.read_header(header).signals}


def _looks_like(head: bytes) -> str | None:
    """A name for what a file that begins so most likely is; "text" for any other text, None for unknown bytes."""
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    # SCP-ECG has no magic in its older versions: section 0 follows a checksum and the file's length, and its own length stands in it twice.
    if len(head) >= 28 and head[8:10] == head[22:24] == b"\0\0" and head[10:14] == head[24:28] != b"\0\0\0\0":
        return "SCP-ECG"
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = head.decode("utf-16" if wide else "latin-1", errors="ignore").lstrip("\ufeffï»¿ \t\r\n")
    odd = len(head.translate(None, _PRINTABLE))
    is_text = odd <= 0.03 * len(head) and b"\0" not in head
    if text.startswith("<") and (wide or is_text):  # WFDB annotations may begin with that byte
        root = re.search(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)", text)
        return _XML_ROOTS.get(root[1].lower() if root else "", "XML of a kind we do not know")
    return "text" if is_text else None
