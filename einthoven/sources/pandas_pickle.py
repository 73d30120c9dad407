"""A pandas table from its pickle (``DataFrame.to_pickle``), without pandas and without executing anything in the file.

``io.pickle_reader`` gives the pickle as a tree of names and arguments; here those few that a table of numbers, texts, lists and paths is
made of are understood: pandas 1.3 and later, and the form of the block manager before. Texts may be pandas' own or Arrow's. Tables with
other columns (categories, times) are refused: save them as CSV.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from einthoven.errors import CheckpointError, EinthovenError
from einthoven.io.pickle_reader import Inert, Placeholder, read_pickle

_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, StopIteration, RecursionError)
_ARRAY = ("_reconstruct", "_frombuffer")


def read_frame(path: Path) -> tuple[dict[str, list[Any]], list[Any]]:
    """(column -> values, index). Lists, numbers and text are Python's own; a path is its text. Raises EinthovenError where the pickle is
    damaged or holds another thing."""
    values = _Values(path)
    frame = values.root
    manager = frame.state.get("_mgr", frame.state.get("_data")) if _is(frame, "DataFrame") and isinstance(frame.state, dict) else None
    if not isinstance(manager, Inert) or manager.kind.name != "BlockManager":
        raise EinthovenError(f"{path}: expected the pickle of a pandas table.")
    try:
        blocks, axes = _manager(manager)
        names, index = values.index(axes[0]), values.index(axes[1])
        columns: list[list[Any] | None] = [None] * len(names)
        for block, placement in blocks:
            where = values.placement(placement)
            rows = values.block(block)
            for at, row in zip(where, rows, strict=True):
                columns[at] = row
        if any(column is None or len(column) != len(index) for column in columns):
            raise ValueError("its columns are not of one length")
    except _DAMAGED as error:
        raise EinthovenError(
            f"{path}: cannot be read as a pandas table ({error}); save it there as CSV beside it, and it is read instead."
        ) from None
    return {str(name): column for name, column in zip(names, columns) if column is not None}, index


def read_values(path: Path) -> Any:
    """A pickle of plain values: numbers, text, lists, dicts, arrays as lists. Raises EinthovenError where it holds another thing."""
    values = _Values(path)
    try:
        return values.plain(values.root)
    except _DAMAGED as error:
        raise EinthovenError(f"{path}: holds more than plain values ({error}).") from None


def _is(value: Any, name: str) -> bool:
    return isinstance(value, Inert) and value.kind.name == name


def _manager(manager: Inert) -> tuple[list[tuple[Any, Any]], Any]:
    """The blocks of a block manager with their places, and its axes."""
    if len(manager.arguments) >= 2:
        blocks, axes = manager.arguments[:2]
        return [(block.arguments[0], block.arguments[1]) for block in blocks], axes
    if not isinstance(manager.state, tuple):
        raise ValueError("a table of an unknown version")
    state = manager.state[3]["0.14.1"]
    return [(block["values"], block["mgr_locs"]) for block in state["blocks"]], state["axes"]


def _encoded(text: Any = b"", encoding: Any = "latin1") -> bytes:
    if isinstance(text, (bytes, bytearray)):
        return bytes(text)
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("it has bytes in another encoding than Latin-1")
    return text.encode("latin-1")


_BYTES = {
    ("_codecs", "encode"): _encoded,
    **{(module, name): _encoded for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
}
"""How pickles before protocol 5 write bytes."""


class _Values:
    """One pickle, and how many values may still be made of it: a small file can name one list a million times."""

    def __init__(self, path: Path):
        try:
            data = path.read_bytes()
            self.root = read_pickle(data, _BYTES, self._refuse, placeholders=True)
        except (OSError, CheckpointError) as error:
            raise EinthovenError(f"{path}: cannot be read as the pickle of a table ({error}).") from error
        self.left = 10**6 + 16 * len(data)

    @staticmethod
    def _refuse(key: Any) -> Any:
        raise CheckpointError("it refers to something outside itself")

    def _spend(self, n: int) -> None:
        self.left -= n
        if self.left < 0:
            raise ValueError("it unfolds to far more than the file holds")

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Python's own values for what the pickle describes."""
        self._spend(1)
        if depth > 6:
            raise ValueError("values within values within values")
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.plain(one, depth + 1) for one in value]
        if isinstance(value, Mapping):
            return {self.plain(key, depth + 1): self.plain(one, depth + 1) for key, one in value.items()}
        if isinstance(value, Inert):
            if value.kind.name in _ARRAY:
                return self.array(value).tolist()
            if value.kind.name == "scalar":
                dtype, data = value.arguments
                return self.numbers(data, dtype, (), "C").item()
            if value.kind.module.startswith("pathlib"):
                return str(PurePosixPath(*(str(part) for part in value.arguments)))
            if value.kind.name in ("__pyx_unpickle_NDArrayBacked", "ArrowStringArray"):
                return self.array(value).tolist()
            if value.kind.name == "NAType":
                return math.nan
        name = f"{value.kind.module}.{value.kind.name}" if isinstance(value, Inert) else type(value).__name__
        raise ValueError(f"a value of the kind {name}")

    def array(self, value: Any) -> np.ndarray:
        """An array, of numbers or of objects; of pandas' text arrays the texts."""
        if _is(value, "__pyx_unpickle_NDArrayBacked"):
            state = value.state if isinstance(value.state, (tuple, list)) else ()
            return self.array(next(part for part in state if isinstance(part, Inert) and part.kind.name in _ARRAY))
        if _is(value, "_frombuffer"):
            data, dtype, shape, order = value.arguments
            return self.numbers(data, dtype, shape, order)
        if _is(value, "ArrowStringArray") and isinstance(value.state, dict):
            return np.array(self.arrow_texts(value.state.get("_pa_array", value.state.get("_data"))), dtype=object)
        if not _is(value, "_reconstruct") or not isinstance(value.state, tuple) or len(value.state) != 5:
            raise ValueError(f"an array of the kind {value.kind.name if isinstance(value, Inert) else type(value).__name__}")
        _, shape, dtype, is_fortran, data = value.state
        if isinstance(data, list):
            if math.prod(_shape(shape)) != len(data):
                raise ValueError(f"{len(data)} values in an array of shape {shape}")
            out = np.empty(len(data), dtype=object)
            for at, one in enumerate(data):
                out[at] = self.plain(one, 2)
            return out.reshape(_shape(shape))
        return self.numbers(data, dtype, shape, "F" if is_fortran else "C")

    def numbers(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        code = dtype.arguments[0] if _is(dtype, "dtype") and dtype.arguments else None
        if not isinstance(code, str) or not re.fullmatch(r"[biufU][0-9]{0,4}", code):
            raise ValueError(f"an array of the type {str(code)[:20]}")
        swapped = isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] == ">"
        kind = np.dtype(code).newbyteorder(">" if swapped else "<")
        if not isinstance(data, (bytes, bytearray)) or math.prod(_shape(shape)) * kind.itemsize != len(data) or kind.itemsize == 0:
            raise ValueError(f"an array of shape {shape} whose bytes do not fit")
        self._spend(math.prod(_shape(shape)))
        return np.frombuffer(bytes(data), dtype=kind).reshape(_shape(shape), order="F" if order == "F" else "C")

    def arrow_texts(self, value: Any) -> list[str | None]:
        """The texts of an Arrow array: where each begins among the bytes (one number more than texts), and a bit for each that is there."""
        if _is(value, "chunked_array"):
            return [text for chunk in value.arguments[0] for text in self.arrow_texts(chunk)]
        if not _is(value, "_restore_array"):
            raise ValueError("texts of another kind")
        kind, n, _, first, buffers, *_ = value.arguments[0]
        alias = kind.arguments[0] if _is(kind, "type_for_alias") else kind.kind.name
        if alias not in ("string", "large_string") or not (isinstance(n, int) and isinstance(first, int) and n >= 0 and first >= 0):
            raise ValueError(f"an Arrow array of {str(alias)[:20]}")
        there, places, text = (b"" if buffer is None else bytes(buffer.arguments[0]) for buffer in buffers)
        if n == 0:
            return []
        width = 8 if alias == "large_string" else 4
        self._spend(n)
        if (first + n + 1) * width > len(places) or (buffers[0] is not None and (first + n + 7) // 8 > len(there)):
            raise ValueError("texts whose places are cut off")
        ends = np.frombuffer(places, dtype=f"<i{width}")[first : first + n + 1].tolist()
        known = (
            np.unpackbits(np.frombuffer(there, dtype=np.uint8), bitorder="little")[first : first + n] if buffers[0] is not None else [1] * n
        )
        if ends[0] < 0 or ends[-1] > len(text) or any(a > b for a, b in itertools.pairwise(ends)):
            raise ValueError("texts that lie outside of their bytes")
        return [text[a:b].decode("utf-8", "replace") if one else None for a, b, one in zip(ends, ends[1:], known)]

    def block(self, values: Any) -> list[list[Any]]:
        """The columns of a block: its values are (column, row), or (row,) of one column."""
        array = self.array(values)
        return [array.tolist()] if array.ndim == 1 else [row.tolist() for row in array]

    def placement(self, value: Any) -> list[int]:
        if _is(value, "slice"):
            start, stop, step = value.arguments
            if not all(isinstance(one, int) for one in (start, stop, step)) or not 0 <= start <= stop <= 10**5:
                raise ValueError("a block at no place")
            return list(range(start, stop, step))
        return [int(one) for one in self.array(value).tolist()]

    def index(self, value: Any) -> list[Any]:
        """The names of an axis."""
        if not _is(value, "_new_Index") or len(value.arguments) != 2 or not isinstance(value.arguments[1], dict):
            raise ValueError("an axis of another kind")
        kind, how = value.arguments
        if isinstance(kind, Placeholder) and kind.name == "RangeIndex":
            there = range(how["start"], how["stop"], how["step"])
            self._spend(len(there))
            return list(there)
        data = how["data"]
        return self.plain(data) if isinstance(data, list) else self.array(data).reshape(-1).tolist()


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > 4 or not all(isinstance(n, int) and 0 <= n < 2**40 for n in shape):
        raise ValueError("an array of no shape")
    return shape
