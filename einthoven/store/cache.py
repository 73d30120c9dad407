"""Shards of remote stores on this machine: a folder that many processes and stores share, and that stays within its bytes.

The ones that were not used for longest go first; a file's time of change says when it was used. Nothing half-fetched has the name of a shard.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from einthoven.errors import StoreError
from einthoven.store.layout import SHARDS

GIGABYTES = 50.0
"""What a cache may hold when nobody says otherwise."""
_LOST = 86_400.0  # seconds after which half a shard is one of a process that was killed


@dataclass(frozen=True)
class Cache:
    """Where shards of remote stores are kept on this machine, and how many bytes of them.

    folder     : shared by all processes and stores; None: $EINTHOVEN_CACHE, else einthoven in the user's cache folder
    n_bytes    : of shards; None: $EINTHOVEN_CACHE_GB, else GIGABYTES
    read_ahead : shards behind the one that is first used that are fetched meanwhile, for who reads in order
    """

    folder: Path | None = None
    n_bytes: int | None = None
    read_ahead: int = 0

    def resolved(self) -> Resolved:
        folder = self.folder or os.environ.get("EINTHOVEN_CACHE")
        if folder is None:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "einthoven"
        n_bytes = self.n_bytes
        if n_bytes is None:
            text = os.environ.get("EINTHOVEN_CACHE_GB", str(GIGABYTES))
            try:
                n_bytes = int(float(text) * 1e9)
            except (ValueError, OverflowError):
                raise StoreError(f"EINTHOVEN_CACHE_GB: expected a number of gigabytes; got {text!r}") from None
        if n_bytes <= 0 or self.read_ahead < 0:
            raise StoreError(f"expected a cache of more than 0 bytes, and read_ahead of 0 or more; got {n_bytes}, {self.read_ahead}")
        return Resolved(Path(folder).expanduser().absolute(), n_bytes, self.read_ahead)


@dataclass(frozen=True)
class Resolved:
    """A cache whose place and size are known. Shards lie in ``<folder>/<any name>/shards``."""

    folder: Path
    n_bytes: int
    read_ahead: int

    def shard(self, path: Path, n_bytes: int, fetch: Callable[[], object], *, of: str) -> Path:
        """A shard's file, there in full length; where it was not, ``fetch`` brought it, in one of the processes that want it.

        of : the store, for the person whose cache cannot hold the shard
        """
        if not _touched(path, n_bytes):
            if n_bytes > self.n_bytes:
                raise StoreError(
                    f"a shard of {of} has {n_bytes / 1e9:.3g} GB and the cache may hold {self.n_bytes / 1e9:.3g}: set EINTHOVEN_CACHE_GB"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_suffix(".lock")):
                if not _touched(path, n_bytes):
                    for left in path.parent.glob(f".{path.stem}.*"):  # by a process that was killed: it no longer holds the lock
                        left.unlink(missing_ok=True)
                    self._make_room(n_bytes)
                    fetch()
                    self._make_room(0)  # others may have fetched meanwhile
        return path

    def _make_room(self, n_bytes: int) -> None:
        """Throw out the shards, of whichever store, that were not used for longest. Readers that have one open keep it till they let go."""
        with locked(self.folder / "room.lock"):
            there = []
            for path in self.folder.glob(f"*/{SHARDS}/*.npy"):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if not path.name.startswith("."):
                        there.append((status.st_mtime, status.st_size, path))
                    elif time.time() - status.st_mtime > _LOST:
                        path.unlink()
            total = sum(size for _, size, _ in there) + n_bytes
            for _, size, path in sorted(there):
                if total <= self.n_bytes:
                    break
                with suppress(PermissionError):  # Windows: it is open
                    path.unlink(missing_ok=True)
                    total -= size


def _touched(path: Path, n_bytes: int) -> bool:
    """Whether a file is here in full length; if so it counts as just used."""
    try:
        if path.stat().st_size != n_bytes:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that held it. Where the system has no such locks, files still appear whole."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be written ({error.strerror}); set EINTHOVEN_CACHE to another folder") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do: a process that was forked meanwhile has the file open, too
