"""Many files of any format that we read, to one format that we write: ``einthoven convert-signal``.

A file that cannot be converted is set aside with its reason, and the others go on. Each target appears whole or not at all, so that a job
that was interrupted, or whose worker died, goes on where it was when it is run again.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.io.keeping import lost
from einthoven.io.many import records_in
from einthoven.io.sidecar import sidecars
from einthoven.io.wfdb import header_path, read_header

Progress = Callable[[int, int], None]
"""Called as progress(done, total)."""


@dataclass(frozen=True)
class Outcome:
    """What became of a recording.

    target    : its file; or ``problem``, why there is none
    was_there : an earlier run had made it
    lost      : what the source says of the recording and the format has no place for, among ``keeping.FIELDS``; not known where it was there
    """

    source: Path
    target: Path | None
    problem: str | None = None
    was_there: bool = False
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """A recording to convert. ``told`` goes to the reader: the ``record`` of a file that holds many, and what the caller told."""

    source: Path
    name: str
    problem: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    target: Path | None = None


def convert_files(
    paths: Iterable[Path | str],
    out_folder: Path | str,
    format: str,
    *,
    progress: Progress | None = None,
    workers: int = 1,
    overwrite: bool = False,
    told: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Convert files, and folders with all below them, into ``out_folder``; an outcome for each recording, in order.

    format    : a key of io.WRITERS in any case, or the ending of one (``edf``, ``.tsv``)
    workers   : processes; 1 does without
    overwrite : make again what is there; else it is left as it is
    told      : ``fs``, ``unit``, ``names`` of files that do not say it themselves; formats that do are not told

    Folders keep their tree. Targets are named by their source; where two would have one name, each keeps its ending too (``a_dcm.edf``,
    ``a_scp.edf``). A file with many recordings gives one target for each, and where the target is a table, what a table has no place for stands in a
    JSON file beside it. What else a format has no place for is told by ``Outcome.lost``. Raises EinthovenError for an unknown format, and where the
    targets would lie among the sources.
    """
    kind, suffix = writable(format)
    out = Path(out_folder)
    jobs = _named(list(_expand([Path(path) for path in paths], out, dict(told or {}))), out, suffix)
    outcomes: list[Outcome | None] = [None] * len(jobs)
    n_done = 0

    def done(position: int, outcome: Outcome) -> None:
        nonlocal n_done
        outcomes[position] = outcome
        n_done += 1
        if progress is not None:
            progress(n_done, len(jobs))

    waiting = []
    for position, job in enumerate(jobs):
        if job.problem is not None or job.target is None:
            done(position, _failed(job, job.problem or "has no target"))
        elif job.target.exists() and not overwrite:
            done(position, Outcome(job.source, job.target, was_there=True))
        else:
            waiting.append(position)
    if workers <= 1:
        for position in waiting:
            done(position, _convert(jobs[position], kind))
    else:
        for position, outcome in _in_processes(jobs, waiting, kind, workers):
            done(position, outcome)
    return [outcome for outcome in outcomes if outcome is not None]


def writable(format: str) -> tuple[str, str]:
    """(a key of io.WRITERS, the ending of its files)."""
    endings = {suffix: kind for suffix, kind in io.SUFFIXES.items() if kind in io.WRITERS}
    if (suffix := f".{format.lower().removeprefix('.')}") in endings:
        return endings[suffix], suffix
    for suffix, kind in endings.items():
        if format.lower() in (kind.lower(), *kind.lower().split()[1:2]):  # "HL7 aECG XML" is asked for as aecg
            return kind, suffix
    raise EinthovenError(f"expected a format that is written, one of {', '.join(io.WRITERS)}; got {format!r}")


def _expand(paths: list[Path], out: Path, told: Mapping[str, Any]) -> Iterator[_Job]:
    # ``*`` of a shell names with a recording what belongs to it.
    beside = sidecars(paths).union(*(_claimed(path) for path in paths if path.suffix.lower() == ".hea"))
    for path in paths:
        if path in beside:
            continue
        if path.is_dir() and header_path(path) is None:
            if out.resolve() == path.resolve():
                raise EinthovenError(f"{out}: the targets would lie among the sources; choose another folder for them")
            for source in _files(path, out.resolve()):
                yield from _recordings(source, source.relative_to(path).with_suffix("").as_posix(), told)
        else:
            yield from _recordings(path, path.with_suffix("").name if path.is_file() else path.name, told)


def _files(root: Path, out: Path) -> Iterator[Path]:
    """Every file that is meant as a recording: not the signals and annotations of a header, not what tells of other files, nothing hidden."""
    below: set[Path] = set()
    for at, folders, names in os.walk(root):
        folder = Path(at)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (folder / name).resolve() != out)
        here = sorted(folder / name for name in names if not name.startswith("."))
        claimed = {path for path in here if path in below}
        for path in here:
            if path.suffix.lower() == ".hea":
                found = _claimed(path)
                claimed |= found
                below |= {file for file in found if file.parent != folder}
        claimed |= sidecars(here)
        for path in here:
            if path not in claimed and not io.is_companion(path) and not io.is_annotation(path):
                yield path


