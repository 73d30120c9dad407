"""ISHNE Holter files 1.0: a header of 522 bytes, a text, and interleaved 16-bit samples; only the part that is asked for is read from the disk.

The number of samples is that of one lead; writers are known that state that of all leads together, which is taken for that where the file's size
says so exactly. The checksum is of the header alone: where it is wrong somebody has changed a name, or more; it is told
(``meta["checksum_mismatch"]``). A 0 was never computed. The lowest count, -32768, means that nothing was recorded. Beats, which stand in a file of the
same name that ends in ``.ann``, are no part of a recording here, as those of WFDB are not.

Source: Badilini, The ISHNE Holter Standard Output File Format, Ann Noninvasive Electrocardiol 1998. Our own code: there is no kept library.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bounds import MOST_READ
from einthoven.io.cut import cut, unique_names
from einthoven.io.demographics import SEX_BY_NUMBER, age_at, known_id, moment_of
from einthoven.io.texts import one_line
from einthoven.leads import canonical
from einthoven.record import Record

MAGIC = b"ISHNE1.0"
HEADER_BYTES = 522
_LEADS = ("", "bipolar", "X", "Y", "Z", "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6", "ES", "AS", "AI")
_QUALITIES = {1: "good", 2: "intermittent noise", 3: "frequent noise", 4: "intermittent disconnect", 5: "frequent disconnect"}


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say; lists are as long as there are leads, ``n_samples`` is per lead."""

    n_samples: int
    begin: int
    fs: float
    leads: tuple[str, ...]
    qualities: tuple[int, ...]
    nanovolts: tuple[int, ...]
    patient: str | None
    meta: dict[str, Any]


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """An ISHNE Holter recording, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds; a minute of a day is read in the time of a minute

    ``meta["lead_quality"]`` has what the recorder thought of its leads. Raises FormatError.
    """
    path = Path(path)
    with open(path, "rb") as file:
        header = read_header(path, file.read(HEADER_BYTES), path.stat().st_size)
        n_leads = len(header.leads)
        if wrong := [lead for lead, nanovolt in zip(header.leads, header.nanovolts) if nanovolt <= 0]:
            raise FormatError(
                f"{path}: expected the resolution of each lead in nV; for {wrong[0]} there is none: its amplitude is not known; export it again."
            )
        first = 0 if start is None else min(max(round(start * header.fs), 0), header.n_samples)
        last = header.n_samples if stop is None else min(max(round(stop * header.fs), first), header.n_samples)
        if 4 * n_leads * (last - first) > MOST_READ:
            raise FormatError(
                f"{path}: {last - first} samples of {n_leads} leads are more than is read at once; ask for a part (start, stop)."
            )
        file.seek(header.begin + 2 * n_leads * first)
        counts = np.fromfile(file, dtype="<i2", count=(last - first) * n_leads).reshape(-1, n_leads)
    signal = np.empty((n_leads, last - first), dtype=np.float32)
    for row, column, nanovolt in zip(signal, counts.T, header.nanovolts):
        np.multiply(column, np.float32(nanovolt / 1e6), out=row)
        row[column == -(2**15)] = np.nan
    meta = dict(header.meta)
    if told := {lead: _QUALITIES[quality] for lead, quality in zip(header.leads, header.qualities) if quality in _QUALITIES}:
        meta["lead_quality"] = told
    return cut(Record(signal, header.fs, header.leads, record=path.stem, patient=header.patient, meta=meta), path, leads=leads)


def read_header(path: Path, data: bytes, size: int) -> Header:
    """What the header of a file of ``size`` bytes says. Raises FormatError."""
    if not data.startswith(MAGIC):
        raise FormatError(
            f"{path}: expected {MAGIC.decode()} at its beginning; it begins with {data[:8].decode('latin-1')!a}; export it again."
        )
    if len(data) < HEADER_BYTES:
        raise FormatError(f"{path}: truncated: the header has {HEADER_BYTES} bytes; the file has {size}; export it again.")
    checksum, n_text, n_samples, text_begin, begin = struct.unpack_from("<H4i", data, 8)
    n_leads, *per_lead = struct.unpack_from("<37h", data, 156)
    codes, qualities, nanovolts = per_lead[:12], per_lead[12:24], per_lead[24:36]
    (fs,) = struct.unpack_from("<h", data, 272)
    if not HEADER_BYTES <= begin <= size:
        raise FormatError(f"{path}: truncated or damaged: its data begin at byte {begin}; the file has {size}; export it again.")
    if not 1 <= n_leads <= 12 or fs <= 0:
        raise FormatError(
            f"{path}: expected 1 to 12 leads and a rate in Hz; the header states {n_leads} leads at {fs} Hz; export it again."
        )
    n_samples = _n_samples(path, n_samples, n_leads, size - begin)
    with open(path, "rb") as file:
        block = file.read(begin) if begin <= 2**20 else b""
    meta = _meta(data)
    if HEADER_BYTES <= text_begin <= text_begin + n_text <= len(block) and (text := _text(block[text_begin : text_begin + n_text])):
        meta["comments"] = [text]
    if checksum and block and checksum != crc_hqx(block[10:], 0xFFFF):
        meta["checksum_mismatch"] = ["header"]
    names = unique_names([canonical(_LEADS[code]) if 0 <= code < len(_LEADS) else f"lead code {code}" for code in codes[:n_leads]])
    return Header(
        n_samples=n_samples,
        begin=begin,
        fs=float(fs),
        leads=tuple(names),
        qualities=tuple(qualities[:n_leads]),
        nanovolts=tuple(nanovolts[:n_leads]),
        patient=known_id(_text(data[108:128])),
        meta=meta,
    )


def _n_samples(path: Path, stated: int, n_leads: int, n_bytes: int) -> int:
    """Samples per lead: what is stated, which must be there; where 0 or less is stated, what is there."""
    there = n_bytes // (2 * n_leads)
    if stated <= 0:
        return there
    if stated > there and stated == n_bytes // 2:
        return there
    if stated > there:
        raise FormatError(
            f"{path}: truncated: the header promises {stated} samples of {n_leads} leads, {2 * stated * n_leads} bytes; "
            f"it has {n_bytes}, enough for {there} samples; export it again."
        )
    return stated


def _meta(data: bytes) -> dict[str, Any]:
    """What the header says of the person and the moment; -9 and 0 stand for what is not known."""
    sex, _, *rest = struct.unpack_from("<2h12h", data, 128)
    born, day, clock = moment_of(*rest[2::-1]), moment_of(*rest[5:2:-1]), rest[9:12]  # day, month, year
    meta: dict[str, Any] = {}
    if day is not None:
        meta["time"] = moment_of(day.year, day.month, day.day, *clock) or day
    if (age := age_at(born, day)) is not None:
        meta["age"] = age
    if sex in SEX_BY_NUMBER:
        meta["sex"] = SEX_BY_NUMBER[sex]
    if device := _text(data[232:272]):
        meta["device"] = device
    return meta


def _text(data: bytes) -> str:
    return one_line(data.partition(b"\0")[0].decode("latin-1"))
