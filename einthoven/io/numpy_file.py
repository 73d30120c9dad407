"""NumPy files: ``.npy``, an array of bare numbers, and ``.npz``, several arrays by name. Pickled objects are refused, never loaded.

An archive may say everything of itself: the signal as ``ecg``, ``signal``, ``x``, …; ``fs``; ``leads``; ``unit``. What is not there is asked for by
name (``sidecar.py``).
"""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bare_array import LEADS, RATES, UNITS, as_record, finished, settled
from einthoven.io.bounds import most_bytes
from einthoven.io.rates import is_rate
from einthoven.io.sidecar import Told, told
from einthoven.io.texts import one_line
from einthoven.record import Record

_SIGNALS = ("ecg", "signal", "signals", "x", "data", "tracing", "val", "feats", "arr_0")


def read(
    path: Path | str,
    *,
    leads: Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    fs: float | None = None,
    unit: str | None = None,
    names: Sequence[str] | None = None,
    record: int | None = None,
) -> Record:
    """An array of numbers in mV.

    fs, unit, names : what the file does not say itself, else they come from a JSON file beside it
    record          : which of an array of several recordings, (record, lead, time), counted from 0

    Raises FormatError where something is neither said nor told, and for arrays that are no signal.
    """
    path = Path(path)
    given = told(path, fs, unit, names)
    with open(path, "rb") as file:
        if file.read(6) == b"\x93NUMPY":
            file.seek(0)
            array = _array(path, file, path.stat().st_size)
        else:
            array, given = _archive(path, given)
    return finished(path, as_record(path, array, given, record), leads, start, stop)


def records_in(path: Path | str) -> list[int]:
    """What ``record=`` may be for an array of several recordings; empty for any other. Raises FormatError."""
    path = Path(path)
    with open(path, "rb") as file:
        if file.read(6) == b"\x93NUMPY":
            file.seek(0)
            shape = _header(path, file)[0]
        else:
            with _opened(path) as members:
                shape = members.shape(_SIGNALS)
    return list(range(shape[0])) if len(shape) == 3 else []


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether in Fortran's order, type) of a ``.npy`` stream, whose numbers follow."""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            return header(file)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError, EOFError, tokenize.TokenError) as error:
        raise FormatError(f"{path}: a damaged NumPy array: {' '.join(str(error).split())[:160]}; copy it again.") from None


def _array(path: Path, file: IO[bytes], size: int) -> np.ndarray:
    """The array of a ``.npy`` stream of ``size`` bytes; nothing is allocated before its promise was compared with that."""
    shape, fortran, dtype = _header(path, file)
    if dtype.hasobject:
        raise FormatError(f"{path}: holds pickled objects, which are not loaded: they could run anything; save plain numbers and texts.")
    n_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or len(shape) > 8 or n_bytes > size:
        raise FormatError(f"{path}: truncated: an array of shape {shape} has {n_bytes} bytes; the file has {size}; copy it again.")
    if n_bytes > most_bytes(path):
        raise FormatError(f"{path}: an array of {n_bytes} bytes is more than is read at once; split it.")
    data = file.read(n_bytes)
    if len(data) != n_bytes:
        raise FormatError(f"{path}: truncated: an array of shape {shape} has {n_bytes} bytes; {len(data)} are there; copy it again.")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


class _Members:
    """The arrays of an archive, by the names that they have in small letters."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self._path, self._archive = path, archive
        self._infos = {info.filename.removesuffix(".npy").lower(): info for info in archive.infolist() if info.filename.endswith(".npy")}

    def first(self, names: Sequence[str]) -> zipfile.ZipInfo | None:
        """The first of these that is there."""
        return next((self._infos[name] for name in names if name in self._infos), None)

    def content(self, names: Sequence[str]) -> np.ndarray | None:
        """The array of the first of these that is there."""
        if (info := self.first(names)) is None:
            return None
        if info.file_size > most_bytes(self._path):
            raise FormatError(f"{self._path}: {one_line(info.filename)} has {info.file_size} bytes, more than is read at once; split it.")
        with self._archive.open(info) as file:
            return _array(self._path, file, info.file_size)

    def shape(self, names: Sequence[str]) -> tuple[int, ...]:
        """The shape of the first of these that is there, () of none; its numbers stay packed."""
        if (info := self.first(names)) is None:
            return ()
        with self._archive.open(info) as file:
            return _header(self._path, file)[0]

    def __str__(self) -> str:
        return one_line(", ".join(info.filename.removesuffix(".npy") for info in self._infos.values()))[:200] or "none"


@contextmanager
def _opened(path: Path) -> Iterator[_Members]:
    """An archive; what goes wrong with it is a FormatError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Members(path, archive)
    except zipfile.BadZipFile as error:
        # The table of contents stands at the end of an archive: what begins as one and has none was cut off.
        is_cut = not zipfile.is_zipfile(path)
        what = "truncated: the table of contents that ends an archive is not there" if is_cut else " ".join(str(error).split())[:160]
        raise FormatError(f"{path}: a damaged archive of NumPy arrays: {what}; copy it again.") from None
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise FormatError(f"{path}: a damaged archive of NumPy arrays: {' '.join(str(error).split())[:160]}; copy it again.") from None


def _archive(path: Path, given: Told) -> tuple[np.ndarray, Told]:
    """The signal of an ``.npz``, and what is known about it: the archive's own words and what was told."""
    with _opened(path) as members:
        array, rate, leads, unit = (members.content(names) for names in (_SIGNALS, RATES, LEADS, UNITS))
        if array is None:
            raise FormatError(f"{path}: expected an array named {', '.join(_SIGNALS[:-1])}; it holds {members}; name the signal so.")
    return array, settled(path, Told(_one(path, "fs", rate, "fiu"), _one(path, "unit", unit, "U"), _texts(path, leads)), given)


def _one(path: Path, name: str, value: np.ndarray | None, kinds: str) -> Any:
    if value is None:
        return None
    if value.size != 1 or value.dtype.kind not in kinds:
        raise FormatError(
            f"{path}: expected one value as {name}; got an array of shape {value.shape} and type {value.dtype}; mend it, or write it again."
        )
    one = value.reshape(-1)[0].item()
    if name == "fs" and not is_rate(one):
        raise FormatError(f"{path}: expected fs as a rate in Hz; got {one}; mend it, or write it again.")
    return float(one) if name == "fs" else one


def _texts(path: Path, value: np.ndarray | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if value.dtype.kind not in "US" or value.ndim > 1 or value.size > 4096:
        raise FormatError(
            f"{path}: expected the leads as texts; got an array of shape {value.shape} and type {value.dtype}; mend it, or write it again."
        )
    names = value.reshape(-1).tolist()
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in names)
