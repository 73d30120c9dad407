"""The counts of a store: its shards, opened when they are first read, by memory map or by ``pread``, from a folder or a cache."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.layout import open_shard, shard_bytes, shard_path

ACCESS = ("auto", "mmap", "pread")
MAPPED = 32_000_000_000
"""Bytes of shards up to which ``auto`` maps them. A map of a part that nobody read before costs the kernel as much as ``pread``, and what has been mapped
stays in page tables, a 512th of it in each process: 64 MB at this size, which is little, but 600 MB for 2.5 million recordings, for each worker."""

_MANY_FILES = 200  # open shards; macOS allows a process 256 files unless it asks for more


class Shards:
    """The shards of the store in ``path``.

    lengths : counts in each shard
    access  : ``mmap``, which is faster where the same parts are read again; ``pread``, whose memory does not grow with what was read, also for
              network file systems on which memory maps stall; ``auto``: ``mmap`` up to MAPPED bytes
    remote  : of a store at a URL, what fetches its shards (einthoven.store.remote.Remote)

    Comes out of a pickle with nothing open. Raises StoreError for an access of another name, and for a shard that is not whole.
    """

    def __init__(self, path: Path, lengths: Sequence[int], access: str, remote: Any = None):
        if access not in ACCESS:
            raise StoreError(f"expected access as one of {', '.join(ACCESS)}; got {access!r}")
        if access == "auto":
            access = "mmap" if sum(map(shard_bytes, lengths)) <= MAPPED else "pread"
        self.path, self.lengths, self.access, self.remote = path, lengths, access, remote
        self.open: OrderedDict[int, Any] = OrderedDict()  # shard -> its map, or its descriptor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "open": OrderedDict()}

    def whole(self, number: int) -> np.ndarray:
        """All counts of a shard, read-only: (n,) int16; memory-mapped, or with ``pread`` read into memory."""
        if self.access == "pread":
            copied = np.fromfile(self._file(number), dtype="<i2", offset=shard_bytes(0))  # os.pread ends at 2 GB
            if len(copied) != self.lengths[number]:
                raise StoreError(
                    f"{shard_path(self.path, number)} holds {len(copied)} counts of {self.lengths[number]}; copy the store again"
                )
            copied.flags.writeable = False
            return copied
        counts = self.open.get(number)
        if counts is None:
            path = self._file(number)
            counts = self.open[number] = self._opened(lambda: open_shard(path))
            self._let_go()
        return counts

    def read(self, shard: int, offset: int, n: int) -> np.ndarray:
        """``n`` counts of a shard from ``offset`` on."""
        if self.access == "pread":
            return self._pread(shard, offset, n)
        counts = self.open.get(shard)
        return (self.whole(shard) if counts is None else counts)[offset : offset + n]

    def alone(self, shard: int, offset: int, n: int) -> np.ndarray:
        """As ``read``, for who wants nothing else of the shard: of one that is far away, this part may come alone."""
        if self.remote is not None and shard not in self.open:
            part = self.remote.little(shard, self.lengths[shard], offset, n)
            if part is not None:
                return part
        return self.read(shard, offset, n)

    def _pread(self, shard: int, offset: int, n: int) -> np.ndarray:
        descriptor = self.open.get(shard)
        if descriptor is None:
            path = self._file(shard)
            descriptor = self.open[shard] = self._opened(lambda: _Descriptor(os.open(path, os.O_RDONLY)))
            self._let_go()
        data = os.pread(descriptor.number, 2 * n, shard_bytes(offset))
        if len(data) != 2 * n:
            raise StoreError(f"{shard_path(self.path, shard)} ends before count {offset + n}; copy the store again")
        return np.frombuffer(data, dtype="<i2")

    def _file(self, number: int) -> Path:
        return shard_path(self.path, number) if self.remote is None else self.remote.shard(number, self.lengths[number])

    def _opened(self, open_it: Callable[[], Any]) -> Any:
        """What opens a file; where too many are open, which a store of millions can come to, the ones that were opened first are let go."""
        if len(self.open) == _MANY_FILES:
            _raise_limit()
        while True:
            try:
                return open_it()
            except (OSError, StoreError) as error:
                reason = error if isinstance(error, OSError) else error.__cause__
                if not self.open or getattr(reason, "errno", None) not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    raise
                for _ in range(-(-len(self.open) // 2)):
                    self.open.popitem(last=False)

    def _let_go(self) -> None:
        """An open shard of a cache keeps its room on the disk even when it was thrown out: of those, only as many as the cache may hold."""
        if self.remote is not None:
            while len(self.open) > 1 and sum(shard_bytes(self.lengths[n]) for n in self.open) > self.remote.cache.n_bytes:
                self.open.popitem(last=False)


def _raise_limit() -> None:
    """Let this process open as many files as it may: an open shard, mapped or not, holds one, and 1,024 is less than some stores have shards."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Descriptor:
    """An open file that closes when nobody needs it any more."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self):
        os.close(self.number)
