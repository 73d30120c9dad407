"""Rows of a store by a condition on its table: ``quality.ok and age >= 18 and sex == female and dataset in (cpsc_2018, georgia)``.

The condition is read as Python reads an expression and worked out by the few rules below, over whole columns; nothing is evaluated. A bare word
that is no column is a text. What is not known (no age) fulfils no comparison, so ``not age < 18`` includes it and ``age >= 18`` does not;
``age is None`` asks for it. A column of yes and no stands for itself (``quality.ok``), its place within another is named with a dot, and a
text of several words holds one: ``"V1" not in flat``.
"""

from __future__ import annotations

import ast
import difflib
import json
import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.meta_field import meta_field
from einthoven.store.quality_columns import COLUMN as QUALITY
from einthoven.store.read import Store

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}
_BY_EQUALITY = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)


def select(store: Store, condition: str) -> np.ndarray:
    """Row numbers that fulfil a condition. Raises StoreError for one that cannot be understood.

    Names are the table's columns, a field of one after a dot (``quality.noise_uv``), or fields of its ``meta`` (``dataset``).
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise StoreError(f"where={condition!r} cannot be read ({error}); expected such as: age >= 18 and sex == female") from None
    return np.flatnonzero(_truth(tree, _Columns(store, condition)))


class _Column:
    """The values of one column as few ``words`` and the number of each row's word, (row,); None is what is not known."""

    def __init__(self, codes: np.ndarray, words: Sequence[Any]):
        self.codes, self.words = codes, words

    def where(self, holds: Callable[[Any], bool]) -> np.ndarray:
        return np.fromiter((holds(word) for word in self.words), bool, len(self.words))[self.codes]


class _Columns:
    """Columns of the table and of its meta, each read once."""

    def __init__(self, store: Store, condition: str):
        self.store, self.condition = store, condition
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """A pyarrow array, or a _Column where the values are few or of mixed kinds."""
        if name not in self._read:
            self._read[name] = self._find(name)
        return self._read[name]

    def known(self, name: str) -> np.ndarray:
        """Of which rows the value is known, (row,) bool; also of columns that hold several values, such as ``labels``."""
        if name not in ("labels", "mean", "sd"):
            values = self[name]
            return values.where(lambda word: word is not None) if isinstance(values, _Column) else _known(values)
        return np.asarray(self.store.take([name])[name].is_valid())

    def _find(self, name: str) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        column, _, field = name.partition(".")
        if column == QUALITY and QUALITY not in self.store.names:
            raise self.wrong(f"{self.store.path} has no column {QUALITY} yet; run `einthoven audit {self.store.path}` first")
        if column not in self.store.names:
            return self._of_meta(name)
        values = self.store.take([column])[column]
        if column == QUALITY and values.null_count:  # they would be left out, and nobody would know
            raise self.wrong(
                f"{values.null_count:,} recordings were appended to {self.store.path} after its audit; run `einthoven audit {self.store.path}` again"
            )
        kind = values.type
        if pa.types.is_dictionary(kind) and not field:
            codes, words = self.store.codes(column)
            return _Column(codes, words.tolist())
        if pa.types.is_struct(kind):
            fields = [kind.field(at).name for at in range(kind.num_fields)]
            if field not in fields:
                raise self.wrong(f"{column} has no {field or 'value of its own'}; it has {', '.join(f'{column}.{one}' for one in fields)}")
            return pc.struct_field(values, field)
        if field or pa.types.is_nested(kind):
            what = f"there is no {field} in the column {column}" if field else f"{column} holds several values for each recording"
            raise self.wrong(what)
        return values

    def _of_meta(self, name: str) -> _Column:
        meta = self.store.take(["meta"])["meta"]
        try:
            codes, values = meta_field(meta, name)
        except ValueError as error:
            raise self.wrong(f"the table of {self.store.path} is damaged: its meta is no JSON ({error})") from error
        if codes.any():
            return _Column(codes, values)
        some = (json.loads(text) for text in meta.slice(0, 5000).to_pylist() if text)
        known = sorted({*self.store.names, *(key for row in some for key in row)})
        close = difflib.get_close_matches(name, known, n=1)
        raise self.wrong(f"there is no column {name}" + (f", did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"))

    def wrong(self, what: str) -> StoreError:
        return StoreError(f"where={self.condition!r}: {what}")


# ------------------------------------------------------------------------------------------------------------------ truth


