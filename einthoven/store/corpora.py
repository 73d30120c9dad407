"""Which corpora a store holds, and where each lies in it.

A store is made of parts, one for each ingest that put something into it (``layout.parts_of``). A corpus is one part, or several where it was
asked for again with ``append`` after it had grown: parts with the same source, name, root and options are one corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from einthoven.store.layout import parts_of


@dataclass(frozen=True)
class Part:
    """One part of a store: its rows of the table, its shards, and its lines of rejected.csv (without the header)."""

    number: int
    recipe: Mapping[str, Any]
    counts: Mapping[str, int]
    rows: range
    shards: range
    lines: range


def parts(facts: Mapping[str, Any]) -> list[Part]:
    """The parts of a store in the order of its rows, from its store.json."""
    found: list[Part] = []
    row = shard = line = 0
    for number, one in enumerate(parts_of(facts)):
        counts, n_shards = one["counts"], one["n_shards"]
        rows, lines = range(row, row + counts["records"]), range(line, line + counts["rejected"])
        found.append(Part(number, one["recipe"], counts, rows, range(shard, shard + n_shards), lines))
        row, shard, line = rows.stop, shard + n_shards, lines.stop
    return found


def is_same(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two recipes are of one corpus."""
    return _name(recipe) == _name(other)


def parts_of_corpus(facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[Part]:
    """All parts of the corpus that a recipe is of; none where the store has not got it."""
    return [part for part in parts(facts) if is_same(part.recipe, recipe)]


def one_of_each(facts: Iterable[tuple[Mapping[str, Any], Any]]) -> list[Any]:
    """Of (recipe, anything) the first for each corpus."""
    first: dict[tuple[str, ...], Any] = {}
    for recipe, one in facts:
        first.setdefault(_name(recipe), one)
    return list(first.values())


def _name(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(json.dumps(recipe.get(key), sort_keys=True) for key in ("source", "name", "root", "options"))
