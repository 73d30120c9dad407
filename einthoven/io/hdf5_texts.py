"""Texts of variable length in HDF5 files (h5py's way to store str), read without the HDF5 library.

The library takes memory for whatever length a text claims, up to 4 GB, before it looks whether so much is there, and on some damaged files
it ends the whole process; of thousands of damaged files, only those with such texts did that. So it is asked where things are, and never for them.

Source: HDF5 File Format Specification 3.0, III.E (global heap) and IV.A.2.m (attribute message). A text is a reference of 16 bytes: its length
(4), the address of a heap (8), its number in it (4). A heap is "GCOL", version and padding (4), its size (8), then objects: number (2),
reference count and padding (6), size (8), the bytes, filled up to a multiple of 8.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_REFERENCE, _LONGEST, _BEHIND_NAME = 16, 4096, 512


def texts_of_attribute(path: Path, name: str, n: int) -> list[str] | None:
    """The ``n`` texts of the attributes of that name; None where they cannot be followed, or two things have attributes of that name that differ.

    An attribute's name, ended by a zero byte, stands before its type, its shape and its references.
    """
    found = set()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        key = name.encode() + b"\0"
        at = data.find(key)
        while at >= 0:
            last = min(at + len(key) + _BEHIND_NAME, len(data) - _REFERENCE * n + 1)
            texts = next((texts for place in range(at + len(key), last) if (texts := _follow(data, place, n)) is not None), None)
            if texts is not None:
                found.add(tuple(texts))
            at = data.find(key, at + 1)
    return list(found.pop()) if len(found) == 1 else None


def texts_at(path: Path, offset: int | None, n: int) -> list[str] | None:
    """The ``n`` texts whose references stand at ``offset``; None where they cannot be followed."""
    if offset is None:
        return None
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _follow(data, offset, n)


def _follow(data: mmap.mmap, place: int, n: int) -> list[str] | None:
    texts = []
    for k in range(n):
        if place < 0 or place + _REFERENCE * (k + 1) > len(data):
            return None
        length, heap, number = struct.unpack_from("<IQI", data, place + _REFERENCE * k)
        text = _object(data, heap, number, length) if 0 < length <= _LONGEST and number else None
        if text is None:
            return None
        texts.append(text.rstrip(b"\0").decode("utf-8", "replace"))
    return texts


def _object(data: mmap.mmap, heap: int, number: int, length: int) -> bytes | None:
    """The bytes of one object of a heap; None where there is no heap, or no such object of that length in it."""
    if heap + 16 > len(data) or data[heap : heap + 4] != b"GCOL":
        return None
    at, end = heap + 16, min(heap + int.from_bytes(data[heap + 8 : heap + 16], "little"), len(data))
    while at + 16 <= end:
        found, _, size = struct.unpack_from("<HHxxxxQ", data, at)
        if found == number:
            return data[at + 16 : at + 16 + length] if length <= size <= end - at - 16 else None
        if not found:  # the free space at the end
            return None
        at += 16 + -(-size // 8) * 8
    return None
