"""The signal formats of WFDB: how the counts of a signal file are stored, and any stretch of them read from it.

A *flat* sample is one number of the file: the leads of a file are interleaved, a frame of them at a time.

Source: signal(5) of the WFDB applications' guide. All formats are read here, at six to eight times the speed of the ``wfdb`` package, and a part of a long record
without the rest; FLAC (508, 516, 524) is left to ``soundfile``, which is asked for where such a file is met.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError

BITS: dict[str, float] = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 32 / 3, "311": 32 / 3}
FLAC = {"508": 8, "516": 16, "524": 24}
"""Bits of a sample before it was compressed."""

BITS |= dict.fromkeys(FLAC, 0.0)  # compressed, so the size of the file promises nothing

INVALID = {
    "16": -(2**15), "24": -(2**23), "32": -(2**31), "61": -(2**15), "80": -(2**7), "160": -(2**15), "212": -(2**11), "310": -(2**9), "311": -(2**9),
    "508": -(2**7), "516": -(2**15), "524": -(2**23),
}  # fmt: skip
"""The count that means "not recorded": the lowest of each format (signal(5)); differences (8) have none."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "16": np.dtype("<i2"), "61": np.dtype(">i2"), "160": np.dtype("<u2"), "32": np.dtype("<i4"), "80": np.dtype("u1"), "8": np.dtype("i1"),
}  # fmt: skip


def n_flat(path: Path, encoding: str, offset: int) -> int:
    """How many samples a file holds. Raises FormatError where it is no FLAC file and should be."""
    if encoding in FLAC:
        with _open_flac(path, encoding, offset) as file:
            return int(file.frames * file.channels)
    return max(0, int((path.stat().st_size - offset) * 8 / BITS[encoding]))


def read_flat(path: Path, encoding: str, offset: int, first: int, n: int) -> np.ndarray:
    """n counts from the flat sample ``first`` on: (n,) integers; fewer where the file ends. Differences (8) as they are."""
    if encoding in _DTYPES:
        dtype = _DTYPES[encoding]
        counts = np.fromfile(path, dtype=dtype, count=n, offset=offset + first * dtype.itemsize)
        if encoding == "80":
            return counts.astype(np.int16) - 128
        return (counts ^ 0x8000).astype("<u2").view("<i2") if encoding == "160" else counts
    if encoding == "24":
        data = np.fromfile(path, dtype=np.uint8, count=3 * n, offset=offset + 3 * first)
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = data[: len(data) // 3 * 3].reshape(-1, 3)
        return wide.view("<i4")[:, 0] >> 8
    if encoding in FLAC:
        raise AssertionError("FLAC has frames of its own: read_flac")
    per_block, n_bytes = (2, 3) if encoding == "212" else (3, 4)
    skip = first % per_block
    n_blocks = -(-(n + skip) // per_block)
    data = np.fromfile(path, dtype=np.uint8, count=n_blocks * n_bytes, offset=offset + first // per_block * n_bytes)
    blocks = np.zeros(-(-len(data) // n_bytes) * n_bytes, dtype=np.uint8)  # the last one may be cut short behind its last sample
    blocks[: len(data)] = data
    there = int(len(data) * 8 / BITS[encoding])
    return _UNPACK[encoding](blocks)[skip : min(skip + n, there)]


def read_flac(path: Path, encoding: str, offset: int, first: int, n: int) -> np.ndarray:
    """(n, channel) counts of a FLAC file, whose frames are one sample of each lead. Raises FormatError."""
    soundfile = _soundfile(path)
    try:
        with _open_flac(path, encoding, offset) as file:
            file.seek(min(first, file.frames))
            counts: np.ndarray = file.read(n, dtype="int32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise FormatError(f"{path}: a damaged FLAC file: {_line(error)}; mend the header, or fetch the record again.") from None
    return counts >> (32 - FLAC[encoding])


def _soundfile(path: Path) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: it is there, and the library that it binds is not
        raise FormatError(
            f"{path}: its signal is compressed with FLAC, which is read with the package soundfile ({error}): pip install 'einthoven[flac]'."
        ) from None
    return soundfile


def _open_flac(path: Path, encoding: str, offset: int) -> Any:
    soundfile = _soundfile(path)
    if offset:
        raise FormatError(
            f"{path}: expected FLAC (format {encoding}) from its first byte on; the header says from byte {offset}; mend the header, or fetch the record again."
        )
    try:
        file = soundfile.SoundFile(str(path))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise FormatError(
            f"{path}: expected FLAC (format {encoding}): {_line(error)}; mend the header, or fetch the record again."
        ) from None
    kind = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[FLAC[encoding]]
    if file.format != "FLAC" or file.subtype != kind:
        found = f"{file.format} {file.subtype}"
        file.close()
        raise FormatError(f"{path}: expected FLAC {kind} (format {encoding}); it is {found}; mend the header, or fetch the record again.")
    return file


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _unpack_212(blocks: np.ndarray) -> np.ndarray:
    """Two 12-bit two's complement samples in three bytes: low byte, both high halves, low byte."""
    low, high, second = blocks.reshape(-1, 3).T.astype(np.int16)
    counts = np.stack([low | (high & 0x0F) << 8, second | (high & 0xF0) << 4], axis=1).reshape(-1)
    counts -= (counts & 0x800) << 1
    return counts


def _unpack_310(blocks: np.ndarray) -> np.ndarray:
    """Three 10-bit samples in two words: bits 1 to 10 of each, and the third in the five high bits of both."""
    first, second = blocks.view("<u2").reshape(-1, 2).T.astype(np.int32)
    return _signed_10(np.stack([first >> 1, second >> 1, first >> 11 | second >> 11 << 5], axis=1))


def _unpack_311(blocks: np.ndarray) -> np.ndarray:
    """Three 10-bit samples in the low 30 bits of a double word."""
    word = blocks.view("<u4").astype(np.int64)
    return _signed_10(np.stack([word, word >> 10, word >> 20], axis=1))


def _signed_10(counts: np.ndarray) -> np.ndarray:
    counts = (counts & 0x3FF).astype(np.int16).reshape(-1)
    return counts - ((counts & 0x200) << 1)


_UNPACK = {"212": _unpack_212, "310": _unpack_310, "311": _unpack_311}
