"""What an audit keeps of the recordings while they are looked at: some sixty bytes each, counts, and the sentences of the worst."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from einthoven.signal.suspicion import Suspicion
from einthoven.store.audit_files import Lines
from einthoven.store.comparison import Copy
from einthoven.store.coverage import Coverage, called, of_store
from einthoven.store.measure import Chunk, Loader
from einthoven.store.quality_columns import is_ok
from einthoven.store.read import Store

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

    def __init__(self, stores: list[Store], begins: np.ndarray):
        n = int(begins[-1])
        self.stores, self.begins, self.n_done = stores, begins, 0
        self.numbers: dict[str, np.ndarray] = {}
        self.digests = np.zeros(n, dtype=np.uint64)
        self.flags = np.zeros(n, dtype=np.int32)
        """The number of each recording's set of flags."""
        self.sets: dict[frozenset[str], int] = {frozenset(): 0}
        self.copy_of = np.full(n, -1, dtype=np.int64)
        self.kinds = [Counter[str]() for _ in stores]
        self.per_lead: list[dict[str, Counter[str]]] = [{kind: Counter() for kind in PER_LEAD} for _ in stores]
        self.refused = [0] * len(stores)
        self.most: dict[str, list[tuple[tuple[bool, int, int], Doubted]]] = {}

    def take(self, chunk: Chunk, lines: Lines) -> None:
        first = int(self.begins[chunk.store]) + chunk.first
        here = slice(first, first + len(chunk.suspicions))
        self.digests[here] = chunk.digests
        for name, values in chunk.numbers.items():
            self.numbers.setdefault(name, np.full(len(self.flags), np.nan, dtype=np.float32))[here] = values
        for at, (record, suspicions) in enumerate(zip(chunk.records, chunk.suspicions)):
            if not suspicions:
                continue
            doubted = Doubted(chunk.store, chunk.first + at, record, suspicions)
            kinds = frozenset(one.kind for one in suspicions)
            self.flags[first + at] = self.sets.setdefault(kinds, len(self.sets))
            self.kinds[chunk.store].update(kinds)
            self.refused[chunk.store] += any(one.severity == "refuse" for one in suspicions)
            for one in suspicions:
                if one.kind in PER_LEAD:
                    self.per_lead[chunk.store][one.kind].update(one.leads)
                lines.suspicion(called(self.stores[chunk.store]), chunk.first + at, record, one)
                kept = self.most.setdefault(one.kind, [])
                kept.append(((one.severity == "refuse", len(one.leads), -first - at), doubted))
                if len(kept) > 4 * WORST:
                    self.most[one.kind] = sorted(kept, key=lambda two: two[0], reverse=True)[:WORST]
        self.n_done += len(chunk.suspicions)

    def mark_copies(self, copies: list[Copy]) -> None:
        """Of each set of copies the first stays; a copy of a copy is one of the first."""
        root = list(range(len(self.flags))) if copies else []

        def first_of(number: int) -> int:
            while root[number] != number:
                root[number] = root[root[number]]
                number = root[number]
            return number

        for copy in copies:
            one, two = sorted((first_of(copy.first), first_of(copy.second)))
            root[two] = one
        names = {number: kinds for kinds, number in self.sets.items()}
        for number in sorted({copy.first for copy in copies} | {copy.second for copy in copies}):
            if (first := first_of(number)) != number:
                self.copy_of[number] = first
                kinds = names[int(self.flags[number])] | {"copy"}
                self.flags[number] = self.sets.setdefault(kinds, len(self.sets))
                names[self.sets[kinds]] = kinds
                self.kinds[int(np.searchsorted(self.begins, number, side="right")) - 1]["copy"] += 1

    def _rows(self, store: int) -> slice:
        return slice(int(self.begins[store]), int(self.begins[store + 1]))

    def _ok(self, store: int) -> np.ndarray:
        by_set = np.empty(len(self.sets), dtype=bool)
        for kinds, number in self.sets.items():
            by_set[number] = is_ok(kinds)
        return by_set[self.flags[self._rows(store)]]

    def columns(self, store: int) -> dict[str, Any]:
        """The fields of the column ``quality``."""
        rows = self._rows(store)
        words = np.empty(len(self.sets), dtype=object)
        for kinds, number in self.sets.items():
            words[number] = " ".join(sorted(kinds))
        copy_of = self.copy_of[rows]
        names: list[str | None] = [None] * len(copy_of)
        place = Loader(self.stores, self.begins).place
        for at in np.flatnonzero(copy_of >= 0).tolist():
            other, row = place(int(copy_of[at]))
            record = str(self.stores[other].column("record")[row])
            names[at] = record if other == store else f"{called(self.stores[other])}:{record}"
        return {
            "ok": self._ok(store),
            "flags": words[self.flags[rows]],
            **{name: values[rows] for name, values in self.numbers.items()},
            "is_copy": copy_of >= 0,
            "copy_of": names,
        }

    def per_store(self) -> tuple[StoreAudit, ...]:
        return tuple(
            StoreAudit(
                store.remote.url if store.remote else str(store.path),
                called(store),
                len(store),
                int(self._ok(number).sum()),
                self.refused[number],
                _by_count(self.kinds[number]),
                {kind: _by_count(leads) for kind, leads in self.per_lead[number].items() if leads},
                tuple(of_store(store)),
            )
            for number, store in enumerate(self.stores)
        )

    def worst(self) -> dict[str, tuple[Doubted, ...]]:
        return {
            kind: tuple(doubted for _, doubted in sorted(kept, key=lambda two: two[0], reverse=True)[:WORST])
            for kind, kept in sorted(self.most.items())
        }


def _by_count(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first; equal ones by name, whichever chunk came first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
