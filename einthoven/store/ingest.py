"""From raw files to a store in one pass: read, check, order the leads, resample, int16.

The work is cut into shards; each is made by a pure function (``shard.make_shard``), so that an ingest that was interrupted at
any moment and is run again goes on where it was and ends with the same bytes, whoever makes which shard.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.signal.resample import METHODS
from einthoven.sources.facts import RecordRef
from einthoven.store import workers as crew
from einthoven.store.finish import finish
from einthoven.store.layout import (
    FACTS,
    REJECTED,
    SHARDS,
    UNFINISHED,
    read_facts,
    shard_bytes,
)
from einthoven.store.shard import Job, Made, finished, resolve

SHARD_RECORDS = 1024
SMALL = 1500
"""Recordings that one process converts in less time than other processes need to start."""

_AHEAD = 100_000  # recordings listed before the first is read, so that the whole number is mostly known
_PLAN = "plan.json"


@dataclass(frozen=True)
class Progress:
    """How far an ingest is; n_total is None while the corpus is still being listed."""

    n_done: int
    n_total: int | None
    seconds: float


@dataclass(frozen=True)
class Summary:
    """What an ingest did. Every recording of the corpus is a row of the table or a line of rejected.csv.

    n_refs    : recordings that the corpus lists
    n_bytes   : of the shards
    was_there : a finished store of the same recipe was found, and left as it is
    finished  : False after a part of a job array: run ingest once more without ``shards`` when all parts are done
    """

    store: Path
    n_refs: int
    n_records: int
    n_rejected: int
    n_patients: int
    n_bytes: int
    seconds: float
    was_there: bool = False
    finished: bool = True

    def __str__(self) -> str:
        if not self.finished:
            return f"{self.n_refs} recordings of {self.store} converted in {self.seconds:.1f} s; run the same ingest without --shards when all parts are done"
        rejected = f", {self.n_rejected} rejected ({self.store / REJECTED})" if self.n_rejected else ", none rejected"
        what = f"{self.n_refs} recordings: {self.n_records} stored{rejected}; {self.n_patients} patients, {self.n_bytes / 1e6:.1f} MB in {self.store}"
        return f"{what} (was there already, left as it is)" if self.was_there else f"{what}, {self.seconds:.1f} s"


def ingest(
    source: Any,
    root: Path | str,
    path: Path | str,
    *,
    fs: float = 500.0,
    workers: int | None = None,
    shard_records: int = SHARD_RECORDS,
    resampling: str = "polyphase",
    executor: Executor | None = None,
    shards: tuple[int, int] | None = None,
    progress: Callable[[Progress], None] | None = None,
    source_options: Mapping[str, Any] | None = None,
) -> Summary:
    """Convert the corpus at ``root`` into a store at ``path``.

    source        : a name of einthoven.sources.SOURCES, or an object with FACTS, records(root, …) and read(ref)
    fs            : rate of the store in Hz
    workers       : processes, at most one per shard; None: as many as there are cores, and none for a small corpus; 1: this process alone
    shard_records : recordings per shard, the unit in which an interrupted ingest goes on
    resampling    : a method of einthoven.signal.resample
    executor      : somebody else's concurrent.futures.Executor instead of processes of our own
    shards        : (i, n): make every n-th shard from the i-th (0 <= i < n), for job arrays; a last ingest without it finishes
    progress      : is told of the progress, at most a few times a second
    source_options: keyword arguments of the source's ``records``

    Raises StoreError when there is nothing to ingest, or something else at ``path``.
    """
    began = time.monotonic()
    root, path = Path(root).expanduser().absolute(), Path(path)
    if not fs > 0:
        raise StoreError(f"expected a sampling frequency above 0 Hz; got fs={fs}")
    if shard_records < 1 or (workers is not None and workers < 1):
        raise StoreError(f"expected at least one recording per shard and one worker; got shard_records={shard_records}, workers={workers}")
    if shards is not None and not 0 <= shards[0] < shards[1]:
        raise StoreError(f"expected shards=(i, n) with 0 <= i < n; got {shards}")
    if resampling not in METHODS:
        raise StoreError(f"expected a resampling method among {', '.join(METHODS)}; got {resampling!r}")
    options = dict(source_options or {})
    module = resolve(source)
    name = source if isinstance(source, str) else module.FACTS.name
    recipe = _recipe(name, module, root, fs, resampling, shard_records, options)
    if _found_finished(path, recipe):
        return _summary(path, read_facts(path), began, was_there=True)

    refs = iter(module.records(root, **options))
    listed = list(itertools.islice(refs, _AHEAD))
    if not listed:
        raise StoreError(f"no recordings of {name} under {root}; is it the folder that the corpus was unpacked to?")
    n_listed = len(listed) if len(listed) < _AHEAD else None
    _begin(path, recipe)

    meter = _Meter(progress, n_listed, began)
    made: dict[int, Made] = {}
    jobs = _jobs(
        _Counted(itertools.chain(listed, refs), meter),
        shard_records,
        lambda shard, chunk: Job(path, shard, chunk, source, name, root, fs, resampling),
    )
    del listed
    to_do = _not_done(jobs, shards, made, meter)
    if executor is not None:
        results = crew.run_by(executor, to_do, 2 * (workers or crew.available()), meter.tick)
    else:
        n_workers = workers or crew.available()
        if n_listed is not None:
            n_shards = -(-n_listed // shard_records)
            n_workers = 1 if workers is None and n_listed <= SMALL else min(n_workers, n_shards)
        results = crew.run_here(to_do, meter.tick) if n_workers == 1 else crew.run_in_processes(to_do, n_workers, meter.tick)
    for one in results:
        made[one.shard] = one
    meter.say()
    if shards is not None:
        done = [one for shard, one in made.items() if shard % shards[1] == shards[0]]
        n_records, n_rejected = sum(one.n_records for one in done), sum(one.n_rejected for one in done)
        n_bytes = sum(shard_bytes(one.n_counts) for one in done)
        return Summary(path, n_records + n_rejected, n_records, n_rejected, 0, n_bytes, time.monotonic() - began, finished=False)

    facts = finish(path, recipe, module.FACTS, [made[shard] for shard in sorted(made)], meter.n_listed)
    return _summary(path, facts, began)


def _summary(path: Path, facts: Mapping[str, Any], began: float, *, was_there: bool = False) -> Summary:
    counts = facts["counts"]
    n_bytes = sum(shard_bytes(n) for n in facts["shards"])
    return Summary(
        path, counts["listed"], counts["records"], counts["rejected"], counts["patients"], n_bytes, time.monotonic() - began, was_there
    )


def _recipe(name: str, module: Any, root: Path, fs: float, resampling: str, shard_records: int, options: dict[str, Any]) -> dict[str, Any]:
    recipe = {
        "source": name,
        "version": module.FACTS.version,
        "root": str(root),
        "options": options,
        "fs": fs,
        "resampling": resampling,
        "shard_records": shard_records,
    }
    if tables := _tables(module, root):
        recipe["tables"] = tables
    return json.loads(json.dumps(recipe, default=str))


def _tables(module: Any, root: Path) -> dict[str, str]:
    """SHA-256 of the tables that somebody may still be writing (``module.tables(root)``, where a source has such): labels that were mended after the
    ingest must not be taken for ingested."""
    files = module.tables(root) if hasattr(module, "tables") else []
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _found_finished(path: Path, recipe: Mapping[str, Any]) -> bool:
    """Whether the very store that is asked for is there; StoreError where something else is in the way."""
    if (path / FACTS).exists():
        there = read_facts(path)["recipe"]
        if {**there, "tables": None} == {**recipe, "tables": None} and there.get("tables") != recipe.get("tables"):
            names = " and ".join(sorted({**there.get("tables", {}), **recipe.get("tables", {})}))
            raise StoreError(f"{path} was made with another {names}; delete it and ingest again, or give another folder")
        if there != recipe:
            raise StoreError(f"{path} is another store: {_differences(there, recipe)}; give another folder, or delete this one")
        shutil.rmtree(path / UNFINISHED, ignore_errors=True)  # killed in its very last moment
        return True
    plan = path / UNFINISHED / _PLAN
    if plan.exists():
        there = json.loads(plan.read_text(encoding="utf-8"))
        if {**there, "tables": None} != {**recipe, "tables": None}:  # shards made with another table are made again
            raise StoreError(
                f"an unfinished ingest of something else is in {path}: {_differences(there, recipe)}; give another folder, or delete this one"
            )
    elif path.exists() and not (path.is_dir() and ((path / UNFINISHED).is_dir() or {entry.name for entry in path.iterdir()} <= {REJECTED})):
        raise StoreError(f"{path} is there and no store; give the name of a new folder")
    return False


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {there.get(key)!r} there, {wanted.get(key)!r} asked for" for key in wanted if there.get(key) != wanted.get(key)
    )


def _begin(path: Path, recipe: Mapping[str, Any]) -> None:
    (path / UNFINISHED).mkdir(parents=True, exist_ok=True)
    (path / SHARDS).mkdir(exist_ok=True)
    if not (path / UNFINISHED / _PLAN).exists():
        whole.write_json(path / UNFINISHED / _PLAN, recipe, lasting=False)


def _jobs(refs: Iterable[RecordRef], size: int, job: Callable[[int, tuple[RecordRef, ...]], Job]) -> Iterator[Job]:
    refs = iter(refs)
    for shard in itertools.count():
        chunk = tuple(itertools.islice(refs, size))
        if not chunk:
            return
        yield job(shard, chunk)


def _not_done(jobs: Iterator[Job], shards: tuple[int, int] | None, made: dict[int, Made], meter: _Meter) -> Iterator[Job]:
    """The jobs that are still to do and ours; those done by an earlier run go into ``made``."""
    for job in jobs:
        if shards is not None and job.shard % shards[1] != shards[0]:
            continue
        done = finished(job)
        if done is None:
            yield job
        else:
            made[job.shard] = done
            meter.tick(len(job.refs))


class _Meter:
    """Counts recordings, and speaks about it not too often."""

    def __init__(self, progress: Callable[[Progress], None] | None, n_total: int | None, began: float):
        self.progress, self.n_total, self.began = progress, n_total, began
        self.n_done = self.n_listed = 0
        self.spoke = 0.0

    def tick(self, n: int) -> None:
        self.n_done += n
        if self.progress is not None and time.monotonic() - self.spoke > 0.2:
            self.say()

    def say(self) -> None:
        if self.progress is not None:
            self.spoke = time.monotonic()
            self.progress(Progress(self.n_done, self.n_total, self.spoke - self.began))


class _Counted:
    """Passes recordings on and notes how many the corpus listed."""

    def __init__(self, refs: Iterable[RecordRef], meter: _Meter):
        self.refs, self.meter = refs, meter

    def __iter__(self) -> Iterator[RecordRef]:
        for ref in self.refs:
            self.meter.n_listed += 1
            yield ref
        self.meter.n_total = self.meter.n_listed
