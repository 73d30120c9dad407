"""Running the jobs of an ingest: in this process, in processes of our own that may die, or by anybody's Executor."""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from typing import Any

from einthoven.errors import StoreError
from einthoven.ingest.shard import Job, Made, make_shard

TRIES = 3
"""Times that a file may end the process that reads it before it is rejected."""

_ENDED = "ended the process that read it, again and again (killed for memory, or a crash in the code that reads it)"
_LOOK = 0.5  # seconds between two looks at how far the workers are


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_here(jobs: Iterable[Job], tick: Callable[[int], None]) -> Iterator[Made]:
    """One job after the other in this process. ``tick(n)`` is told of n more recordings."""
    for job in jobs:
        yield make_shard(job, lambda: tick(1))


def run_by(executor: Executor, jobs: Iterator[Job], n_workers: int | None, tick: Callable[[int], None]) -> Iterator[Made]:
    """By an executor that is not ours (dask's, an MPI pool's, …) and that restarts its own workers.

    n_workers : None: as many as the executor says (``n_workers()``), else as there are cores here

    A job that dask gives up, since workers died while it was theirs, is made again when nothing else runs; a file at which even then
    workers die is rejected. Raises StoreError when the executor gives up; what is done stays done.
    """
    progress = _Progress(tick)
    under_way: dict[Future[Made], Job] = {}
    suspects: deque[Job] = deque()
    try:
        while True:
            n_at_once = 2 * max(1, n_workers or (executor.n_workers() if hasattr(executor, "n_workers") else available()))
            while not suspects and len(under_way) < n_at_once and (job := next(jobs, None)) is not None:
                job.journal.unlink(missing_ok=True)  # one of an earlier run
                under_way[executor.submit(make_shard, job)] = job
            if not under_way:
                if not suspects:
                    return
                job = suspects.popleft()
                made = _alone_by(executor, job)
                progress.finished(job)
                yield made
                continue
            done, _ = wait(under_way, timeout=_LOOK, return_when=FIRST_COMPLETED)
            if not done and hasattr(executor, "check"):
                executor.check()
            progress.look(under_way.values())
            for future in done:
                job = under_way.pop(future)
                if _killed(future):
                    suspects.append(job)
                elif future.cancelled():
                    raise StoreError("the executor dropped its work; run the same ingest again, it goes on where it was")
                else:
                    made = future.result()
                    progress.finished(job)
                    yield made
    except BrokenExecutor as error:
        raise StoreError(f"the executor lost its workers ({error}); run the same ingest again, it goes on where it was") from error
    finally:
        for future in under_way:
            future.cancel()


def _killed(future: Future[Made]) -> bool:
    """Whether dask gave this job up; by the name, since dask need not be installed."""
    return not future.cancelled() and type(future.exception()).__name__ == "KilledWorker"


def _alone_by(executor: Executor, job: Job) -> Made:
    """One job while nothing else runs: where workers die now, the file at which the last one was is to blame."""
    while True:
        job.journal.unlink(missing_ok=True)
        future = executor.submit(make_shard, job)
        while not wait([future], timeout=_LOOK).done:
            if hasattr(executor, "check"):
                executor.check()
        if not _killed(future):
            return future.result()
        position = _position(job)
        if position is None or position in job.blamed:
            raise StoreError(f"the workers die before they begin with shard {job.shard} of {job.store}: {future.exception()}")
        job = replace(job, blamed={**job.blamed, position: _ENDED})


