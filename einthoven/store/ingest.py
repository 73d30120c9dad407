"""From raw files to a store in one pass: read, check, order the leads, resample, int16.

The work is cut into shards; each is made by a pure function (``shard.make_shard``), so that an ingest that was interrupted at
any moment and is run again goes on where it was and ends with the same bytes, whoever makes which shard.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven import whole
from einthoven.errors import EinthovenError, StoreError
from einthoven.signal.resample import METHODS
from einthoven.sources.facts import RecordRef
from einthoven.store import workers as crew
from einthoven.store.append import PLAN, NewIds, finish_append, refuse_unfit, settle
from einthoven.store.finish import finish
from einthoven.store.layout import FACTS, REJECTED, SHARDS, UNFINISHED, local_folder, parts_of, read_facts, shard_bytes
from einthoven.store.shard import Job, Made, finished, resolve

SHARD_RECORDS = 1024
SMALL = 1500
"""Recordings that one process converts in less time than other processes need to start."""

_AHEAD = 100_000  # recordings listed before the first is read, so that the whole number is mostly known
FS, RESAMPLING = 500.0, "polyphase"


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
    differences : between what the corpus publishes of itself and what was found, a sentence each (einthoven.sources.checking)
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
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.finished:
            return f"{self.n_refs} recordings of {self.store} converted in {self.seconds:.1f} s; run the same ingest without --shards when all parts are done"
        rejected = f", {self.n_rejected} rejected ({self.store / REJECTED})" if self.n_rejected else ", none rejected"
        whose = f"{self.n_patients} patients" if self.n_patients else "patients not known"
        what = f"{self.n_refs} recordings: {self.n_records} stored{rejected}; {whose}, {self.n_bytes / 1e6:.1f} MB in {self.store}"
        return (
            f"{what} (was there already, left as it is: what came to the corpus since is not in it; for that, ingest into a new folder)"
            if self.was_there
            else f"{what}, {self.seconds:.1f} s"
        )


def ingest(
    source: Any,
    root: Path | str,
    path: Path | str,
    *,
    fs: float | None = None,
    workers: int | None = None,
    shard_records: int = SHARD_RECORDS,
    resampling: str | None = None,
    executor: Executor | None = None,
    shards: tuple[int, int] | None = None,
    progress: Callable[[Progress], None] | None = None,
    source_options: Mapping[str, Any] | None = None,
    append: bool = False,
    name: str | None = None,
) -> Summary:
    """Convert the corpus at ``root`` into a store at ``path``.

    source        : a name of einthoven.sources.SOURCES, or an object with FACTS, records(root, …) and read(ref)
    fs            : rate of the store in Hz; None: 500, or that of the store that is appended to
    workers       : processes, at most one per shard; None: as many as there are cores, and none for a small corpus; 1: this process alone
    shard_records : recordings per shard, the unit in which an interrupted ingest goes on
    resampling    : a method of einthoven.signal.resample; None: polyphase, or that of the store that is appended to
    executor      : somebody else's concurrent.futures.Executor instead of processes of our own (einthoven.store.cluster: dask's)
    shards        : (i, n): make every n-th shard from the i-th (0 <= i < n), for job arrays; a last ingest without it finishes
    progress      : is told of the progress, at most a few times a second
    source_options: keyword arguments of the source's ``records``
    append        : add the corpus to the store that is there (einthoven.store.append)
    name          : what ``source`` says in the table, where the source's own name would mix two corpora

    Raises StoreError when there is nothing to ingest, or something else at ``path``.
    """
    began = time.monotonic()
    root, path = Path(root).expanduser().absolute(), local_folder(path, "written")
    there = _to_append_to(path) if append else None
    signal: Mapping[str, Any] = {"fs": FS, "resampling": RESAMPLING} if there is None else there["signal"]
    fs, resampling = float(signal["fs"]) if fs is None else float(fs), resampling or str(signal["resampling"])
    if not fs > 0:
        raise StoreError(f"expected a sampling frequency above 0 Hz; got fs={fs}")
    if shard_records < 1 or (workers is not None and workers < 1):
        raise StoreError(f"expected at least one recording per shard and one worker; got shard_records={shard_records}, workers={workers}")
    if shards is not None and not 0 <= shards[0] < shards[1]:
        raise StoreError(f"expected shards=(i, n) with 0 <= i < n; got {shards}")
    if resampling not in METHODS:
        raise StoreError(f"expected a resampling method among {', '.join(METHODS)}; got {resampling!r}")
    if name is not None and not name.strip():
        raise StoreError("expected a name of at least one letter for the corpus; got an empty one")
    options = dict(source_options or {})
    module = resolve(source)
    of_source = source if isinstance(source, str) else module.FACTS.name
    recipe = _recipe(of_source, module, root, fs, resampling, shard_records, options, name)
    if done := _found_finished(path, recipe, there):
        return _summary(path, done, module, began, was_there=True)

    in_table = name or of_source
    refs = iter(module.records(root, **options))
    if there is not None:
        refs = NewIds(path, there, in_table).check(refs)
    listed = list(itertools.islice(refs, _AHEAD))
    if not listed:
        raise StoreError(f"no recordings of {of_source} under {root}; is it the folder that the corpus was unpacked to?")
    n_listed = len(listed) if len(listed) < _AHEAD else None
    first_shard = 0 if there is None else len(there["shards"])
    _begin(path, recipe if there is None else {**recipe, "after": first_shard})

    meter = _Meter(progress, n_listed, began)
    made: dict[int, Made] = {}
    root_is_there = root.exists()
    jobs = _jobs(
        _Counted(itertools.chain(listed, refs), meter),
        shard_records,
        lambda shard, chunk: Job(path.absolute(), first_shard + shard, chunk, source, in_table, root, fs, resampling, root_is_there),
    )
    del listed
    to_do = _not_done(jobs, shards, made, meter)
    if executor is not None:
        results = crew.run_by(executor, to_do, workers, meter.tick)
    else:
        n_workers = workers or crew.available()
        if n_listed is not None:
            n_shards = -(-n_listed // shard_records)
            n_workers = 1 if workers is None and n_listed <= SMALL else min(n_workers, n_shards)
        results = crew.run_here(to_do, meter.tick) if n_workers == 1 else crew.run_in_processes(to_do, n_workers, meter.tick)
    try:
        for one in results:
            made[one.shard] = one
        meter.say()
        if shards is not None:
            done_here = [one for shard, one in made.items() if shard % shards[1] == shards[0]]
            n_records, n_rejected = sum(one.n_records for one in done_here), sum(one.n_rejected for one in done_here)
            n_bytes = sum(shard_bytes(one.n_counts) for one in done_here)
            return Summary(path, n_records + n_rejected, n_records, n_rejected, 0, n_bytes, time.monotonic() - began, finished=False)
        in_order = [made[shard] for shard in sorted(made)]
        if there is None:
            facts = finish(path, recipe, module.FACTS, in_order, meter.n_listed)
        else:
            facts = finish_append(path, there, recipe, module.FACTS, in_order, meter.n_listed)
    except (EinthovenError, FileNotFoundError):
        # another call that made the same store may have finished it and cleared up under this one's hands
        if (path / FACTS).exists() and (done := _part_with(read_facts(path), recipe)):
            return _summary(path, done, module, began, was_there=True)
        raise
    done = _part_with(facts, recipe)
    assert done is not None, "the corpus is not in the store that it was just made"
    return _summary(path, done, module, began)


def _summary(path: Path, part: Mapping[str, Any], module: Any, began: float, *, was_there: bool = False) -> Summary:
    from einthoven.sources.checking import check_store

    counts = part["counts"]
    n_bytes = sum(shard_bytes(n) for n in part["shards"])
    numbers = (counts["listed"], counts["records"], counts["rejected"], counts["patients"], n_bytes)
    said = tuple(check_store(path, module, part["part"]))
    return Summary(path, *numbers, time.monotonic() - began, was_there, differences=said)


def _recipe(
    source: str, module: Any, root: Path, fs: float, resampling: str, shard_records: int, options: dict[str, Any], name: str | None
) -> dict[str, Any]:
    recipe = {
        "source": source,
        "version": module.FACTS.version,
        "root": str(root),
        "options": options,
        "fs": fs,
        "resampling": resampling,
        "shard_records": shard_records,
    }
    if name is not None:
        recipe["name"] = name
    if tables := _tables(module, root):
        recipe["tables"] = tables
    return json.loads(json.dumps(recipe, default=str))


def _tables(module: Any, root: Path) -> dict[str, str]:
    """SHA-256 of the tables that somebody may still be writing (``module.tables(root)``, where a source has such): labels that were mended after the
    ingest must not be taken for ingested."""
    files = module.tables(root) if hasattr(module, "tables") else []
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _to_append_to(path: Path) -> dict[str, Any]:
    facts = read_facts(path)
    settle(path, facts)
    return facts


def _part_with(facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a store says of the corpus that this recipe made, with the lengths of its shards; None where there is none."""
    first = 0
    for number, part in enumerate(parts_of(facts)):
        if part["recipe"] == recipe:
            return {**part, "part": number, "shards": facts["shards"][first : first + part["n_shards"]]}
        first += part["n_shards"]
    return None


