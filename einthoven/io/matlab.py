"""MATLAB files that hold an ECG without a WFDB header: segments of fairseq-signals, and recordings of CPSC 2018.

A file of fairseq-signals (keys ``feats``, ``curr_sample_rate``; 12 rows are the twelve leads in its fixed order, for other numbers it keeps no names)
holds mV, or, in its stages "preprocessed" and "segmented", a z-score whose ``mean`` and ``std`` per lead stand beside it: that scaling
is undone, so that every reader gives physical units. What the publisher of the corpus stored as mV may not be mV (CODE-15 %'s
unit is not certain): the factor of the file stands. A lead that was constant is its mean again; one that its strategy made NaN stays NaN.

CPSC 2018 (struct ``ECG`` with ``sex``, ``age``, ``data``) and CPSC 2019 (``data_00001.mat`` with nothing but ``ecg (time, 1)``) state no rate and
no unit: the challenges give 500 Hz and mV. Of any other matrix a rate, a unit and lead names must be told (``sidecar.py``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bare_array import as_record, finished, settled
from einthoven.io.cut import unique_names
from einthoven.io.demographics import sex_of, years
from einthoven.io.matlab_variables import read_variables, shapes_of
from einthoven.io.rates import is_rate
from einthoven.io.sidecar import Told, told
from einthoven.io.texts import one_line
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record

CPSC_FS = 500.0
_CPSC2019 = re.compile(r"data_\d{5}\.mat")
_SIGNALS = ("val", "ecg", "ECG", "signal", "data", "x")
_V4_NUMBERS = {0: "<f8", 1: "<f4", 2: "<i4", 3: "<i2", 4: "<u2", 5: "u1"}  # by the precision digit of a version-4 type


def is_matlab(head: bytes) -> bool:
    """Whether a file that begins with these bytes (128 at least) is a MATLAB file of version 4 or 5."""
    return head.startswith(b"MATLAB 5.0") or _v4_size(head) is not None


def _v4_size(head: bytes) -> int | None:
    """Bytes that the first matrix of a version-4 file needs, header included; None where this is no such file."""
    if len(head) < 21:
        return None
    kind, rows, columns, imaginary, n_name = struct.unpack_from("<5i", head)
    name = head[20 : 20 + max(n_name, 0)]
    if not 0 <= kind < 60 or kind % 10 > 2 or kind // 10 not in _V4_NUMBERS or imaginary not in (0, 1) or rows < 0 or columns < 0:
        return None
    if not 1 < n_name <= 64 or name[-1:] != b"\0" or not name[:-1].decode("latin-1").isidentifier():
        return None
    return 20 + n_name + rows * columns * np.dtype(_V4_NUMBERS[kind // 10]).itemsize * (1 + imaginary)


def _v4_matrix(path: Path, data: bytes) -> np.ndarray:
    """The first matrix of a version-4 file, whose size was compared with the file's."""
    kind, rows, columns, imaginary, n_name = struct.unpack_from("<5i", data)
    if kind % 10 or imaginary:
        raise FormatError(f"{path}: expected a matrix of real numbers; it holds text, a sparse or a complex matrix; write it again.")
    return np.frombuffer(data, _V4_NUMBERS[kind // 10], rows * columns, 20 + n_name).reshape(rows, columns, order="F")


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
    """An ECG from a MATLAB file, in mV.

    fs, unit, names : what the file does not say itself, else they come from a JSON file beside it
    record          : which of a matrix of several recordings, (record, lead, time), counted from 0

    Raises FormatError where it holds no signal, and where a rate, a unit or lead names are neither known nor told, or are known and told differently.
    """
    path = Path(path)
    data = path.read_bytes()
    given = told(path, fs, unit, names)
    if (needed := _v4_size(data[:128])) is not None:
        if needed > len(data):
            raise FormatError(f"{path}: truncated: its first matrix needs {needed} bytes; the file has {len(data)}; copy it again.")
        if given == Told():
            raise FormatError(
                f"{path}: holds numbers and neither a rate, a unit nor lead names: put its WFDB header {path.with_suffix('.hea').name} beside it, "
                "or tell them (fs=, unit=, names=)."
            )
        return finished(path, as_record(path, _v4_matrix(path, data), given, record), leads, start, stop)
    try:
        content = read_variables(data)
    except ValueError as error:
        raise _damaged(path, error) from None
    if "feats" in content and "curr_sample_rate" in content:
        found = _named(path, _fairseq_signals(path, content), given)
    elif isinstance(content.get("ECG"), dict):
        found = _named(path, _cpsc2018(path, content["ECG"]), given)
    elif name := next((name for name in _SIGNALS if isinstance(content.get(name), np.ndarray)), None):
        if given == Told() and _CPSC2019.fullmatch(path.name) and list(content) == ["ecg"] and np.shape(content["ecg"])[1:] == (1,):
            given = Told(CPSC_FS, "mV", ("ecg",))
        found = as_record(path, np.asarray(content[name]), given, record)
    else:
        there = one_line(", ".join(content))[:200] or "nothing"
        raise FormatError(
            f"{path}: expected feats and curr_sample_rate (fairseq-signals), ECG (CPSC 2018), or a matrix called {', '.join(_SIGNALS)}; it holds {there}; name the signal so."
        )
    return finished(path, found, leads, start, stop)


def records_in(path: Path | str) -> list[int]:
    """What ``record=`` may be for a file whose signal is a matrix of several recordings; empty for any other. Raises FormatError."""
    path = Path(path)
    data = path.read_bytes()
    if _v4_size(data[:128]) is not None:  # has two dimensions
        return []
    try:
        shapes = shapes_of(data)
    except ValueError as error:
        raise _damaged(path, error) from None
    shape = next((shapes[name] for name in _SIGNALS if name in shapes), ())
    return list(range(shape[0])) if len(shape) == 3 and "feats" not in shapes else []


def _damaged(path: Path, error: ValueError) -> FormatError:
    return FormatError(f"{path}: a damaged MATLAB file: {error}; copy it again, or write it again.")


def _number(path: Path, content: dict[str, Any], name: str) -> float:
    value = np.asarray(content[name])
    if value.size != 1 or not np.issubdtype(value.dtype, np.number) or not np.isfinite(value.item()):
        raise FormatError(
            f"{path}: expected one number as {name}; got an array of shape {value.shape} and type {value.dtype}; mend it, or write it again."
        )
    return float(value.item())


def _matrix(path: Path, name: str, value: Any, rows: int | None = None) -> np.ndarray:
    value = np.asarray(value)
    if value.ndim != 2 or not value.size or not np.issubdtype(value.dtype, np.number) or np.iscomplexobj(value):
        raise FormatError(
            f"{path}: expected {name} as numbers of shape (lead, time); got shape {value.shape} and type {value.dtype}; mend it, or write it again."
        )
    if rows is not None and value.shape != (rows, 1):
        raise FormatError(f"{path}: expected {name} of shape ({rows}, 1), one per lead; got {value.shape}; mend it, or write it again.")
    with np.errstate(invalid="ignore"):  # a signalling NaN in a damaged file
        return value.astype(np.float64)


def _recorded(signal: np.ndarray) -> np.ndarray:
    """As float32, with NaN for what is infinite there: no electrode measured it."""
    return np.where(np.abs(signal) < np.finfo(np.float32).max, signal, np.nan).astype(np.float32)


def _lead_names(n_leads: int) -> tuple[str, ...]:
    return TWELVE if n_leads == len(TWELVE) else tuple(f"lead {n}" for n in range(1, n_leads + 1))


def _named(path: Path, record: Record, given: Told) -> Record:
    """A recording of a format that says what it is, but for its leads where they are not the twelve. Raises FormatError where that was told otherwise."""
    has_names = record.leads == TWELVE
    known = settled(path, Told(record.fs, "mV", TWELVE if has_names else None), given)
    if has_names or known.leads is None:
        return record
    if len(known.leads) != len(record.leads):
        raise FormatError(
            f"{path}: expected names for its {len(record.leads)} leads; {len(known.leads)} were told: {' '.join(known.leads)}; tell one for each."
        )
    return replace(record, leads=tuple(unique_names([canonical(name) for name in known.leads])))


def _fairseq_signals(path: Path, content: dict[str, Any]) -> Record:
    feats = _matrix(path, "feats", content["feats"])
    fs = _number(path, content, "curr_sample_rate")
    if not is_rate(fs):
        raise FormatError(f"{path}: expected curr_sample_rate in Hz; got {fs}; mend it, or write it again.")
    meta: dict[str, Any] = {}
    if "mean" in content and "std" in content:
        mean, std = (_matrix(path, name, content[name], rows=len(feats)) for name in ("mean", "std"))
        with np.errstate(over="ignore", invalid="ignore"):
            feats = feats * std + mean
        meta["unscaled"] = "z-score of fairseq-signals undone with the file's mean and std"
    if "segment_i" in content:
        meta["segment"] = int(_number(path, content, "segment_i"))
    return Record(_recorded(feats), fs, _lead_names(len(feats)), record=path.stem, meta=meta)


def _cpsc2018(path: Path, ecg: dict[str, Any]) -> Record:
    if "data" not in ecg:
        raise FormatError(
            f"{path}: expected a struct ECG with sex, age and data; its fields are {one_line(', '.join(ecg))[:200]}; mend it, or write it again."
        )
    signal = _matrix(path, "ECG.data", ecg["data"])
    meta: dict[str, Any] = {}
    if isinstance(ecg.get("sex"), str) and (sex := sex_of(ecg["sex"])):
        meta["sex"] = sex
    age = np.asarray(ecg.get("age"))
    if age.size == 1 and np.issubdtype(age.dtype, np.number) and (known := years(age.item())) is not None:
        meta["age"] = known
    return Record(_recorded(signal), CPSC_FS, _lead_names(len(signal)), record=path.stem, meta=meta)