def run_in_processes(jobs: Iterator[Job], n_workers: int, tick: Callable[[int], None]) -> Iterator[Made]:
    """By fresh processes of this machine; a worker that dies loses nothing.

    When one dies, the shards that had begun are made again one at a time, in a process of their own. A file that ends even
    that process TRIES times is rejected, and its shard is made without it. Whoever stops taking results, by Ctrl-C say, stops the processes
    after the recording at hand: what they have begun is lost, what is done is not.
    """
    progress = _Progress(tick)
    waiting: deque[Job] = deque()
    under_way: dict[Future[Made], Job] = {}
    stop = _Stop()
    pool = _pool(n_workers, stop)
    try:
        while True:
            while len(under_way) < 2 * n_workers:  # a worker should find its next job waiting
                job = waiting.popleft() if waiting else next(jobs, None)
                if job is None:
                    break
                job.journal.unlink(missing_ok=True)  # one of an earlier run
                try:
                    under_way[pool.submit(_make_until_stopped, job)] = job
                except BrokenExecutor:
                    waiting.appendleft(job)
                    break
            if not under_way and not waiting:
                return
            done, _ = wait(under_way, timeout=_LOOK, return_when=FIRST_COMPLETED)
            progress.look(under_way.values())
            broken = not under_way or any(isinstance(future.exception(), BrokenExecutor) for future in done)
            if broken:
                pool.shutdown(wait=True, cancel_futures=True)
                done = set(under_way)
            lost = []
            for future in done:
                job = under_way.pop(future)
                if future.cancelled() or isinstance(future.exception(), BrokenExecutor):
                    lost.append(job)
                else:
                    progress.finished(job)
                    yield future.result()
            if broken:
                suspects = [job for job in lost if job.journal.exists()] or lost
                waiting.extend(job for job in lost if job not in suspects)
                for job in suspects:
                    made = _alone(job, stop)
                    progress.finished(job)
                    yield made
                pool = _pool(n_workers, stop)
    finally:
        stop.say()
        pool.shutdown(wait=True, cancel_futures=True)
        stop.close()


def _alone(job: Job, stop: _Stop) -> Made:
    """One job in a process of its own, however often that process dies; files that kill it are blamed and left out."""
    deaths: Counter[int | None] = Counter()
    while True:
        job.journal.unlink(missing_ok=True)
        pool = _pool(1, stop)
        try:
            return pool.submit(_make_until_stopped, job).result()
        except BrokenExecutor:
            position = _position(job)
        except BaseException:  # the stop that this process was asked for
            stop.say()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        deaths[position] += 1
        if deaths[position] < TRIES:
            continue
        if position is None:
            raise StoreError(
                "processes for ingest die before they begin. A script that calls ingest needs `if __name__ == '__main__':` around "
                "the call; or give workers=1 to do without processes"
            )
        job = replace(job, blamed={**job.blamed, position: _ENDED})


def _position(job: Job) -> int | None:
    """Which of the job's recordings its worker was at; None when it had not begun."""
    try:
        return int(job.journal.read_bytes().split(b"\n")[0])
    except (FileNotFoundError, ValueError):
        return None


class _Progress:
    """Tells ``tick`` how many more recordings the workers have gone through, from what they note down."""

    def __init__(self, tick: Callable[[int], None]):
        self.tick = tick
        self.seen: Counter[int] = Counter()

    def look(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._reached(job.shard, _position(job) or 0)

    def finished(self, job: Job) -> None:
        self._reached(job.shard, len(job.refs))
        del self.seen[job.shard]

    def _reached(self, shard: int, n: int) -> None:
        if n > self.seen[shard]:
            self.tick(n - self.seen[shard])
            self.seen[shard] = n


class _Stop:
    """A pipe through which processes hear that they are to stop: its other end is closed. No lock that a process which is killed could hold."""

    def __init__(self) -> None:
        import multiprocessing

        self.heard, self.said = multiprocessing.get_context("spawn").Pipe(duplex=False)

    def say(self) -> None:
        self.said.close()

    def close(self) -> None:
        self.heard.close()


class _Stopped(Exception):
    """Nobody waits for this shard any more."""


_stop: Any = None  # of a worker: where it hears that it is to stop


def _make_until_stopped(job: Job) -> Made:
    def look() -> None:
        if _stop.poll():
            raise _Stopped

    return make_shard(job, look)


def _pool(n_workers: int, stop: _Stop) -> ProcessPoolExecutor:
    # spawn, not fork: the caller may have threads (a progress display, torch), and a fork copies their locks as they are
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n_workers, mp_context=context, initializer=_begin_shard_worker, initargs=(stop.heard,))


def _begin_shard_worker(heard: Any) -> None:
    global _stop
    _stop = heard
    begin_worker()


def begin_worker() -> None:
    """Ctrl-C is the parent's to answer; and a worker whose parent was killed ends, instead of waiting for work for ever."""
    import multiprocessing
    import signal
    from multiprocessing.connection import wait as wait_for

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()
