"""Rows of a store by a condition on its table: ``age >= 18 and sex == female and dataset in (cpsc_2018, georgia)``.

The condition is read as Python reads an expression and worked out by the few rules below; nothing is evaluated. A bare word
that is no column is a text. What is not known (no age) fulfils no comparison, so ``not age < 18`` includes it and
``age >= 18`` does not.
"""

from __future__ import annotations

import ast
import difflib
import json
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from einthoven.errors import StoreError
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


def select(store: Store, condition: str) -> np.ndarray:
    """Row numbers that fulfil a condition. Raises StoreError for one that cannot be understood.

    Names are the table's columns, or fields of its ``meta`` (``dataset``).
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise StoreError(f"where={condition!r} cannot be read ({error}); expected such as: age >= 18 and sex == female") from None
    return np.flatnonzero(_truth(tree, _Columns(store, condition)))


class _Columns:
    """Columns of the table and of its meta, each read once."""

    def __init__(self, store: Store, condition: str):
        self.store, self.condition = store, condition
        self.names = set(store.table.schema.names)
        self._meta: list[dict[str, Any]] | None = None

    def meta(self) -> list[dict[str, Any]]:
        if self._meta is None:
            self._meta = [json.loads(text) if text else {} for text in self.store.column("meta").tolist()]
        return self._meta

    def column(self, name: str) -> list[Any]:
        if name in self.names:
            return self.store.column(name).tolist()
        if any(name in row for row in self.meta()):
            return [row.get(name) for row in self.meta()]
        known = sorted(self.names | {key for row in self.meta() for key in row})
        close = difflib.get_close_matches(name, known, n=1)
        raise self.wrong(f"there is no column {name}" + (f", did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"))

    def wrong(self, what: str) -> StoreError:
        return StoreError(f"where={self.condition!r}: {what}")


def _truth(node: ast.expr, columns: _Columns) -> np.ndarray:
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce([_truth(part, columns) for part in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_truth(node.operand, columns)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE and isinstance(node.left, ast.Name):
        compare, wanted = _COMPARE[type(node.ops[0])], _constant(node.comparators[0], columns)
        values = columns.column(node.left.id)
        try:
            return np.array([value is not None and value == value and bool(compare(value, wanted)) for value in values], dtype=bool)
        except TypeError:
            raise columns.wrong(f"{node.left.id} cannot be compared with {wanted!r}") from None
    raise columns.wrong("expected comparisons of a column with a value, joined by and, or, not")


def _constant(node: ast.expr, columns: _Columns) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_constant(part, columns) for part in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_constant(node.operand, columns)
    if isinstance(node, ast.Constant):
        return node.value
    raise columns.wrong("expected a number, a text or a list of them beside the column")
