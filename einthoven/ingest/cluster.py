"""Ingest on several machines: dask's executor, for ``ingest(executor=…)``.

A scheduler is started in whatever way the machines ask for (``dask scheduler`` and ``dask worker``, dask-jobqueue for SLURM, dask-kubernetes);
here it is only met. Every worker needs this version of einthoven, and sees corpus and store under the names that they have here, on a
file system with atomic renames (NFS has them). Where no scheduler can run, ``ingest(shards=(i, n))`` in a job array does the same.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from einthoven import __version__
from einthoven.errors import StoreError
from einthoven.ingest.shard import Job, Made

_LOG = logging.getLogger(__name__)

PATIENCE = 300.0
"""Seconds without any worker after which an ingest gives up: long enough for a queue to start another."""

_CONNECT = 8.0  # seconds within which a scheduler answers; one that is there does so at once
_SILENT = 2.0  # seconds after which it is said that one is waited for
_STEADY = 2.0  # seconds


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The executor of a dask cluster.

    address : of its scheduler, ``tcp://machine:8786``; or ``local:n``: n processes of this machine under a scheduler of their own, for trying

    A scheduler that does not answer at once is waited for, which is said through logging. Raises StoreError where dask is not installed, the
    scheduler does not answer in time, or a worker has another version of einthoven.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise StoreError("a cluster needs dask: pip install 'einthoven[cluster]'") from error
    local = re.fullmatch(r"local:([1-9][0-9]*)", address)
    if local is None and "://" not in address:
        raise StoreError(f"expected the address of a dask scheduler such as tcp://machine:8786, or local:2 to try; got {address!r}")
    own = None
    if local is not None:
        # One further try for a job whose worker died, where dask gives three: a file that kills them is found out sooner.
        with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
            own = distributed.LocalCluster(
                n_workers=int(local[1]), threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
            )
    try:
        if own is None:
            _refuse_silent(address)
        try:
            client = distributed.Client(own or address, timeout=_CONNECT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise _no_scheduler(address, error) from error
        try:
            others = {where: there for where, there in client.run(_version).items() if there != __version__}
            if others:
                where, there = next(iter(others.items()))
                raise StoreError(
                    f"the worker {where} has einthoven {there}, and this is {__version__}: install the same version on all machines"
                )
            yield DaskExecutor(client)
        finally:
            client.close()
    finally:
        if own is not None:
            own.close()


def _refuse_silent(address: str) -> None:
    """StoreError where no scheduler answers in time. dask's client would find that out as well, and then wait much longer for its own end."""
    import asyncio

    from distributed import Security
    from distributed.comm import connect

    async def meet() -> None:
        comm = await connect(address, timeout=_CONNECT, **Security().get_connection_args("client"))
        await comm.close()

    # in a thread of its own: whoever calls may have an event loop already, as a notebook has
    with ThreadPoolExecutor(1) as thread:
        met = thread.submit(lambda: asyncio.run(meet()))
        if not wait([met], timeout=_SILENT).done:
            _LOG.warning("no dask scheduler answers at %s yet; it is tried for %.0f s", address, _CONNECT)
        error = met.exception()
    if error is not None:  # of whatever kind: what answers there may be anything
        raise _no_scheduler(address, error) from error


def _no_scheduler(address: str, error: BaseException) -> StoreError:
    return StoreError(f"no dask scheduler answers at {address} ({' '.join(str(error).split())}); start one with `dask scheduler`")


def _version() -> str:
    from einthoven import __version__

    return __version__


def _steadily(make: Callable[[Job], Made], job: Job) -> Made:
    """A job at which a worker died before waits until its new one has been up for a while: dask's nanny never starts another for a worker
    that dies while it still waits for word of its start."""
    if job.journal.exists():
        time.sleep(_STEADY)
    return make(job)


class DaskExecutor(Executor):
    """dask's executor, with what ingest wants to know of it.

    Each call is a job of its own, whatever was asked before: dask gives equal calls one result, also when that was a failure.
    """

    def __init__(self, client: Any):
        self.client = client
        self.dask = client.get_executor(pure=False)
        self.alone_since: float | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.dask.submit(_steadily, fn, *args, **kwargs)

    def n_workers(self) -> int:
        """Threads of all workers, now: workers come and go."""
        return sum(self.client.nthreads().values())

    def check(self) -> None:
        """Raises StoreError when the scheduler is gone, or there has been no worker for a long time: work would wait for ever."""
        if self.client.status != "running":
            raise StoreError("the dask scheduler is gone; start it, and run the same ingest again: it goes on where it was")
        now = time.monotonic()
        if self.n_workers():
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = now
        elif now - self.alone_since > PATIENCE:
            raise StoreError(
                f"there has been no dask worker for {PATIENCE:.0f} s; start some, and run the same ingest again: it goes on where it was"
            )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.dask.shutdown(wait=wait and not cancel_futures)
