"""HDF5 files of an ECG, or of many: SPH, CODE-15 %, CODE-test, and any that say what they hold. With the package h5py.

The signal is a dataset named ``ecg``, ``signal``, ``tracings``, …; ``fs``, ``leads`` and ``unit`` are its attributes, the file's, or datasets beside it. Two
corpora say nothing, and a file that looks exactly like theirs is taken for one: ``ecg`` of (12, time) float16 alone is SPH (500 Hz, mV),
``tracings`` of (exam, 4096, 12) is CODE (400 Hz; taken as mV, though its unit is not certain), whose zero padding at both ends is cut off.

Links out of the file, virtual datasets and external storage are not followed: they could make us read anything on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bounds import most_bytes
from einthoven.io.cut import cut, with_limb_leads
from einthoven.io.hdf5_texts import texts_at, texts_of_attribute
from einthoven.io.sidecar import Told, agreed, ask_for, in_mV, told
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record

_SIGNALS = ("ecg", "signal", "signals", "tracings", "tracing", "data", "x", "waveform")
_RATES = ("fs", "sampling_rate", "sample_rate", "sampling_frequency", "frequency", "sfreq")
_LEADS = ("leads", "lead_names", "sig_name", "channels", "ch_names")
_UNITS = ("unit", "units")
_IDS = ("exam_id", "record", "record_id", "id", "id_exam")
_CODE_LENGTH, _MOST_VALUES = 4096, 4096


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
    import h5py

    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            made = _read(path, file, told(path, fs, unit, names), record)
    # h5py passes on what the library finds in a damaged file as any of these.
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        NotImplementedError,
        OverflowError,
        MemoryError,
    ) as error:
        raise FormatError(f"{path}: a damaged HDF5 file: {' '.join(str(error).split())[:200]}.") from None
    return cut(made, path, leads=leads, start=start, stop=stop)


def record_names(path: Path | str) -> list[str]:
    """What ``record=`` may be for a file that holds many recordings; empty for a file of one. Raises FormatError."""
    import h5py

    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            signal = _signal(path, file)
            if signal.ndim != 3:
                return []
            ids = _ids(path, file, len(signal))
            return [str(k) for k in range(len(signal))] if ids is None else ids
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        NotImplementedError,
        OverflowError,
        MemoryError,
    ) as error:
        raise FormatError(f"{path}: a damaged HDF5 file: {' '.join(str(error).split())[:200]}.") from None


def _read(path: Path, file: Any, given: Told, which: str | int | None) -> Record:
    signal = _signal(path, file)
    name, stem = signal.name.strip("/"), path.stem
    said = Told(_rate(path, file, signal), _word(path, file, signal, _UNITS), _texts(path, file, signal))
    nothing_said = said == Told() and not dict(signal.attrs)
    if nothing_said and name == "ecg" and signal.ndim == 2 and signal.shape[0] == 12 and signal.dtype == np.float16 and len(file) == 1:
        said = Told(500.0, "mV", TWELVE)
    is_code = name == "tracings" and signal.ndim == 3 and signal.shape[1:] == (_CODE_LENGTH, 12) and signal.dtype.kind == "f"
    if nothing_said and is_code:
        said = Told(400.0, "mV", TWELVE)
    given = Told(*(agreed(path, what, s, t) for what, s, t in zip(("rate is", "unit is", "leads are"), _plain(said), _plain(given))))
    missing = [what for what, value in (("rate", given.fs), ("unit", given.unit), ("lead names", given.leads)) if value is None]
    place: Any = ()
    if signal.ndim == 3:
        k, exam = _which(path, file, len(signal), which)
        place, stem = k, exam
    if missing or given.fs is None or given.unit is None or given.leads is None:
        raise ask_for(path, missing)
    array = np.asarray(signal[place])
    n = len(given.leads)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or n not in array.shape or not array.size:
        raise FormatError(f"{path}: expected {n} leads ({' '.join(given.leads)}); {name} has the shape {signal.shape}.")
    array = array if array.shape[0] == n and not is_code else array.T
    meta: dict[str, Any] = {}
    if nothing_said and is_code:
        there = np.flatnonzero((array != 0).any(axis=0))
        if not len(there):
            raise FormatError(f"{path}: recording {stem} is all zeros.")
        if there[0] > 0 or there[-1] < array.shape[1] - 1:
            meta["padding_cut"] = [int(there[0]), int(array.shape[1] - 1 - there[-1])]
        array = array[:, there[0] : there[-1] + 1]
    rows, unique, others = in_mV(path, array, [canonical(lead) for lead in given.leads], [given.unit] * n)
    if others:
        meta["units"] = others
    return with_limb_leads(Record(rows, given.fs, unique, record=stem, meta=meta))


def _plain(value: Told) -> tuple[Any, Any, Any]:
    return value.fs, value.unit, value.leads


def _member(path: Path, file: Any, names: Sequence[str]) -> Any:
    """The first dataset of one of these names, in any case, that lies in the file itself; None where there is none."""
    import h5py

    if len(file) > 10_000:
        raise FormatError(f"{path}: holds {len(file)} things at its root; expected one ECG, or one array of many.")
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
        found = ", ".join(list(file)[:20]) or "nothing"
        raise FormatError(f"{path}: expected a dataset named {', '.join(_SIGNALS)} at its root; it holds {found}.")
    if signal.shape is None or signal.dtype.kind not in "fiu" or not 1 <= signal.ndim <= 3 or not signal.size:
        raise FormatError(
            f"{path}: expected numbers of shape (lead, time); {signal.name} has the shape {signal.shape} and type {signal.dtype}."
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
            f"{path}: truncated: {item.name} of shape {item.shape} has {item.nbytes} bytes; {item.id.get_storage_size()} are stored."
        )


def _value(path: Path, file: Any, signal: Any, names: Sequence[str]) -> np.ndarray | None:
    """An attribute of the signal or of the file, or a small dataset beside it."""
    for attributes in (signal.attrs, file.attrs):
        by_name = {name.lower(): name for name in attributes}
        if found := next((by_name[name] for name in names if name in by_name), None):
            kept = attributes.get_id(found)
            if int(np.prod(kept.shape, dtype=object)) > _MOST_VALUES:
                raise FormatError(f"{path}: its attribute {found} has more values than leads; damaged.")
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
    value = _value(path, file, signal, _RATES)
    if value is None:
        return None
    if value.size != 1 or value.dtype.kind not in "fiu" or not 0 < float(value.reshape(-1)[0]) <= 1e6:
        raise FormatError(f"{path}: expected fs as a rate in Hz; it says {str(value)[:60]!r}.")
    return float(value.reshape(-1)[0])


def _word(path: Path, file: Any, signal: Any, names: Sequence[str]) -> str | None:
    value = _value(path, file, signal, names)
    words = None if value is None else _decoded(value)
    if words is not None and len(set(words)) != 1:
        raise FormatError(f"{path}: expected one unit; it says {words}.")
    return words[0] if words else None


def _texts(path: Path, file: Any, signal: Any) -> tuple[str, ...] | None:
    value = _value(path, file, signal, _LEADS)
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


def _which(path: Path, file: Any, n: int, which: str | int | None) -> tuple[int, str]:
    """The place of a recording among many, and its name."""
    ids = _ids(path, file, n)
    known = ids if ids is not None else [str(k) for k in range(n)]
    if which is None:
        shown = ", ".join(known[:3])
        raise FormatError(f"{path}: holds {n} recordings; name one: record={shown}{', …' if n > 3 else ''}, or ingest the corpus.")
    if str(which) not in known:
        raise FormatError(f"{path}: holds {n} recordings ({', '.join(known[:3])}{', …' if n > 3 else ''}); asked for {which}.")
    if known.count(str(which)) > 1:
        raise FormatError(f"{path}: {which} is the id of {known.count(str(which))} of its recordings; expected one.")
    return known.index(str(which)), str(which) if ids is not None else f"{path.stem}/{which}"
