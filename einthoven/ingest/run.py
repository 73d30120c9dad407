"""From raw files to a store in one pass: read, check, order the leads, resample, int16.

The work is cut into shards; each is made by a pure function (``shard.make_shard``), so that an ingest that was interrupted at
any moment and is run again goes on where it was and ends with the same bytes, whoever makes which shard.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError, StoreError
from einthoven.ingest import workers as crew
from einthoven.ingest.append import finish_append
from einthoven.ingest.finish import finish
from einthoven.ingest.meter import Meter, Progress
from einthoven.ingest.new_ids import NewIds
from einthoven.ingest.plan import begin, found, give_up, recipe_to_append, to_append_to
from einthoven.ingest.recipe import has_other_tables, recipe_of, refuse_wrong
from einthoven.ingest.shard import Job, Made, finished, resolve
from einthoven.ingest.summary import Summary, summary_of
from einthoven.sources.facts import RecordRef
from einthoven.store.corpora import Part, parts_of_corpus
from einthoven.store.layout import FACTS, local_folder, read_facts, shard_bytes
from einthoven.store.split import refuse_torn_folds

__all__ = ["Progress", "Summary", "ingest"]

SHARD_RECORDS = 1024
SMALL = 1500
"""Recordings that one process converts in less time than other processes need to start."""

_AHEAD = 30_000  # recordings listed before the first is read: with them the whole number is known of most corpora
FS, RESAMPLING = 500.0, "polyphase"


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
    executor      : somebody else's concurrent.futures.Executor instead of processes of our own (einthoven.ingest.cluster: dask's)
    shards        : (i, n): make every n-th shard from the i-th (0 <= i < n), for job arrays; a last ingest without it finishes
    progress      : is told of the progress, at most a few times a second
    source_options: keyword arguments of the source's ``records``
    append        : add to the store that is there: a further corpus, or of one that it has what came since (einthoven.ingest.new_ids)
    name          : what ``source`` says in the table, where the source's own name would mix two corpora

    Raises StoreError when there is nothing to ingest, or something else at ``path``.
    """
    began = time.monotonic()
    root, path = Path(root).expanduser().absolute(), local_folder(path, "written")
    there = to_append_to(path) if append else None
    signal: Mapping[str, Any] = {"fs": FS, "resampling": RESAMPLING} if there is None else there["signal"]
    fs, resampling = float(signal["fs"]) if fs is None else float(fs), resampling or str(signal["resampling"])
    refuse_wrong(fs, resampling, shard_records, workers, shards, name)
    options = dict(source_options or {})
    module = resolve(source)
    of_source = source if isinstance(source, str) else module.FACTS.name
    recipe = recipe_of(of_source, module, root, fs, resampling, shard_records, options, name)
    own: list[Part] = []
    if there is not None:
        recipe, own = recipe_to_append(path, there, recipe)
    elif (done := found(path, recipe)) is not None:
        return summary_of(path, *done, module, time.monotonic() - began, was_there=True)

    in_table = name or of_source
    refs = iter(module.records(root, **options))
    ids = None
    if there is not None:
        ids = NewIds(path, there, in_table, own, has_other_tables(own[-1].recipe, recipe) if own else ())
        refs = ids.pass_on(refs, module, root)
    listed = list(itertools.islice(refs, _AHEAD))
    n_listed = len(listed) if len(listed) < _AHEAD else None
    if not listed:
        if there is None or ids is None or not own:
            raise StoreError(f"no recordings of {of_source} under {root}; is it the folder that the corpus was unpacked to?")
        if shards is None:
            give_up(path, there)
        return _nothing_new(path, there, own, module, ids, began)
    if there is None and n_listed is not None:
        refuse_torn_folds(listed, _way_out(module, recipe))
    first_shard = 0 if there is None else len(there["shards"])
    begin(path, recipe if there is None else {**recipe, "after": first_shard})

    meter = Meter(progress, n_listed, began)
    made: dict[int, Made] = {}
    root_is_there = root.exists()
    jobs = _jobs(
        meter.counting(itertools.chain(listed, refs)),
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
            return _part_of_an_array(path, [one for shard, one in made.items() if shard % shards[1] == shards[0]], began)
        in_order = [made[shard] for shard in sorted(made)]
        facts: Mapping[str, Any]
        if there is None:
            facts = finish(path, recipe, module.FACTS, in_order, meter.n_listed)
        else:
            facts = finish_append(path, there, recipe, module.FACTS, in_order, meter.n_listed, own)
    except (EinthovenError, FileNotFoundError):
        # another call that made the same store may have finished it and cleared up under this one's hands
        if (path / FACTS).exists():
            facts = read_facts(path)
            if parts := [part for part in parts_of_corpus(facts, recipe) if part.recipe == recipe]:
                return summary_of(path, facts, parts, module, time.monotonic() - began, was_there=True)
        raise
    if ids is not None and own:
        if facts is there:
            return _nothing_new(path, facts, own, module, ids, began)
        n_before = sum(part.counts["records"] for part in own)
        return summary_of(
            path, facts, parts_of_corpus(facts, recipe)[-1:], module, time.monotonic() - began, n_before=n_before, n_gone=ids.n_gone
        )
    return summary_of(path, facts, parts_of_corpus(facts, recipe), module, time.monotonic() - began)


def _nothing_new(path: Path, facts: Mapping[str, Any], own: list[Part], module: Any, ids: NewIds, began: float) -> Summary:
    return summary_of(path, facts, own, module, time.monotonic() - began, was_there=True, appended=True, n_gone=ids.n_gone)


def _part_of_an_array(path: Path, made: list[Made], began: float) -> Summary:
    n_records, n_rejected = sum(one.n_records for one in made), sum(one.n_rejected for one in made)
    n_bytes = sum(shard_bytes(one.n_counts) for one in made)
    return Summary(path, n_records + n_rejected, n_records, n_rejected, 0, n_bytes, time.monotonic() - began, finished=False)


def _way_out(module: Any, recipe: Mapping[str, Any]) -> str:
    """What somebody can do whose corpus has folds that part patients."""
    if "split" in inspect.signature(module.records).parameters:
        return "split=new (on the command line --option split=new) leaves these folds aside and divides by patient"
    where = " and ".join(recipe.get("tables", ())) or "its tables"
    return f"mend the folds in {where}, or leave them out, and ingest divides by patient"


def _jobs(refs: Iterable[RecordRef], size: int, job: Callable[[int, tuple[RecordRef, ...]], Job]) -> Iterator[Job]:
    refs = iter(refs)
    for shard in itertools.count():
        chunk = tuple(itertools.islice(refs, size))
        if not chunk:
            return
        yield job(shard, chunk)


def _not_done(jobs: Iterator[Job], shards: tuple[int, int] | None, made: dict[int, Made], meter: Meter) -> Iterator[Job]:
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
