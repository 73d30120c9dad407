"""A store in an object store (``s3://``, ``gs://``, whatever fsspec knows): shards come to this machine when they are first used.

store.json, the table and rejected.csv come at opening; a shard comes whole, the first time that something of it is read, into a cache
that many processes and stores share and that stays within its bytes: the ones that were not used for longest go. Where a single
recording is wanted of a shard that is not here, only its bytes are asked for, until it is more than a little of the shard. Nothing
half-fetched has the name of a shard. Credentials, end points and the like are fsspec's and its clients' matter (AWS_PROFILE,
GOOGLE_APPLICATION_CREDENTIALS, FSSPEC_S3_ENDPOINT_URL, ~/.config/fsspec).

A cache that is smaller than what is read at random fetches shards over and over: give it the room of the store, or read in order.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.store.layout import FACTS, FORMAT, REJECTED, SHARDS, TABLE, shard_bytes

GIGABYTES = 50.0
"""What a cache may hold when nobody says otherwise."""
TRIES = 4
FIRST_WAIT = 0.5
"""Seconds before the second try; twice as long before each further one."""

_LITTLE = 1 / 16  # of a shard, asked for piece by piece, before it is fetched whole
_KEPT = 4  # tables of one store: the present one, and those of readers that opened it before it changed
_LOST = 86_400.0  # seconds after which half a shard is one of a process that was killed
_EXTRA = {
    "s3": "einthoven[s3]",
    "s3a": "einthoven[s3]",
    "gs": "einthoven[gcs]",
    "gcs": "einthoven[gcs]",
    "http": "aiohttp",
    "https": "aiohttp",
}
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError", "RefreshError")
_T = TypeVar("_T")


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
    """A cache whose place and size are known."""

    folder: Path
    n_bytes: int
    read_ahead: int


class Remote:
    """The far side of a store: ``folder`` holds its store.json and table here, ``shard(number, n_counts)`` the path of a shard's file.

    Raises StoreError, in one line, for what is missing: the store, the right to read it, a package, room on the disk.
    """

    def __init__(self, url: str, cache: Cache | None = None):
        self.url = url
        self.cache = (cache or Cache()).resolved()
        self._begin()
        self._open()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[int, Future[Path]] = {}
        self._asked: Counter[int] = Counter()
        self._fs_of: tuple[Any, str] | None = None
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("url", "cache", "folder", "_tokens")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()
        if not (self.folder / FACTS).exists():  # another machine
            self._open()

    # ----------------------------------------------------------------------------------------------------------- opening

    def _open(self) -> None:
        content = self._ask(FACTS, lambda: self._fs.cat_file(self._path(FACTS)))
        try:
            facts = json.loads(content)
            shards = facts["shards"] if facts["format"] == FORMAT else None
        except (ValueError, TypeError, KeyError):
            shards = None
        if shards is None:
            raise StoreError(f"{self.url}/{FACTS} does not belong to a store of einthoven; name the folder that was copied there")
        self._tokens = self._list(shards)
        table = self._ask(TABLE, lambda: self._fs.info(self._path(TABLE)))
        generation = hashlib.sha256(content + _token(table).encode()).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.url.rsplit("/", 1)[-1]).strip(".-") or "store"
        self.folder = self._home / "tables" / generation / name
        if not (self.folder / FACTS).exists():
            with _locked(self._home / "tables.lock"):
                self._fetch_table(content, table.get("size"))

    @property
    def _home(self) -> Path:
        return self.cache.folder / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def _list(self, shards: list[int]) -> dict[int, str]:
        """What tells versions of each shard apart, where the object store gives a list; every one found to be there in full length."""
        try:
            entries = self._fs.ls(self._path(SHARDS), detail=True)
        except Exception:  # plain HTTP, say, or a listing that is refused, in each client's own way: shards are asked about one by one
            return {}
        there = {str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]: entry for entry in entries}
        tokens = {}
        for number, n_counts in enumerate(shards):
            entry = there.get(f"{number:05d}.npy")
            if entry is None and there:
                raise StoreError(f"{self.url} lacks its shard {number:05d}.npy; copy the store again")
            if entry is not None:
                self._check_size(f"{SHARDS}/{number:05d}.npy", entry.get("size"), shard_bytes(n_counts))
                tokens[number] = _token(entry)
        return tokens

    def _fetch_table(self, content: bytes, n_bytes: int | None) -> None:
        if (self.folder / FACTS).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._download(TABLE, self.folder / TABLE, n_bytes)
        self._download(REJECTED, self.folder / REJECTED, None)
        whole.write(self.folder / FACTS, lambda file: file.write(content))
        generations = sorted((self._home / "tables").iterdir(), key=lambda folder: folder.stat().st_mtime)
        for old in generations[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------------ shards

    def shard(self, number: int, n_counts: int) -> Path:
        """The file of a shard on this machine, fetched when it is not here."""
        self._after_fork()
        with self._lock:
            coming = self._coming.pop(number, None)
        if coming is not None:
            with suppress(StoreError):  # what went wrong in the background is tried again, and said, here
                coming.result()
        path = self._fetch(number, n_counts)
        if self.cache.read_ahead:
            self._fetch_ahead(number)
        return path

    def little(self, number: int, n_counts: int, offset: int, n: int) -> np.ndarray | None:
        """``n`` counts from ``offset`` on by a request of their own; None where the whole shard is here, or had better be."""
        self._after_fork()
        if self._place(number, n_counts).exists():
            return None
        with self._lock:
            self._asked[number] += n
            if self._asked[number] > n_counts * _LITTLE:
                return None
        name, first, last = f"{SHARDS}/{number:05d}.npy", shard_bytes(offset), shard_bytes(offset + n)
        data = self._ask(name, lambda: self._fs.cat_file(self._path(name), start=first, end=last))
        if len(data) != last - first:
            return None  # a server that knows no ranges
        return np.frombuffer(data, dtype="<i2")

    def _after_fork(self) -> None:
        """Connections and threads stayed behind in the process that this one was forked from."""
        if self._pid != os.getpid():
            self._begin()

    def _place(self, number: int, n_counts: int) -> Path:
        if number not in self._tokens:
            name = f"{SHARDS}/{number:05d}.npy"
            info = self._ask(name, lambda: self._fs.info(self._path(name)))
            self._check_size(name, info.get("size"), shard_bytes(n_counts))
            self._tokens[number] = _token(info)
        return self._home / SHARDS / f"{number:05d}-{self._tokens[number]}.npy"

    def _fetch(self, number: int, n_counts: int) -> Path:
        path, n_bytes = self._place(number, n_counts), shard_bytes(n_counts)
        if not _touched(path, n_bytes):
            if n_bytes > self.cache.n_bytes:
                raise StoreError(
                    f"a shard of {self.url} has {n_bytes / 1e9:.3g} GB and the cache may hold {self.cache.n_bytes / 1e9:.3g}: set EINTHOVEN_CACHE_GB"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_suffix(".lock")):  # of several processes that want it, one fetches it
                if not _touched(path, n_bytes):
                    for left in path.parent.glob(f".{path.stem}.*"):  # by a process that was killed: it no longer holds the lock
                        left.unlink(missing_ok=True)
                    self._make_room(n_bytes)
                    self._download(f"{SHARDS}/{number:05d}.npy", path, n_bytes)
                    self._make_room(0)  # others may have fetched meanwhile
        return path

    def _make_room(self, n_bytes: int) -> None:
        """Throw out the shards, of whichever store, that were not used for longest. Readers that have one open keep it till they let go."""
        with _locked(self.cache.folder / "room.lock"):
            there = []
            for path in self.cache.folder.glob(f"*/{SHARDS}/*.npy"):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if not path.name.startswith("."):
                        there.append((status.st_mtime, status.st_size, path))
                    elif time.time() - status.st_mtime > _LOST:
                        path.unlink()
            total = sum(size for _, size, _ in there) + n_bytes
            for _, size, path in sorted(there):
                if total <= self.cache.n_bytes:
                    break
                with suppress(PermissionError):  # Windows: it is open
                    path.unlink(missing_ok=True)
                    total -= size

    def _fetch_ahead(self, number: int) -> None:
        lengths = json.loads((self.folder / FACTS).read_text(encoding="utf-8"))["shards"]
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="shards")
            for following in range(number + 1, min(number + 1 + self.cache.read_ahead, len(lengths))):
                if following not in self._coming:
                    self._coming[following] = self._pool.submit(self._fetch, following, lengths[following])

    # ---------------------------------------------------------------------------------------------------------- requests

    @property
    def _fs(self) -> Any:
        return self._connection()[0]

    def _path(self, name: str) -> str:
        return f"{self._connection()[1].rstrip('/')}/{name}"

    def _connection(self) -> tuple[Any, str]:
        """fsspec's file system and our place in it."""
        if self._fs_of is None:
            protocol = self.url.split("://")[0]
            try:
                fs, root = importlib.import_module("fsspec.core").url_to_fs(self.url)
            except ImportError as error:
                what = _EXTRA.get(protocol)
                hint = f"pip install '{what}'" if what else str(error)
                raise StoreError(f"{self.url}: a package for {protocol}:// is not installed: {hint}") from error
            except ValueError as error:
                raise StoreError(f"{self.url}: {error}; expected s3://, gs:// or another protocol of fsspec") from error
            self._fs_of = (fs, root)
        return self._fs_of

    def _download(self, name: str, path: Path, n_bytes: int | None) -> None:
        with whole.appearing(path, lasting=False) as part:

            def get() -> None:
                self._fs.get_file(self._path(name), str(part))
                self._check_size(name, part.stat().st_size, n_bytes, OSError)

            self._ask(name, get)

    def _check_size(self, name: str, size: int | None, expected: int | None, kind: type[Exception] = StoreError) -> None:
        if size is not None and expected is not None and size != expected:
            raise kind(f"{self.url}/{name} has {size} bytes where {expected} were written; copy the store again")

    def _ask(self, name: str, request: Callable[[], _T]) -> _T:
        """What a request gives, asked again when it fails for what may pass."""
        for attempt in range(TRIES):
            try:
                return request()
            except StoreError:
                raise
            except Exception as error:  # every client has errors of its own, with no root in common
                if problem := self._lasting(name, error):
                    raise StoreError(problem) from error
                last = error
            if attempt + 1 < TRIES:
                time.sleep(FIRST_WAIT * 2**attempt)
        raise StoreError(
            f"{self.url}/{name} could not be read in {TRIES} tries ({type(last).__name__}: {last}); is the network up?"
        ) from last

    def _lasting(self, name: str, error: Exception) -> str | None:
        """Why asking again would not help; None where it may."""
        if isinstance(error, FileNotFoundError):
            if name == FACTS:
                return (
                    f"there is no store at {self.url} (no {FACTS}, or no such bucket); copy the folder that `einthoven ingest` wrote there"
                )
            return f"{self.url} lacks its {name}; copy the store again"
        if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
            return (
                f"{self.url}/{name} may not be read ({error}); give credentials as the client for {self.url.split('://')[0]}:// takes them"
            )
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"there is no room in {self.cache.folder} ({error}); set EINTHOVEN_CACHE to another disk, or EINTHOVEN_CACHE_GB to less"
        return None


def _token(info: Mapping[str, Any]) -> str:
    """Changes when an object does: by its tag, its checksum or its time, whichever its file system tells, and its size."""
    keys = ("ETag", "etag", "md5Hash", "crc32c", "md5", "checksum", "LastModified", "last_modified", "mtime", "updated", "created", "size")
    known = [(key, str(info[key])) for key in keys if info.get(key) is not None]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:10]


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
def _locked(path: Path) -> Iterator[None]:
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