def _found_finished(path: Path, recipe: Mapping[str, Any], there: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is asked for, where it is there already; StoreError where something else is in the way."""
    facts = there if there is not None else read_facts(path) if (path / FACTS).exists() else None
    after = None
    if facts is not None:
        if done := _part_with(facts, recipe):
            settle(path, facts)
            return done
        if there is None:
            _refuse_another(path, facts, recipe)
        refuse_unfit(path, facts, recipe)
        after = len(facts["shards"])
    try:
        entries = set(os.listdir(path))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        entries = {path.name}
    plan = path / UNFINISHED / PLAN
    if plan.exists():
        _refuse_another_plan(path, plan, recipe, after)
    elif facts is None and UNFINISHED not in entries and not entries <= {REJECTED}:
        raise StoreError(f"{path} is there and no store; give the name of a new folder")
    return None


def _refuse_another(path: Path, facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    parts = [part["recipe"] for part in parts_of(facts)]
    for part in parts:
        if {**part, "tables": None} == {**recipe, "tables": None}:
            names = " and ".join(sorted({**part.get("tables", {}), **recipe.get("tables", {})}))
            raise StoreError(f"{path} was made with another {names}; delete it and ingest again, or give another folder")
    raise StoreError(
        f"{path} is another store: {_differences(parts[0], recipe)}; give another folder, delete this one, or add to it with append"
    )


def _refuse_another_plan(path: Path, plan: Path, recipe: Mapping[str, Any], after: int | None) -> None:
    there = json.loads(plan.read_text(encoding="utf-8"))
    wanted = recipe if after is None else {**recipe, "after": after}
    if {**there, "tables": None} != {**wanted, "tables": None}:  # shards made with another table are made again
        way_out = (
            "give another folder, or delete this one" if after is None else f"finish that, or delete {path / UNFINISHED} to give it up"
        )
        raise StoreError(f"an unfinished ingest of something else is in {path}: {_differences(there, wanted)}; {way_out}")


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {there.get(key)!r} there, {wanted.get(key)!r} asked for" for key in {**wanted, **there} if there.get(key) != wanted.get(key)
    )


def _begin(path: Path, plan: Mapping[str, Any]) -> None:
    """Say what is being made here; of several that begin at the same moment (a job array) one does, and the others find the same, or stop."""
    (path / UNFINISHED).mkdir(parents=True, exist_ok=True)
    (path / SHARDS).mkdir(exist_ok=True)
    place = path / UNFINISHED / PLAN
    if not place.exists():
        draft = path / UNFINISHED / f"plan.{secrets.token_hex(4)}.tmp"
        whole.write_json(draft, plan, lasting=False)
        try:
            os.link(draft, place)  # unlike a rename it fails where the name is taken, on network file systems as well
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(draft, place)
        draft.unlink(missing_ok=True)
    _refuse_another_plan(path, place, {key: value for key, value in plan.items() if key != "after"}, plan.get("after"))


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
