"""Which format a file has: by what it begins with, never by its extension alone."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.io import apple_watch, matlab, table, wfdb

_ISHNE_BEATS = "beats of a Holter (ISHNE annotations)"
_HOLTER = (".ecg", ".ECG", ".ish", ".hol")
"""How an ISHNE file ends; its beats have the same name with ``.ann``."""

# (offset, bytes, name); a name that is in READERS is read, any other tells a person what the file is.
_MAGIC = [
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"MATLAB 7.3", "MATLAB 7.3 (HDF5)"),
    (128, b"DICM", "DICOM"),
    (0, b"\2\0\0\0UL\4\0", "DICOM"),  # without its preamble: the header's length, or the character set, comes first
    (0, b"\b\0\5\0CS", "DICOM"),
    (0, b"\b\0\5\0\n\0\0\0ISO_IR", "DICOM"),
    (0, b"ISHNE1.0", "ISHNE Holter"),
    (0, b"ANN  1.0", _ISHNE_BEATS),
    (0, b"\xffBIOSEMI", "BDF"),
    (0, b"\x93NUMPY", "NumPy array"),
    (0, b"PAR1", "Parquet table"),
    (0, b"%PDF", "PDF document"),
    (0, b"{\\rtf", "RTF document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document (.doc, .xls, .ppt)"),
    (0, b"\x89PNG", "PNG picture"),
    (0, b"\xff\xd8\xff", "JPEG picture"),
    (0, b"GIF87a", "GIF picture"),
    (0, b"GIF89a", "GIF picture"),
    (0, b"II*\0", "TIFF picture"),
    (0, b"MM\0*", "TIFF picture"),
    (0, b"\x1f\x8b", "gzip archive"),
    (4, b"1AY&SY", "bzip2 archive"),
    (0, b"\xfd7zXZ\0", "xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (257, b"ustar", "tar archive"),
    (0, b"SQLite format 3\0", "SQLite database"),
    (0, b"\x80\x02", "Python pickle"),
    (0, b"\x80\x04", "Python pickle"),
]
# (a word in its first bytes, name): zip archives that are none to a person.
_ZIPPED = [
    (b"word/", "Word document (.docx)"),
    (b"xl/", "Excel workbook (.xlsx)"),
    (b"ppt/", "PowerPoint file (.pptx)"),
    (b"data.pkl", "PyTorch file (.pt)"),
    (b"[Content_Types].xml", "Office document"),
]
_TO_DO = {
    "archive": "unpack it first",
    "picture": "a printed ECG is no signal, export the recording itself",
    "document": "a printed ECG is no signal, export the recording itself",
    "workbook": "save the sheet as CSV",
    "HTML": "a page, such as a server answers with instead of a file: fetch the file again",
    "7.3": "save it with -v7",
}
"""Kind of file, by a word of its name -> what its owner can do."""
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
_EDF_NUMBER = re.compile(rb" *\d+(?:\.0*)?[ \0]*")

HEAD = 4096
"""Bytes from the beginning of a file that its format is told by."""

COMPANIONS = ("RECORDS", "ANNOTATORS", "README", "LICENSE", "SHA256SUMS")
"""What the names of files begin with that a corpus of PhysioNet has beside its recordings."""


def recognise(path: Path | str, readers: Collection[str]) -> str:
    """The name, among ``readers``, of the format that a path holds. Raises FormatError that says what it looks like instead."""
    path = Path(path)
    header = wfdb.header_path(path)
    if path.is_dir() and header is None:
        raise FormatError(f"{path}: is a folder, not an ECG; name a file in it, or ingest the folder.")
    if not path.exists() and header is None:
        beside = "" if path.suffix else f", and no {path.name}.hea beside it"
        raise FormatError(f"{path}: no such file{beside}.")
    if path.is_file() and path.stat().st_size == 0:
        raise FormatError(f"{path}: is empty (0 bytes); copy it again.")
    if not path.is_file():
        return "WFDB"
    head = head_of(path)
    kind = looks_like(head)
    if path.suffix.lower() == ".hea":
        if kind in (None, "text", "table"):
            return "WFDB"
        raise FormatError(f"{path}: expected a WFDB header; it looks like {kind}.")
    if header is not None and (path.suffix.lower() in (".dat", ".mat") or _names(header, path)):
        return "WFDB"
    if kind in readers:
        return str(kind)
    if (owner := header or _holter(path)) is not None and is_annotation(path):
        raise FormatError(f"{path}: lies beside the recording {owner.name} without being its signal (an annotation?); name {owner.name}.")
    if kind is None and path.suffix.lower() == ".dat":
        raise FormatError(f"{path}: a WFDB signal file is read by its header, and {path.stem}.hea is not there.")
    what = f"it looks like {kind}" if kind else "its content is of no kind that we know"
    to_do = next((f"; {words}" for word, words in _TO_DO.items() if word in (kind or "").split()), "")
    raise FormatError(f"{path}: cannot be read as an ECG: {what}{to_do} (what is read: docs/data.md, einthoven.io.READERS).")


def is_annotation(path: Path) -> bool:
    """Whether a file lies beside a recording of its name and is of no format of its own: annotations of a WFDB record (``.atr``, ``.avf``) or of an
    ISHNE file (``.ann``), notes."""
    if path.suffix.lower() == ".ann" and _holter(path) is not None:
        return looks_like(head_of(path)) == _ISHNE_BEATS
    is_beside = path.suffix.lower() not in (".hea", ".dat", ".mat") and path.with_suffix(".hea").is_file()
    return is_beside and looks_like(head_of(path)) in (None, "text", "JSON")


def _holter(path: Path) -> Path | None:
    """The ISHNE file beside an annotation of its name."""
    beside = (path.with_suffix(ending) for ending in _HOLTER)
    return next((one for one in beside if one.is_file() and looks_like(head_of(one)) == "ISHNE Holter"), None)


def is_companion(path: Path) -> bool:
    """Whether a file stands beside recordings without being one: nobody who names their folder means it."""
    return path.name.startswith(COMPANIONS)


def head_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def looks_like(head: bytes) -> str | None:
    """A name for what a file that begins so most likely is; "text" for text of no known kind, "JSON", None for unknown bytes."""
    if head.startswith(b"PK\x03\x04"):
        return _zipped(head)
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if _is_edf(head):
        return "EDF"
    if matlab.is_matlab(head):
        return "MATLAB"
    # SCP-ECG has no magic in its older versions: section 0 follows a checksum and the file's length, and its own length stands in it twice.
    if len(head) >= 28 and head[8:10] == head[22:24] == b"\0\0" and head[10:14] == head[24:28] != b"\0\0\0\0":
        return "SCP-ECG"
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = head.decode("utf-16" if wide else "latin-1", errors="ignore").lstrip("\ufeffï»¿ \t\r\n")
    odd = len(head.translate(None, _PRINTABLE))
    is_text = wide or (odd <= 0.03 * len(head) and b"\0" not in head)
    if text.startswith("<") and is_text:  # WFDB annotations may begin with that byte
        root = re.search(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)", text)
        return _XML_ROOTS.get(root[1].lower() if root else "", "XML of a kind we do not know")
    if not is_text:
        return None
    if text.startswith(("{", "[")):
        return "JSON"
    if apple_watch.is_apple_watch(text):
        return "Apple Watch CSV"
    return "table" if table.is_table(text) else "text"


def _zipped(head: bytes) -> str:
    """What a zip archive is, by its first member and what comes soon behind it."""
    if head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy"):
        return "NumPy archive"
    return next((name for word, name in _ZIPPED if word in head), "zip archive")


def _is_edf(head: bytes) -> bool:
    """Version 0, and where the header's length and the number of signals belong, numbers: a table of text may begin with "0" and blanks too."""
    is_numbered = all(_EDF_NUMBER.fullmatch(field) for field in (head[184:192], head[252:256]))
    return head.startswith(b"0       ") and is_numbered


def _names(header: Path, path: Path) -> bool:
    """Whether a header beside a file of unusual extension (``s0010_re.xyz``) names it as its signal."""
    return path.name in {Path(signal.file).name for signal in wfdb.read_header(header).signals}
