"""A look at every recording of one or several stores: doubts about unit, rate, leads and noise, copies, patients on two sides, labels that are missing.

One pass measures; candidates for copies lie on disk (``einthoven.audit.duplicates``) and are then proved; both in processes of their own where there are
many recordings. What was found of each recording goes into the column ``quality`` of its store; what was found of all of them is an ``Audit``.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from einthoven.audit.comparison import Copy
from einthoven.audit.coverage import Leak, called, leaks
from einthoven.audit.crew import Run, crew
from einthoven.audit.duplicates import Pair, Words, prove
from einthoven.audit.duplicates import room as room_for
from einthoven.audit.files import Lines, write_audit
from einthoven.audit.measure import alphabet_of, chunks, measure
from einthoven.audit.tally import Doubted, StoreAudit, Tally
from einthoven.audit.together import Together
from einthoven.errors import StoreError
from einthoven.ingest.workers import available
from einthoven.store.quality_columns import assign_quality
from einthoven.store.read import Store

SMALL = 2000
"""Recordings that one process looks at in less time than other processes need to start."""

PROOFS = 64
"""Pairs of recordings that one process compares before it reports."""


@dataclass(frozen=True, slots=True)
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
    """What was found. ``twins``: every pair of copies, some 800 bytes of memory each; ``leaks``: patients on two sides of a split; ``worst``: for each
    kind of doubt the recordings that show it most."""

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


def room(stores: Sequence[Store]) -> int:
    """Bytes that an audit of these stores may need on disk while it runs."""
    return sum(room_for(store.column("n_samples") / store.fs) for store in stores)


def audit(
    stores: Sequence[Path | str | Store] | Path | str | Store,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    out: Path | str | None = None,
    write: bool = True,
    scratch: Path | str | None = None,
    comparing: Callable[[int], None] | None = None,
) -> Audit:
    """Look at every recording of these stores.

    workers  : processes; None: as many as there are cores, and none for a few recordings
    progress : is told (recordings done, recordings)
    out      : a folder for ``audit.json``, ``suspicions.csv`` (a line per doubt, of all recordings) and ``copies.csv``
    write    : put the column ``quality`` into each store's table (not into one at a URL)
    comparing: is told, after that, how many pairs of recordings that look alike were compared
    scratch  : a folder with as much free disk as ``room`` says; None: the machine's for temporary files (``TMPDIR``)

    Raises StoreError where there is no store, no room, or a process is killed.
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
    together, needed = Together(opened), room(opened)
    tally, n = Tally(together), len(together)
    n_workers = workers or (1 if n <= SMALL else available())
    with _scratch(scratch, needed) as folder, Lines(out) as lines, crew(together, n_workers) as run:
        words = Words(folder, n, needed)
        for chunk in run(measure, chunks(together, alphabet_of(together))):
            tally.take(chunk, lines)
            words.add(chunk.words)
            if progress is not None:
                progress(tally.n_done, n)
        copies = _copies(words, tally.digests, together, run, comparing)
    twins = tuple(_twins(copies, together))
    tally.mark_copies(copies)
    found = Audit(tally.per_store(), twins, tuple(leaks(opened)), tally.worst(), time.monotonic() - began)
    if write:
        for number, store in enumerate(opened):
            if store.remote is None:
                assign_quality(store.path, tally.columns(number), {"records": len(store), "stores": [called(one) for one in opened]})
    if out is not None:
        write_audit(found, Path(out))
    return found


@contextmanager
def _scratch(parent: Path | str | None, needed: int) -> Iterator[Path]:
    """A folder that is gone afterwards; StoreError where its disk has not the room."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="einthoven-audit-", dir=parent)
    except OSError as error:
        raise StoreError(
            f"{parent or 'TMPDIR'}: no folder for temporary files can be made there ({error.strerror or error}); name another"
        ) from error
    with folder as name:
        free = shutil.disk_usage(name).free
        if free < needed:
            raise StoreError(
                f"expected {needed / 1e9:.3g} GB of free disk under {Path(name).parent}, where words of every recording are kept for a while; it has "
                f"{free / 1e9:.3g} GB: name a folder with more (scratch)"
            )
        yield Path(name)


# -------------------------------------------------------------------------------------------------------------------- copies


def _copies(words: Words, digests: np.ndarray, together: Together, run: Run, comparing: Callable[[int], None] | None = None) -> list[Copy]:
    """Copies by their words, proved; and recordings whose counts are the same, with or without beats in them."""
    found: dict[tuple[int, int], Copy] = {}
    n_compared = 0
    for n_pairs, some in run(_proved, _batches(words.candidates())):
        found |= {(copy.first, copy.second): copy for copy in some}
        n_compared += n_pairs
        if comparing is not None:
            comparing(n_compared)
    order = np.argsort(digests, kind="stable")
    digest = digests[order]
    for at in np.flatnonzero((digest[1:] == digest[:-1]) & (digest[1:] != 0)).tolist():
        first, second = int(order[np.searchsorted(digest, digest[at])]), int(order[at + 1])
        if (first, second) not in found:
            one, two = together.load(first), together.load(second)
            if one.leads == two.leads and one.fs == two.fs and np.array_equal(one.signal, two.signal):
                found[first, second] = Copy(first, second, 0.0, 0.0, one.seconds, 1.0, 0.0, True, ())
    return [found[key] for key in sorted(found)]


def _batches(pairs: Iterator[Pair]) -> Iterator[tuple[list[Pair]]]:
    while some := list(itertools.islice(pairs, PROOFS)):
        yield (some,)


def _proved(together: Together, pairs: list[Pair]) -> tuple[int, list[Copy]]:
    return len(pairs), list(prove(pairs, together.load))


def _twins(copies: list[Copy], together: Together) -> Iterator[Twin]:
    """Copies with the names of their recordings and what is known of their patients and parts."""
    first, second = (np.array(numbers, dtype=np.int64) for numbers in ([copy.first for copy in copies], [copy.second for copy in copies]))
    columns = {
        name: list(zip(together.texts(name, first), together.texts(name, second))) for name in ("record", "patient", "source", "split")
    }
    for at, copy in enumerate(copies):
        (a, i), (b, j) = together.place(copy.first), together.place(copy.second)
        one, two = columns["patient"][at]
        sources, splits = columns["source"][at], columns["split"][at]
        patients = "unknown" if one is None or two is None or sources[0] != sources[1] else "the same" if one == two else "two"
        records = str(columns["record"][at][0]), str(columns["record"][at][1])
        yield Twin((a, b), (i, j), records, copy, patients, splits[0] != splits[1])
