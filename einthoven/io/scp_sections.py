"""The container of SCP-ECG: sections found by the pointers of section 0, their lengths and checksums compared.

Checksums. The standard's is CRC-CCITT (0x1021 from 0xFFFF), of the file and of each section; in the files we know it is right in all of them,
but for those of Healforce, which are of another kind. A 0 was never computed. A section that the signal depends on (2 to 6) and whose
checksum is wrong is damaged, and the file is refused. In any other one, or in the file as a whole, a wrong checksum is what an anonymiser leaves
that changed the name and not the sum: it is told, and the file is read.

Source: EN 1064 (ANSI/AAMI EC71), sections 5.1 to 5.3.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from dataclasses import dataclass
from pathlib import Path

from einthoven.errors import FormatError

MAX_BYTES = 2**27
"""A resting ECG has a few ten thousand bytes; each lead of rhythm data at most 65,535."""

SIGNAL_SECTIONS = (2, 3, 4, 5, 6)
SECTIONS = (1, *SIGNAL_SECTIONS, 7, 8, 11, 12)
"""What is looked at; 9 and 10, and those above 11, are the makers' own or new in version 3, and 12 is only known to be there."""

_HEAD = 16


@dataclass(frozen=True)
class Section:
    """One section without its header; ``revision`` is the protocol's: 10 (1.0), 13 (1.3), 20 (2.0), 30 (3.0), or what a writer has put there."""

    number: int
    revision: int
    data: bytes


def read_sections(path: Path) -> tuple[dict[int, Section], list[str]]:
    """The sections of a file by their number, and what has a wrong checksum ("file", "section 1"). Raises FormatError."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FormatError(f"{path}: expected an SCP-ECG file of at most {MAX_BYTES} bytes; it has {size}; export it again.")
    data = path.read_bytes()
    if len(data) < 6 + _HEAD + 10:
        raise FormatError(f"{path}: truncated: an SCP-ECG file begins with 32 bytes of pointers; it has {len(data)}; export it again.")
    if (kind := _other_kind(data)) is not None:
        raise FormatError(f"{path}: expected SCP-ECG as EN 1064 has it; {kind}; export it in another format.")
    checksum, stated = struct.unpack_from("<HI", data)
    if stated > len(data):
        raise FormatError(f"{path}: truncated: the file says that it has {stated} bytes; it has {len(data)}; export it again.")
    mismatched = [] if stated < 6 or checksum in (0, crc_hqx(data[2:stated], 0xFFFF)) else ["file"]
    pointers = _section(path, data, 0, 1 + 6, struct.unpack_from("<I", data, 6 + 4)[0], mismatched).data
    sections: dict[int, Section] = {}
    for place in range(0, len(pointers) - 9, 10):
        number, length, begin = struct.unpack_from("<HII", pointers, place)
        if number in SECTIONS and length > _HEAD and begin and number not in sections:
            sections[number] = _section(path, data, number, begin, length, mismatched)
    return sections, mismatched


def _section(path: Path, data: bytes, number: int, begin: int, length: int, mismatched: list[str]) -> Section:
    """The section that begins at the byte ``begin``, counted from 1."""
    if length < _HEAD or begin < 1 or begin - 1 + length > len(data):
        raise FormatError(
            f"{path}: truncated or damaged: section {number} has {length} bytes from {begin} on; the file has {len(data)}; export it again."
        )
    whole = data[begin - 1 : begin - 1 + length]
    checksum, found, stated, _, revision = struct.unpack_from("<HHIBB", whole)
    if found != number or stated != length:
        raise FormatError(
            f"{path}: damaged: expected section {number} of {length} bytes at byte {begin}; there is section {found} of {stated} bytes; export it again."
        )
    if checksum not in (0, crc_hqx(whole[2:], 0xFFFF)):
        if number in SIGNAL_SECTIONS:
            raise FormatError(
                f"{path}: damaged: the checksum of section {number}, which the signal depends on, is wrong; export the file again."
            )
        mismatched.append(f"section {number}")
    return Section(number, revision, whole[_HEAD:])


def _other_kind(data: bytes) -> str | None:
    """What a file is that has the look of SCP-ECG and is something else, or None."""
    # Healforce's recorders write the size before the checksum, count bytes from 0, and interleave 10-bit samples without a code.
    size, index = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, 28)[0]
    if index == 6 and data[2:4] == b"\0\0":
        short = f", of which {size - len(data)} of {size} bytes are missing" if size > len(data) else ""
        return f"this is Healforce's own kind (its size before its checksum, interleaved samples of 10 bits){short}"
    return None