def _claimed(header: Path) -> set[Path]:
    """The signal files that a header reads, and the headers of its segments."""
    try:
        described = read_header(header)
    except (FormatError, OSError):
        return set()  # converting it tells why
    return {header.parent / lead.file for lead in described.signals} | {header.parent / f"{name}.hea" for name, _ in described.segments}


def _recordings(source: Path, name: str, told: Mapping[str, Any]) -> Iterator[_Job]:
    """One job for a file, or one for each recording in it; a job with a problem where it cannot be read."""
    try:
        kind = io.recognise(source)
        known = io.taken_by(kind, told)
        many = () if "record" in known else records_in(source, kind)
    except (EinthovenError, OSError) as error:
        yield _Job(source, name, problem=str(error))
        return
    for record in many:
        yield _Job(source, f"{name}_{record}", told={**known, "record": record})
    if not many:
        yield _Job(source, name, told=known)


def plain_name(name: str) -> str:
    """A name, or a path with ``/``, of characters that a WFDB record may have; for all formats, so that a tree does not depend on its format."""
    return "/".join(re.sub(r"[^A-Za-z0-9_-]", "_", part) for part in name.split("/"))


def _named(jobs: list[_Job], out: Path, suffix: str) -> list[_Job]:
    """Jobs with targets that differ, also where a disk does not tell capitals from small letters; none is among the sources."""
    sources = {job.source.resolve() for job in jobs}
    plain = [plain_name(job.name) for job in jobs]
    times = Counter(name.lower() for name, job in zip(plain, jobs) if job.problem is None)
    taken: set[str] = set()
    named = []
    for job, name in zip(jobs, plain):
        if job.problem is not None:
            named.append(job)
            continue
        if times[name.lower()] > 1 and job.source.suffix:
            name = f"{name}_{re.sub(r'[^A-Za-z0-9]', '', job.source.suffix)}"
        candidate, n = name, 1
        while candidate.lower() in taken:
            n += 1
            candidate = f"{name}_{n}"
        taken.add(candidate.lower())
        target = out / f"{candidate}{suffix}"
        among = {target.resolve(), target.with_suffix(".dat").resolve()} & sources if suffix == ".hea" else {target.resolve()} & sources
        problem = f"its target {target} is one of the sources; choose another folder" if among else None
        named.append(_Job(job.source, job.name, problem, job.told, target))
    return named


def _failed(job: _Job, problem: str) -> Outcome:
    return Outcome(job.source, None, problem.removeprefix(f"{job.source}: ").removeprefix(f"{job.target}: "))


def _convert(job: _Job, kind: str) -> Outcome:
    """Make one target, or say why that is not possible."""
    assert job.target is not None
    try:
        record = io.read(job.source, **job.told)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        io.WRITERS[kind](record, job.target)
    except (EinthovenError, OSError) as error:
        return _failed(job, str(error))
    except Exception as error:  # a fault of ours in one file must not end a job of a million
        return _failed(job, f"{type(error).__name__} while it was converted: {' '.join(str(error).split())[:200]}")
    return Outcome(job.source, job.target, lost=lost(record, kind))


def _in_processes(jobs: list[_Job], waiting: list[int], kind: str, workers: int) -> Iterator[tuple[int, Outcome]]:
    """(position, outcome) as they come. A worker that dies takes nobody's file with it but the one that killed it."""
    todo = iter(waiting)
    under_way: dict[Future[Outcome], int] = {}
    pool = _pool(workers)
    try:
        while True:
            broken: list[int] = []
            while len(under_way) < 2 * workers and (position := next(todo, None)) is not None:
                try:
                    under_way[pool.submit(_convert, jobs[position], kind)] = position
                except BrokenExecutor:
                    broken.append(position)
                    break
            if not under_way and not broken:
                return
            finished = wait(under_way, return_when=FIRST_COMPLETED).done
            if broken or any(isinstance(future.exception(), BrokenExecutor) for future in finished):
                pool.shutdown(wait=True, cancel_futures=True)
                finished = set(under_way)
                pool = _pool(workers)
            for future in finished:
                position = under_way.pop(future)
                if future.cancelled() or isinstance(future.exception(), BrokenExecutor):
                    broken.append(position)
                else:
                    yield position, future.result()
            for position in broken:
                yield position, _alone(jobs[position], kind)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(job: _Job, kind: str) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(_convert, job, kind).result()
        except BrokenExecutor:
            return _failed(job, "ended the process that read it (killed for memory, or a crash in the code that reads it)")


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawn, not fork: the caller may have threads, and a fork copies their locks as they are
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """Ctrl-C is the parent's to answer; a worker brings its file to an end, so that it is whole."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
