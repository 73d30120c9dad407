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
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bare_array import LEADS, RATES, UNITS, as_record, settled
from einthoven.io.bounds import most_bytes
from einthoven.io.cut import cut
from einthoven.io.rates import is_rate
from einthoven.io.sidecar import Told, told
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
    return cut(as_record(path, array, given, record), path, leads=leads, start=start, stop=stop)


def _array(path: Path, file: IO[bytes], size: int) -> np.ndarray:
    """The array of a ``.npy`` stream of ``size`` bytes; nothing is allocated before its promise was compared with that."""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, fortran, dtype = header(file)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError, EOFError, tokenize.TokenError) as error:
        raise FormatError(f"{path}: a damaged NumPy array: {' '.join(str(error).split())[:160]}.") from None
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


def _archive(path: Path, given: Told) -> tuple[np.ndarray, Told]:
    """The signal of an ``.npz``, and what is known about it: the archive's own words and what was told."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")}
            by_name = {name.lower(): name for name in members}

            def content(names: Sequence[str]) -> Any:
                name = next((by_name[name] for name in names if name in by_name), None)
                if name is None:
                    return None
                if members[name].file_size > most_bytes(path):
                    raise FormatError(f"{path}: {name} has {members[name].file_size} bytes, more than is read at once; split it.")
                with archive.open(members[name]) as file:
                    return _array(path, file, members[name].file_size)

            array, rate, leads, unit = (content(names) for names in (_SIGNALS, RATES, LEADS, UNITS))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise FormatError(f"{path}: a damaged archive of NumPy arrays: {' '.join(str(error).split())[:160]}.") from None
    if array is None:
        found = ", ".join(members) or "none"
        raise FormatError(f"{path}: expected an array named {', '.join(_SIGNALS[:-1])}; it holds {found}; name the signal so.")
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
