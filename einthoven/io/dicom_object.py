"""DICOM objects from files that nobody has checked: pydicom reads them, here stand the bounds and the way its errors are told.

pydicom inflates a deflated object to whatever it promises, parses values when they are asked for, and says what is wrong with them in a dozen
kinds of exception. Nothing outside this file needs to know that.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from einthoven.errors import FormatError
from einthoven.io.bounds import MOST_UNPACKED

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MOST_INFLATED = 50
"""A deflated object may become this many times its size; an ECG becomes two to four."""
_WAVEFORM_DATA = {"little": b"\0\x54\x10\x10", "big": b"\x54\0\x10\x10"}  # the tag (5400,1010)
_NO_LENGTH = 2**32 - 1  # of a sequence that an item ends instead
_DEFLATED = "1.2.840.10008.1.2.1.99"
_WANTED = [
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "TimezoneOffsetFromUTC", "AcquisitionDateTime", "ContentDate", "ContentTime"),
    *(
        "StudyDate",
        "StudyTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "Manufacturer",
        "ManufacturerModelName",
        "PatientID",
        "PatientBirthDate",
    ),
    *("PatientSex", "PatientAge", "WaveformSequence", "WaveformAnnotationSequence"),
]


def _damage() -> tuple[type[Exception], ...]:
    """What pydicom raises over damaged bytes. AttributeError and TypeError are among them, so nothing of ours may stand in such a ``try``."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    reading = (EOFError, MemoryError, OSError, RecursionError, struct.error, zlib.error, BytesLengthException, InvalidDicomError)
    return (*reading, ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError)


def load(path: Path) -> Dataset:
    """The elements of an object that an ECG needs; pixels and everything private stay in the file. Raises FormatError."""
    if path.stat().st_size == 0:
        raise FormatError(f"{path}: is empty.")
    from pydicom.dataelem import RawDataElement
    from pydicom.filereader import dcmread

    # pydicom asks for as many bytes as an element promises; a file would set them all aside first, a map gives what there is.
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        _check_inflated(path, mapped)
        mapped.seek(0)
        try:
            # A file that has lost its preamble is as good as one that has it; pydicom tells its encoding by the first element.
            content = dcmread(cast(BinaryIO, mapped), stop_before_pixels=True, specific_tags=list(_WANTED), force=True)
        except (EOFError, OSError):
            raise _cut_off(path, mapped) from None
        except _damage() as error:
            raise damaged(path, "", error) from None
        # Of a sequence that states its length pydicom gives what is there, though it be less.
        waveforms = content.get_item("WaveformSequence")
        if isinstance(waveforms, RawDataElement) and len(waveforms.value or b"") < waveforms.length < _NO_LENGTH:
            raise _cut_off(path, mapped)
        return content


def _cut_off(path: Path, mapped: mmap.mmap) -> FormatError:
    """The error for a file that ends before its object does: in which waveform, or before or behind them."""
    is_big = (
        mapped.find(_WAVEFORM_DATA["little"], 0) < 0 <= mapped.find(_WAVEFORM_DATA["big"], 0)
    )  # an mmap seeks from where it is, unless told
    order: Literal["little", "big"] = "big" if is_big else "little"
    at, where = mapped.find(_WAVEFORM_DATA[order], 0), "before its waveform begins"
    while at >= 0:
        begin = at + (12 if mapped[at + 4 : at + 6] in (b"OW", b"OB") else 8)
        n_promised, n_there = int.from_bytes(mapped[begin - 4 : begin], order), max(len(mapped) - begin, 0)
        if n_promised > n_there:
            where = f"after {n_there} of {n_promised} bytes of waveform"
            break
        at, where = mapped.find(_WAVEFORM_DATA[order], begin + n_promised), "behind its waveform"
    return FormatError(f"{path}: a truncated DICOM object: the file ends {where}; copy it again, whole, or export it again.")


def damaged(path: Path, what: str, error: BaseException) -> FormatError:
    """The error for something in a file that pydicom could not make sense of."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return FormatError(
        f"{path}: expected a DICOM object; {what + ' is' if what else 'it is'} damaged or truncated ({reason}); export it again."
    )


def _check_inflated(path: Path, mapped: mmap.mmap) -> None:
    """Refuse a deflated object that would fill the memory."""
    from pydicom.filereader import read_dataset

    start = 132 if mapped[128:132] == b"DICM" else 0
    if mapped[start : start + 2] != b"\2\0":
        return
    mapped.seek(start)
    try:
        meta = read_dataset(cast(BinaryIO, mapped), False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        syntax = str(meta.get("TransferSyntaxUID", ""))
    except _damage() as error:
        raise damaged(path, "its header", error) from None
    if syntax != _DEFLATED:
        return
    data = mapped.read()
    most = min(max(MOST_INFLATED * len(data), 1_000_000), MOST_UNPACKED)
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(data, most)
    except zlib.error as error:
        raise damaged(path, "its deflated part", error) from None
    if not inflater.eof:
        raise FormatError(
            f"{path}: its deflated part becomes more than {most} bytes, or is cut short: not an ECG; export it again uncompressed."
        )


def get(item: Dataset, keyword: str, path: Path) -> Any:
    """The value of an element, None where it is not there or empty. Raises FormatError where it is damaged."""
    try:
        value = item.get(keyword)
    except _damage() as error:
        raise damaged(path, keyword, error) from None
    return None if value is None or value == "" else value


def items(item: Dataset, keyword: str, path: Path) -> list[Dataset]:
    """The items of a sequence; none where it is not there. Raises FormatError where it is damaged."""
    from pydicom.sequence import Sequence

    value = get(item, keyword, path)
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise FormatError(f"{path}: expected {keyword} to be a sequence; came {type(value).__name__}; export it again.")
    return list(value)


def text(item: Dataset, keyword: str) -> str:
    """What an element says, without the space around it; "" where it says nothing or cannot be read: a name is no reason to refuse an ECG."""
    try:
        value = item.get(keyword)
        return "" if value is None else str(value).strip(" \0\r\n\t")
    except _damage():
        return ""


def number(item: Dataset, keyword: str, path: Path) -> float | None:
    """The one finite number that an element holds, None where it is not there or empty. Raises FormatError for anything else."""
    value = get(item, keyword, path)
    if value is None:
        return None
    try:
        found = float(value)
    except _damage():
        found = math.nan
    if not math.isfinite(found):
        raise FormatError(f"{path}: expected one number as {keyword}; came {str(value)[:40]!r}; export it again.")
    return found
