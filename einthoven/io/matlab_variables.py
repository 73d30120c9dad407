"""MATLAB files of version 5 (also written as 6 and 7): numbers, texts, and structs of them, nothing else.

Our own, because scipy's reader, which is compiled, ends the whole process on some damaged files; here every length is checked before it
is believed, and what does not fit is a ValueError. Source: The MathWorks, MAT-File Format, chapter 1 (level 5).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from einthoven.io.bounds import MOST_UNPACKED

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # miINT8 … miUINT64
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # mxDOUBLE … mxUINT64
_STRUCT, _CHAR, _COMPLEX, _MAX_DEPTH = 2, 4, 0x0800, 4
_HEAD = 1024  # bytes in which a variable's flags, shape and name stand


def read_variables(data: bytes) -> dict[str, Any]:
    """The variables of a file by name: arrays with their shape, text as str, a struct of one element as a dict, and None for any other
    kind. Raises ValueError where the file is damaged or is no MATLAB file of version 5."""
    order = _order(data)
    variables: dict[str, Any] = {}
    for kind, body in _elements(data, order):
        if kind == _COMPRESSED:
            kind, body, _ = _element(_inflate(body), 0, order)
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} where a variable was expected")
        name, value = _matrix(body, order, 0)
        variables[name] = value
    return variables


def shapes_of(data: bytes) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of numbers in a file, by name, of which nothing but the headers is unpacked. Raises ValueError as ``read_variables``."""
    order = _order(data)
    shapes = {}
    for kind, body in _elements(data, order):
        if kind == _COMPRESSED:
            body = _inflated_head(body)[8:]  # behind the tag of the matrix, whose content is longer than this head
        if body:
            label, sort, shape, _ = _header(body, order)
            if sort in _CLASSES:
                shapes[label] = shape
    return shapes


def _order(data: bytes) -> str:
    if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("no MATLAB 5 header")
    return "<" if data[126:128] == b"IM" else ">"


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of the elements behind the file's header."""
    offset = 128
    while offset < len(data):
        kind, body, offset = _element(data, offset, order)
        yield kind, body


def _inflated_head(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, _HEAD)
    except zlib.error as error:
        raise ValueError(f"a compressed variable is damaged ({error})") from None


def _inflate(body: bytes) -> bytes:
    engine = zlib.decompressobj()
    try:
        out = engine.decompress(body, MOST_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"a compressed variable is damaged ({error})") from None
    if engine.unconsumed_tail or not engine.eof:
        raise ValueError("a compressed variable is truncated, or larger than 1 GiB")
    return out


def _element(data: bytes, offset: int, order: str) -> tuple[int, bytes, int]:
    """(type, content, offset of the next element). Content of up to four bytes may stand in the tag itself."""
    if offset + 8 > len(data):
        raise ValueError("ends in the middle of an element")
    kind, size = struct.unpack_from(order + "II", data, offset)
    start, step = offset + 8, 8
    if kind >> 16:
        kind, size, start, step = kind & 0xFFFF, kind >> 16, offset + 4, 4
        if size > 4:
            raise ValueError("a short element of more than four bytes")
    if start + size > len(data):
        raise ValueError(f"truncated: something of {size} bytes begins where {len(data) - start} are left")
    padded = size if kind == _COMPRESSED else -(-size // step) * step
    return kind, data[start : start + size], start + padded


def _numbers(kind: int, body: bytes, order: str) -> np.ndarray:
    if kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} where numbers were expected")
    dtype = np.dtype(order + _NUMBERS[kind])
    if len(body) % dtype.itemsize:
        raise ValueError("a number is cut off")
    return np.frombuffer(body, dtype=dtype)


def _matrix(body: bytes, order: str, depth: int) -> tuple[str, Any]:
    """(name, value) of one variable or field."""
    if not body:
        return "", np.empty((0, 0))
    label, sort, shape, offset = _header(body, order)
    if sort == _STRUCT:
        return label, _struct(body, offset, order, shape, depth)
    if sort != _CHAR and sort not in _CLASSES:
        return label, None
    kind, content, _ = _element(body, offset, order)
    if sort == _CHAR:
        if kind not in _TEXTS:
            raise ValueError(f"an element of type {kind} where text was expected")
        wide = {"<": "-le", ">": "-be"}[order] if _TEXTS[kind] in ("utf-16", "utf-32") else ""
        return label, content.decode(_TEXTS[kind] + wide, errors="replace")
    numbers = _numbers(kind, content, order)
    n = 1
    for size in shape:
        n *= size  # Python's own integers: a product of absurd sizes does not wrap round
    if n != numbers.size:
        raise ValueError(f"a variable of shape {shape} with {numbers.size} numbers")
    # Numbers are packed as small as their values allow; the class says what they are.
    with np.errstate(invalid="ignore"):  # a NaN in a damaged file that calls its class an integer
        return label, numbers.astype(_CLASSES[sort]).reshape(shape, order="F")


def _header(body: bytes, order: str) -> tuple[str, int | None, tuple[int, ...], int]:
    """(name, class, shape, offset of what follows) of one variable or field; no class for complex numbers, which are not read."""
    kind, flags, offset = _element(body, 0, order)
    if kind != 6 or len(flags) != 8:
        raise ValueError("a variable without its flags")
    flag = struct.unpack(order + "II", flags)[0]
    kind, sizes, offset = _element(body, offset, order)
    shape = tuple(int(size) for size in _numbers(kind, sizes, order))
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a variable of shape {shape}")
    kind, name, offset = _element(body, offset, order)
    sort = flag & 0xFF
    return name.decode("latin-1"), None if sort in _CLASSES and flag & _COMPLEX else sort, shape, offset


def _struct(body: bytes, offset: int, order: str, shape: tuple[int, ...], depth: int) -> dict[str, Any] | None:
    if any(size != 1 for size in shape) or depth >= _MAX_DEPTH:
        return None
    kind, width, offset = _element(body, offset, order)
    lengths = _numbers(kind, width, order)
    kind, names, offset = _element(body, offset, order)
    if lengths.size != 1 or lengths[0] <= 0 or len(names) % int(lengths[0]):
        raise ValueError("a struct whose field names cannot be told apart")
    n = int(lengths[0])
    fields: dict[str, Any] = {}
    for start in range(0, len(names), n):
        kind, content, offset = _element(body, offset, order)
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} where a field was expected")
        fields[names[start : start + n].split(b"\0")[0].decode("latin-1")] = _matrix(content, order, depth + 1)[1]
    return fields
