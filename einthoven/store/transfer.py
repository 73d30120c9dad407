"""Files of an object store, asked for through fsspec until they come, or until it is clear why they do not.

Credentials, end points and the like are fsspec's and its clients' matter (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS,
FSSPEC_S3_ENDPOINT_URL, ~/.config/fsspec).
"""

from __future__ import annotations

import errno
import importlib
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.store.layout import FACTS

TRIES = 4
FIRST_WAIT = 0.5
"""Seconds before the second try; twice as long before each further one."""

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


class Transfer:
    """The files below a URL, by their names there. StoreError, in one line, for what asking again does not mend.

    cache : where files go, for the person whose disk is full. Not to be used in a process that was forked from the one that made it.
    """

    def __init__(self, url: str, cache: Path):
        self.url, self.cache = url, cache

    def content(self, name: str) -> bytes:
        return self._ask(name, lambda: self._fs.cat_file(self._path(name)))

    def part(self, name: str, first: int, last: int) -> bytes:
        """The bytes from ``first`` up to ``last``; all of them from a server that knows no ranges."""
        return self._ask(name, lambda: self._fs.cat_file(self._path(name), start=first, end=last))

    def info(self, name: str) -> Mapping[str, Any]:
        """What fsspec says of a file: ``size``, and by what its versions are told apart."""
        return self._ask(name, lambda: self._fs.info(self._path(name)))

    def listing(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """File name -> info of what is in a folder; nothing where there is no such folder, or no list of it to be had."""
        try:
            entries = self._fs.ls(self._path(name), detail=True)
        except Exception:  # plain HTTP, say, or a listing that is refused, in each client's own way: files are asked about one by one
            return {}
        return {str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]: entry for entry in entries}

    def download(self, name: str, path: Path, n_bytes: int | None) -> None:
        """The file appears whole at ``path``, of ``n_bytes`` where that is known."""
        with whole.appearing(path, lasting=False) as part:

            def get() -> None:
                self._fs.get_file(self._path(name), str(part))
                self.check_size(name, part.stat().st_size, n_bytes, OSError)

            self._ask(name, get)

    def check_size(self, name: str, size: int | None, expected: int | None, kind: type[Exception] = StoreError) -> None:
        if size is not None and expected is not None and size != expected:
            raise kind(f"{self.url}/{name} has {size} bytes where {expected} were written; copy the store again")

    # ---------------------------------------------------------------------------------------------------------- requests

    @property
    def _fs(self) -> Any:
        return self._connection[0]

    def _path(self, name: str) -> str:
        return f"{self._connection[1].rstrip('/')}/{name}"

    @cached_property
    def _connection(self) -> tuple[Any, str]:
        """fsspec's file system and our place in it."""
        protocol = self.url.split("://")[0]
        try:
            return importlib.import_module("fsspec.core").url_to_fs(self.url)
        except ImportError as error:
            what = _EXTRA.get(protocol)
            hint = f"pip install '{what}'" if what else str(error)
            raise StoreError(f"{self.url}: a package for {protocol}:// is not installed: {hint}") from error
        except ValueError as error:
            raise StoreError(f"{self.url}: {error}; expected s3://, gs:// or another protocol of fsspec") from error

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
            return f"there is no room in {self.cache} ({error}); set EINTHOVEN_CACHE to another disk, or EINTHOVEN_CACHE_GB to less"
        return None
