"""A look at every recording of one or several stores: doubts about unit, rate, leads and noise, copies, patients on two sides, labels that are missing.

One pass measures, in processes of its own where there are many recordings; candidates for copies lie on disk (``einthoven.store.duplicates``), and
sentences of only so many recordings are kept in memory, so that millions fit. What was found of each recording goes into the column ``quality``
of its store; what was found of all of them is an ``Audit``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.audit_files import Lines, write_audit
from einthoven.store.comparison import Copy
from einthoven.store.coverage import Leak, called, leaks
from einthoven.store.duplicates import Words, prove
from einthoven.store.measure import Loader, alphabet_of, measured
from einthoven.store.quality_columns import assign_quality
from einthoven.store.read import Store
from einthoven.store.tally import Doubted, StoreAudit, Tally
from einthoven.store.workers import available

SMALL = 2000
"""Recordings that one process looks at in less time than other processes need to start."""


@dataclass(frozen=True)
class Twin:
    """Two recordings that are copies: the stores and rows of ``copy.first`` and ``copy.second``, and what is wrong about having both.

    patients    : "the same", "two" (the corpus takes them for two persons), or "unknown"
    across_split: they stand on two sides of a split: what is trained on is tested
    """

    stores: tuple[int, int]
    rows: tuple[int, int]
    records: tuple[str, str]
    copy: Copy
    patients: str
    across_split: bool


@dataclass(frozen=True)
class Audit:
    """What was found. ``twins``: every pair of copies; ``leaks``: patients on two sides of a split; ``worst``: for each kind of doubt the recordings
    that show it most."""

    stores: tuple[StoreAudit, ...]
    twins: tuple[Twin, ...]
    leaks: tuple[Leak, ...]
    worst: dict[str, tuple[Doubted, ...]] = field(repr=False)
    seconds: float

    @property
    def n_records(self) -> int:
        return sum(store.n_records for store in self.stores)

    @property
    def n_copies(self) -> int:
        """Recordings that are there already: leave them out, and none is left twice."""
        return len({twin.copy.second for twin in self.twins})

    def __str__(self) -> str:
        ok = sum(store.n_ok for store in self.stores)
        across = sum(twin.across_split for twin in self.twins)
        return (
            f"{self.n_records:,} recordings: {ok:,} ok, {self.n_records - ok:,} doubted; {self.n_copies:,} copies of another, {across:,} pairs of them "
            f"across a split; {len(self.leaks):,} patients on two sides of a split; {self.seconds:.1f} s"
        )


def audit(
    stores: Sequence[Path | str | Store] | Path | str | Store,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    out: Path | str | None = None,
    write: bool = True,
) -> Audit:
    """Look at every recording of these stores.

    workers  : processes; None: as many as there are cores, and none for a few recordings
    progress : is told (recordings done, recordings)
    out      : a folder for ``audit.json``, ``suspicions.csv`` (a line per doubt, of all recordings) and ``copies.csv``
    write    : put the column ``quality`` into each store's table (not into one at a URL)

    Raises StoreError where there is no store.
    """
    began = time.monotonic()
    given = [stores] if isinstance(stores, str | Path | Store) else list(stores)
    opened = [one if isinstance(one, Store) else Store(one) for one in given]
    if not opened:
        raise StoreError("expected at least one store to audit")
    if len({str(store.path.resolve()) for store in opened}) < len(opened):
        raise StoreError("expected each store once; every recording would be a copy of itself")
    if workers is not None and workers < 1:
        raise StoreError(f"expected at least one worker; got {workers}")
    begins = np.concatenate([[0], np.cumsum([len(store) for store in opened])]).astype(np.int64)
    n = int(begins[-1])
    tally = Tally(opened, begins)
    with tempfile.TemporaryDirectory(prefix="einthoven-audit-") as folder, Lines(out) as lines:
        words = Words(Path(folder))
        for chunk in measured(opened, begins, alphabet_of(opened, begins), workers or (1 if n <= SMALL else available())):
            tally.take(chunk, lines)
            words.write(chunk.words)
            if progress is not None:
                progress(tally.n_done, n)
        copies = _copies(words, tally, Loader(opened, begins))
    twins = tuple(_twin(copy, opened, begins) for copy in copies)
    tally.mark_copies(copies)
    found = Audit(tally.per_store(), twins, tuple(leaks(opened)), tally.worst(), time.monotonic() - began)
    if write:
        for number, store in enumerate(opened):
            if store.remote is None:
                assign_quality(store.path, tally.columns(number), {"records": len(store), "stores": [called(one) for one in opened]})
    if out is not None:
        write_audit(found, Path(out))
    return found


# -------------------------------------------------------------------------------------------------------------------- copies


def _copies(words: Words, tally: Tally, load: Loader) -> list[Copy]:
    """Copies by their words, proved; and recordings whose counts are the same, with or without beats in them."""
    found = {(copy.first, copy.second): copy for copy in prove(words.candidates(), load)}
    order = np.argsort(tally.digests, kind="stable")
    digest = tally.digests[order]
    for group in np.split(order, np.flatnonzero(digest[1:] != digest[:-1]) + 1):
        if len(group) < 2 or tally.digests[group[0]] == 0:
            continue
        first = int(group[0])
        for second in group[1:].tolist():
            if (first, second) not in found:
                one, two = load(first), load(second)
                if one.leads == two.leads and one.fs == two.fs and np.array_equal(one.signal, two.signal):
                    found[first, second] = Copy(first, second, 0.0, 0.0, one.seconds, 1.0, 0.0, True, ())
    return [found[key] for key in sorted(found)]


def _twin(copy: Copy, stores: list[Store], begins: np.ndarray) -> Twin:
    (a, i), (b, j) = (Loader(stores, begins).place(number) for number in (copy.first, copy.second))
    one, two = (stores[at].column("patient")[row] for at, row in ((a, i), (b, j)))
    same_source = stores[a].column("source")[i] == stores[b].column("source")[j]
    patients = "unknown" if one is None or two is None or not same_source else "the same" if one == two else "two"
    across = stores[a].column("split")[i] != stores[b].column("split")[j]
    return Twin((a, b), (i, j), (stores[a].column("record")[i], stores[b].column("record")[j]), copy, patients, bool(across))
