"""Files that appear whole or not at all: written beside their place, brought to the disk, and renamed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from einthoven.errors import EinthovenError


@contextmanager
def appearing(path: Path, *, synced: bool = True, lasting: bool = True) -> Iterator[Path]:
    """A name to write to, with the same suffix; what was written there appears at ``path`` by one rename when the block ends well.

    synced  : the bytes are on the disk before the name is, so that a power cut never leaves a name with half its bytes
    lasting : the name survives a power cut from here on; else it may be gone after one, as if nothing had been written

    Raises EinthovenError where the place cannot be written to.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        if synced:
            sync(part)
        os.replace(part, path)
    except OSError as error:
        raise EinthovenError(f"{path}: cannot be written ({error.strerror or error}); choose another place, or make room") from error
    finally:
        if path.parent.is_dir():
            part.unlink(missing_ok=True)
    if synced and lasting:
        sync(path.parent)


def write(path: Path, fill: Callable[[IO[bytes]], Any], *, lasting: bool = True) -> None:
    """Let ``fill`` write a file's bytes; see ``appearing``."""
    with appearing(path, lasting=lasting) as part, open(part, "wb") as file:
        fill(file)


def write_text(path: Path, text: str, *, lasting: bool = True) -> None:
    """UTF-8, with the line ends that are in the text; folders on the way are made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EinthovenError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    write(path, lambda file: file.write(text.encode("utf-8")), lasting=lasting)


def write_json(path: Path, value: Mapping[str, Any] | list[Any], *, lasting: bool = True) -> None:
    """Indented, with a line end, readable by people; what is no JSON (a path) as its text."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", lasting=lasting)


def sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk. Windows cannot open a folder, and a rename there does not need it."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
