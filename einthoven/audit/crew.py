"""Processes that have the stores of an audit open and do its jobs; or this process, where one is enough.

A store is opened once by each of them: its columns are read once, not once for every job.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from einthoven.audit.together import Together
from einthoven.errors import StoreError
from einthoven.ingest.workers import begin_worker

Task = Callable[..., Any]
Run = Callable[[Task, Iterable[tuple[Any, ...]]], Iterator[Any]]

_together: Together | None = None  # of a process of a crew


@contextmanager
def crew(together: Together, n: int) -> Iterator[Run]:
    """``run(task, jobs)``: what ``task(together, *job)`` gives for each job, in their order, by ``n`` processes.

    Not more jobs are under way than keep everybody busy, so that memory does not grow with their number. Raises StoreError when a process dies.
    """
    if n == 1:
        yield lambda task, jobs: (task(together, *job) for job in jobs)
        return
    pool = ProcessPoolExecutor(n, mp_context=get_context("spawn"), initializer=_open, initargs=(together,))
    try:
        yield lambda task, jobs: _in_order(pool, 2 * n, task, iter(jobs))
    except BrokenExecutor as error:
        raise StoreError(
            "a process of the audit was ended from outside (killed for memory?): run it again with fewer workers; a script that calls audit needs "
            "`if __name__ == '__main__':` around the call"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, n_ahead: int, task: Task, jobs: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque(pool.submit(_do, task, job) for job in itertools.islice(jobs, n_ahead))
    while waiting:
        done = waiting.popleft().result()
        waiting.extend(pool.submit(_do, task, job) for job in itertools.islice(jobs, 1))
        yield done


def _open(together: Together) -> None:
    global _together
    _together = together
    begin_worker()


def _do(task: Task, job: tuple[Any, ...]) -> Any:
    return task(_together, *job)
