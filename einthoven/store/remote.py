"""A store in an object store (``s3://``, ``gs://``, whatever fsspec knows): shards come to this machine when they are first used.

store.json, the table and rejected.csv come at opening; a shard comes whole, the first time that something of it is read, into a cache
(einthoven.store.cache). Where a single recording is wanted of a shard that is not here, only its bytes are asked for, until it is more than a
little of the shard.

A cache that is smaller than what is read at random fetches shards over and over: give it the room of the store, or read in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.store.cache import Cache, locked
from einthoven.store.layout import FACTS, FORMAT, REJECTED, SHARDS, TABLE, shard_bytes, shard_name
from einthoven.store.transfer import Transfer

_LITTLE = 1 / 16  # of a shard, asked for piece by piece, before it is fetched whole
_KEPT = 4  # tables of one store: the present one, and those of readers that opened it before it changed


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
        """What belongs to one process: connections, threads, and what was asked for by them."""
        self._far = Transfer(self.url, self.cache.folder)
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[int, Future[Path]] = {}
        self._asked: Counter[int] = Counter()
        self._pid = os.getpid()

    def _after_fork(self) -> None:
        """Connections and threads stayed behind in the process that this one was forked from."""
        if self._pid != os.getpid():
            self._begin()

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("url", "cache", "folder", "_tokens")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()
        if not (self.folder / FACTS).exists():  # another machine
            self._open()

    # ----------------------------------------------------------------------------------------------------------- opening

    def _open(self) -> None:
        content = self._far.content(FACTS)
        try:
            facts = json.loads(content)
            shards = facts["shards"] if facts["format"] == FORMAT else None
        except (ValueError, TypeError, KeyError):
            shards = None
        if shards is None:
            raise StoreError(f"{self.url}/{FACTS} does not belong to a store of einthoven; name the folder that was copied there")
        self._tokens = self._list(shards)
        table = self._far.info(TABLE)
        generation = hashlib.sha256(content + _token(table).encode()).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.url.rsplit("/", 1)[-1]).strip(".-") or "store"
        self.folder = self._home / "tables" / generation / name
        if not (self.folder / FACTS).exists():
            with locked(self._home / "tables.lock"):
                self._fetch_table(content, table.get("size"))

    @property
    def _home(self) -> Path:
        return self.cache.folder / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def _list(self, shards: list[int]) -> dict[int, str]:
        """What tells versions of each shard apart, where the object store gives a list; every one found to be there in full length."""
        there = self._far.listing(SHARDS)
        tokens = {}
        for number, n_counts in enumerate(shards):
            entry = there.get(shard_name(number))
            if entry is None and there:
                raise StoreError(f"{self.url} lacks its shard {shard_name(number)}; copy the store again")
            if entry is not None:
                self._far.check_size(f"{SHARDS}/{shard_name(number)}", entry.get("size"), shard_bytes(n_counts))
                tokens[number] = _token(entry)
        return tokens

    def _fetch_table(self, content: bytes, n_bytes: int | None) -> None:
        if (self.folder / FACTS).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._far.download(TABLE, self.folder / TABLE, n_bytes)
        self._far.download(REJECTED, self.folder / REJECTED, None)
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
        first, last = shard_bytes(offset), shard_bytes(offset + n)
        data = self._far.part(f"{SHARDS}/{shard_name(number)}", first, last)
        return np.frombuffer(data, dtype="<i2") if len(data) == last - first else None  # None: a server that knows no ranges

    def _place(self, number: int, n_counts: int) -> Path:
        if number not in self._tokens:
            name = f"{SHARDS}/{shard_name(number)}"
            info = self._far.info(name)
            self._far.check_size(name, info.get("size"), shard_bytes(n_counts))
            self._tokens[number] = _token(info)
        return self._home / SHARDS / f"{number:05d}-{self._tokens[number]}.npy"

    def _fetch(self, number: int, n_counts: int) -> Path:
        path, n_bytes = self._place(number, n_counts), shard_bytes(n_counts)
        name = f"{SHARDS}/{shard_name(number)}"
        return self.cache.shard(path, n_bytes, lambda: self._far.download(name, path, n_bytes), of=self.url)

    def _fetch_ahead(self, number: int) -> None:
        lengths = json.loads((self.folder / FACTS).read_text(encoding="utf-8"))["shards"]
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="shards")
            for following in range(number + 1, min(number + 1 + self.cache.read_ahead, len(lengths))):
                if following not in self._coming:
                    self._coming[following] = self._pool.submit(self._fetch, following, lengths[following])


def _token(info: Mapping[str, Any]) -> str:
    """Changes when an object does: by its tag, its checksum or its time, whichever its file system tells, and its size."""
    keys = ("ETag", "etag", "md5Hash", "crc32c", "md5", "checksum", "LastModified", "last_modified", "mtime", "updated", "created", "size")
    known = [(key, str(info[key])) for key in keys if info.get(key) is not None]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:10]
