"""HDF5 files of an ECG, or of many: SPH, CODE-15 %, CODE-test, and any that say what they hold. With the package h5py.

The signal is a dataset named ``ecg``, ``signal``, ``tracings``, …; ``fs``, ``leads`` and ``unit`` are its attributes, the file's, or datasets beside it. Two
corpora say nothing, and a file that looks exactly like theirs is taken for one: ``ecg`` of (12, time) float16 alone is SPH (500 Hz, mV),
``tracings`` of (exam, 4096, 12) is CODE (400 Hz; taken as mV, though its unit is not certain), whose zero padding at both ends is cut off.

Links out of the file, virtual datasets and external storage are not followed: they could make us read anything on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bare_array import LEADS, RATES, UNITS, as_record, finished, place_of, settled
from einthoven.io.bounds import most_bytes
from einthoven.io.hdf5_texts import texts_at, texts_of_attribute
from einthoven.io.rates import is_rate
from einthoven.io.sidecar import Told, told
from einthoven.io.texts import one_line
from einthoven.leads import TWELVE
from einthoven.record import Record

_SIGNALS = ("ecg", "signal", "signals", "tracings", "tracing", "data", "x", "waveform")
_IDS = ("exam_id", "record", "record_id", "id", "id_exam")
_CODE_LENGTH, _MOST_VALUES = 4096, 4096
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
"""What h5py makes of what the library finds in a damaged file."""

_CUT_OFF = re.compile(r"truncated file: eof = (\d+), .*stored_eof = (\d+)")


def read(
    path: Path | str,
    *,
    leads: Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    fs: float | None = None,
    unit: str | None = None,
    names: Sequence[str] | None = None,
    record: str | int | None = None,
) -> Record:
    """A recording in mV.

    fs, unit, names : what the file does not say itself, else they come from a JSON file beside it
    record          : which of many, by its ``exam_id``, or counted from 0 where the file has no ids

    Raises FormatError for a damaged file, for one that holds many where none is named, and where something is neither said nor told.
    """
    path = Path(path)
    given = told(path, fs, unit, names)
    with _opened(path) as file:
        made = _read(path, file, given, record)
    return finished(path, made, leads, start, stop)


def records_in(path: Path | str) -> list[str]:
    """What ``record=`` may be for a file that holds many recordings; empty for a file of one. Raises FormatError."""
    path = Path(path)
    with _opened(path) as file:
        signal = _signal(path, file)
        if signal.ndim != 3:
            return []
        return _ids(path, file, len(signal)) or [str(k) for k in range(len(signal))]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file; what goes wrong with it is a FormatError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except _DAMAGE as error:
        if found := _CUT_OFF.search(str(error)):
            there, promised = found.groups()
            raise FormatError(f"{path}: a damaged HDF5 file: truncated: expected {promised} bytes, came {there}; copy it again.") from None
        raise FormatError(f"{path}: a damaged HDF5 file: {' '.join(str(error).split())[:200]}; copy it again.") from None


def _read(path: Path, file: Any, given: Told, which: str | int | None) -> Record:
    signal = _signal(path, file)
    name = signal.name.strip("/")
    said = Told(_rate(path, file, signal), _word(path, file, signal, UNITS), _texts(path, file, signal))
    is_silent = said == Told() and not dict(signal.attrs)
    is_sph = is_silent and name == "ecg" and len(file) == 1 and signal.ndim == 2 and signal.shape[0] == 12 and signal.dtype == np.float16
    is_code = is_silent and name == "tracings" and signal.ndim == 3 and signal.shape[1:] == (_CODE_LENGTH, 12) and signal.dtype.kind == "f"
    if is_sph or is_code:
        said = Told(500.0 if is_sph else 400.0, "mV", TWELVE)
    place: Any = ()
    stem = path.stem
    if signal.ndim == 3:
        ids = _ids(path, file, len(signal))
        place = place_of(path, which, ids or [str(k) for k in range(len(signal))])
        stem = str(which) if ids else f"{path.stem}/{which}"
    array, meta = np.asarray(signal[place]), {}
    if is_code:
        array, n_before, n_behind = _without_padding(path, stem, array.T)
        meta = {"padding_cut": [n_before, n_behind]} if n_before or n_behind else {}
    made = as_record(path, array, settled(path, said, given))
    return replace(made, record=stem, meta={**meta, **made.meta})


def _without_padding(path: Path, stem: str, array: np.ndarray) -> tuple[np.ndarray, int, int]:
    """(lead, time) without the zeros at both ends, and how many there were at each."""
    there = np.flatnonzero((array != 0).any(axis=0))
    if not len(there):
        raise FormatError(f"{path}: recording {stem} is all zeros; leave it out.")
    return array[:, there[0] : there[-1] + 1], int(there[0]), int(array.shape[1] - 1 - there[-1])


def _member(path: Path, file: Any, names: Sequence[str]) -> Any:
    """The first dataset of one of these names, in any case, that lies in the file itself; None where there is none."""
    import h5py

    if len(file) > 10_000:
        raise FormatError(f"{path}: holds {len(file)} things at its root; expected one ECG, or one array of many; split it.")
    by_name = {name.lower(): name for name in file}
    found = next((by_name[name] for name in names if name in by_name), None)
    if found is None:
        return None
    if not isinstance(file.get(found, getlink=True), h5py.HardLink):
        raise FormatError(f"{path}: its {found} is a link, which is not followed; name the file that holds the data.")
    item = file[found]
    if not isinstance(item, h5py.Dataset):
        return None
    if item.is_virtual or item.external:
        raise FormatError(f"{path}: its {found} lies in other files, which are not read; name the file that holds the data.")
    return item


def _signal(path: Path, file: Any) -> Any:
    signal = _member(path, file, _SIGNALS)
    if signal is None:
        found = one_line(", ".join(list(file)[:20])) or "nothing"
        raise FormatError(f"{path}: expected a dataset named {', '.join(_SIGNALS)} at its root; it holds {found}; name the signal so.")
    if signal.shape is None or signal.dtype.kind not in "fiu" or not 1 <= signal.ndim <= 3 or not signal.size:
        raise FormatError(
            f"{path}: expected numbers of shape (lead, time); {signal.name} has the shape {signal.shape} and type {signal.dtype}; mend it, or write it again."
        )
    one = signal.shape[1:] if signal.ndim == 3 else signal.shape
    _bounded(path, signal, one)
    return signal


def _bounded(path: Path, item: Any, shape: Sequence[int]) -> None:
    """Nothing is read that would take more memory than a long recording does, whatever the file promises."""
    n_bytes = item.dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
    chunk = item.dtype.itemsize * int(np.prod([int(n) for n in item.chunks], dtype=object)) if item.chunks else 0
    if max(n_bytes, chunk) > most_bytes(path):
        raise FormatError(
            f"{path}: {item.name} of shape {item.shape} in chunks of {item.chunks} is more than is read at once; split the file."
        )
    if item.chunks is None and item.id.get_storage_size() < item.nbytes:
        raise FormatError(
            f"{path}: truncated: {item.name} of shape {item.shape} has {item.nbytes} bytes; {item.id.get_storage_size()} are stored; copy it again."
        )


def _value(path: Path, file: Any, signal: Any, names: Sequence[str]) -> np.ndarray | None:
    """An attribute of the signal or of the file, or a small dataset beside it."""
    for attributes in (signal.attrs, file.attrs):
        by_name = {name.lower(): name for name in attributes}
        if found := next((by_name[name] for name in names if name in by_name), None):
            kept = attributes.get_id(found)
            if int(np.prod(kept.shape, dtype=object)) > _MOST_VALUES:
                raise FormatError(f"{path}: its attribute {found} has more values than leads: damaged; mend it, or write it again.")
            if kept.dtype.hasobject:
                return _followed(path, found, texts_of_attribute(path, found, int(np.prod(kept.shape, dtype=object))))
            return np.asarray(attributes[found])
    item = _member(path, file, names)
    if item is None or item.shape is None:
        return None
    if item.size > _MOST_VALUES:
        raise FormatError(f"{path}: {item.name} has {item.size} values; expected one, or a name for each lead.")
    _bounded(path, item, item.shape)
    return _content(path, item)


def _content(path: Path, item: Any) -> np.ndarray:
    if item.dtype.hasobject:
        return _followed(path, item.name, texts_at(path, None if item.chunks else item.id.get_offset(), item.size))
    return np.asarray(item[()])


def _followed(path: Path, name: str, texts: list[str] | None) -> np.ndarray:
    if texts is None:
        raise FormatError(
            f"{path}: the texts of {name} cannot be followed: the file is damaged, or they are no plain texts; store them as fixed-length text."
        )
    return np.array(texts)


def _rate(path: Path, file: Any, signal: Any) -> float | None:
    value = _value(path, file, signal, RATES)
    if value is None:
        return None
    if value.size != 1 or value.dtype.kind not in "fiu" or not is_rate(float(value.reshape(-1)[0])):
        raise FormatError(f"{path}: expected fs as a rate in Hz; it says {str(value)[:60]!r}; mend it, or write it again.")
    return float(value.reshape(-1)[0])


def _word(path: Path, file: Any, signal: Any, names: Sequence[str]) -> str | None:
    value = _value(path, file, signal, names)
    words = None if value is None else _decoded(value)
    if words is not None and len(set(words)) != 1:
        raise FormatError(f"{path}: expected one unit; it says {words}; mend it, or write it again.")
    return words[0] if words else None


def _texts(path: Path, file: Any, signal: Any) -> tuple[str, ...] | None:
    value = _value(path, file, signal, LEADS)
    if value is None:
        return None
    words = _decoded(value)
    return tuple(words[0].replace(",", " ").split()) if len(words) == 1 else tuple(words)


def _decoded(value: np.ndarray) -> list[str]:
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in value.reshape(-1).tolist()]


def _ids(path: Path, file: Any, n: int) -> list[str] | None:
    item = _member(path, file, _IDS)
    if item is None or item.ndim != 1 or len(item) != n:
        return None
    _bounded(path, item, item.shape)
    return _decoded(_content(path, item))