def _truth(node: ast.expr, columns: _Columns) -> np.ndarray:
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce([_truth(part, columns) for part in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_truth(node.operand, columns)
    if (name := _name(node)) is not None:
        return _stands_for_itself(name, columns)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and (word := _text(node.left)) is not None:
        name, kind = _name(node.comparators[0]), type(node.ops[0])
        if name is not None and kind in (ast.In, ast.NotIn):
            return _holds(columns, name, word) == (kind is ast.In)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and (name := _name(node.left)) is not None:
        kind, wanted = type(node.ops[0]), _constant(node.comparators[0], columns)
        if kind in (ast.Is, ast.IsNot) and (wanted is None or wanted == "none"):
            return columns.known(name) == (kind is ast.IsNot)
        if kind in _COMPARE:
            try:
                return _compared(columns[name], kind, wanted)
            except (TypeError, ValueError):
                raise columns.wrong(f"{name} cannot be compared with {wanted!r}") from None
    raise columns.wrong("expected comparisons of a column with a value, joined by and, or, not")


def _name(node: ast.expr) -> str | None:
    """``age``, ``quality.ok``; None for what is no name."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _holds(columns: _Columns, name: str, word: str) -> np.ndarray:
    """Whether a text of several words has this one: ``"V1" in flat``."""
    import pyarrow as pa

    values = columns[name]
    if not isinstance(values, _Column):
        if not pa.types.is_string(values.type):
            raise columns.wrong(f"{name} is no text that could hold the word {word!r}")
        encoded = values.combine_chunks().dictionary_encode()
        values = _Column(encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(), [*encoded.dictionary.to_pylist(), None])
    return values.where(lambda text: isinstance(text, str) and word in text.split())


def _known(values: Any) -> np.ndarray:
    import pyarrow.compute as pc

    return np.asarray(pc.invert(pc.is_null(values, nan_is_null=True)))


def _stands_for_itself(name: str, columns: _Columns) -> np.ndarray:
    import pyarrow as pa

    values = columns[name]
    if isinstance(values, _Column) and all(word is None or isinstance(word, bool) for word in values.words):
        return values.where(lambda word: word is True)
    if not isinstance(values, _Column) and pa.types.is_boolean(values.type):
        return np.asarray(values.fill_null(False))
    raise columns.wrong(f"{name} is neither true nor false; compare it with a value, such as {name} == …, or ask {name} is not None")


def _compared(values: Any, kind: type[ast.cmpop], wanted: Any) -> np.ndarray:
    """Raises TypeError or ValueError for what cannot be compared."""
    import pyarrow as pa
    import pyarrow.compute as pc

    compare = _COMPARE[kind]
    if kind in (ast.In, ast.NotIn) and isinstance(wanted, str):
        wanted = (wanted,)  # dataset in (georgia): Python's brackets around one word make no tuple
    if (kind in (ast.In, ast.NotIn)) != isinstance(wanted, tuple):
        raise TypeError
    if isinstance(values, _Column):
        # A number is the text of a number where the column is text: fold == 9.
        is_text = any(isinstance(word, str) for word in values.words)
        own = _as_text(wanted) if is_text and kind in _BY_EQUALITY else wanted
        return values.where(lambda word: word is not None and word == word and bool(compare(word, own)))
    known = _known(values)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        own = _as_text(wanted) if kind in _BY_EQUALITY else wanted
        if kind in (ast.In, ast.NotIn):
            found = np.asarray(pc.is_in(values, pa.array(own, pa.string())))
            return known & (found if kind is ast.In else ~found)
        if not isinstance(own, str):
            raise TypeError
        of_arrow = {
            ast.Eq: pc.equal,
            ast.NotEq: pc.not_equal,
            ast.Lt: pc.less,
            ast.LtE: pc.less_equal,
            ast.Gt: pc.greater,
            ast.GtE: pc.greater_equal,
        }
        return np.asarray(of_arrow[kind](values, own).fill_null(False))
    if pa.types.is_timestamp(values.type):
        wanted = tuple(map(_instant, wanted)) if isinstance(wanted, tuple) else _instant(wanted)
        numbers = np.asarray(values).astype("datetime64[us]")
    elif pa.types.is_boolean(values.type):
        truth = {"true": True, "false": False}
        wanted = tuple(truth.get(one, one) for one in wanted) if isinstance(wanted, tuple) else truth.get(wanted, wanted)
        numbers = np.asarray(values.fill_null(False))
    else:
        numbers = np.asarray(values)
    one = wanted[0] if isinstance(wanted, tuple) and wanted else wanted
    if kind not in _BY_EQUALITY and (isinstance(one, str) or one is None or pa.types.is_boolean(values.type)):
        raise TypeError
    if kind in (ast.In, ast.NotIn):
        usable = [value for value in wanted if not isinstance(value, str | tuple)]
        found = np.isin(numbers, np.array(usable)) if usable else np.zeros(len(numbers), dtype=bool)
        return known & (found if kind is ast.In else ~found)
    if isinstance(one, str) or one is None:
        return known & (kind is ast.NotEq)
    return known & compare(numbers, wanted)


def _as_text(wanted: Any) -> Any:
    if isinstance(wanted, tuple):
        return tuple(_as_text(one) for one in wanted)
    return str(wanted) if isinstance(wanted, int | float) and not isinstance(wanted, bool) else wanted


def _instant(text: Any) -> np.datetime64:
    """A date as people write it in a condition: '2015-03-01', '2015-03-01 10:00'."""
    if not isinstance(text, str):
        raise TypeError
    return np.datetime64(datetime.fromisoformat(text), "us")


def _constant(node: ast.expr, columns: _Columns) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return tuple(_constant(part, columns) for part in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _constant(node.operand, columns)
        if isinstance(value, int | float):
            return -value
    elif isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | type(None)):
        return node.value
    raise columns.wrong("expected a number, a text or a list of them beside the column")
