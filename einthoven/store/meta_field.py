"""One field of the JSON texts in a store's column ``meta``, for millions of rows, exactly as JSON reads them.

Most texts are flat, and a value stands behind its name: names are looked for in the bytes of thousands of texts at once, and what is written
behind them is read as JSON once for each different value. A text that could mislead is read as JSON, whole: one with another brace before the
name, with the name twice, with a list, an object or a backslash in the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

_ROWS = 16_384  # at once: their bytes stay in a core's cache
_MANY = 2048  # values in so many rows: then they are not looked for among those that were there
_WIDTHS = (16, 64, 256, 1024)  # bytes behind a name that are looked at, until the value ends
_QUOTE, _BACKSLASH, _COMMA, _COLON, _SPACE, _OPEN, _CLOSE, _LIST = (ord(sign) for sign in '"\\,: {}[')


def meta_field(texts: Any, name: str) -> tuple[np.ndarray, list[Any]]:
    """The field ``name`` of each text: (row,) int64 numbers, and the values that they mean; number 0 is None, of a row without the field. One
    value may have several numbers.

    texts : a pyarrow string column of JSON objects as ``json.dumps(…, ensure_ascii=False)`` writes them, null where nothing is known

    Raises ValueError for a text that is no JSON.
    """
    numbers: dict[bytes, int] = {}  # of values, by how they are written
    values: list[Any] = [None]
    codes = np.zeros(len(texts), dtype=np.int64)
    key = json.dumps(name, ensure_ascii=False).encode()
    begin = 0
    for block in _blocks(texts):
        own = codes[begin : begin + len(block)]
        data, starts = _bytes_of(block)
        row, value, is_plain = _places(data, starts, key)
        row_of, at = row[is_plain], value[is_plain]
        misleading = [row[~is_plain]]
        for which, written, is_value in _written(data, at):
            misleading.append(row_of[which[~is_value]])
            encoded = _column_of_bytes(written[is_value]).dictionary_encode()
            words = [word.rstrip(b"\0") for word in encoded.dictionary.to_pylist()]
            if len(words) > _MANY:
                number = np.arange(len(values), len(values) + len(words))
                values += _read(words)
            else:
                new = [word for word in words if word not in numbers]
                numbers |= {word: len(values) + place for place, word in enumerate(new)}
                values += _read(new)
                number = np.array([numbers[word] for word in words], dtype=np.int64)
            own[row_of[which[is_value]]] = number[encoded.indices.to_numpy()]
        for one in np.unique(np.concatenate(misleading)).tolist():
            found = json.loads(block[one].as_py()).get(name)
            if found is not None:
                own[one] = len(values)
                values.append(found)
        begin += len(block)
    return codes, values


def _read(words: list[bytes]) -> list[Any]:
    return json.loads(b"[" + b",".join(words) + b"]")


def _blocks(texts: Any) -> Iterator[Any]:
    for chunk in texts.chunks:
        for first in range(0, len(chunk), _ROWS):
            yield chunk.slice(first, _ROWS)


def _bytes_of(block: Any) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of texts one after the other, (n,) uint8, and where each begins and the last one ends, (row + 1,) int64."""
    _, offsets, data = block.buffers()
    edges = np.frombuffer(offsets, dtype=np.int32)[block.offset : block.offset + len(block) + 1].astype(np.int64)
    there = np.empty(0, np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)[edges[0] : edges[-1]]
    return there, edges - edges[0]


def _places(data: np.ndarray, starts: np.ndarray, key: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a name, with its quotes, stands: the row, where the value begins, and whether it is surely a field's, (n,) each."""
    signs = np.frombuffer(key, np.uint8)
    last = np.flatnonzero(data == _QUOTE)
    last = last[last >= len(key)]
    for back in range(1, len(key)):  # few are left after two or three
        last = last[data[last - back] == signs[-1 - back]]
    first = last - (len(key) - 1)
    row = np.searchsorted(starts, last, side="right") - 1
    # A quote behind a brace or a blank is no escaped one, so that a colon behind its partner makes this the name of a field; with one brace
    # before it, of the outermost object.
    before, behind = data[first - 1], np.minimum(last + 1, len(data) - 2)
    is_plain = (last + 3 < len(data)) & ((before == _OPEN) | (before == _SPACE)) & (data[behind] == _COLON) & (data[behind + 1] == _SPACE)
    opened = np.flatnonzero(data == _OPEN)
    is_plain &= np.searchsorted(opened, first) - np.searchsorted(opened, starts[row]) == 1
    is_plain &= (np.bincount(row, minlength=len(starts)) == 1)[row]
    return row, last + 3, is_plain


def _written(data: np.ndarray, value: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What stands at these places, the short values first: which of them (n,), their bytes (n, width) uint8 with 0 behind the value, and whether
    these are a value: a text without a backslash, a number, true, false or null."""
    left = np.arange(len(value))
    for width in _WIDTHS:
        if not len(left):
            return
        text = _windows(data, value[left], width)
        first = text[:, 0]
        is_text = first == _QUOTE
        ends = np.where(is_text[:, None], (text == _QUOTE) | (text == _BACKSLASH), (text == _COMMA) | (text == _CLOSE))
        ends[:, 0] = False
        end = ends.argmax(axis=1)
        is_over = (end > 0) | (width == _WIDTHS[-1])
        is_value = (end > 0) & (text[np.arange(len(text)), end] != _BACKSLASH) & (first != _OPEN) & (first != _LIST)
        text[np.arange(width) >= (end + is_text)[:, None]] = 0
        yield left[is_over], text[is_over], is_value[is_over]
        left = left[~is_over]


def _windows(data: np.ndarray, begins: np.ndarray, width: int) -> np.ndarray:
    """``width`` bytes from each place on, (n, width) uint8; 0 behind the end of the data."""
    if begins.max() + width > len(data):
        data = np.concatenate([data, np.zeros(width, np.uint8)])
    overlapping = np.ndarray(len(data) - width + 1, dtype=np.dtype((np.void, width)), buffer=data, strides=(1,))
    return overlapping[begins].view(np.uint8).reshape(len(begins), width)


def _column_of_bytes(rows: np.ndarray) -> Any:
    """(n, width) uint8 as a pyarrow array of fixed width."""
    import pyarrow as pa

    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))])
