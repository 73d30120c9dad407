"""What an audit keeps of the recordings while they are looked at: 40 bytes and the name of each, counts, and the sentences of the worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.audit.comparison import Copy
from einthoven.audit.coverage import Coverage, called, of_store
from einthoven.audit.files import Lines
from einthoven.audit.measure import NUMBERS, Chunk
from einthoven.audit.together import Together
from einthoven.signal.suspicion import Suspicion
from einthoven.store.quality_columns import is_ok

if TYPE_CHECKING:
    import pyarrow as pa

WORST = 12
"""Recordings of each kind of doubt that are kept with their sentences."""

PER_LEAD = ("flat", "clipped", "noise", "mains", "baseline")


@dataclass(frozen=True)
class Doubted:
    """A recording and what is doubted of it."""

    store: int
    row: int
    record: str
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True)
class StoreAudit:
    """Counts of one store. ``kinds``: recordings with each kind of doubt; ``per_lead``: kind -> lead -> recordings; ``refused``: of which nobody could
    make use."""

    path: str
    name: str
    n_records: int
    n_ok: int
    refused: int
    kinds: dict[str, int]
    per_lead: dict[str, dict[str, int]]
    coverage: tuple[Coverage, ...]


class Tally:
    """Filled chunk by chunk with ``take``, then with the copies; asked for its columns and counts at the end."""

    def __init__(self, together: Together):
        n, n_stores = len(together), len(together.stores)
        self.together, self.n_done = together, 0
        self.numbers = {name: np.full(n, np.nan, dtype=np.float32) for name in NUMBERS}
        self.digests = np.zeros(n, dtype=np.uint64)
        self.flags = np.zeros(n, dtype=np.int32)
        """The number of each recording's set of flags."""
        self.sets: dict[frozenset[str], int] = {frozenset(): 0}
        self.first_of: dict[int, int] = {}
        """Copy -> the first recording of which it is one."""
        self.kinds = [Counter[str]() for _ in range(n_stores)]
        self.per_lead: list[dict[str, Counter[str]]] = [{kind: Counter() for kind in PER_LEAD} for _ in range(n_stores)]
        self.refused = [0] * n_stores
        self.most: dict[str, list[tuple[tuple[bool, int, int], Doubted]]] = {}
        self._records: dict[int, pa.ChunkedArray] = {}

    def take(self, chunk: Chunk, lines: Lines) -> None:
        first = int(self.together.begins[chunk.store]) + chunk.first
        here = slice(first, first + len(chunk.suspicions))
        self.digests[here] = chunk.digests
        for name, values in chunk.numbers.items():
            self.numbers[name][here] = values
        doubted = [at for at, suspicions in enumerate(chunk.suspicions) if suspicions]
        for at, record in zip(doubted, self._names(chunk.store, [chunk.first + at for at in doubted])):
            self._doubt(first + at, Doubted(chunk.store, chunk.first + at, record, chunk.suspicions[at]), lines)
        self.n_done += len(chunk.suspicions)

    def _doubt(self, number: int, doubted: Doubted, lines: Lines) -> None:
        store, name = doubted.store, called(self.together.stores[doubted.store])
        kinds = frozenset(one.kind for one in doubted.suspicions)
        self.flags[number] = self.sets.setdefault(kinds, len(self.sets))
        self.kinds[store].update(kinds)
        self.refused[store] += any(one.severity == "refuse" for one in doubted.suspicions)
        for one in doubted.suspicions:
            if one.kind in PER_LEAD:
                self.per_lead[store][one.kind].update(one.leads)
            lines.suspicion(name, doubted.row, doubted.record, one)
            kept = self.most.setdefault(one.kind, [])
            kept.append(((one.severity == "refuse", len(one.leads), -number), doubted))
            if len(kept) > 4 * WORST:
                self.most[one.kind] = _worst(kept)

    def _names(self, store: int, rows: list[int]) -> list[str]:
        """Record ids, from the store's column as Arrow has it: a few bytes more than their letters."""
        if not rows:
            return []
        if store not in self._records:
            self._records[store] = self.together.stores[store].take(["record"])["record"]
        return [self._records[store][row].as_py() for row in rows]

    def mark_copies(self, copies: list[Copy]) -> None:
        """Of each set of copies the first stays; a copy of a copy is one of the first."""
        root: dict[int, int] = {}

        def first_of(number: int) -> int:
            while (above := root.get(number, number)) != number:
                root[number] = root.get(above, above)
                number = above
            return number

        for copy in copies:
            one, two = sorted((first_of(copy.first), first_of(copy.second)))
            root[two] = one
        names = {number: kinds for kinds, number in self.sets.items()}
        for number in sorted(root):
            if (first := first_of(number)) != number:
                self.first_of[number] = first
                kinds = names[int(self.flags[number])] | {"copy"}
                self.flags[number] = self.sets.setdefault(kinds, len(self.sets))
                names[self.sets[kinds]] = kinds
                self.kinds[self.together.place(number)[0]]["copy"] += 1

    def _of_set(self, say: Callable[[frozenset[str]], Any], store: int, dtype: Any) -> np.ndarray:
        """What ``say`` gives for each row's set of flags."""
        by_set = np.empty(len(self.sets), dtype=dtype)
        for kinds, number in self.sets.items():
            by_set[number] = say(kinds)
        return by_set[self.flags[self.together.rows(store)]]

    def columns(self, store: int) -> dict[str, Any]:
        """The fields of the column ``quality``."""
        rows = self.together.rows(store)
        names: list[str | None] = [None] * (rows.stop - rows.start)
        mine = [number for number in self.first_of if rows.start <= number < rows.stop]
        for number in mine:
            other, row = self.together.place(self.first_of[number])
            (record,) = self._names(other, [row])
            names[number - rows.start] = record if other == store else f"{called(self.together.stores[other])}:{record}"
        return {
            "ok": self._of_set(is_ok, store, bool),
            "flags": self._of_set(lambda kinds: " ".join(sorted(kinds)), store, object),
            **{name: values[rows] for name, values in self.numbers.items()},
            "is_copy": np.array([name is not None for name in names], dtype=bool),
            "copy_of": names,
        }

    def per_store(self) -> tuple[StoreAudit, ...]:
        return tuple(
            StoreAudit(
                store.remote.url if store.remote else str(store.path),
                called(store),
                len(store),
                int(self._of_set(is_ok, number, bool).sum()),
                self.refused[number],
                _by_count(self.kinds[number]),
                {kind: _by_count(leads) for kind, leads in self.per_lead[number].items() if leads},
                tuple(of_store(store)),
            )
            for number, store in enumerate(self.together.stores)
        )

    def worst(self) -> dict[str, tuple[Doubted, ...]]:
        return {kind: tuple(doubted for _, doubted in _worst(kept)) for kind, kept in sorted(self.most.items())}


def _worst(kept: list[tuple[tuple[bool, int, int], Doubted]]) -> list[tuple[tuple[bool, int, int], Doubted]]:
    """What nobody can use first, then what is wrong with most leads, then the earliest."""
    return sorted(kept, key=lambda one: one[0], reverse=True)[:WORST]


def _by_count(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first; equal ones by name, whichever chunk came first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
