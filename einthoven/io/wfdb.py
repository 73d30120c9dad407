"""WFDB records: a text header (``.hea``) and signal files (``.dat``, MATLAB v4 ``.mat``), the format of PhysioNet.

Formats 16, 32, 61, 80 and 212, at one rate, are read here: that is every 12-lead corpus we know, at about ten times the speed of the
``wfdb`` package, which is imported only for what is left (8, 24, 310, 311, FLAC, several segments, several rates, skew).

Checksums. header(5) defines the checksum of a lead as the sum of its samples modulo 65536. In 858 real records that state
them all agree, but for four of CinC 2017 that state 0 for every lead: a 0 that disagrees was never computed. One lead that
disagrees is told in ``meta["checksum_mismatch"]``; a record in which *every* lead disagrees is not the one that the header
describes (another file, shifted by a byte, with another number of leads) and is refused. A part of a record (``start``, ``stop``) is not checked.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names
from einthoven.io.wfdb_header import NOTHING, Header, Signal, describe, parse_header
from einthoven.leads import canonical
from einthoven.record import Record

MAX_HEADER_BYTES = 4_000_000
MAX_BYTES = 2**35
"""A record of more than 32 GiB of samples is refused: read it in parts."""

_BITS: dict[str, float] = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 32 / 3, "311": 32 / 3}
_BITS |= {"508": 0.0, "516": 0.0, "524": 0.0}  # FLAC: compressed, so the size of the file promises nothing
_DTYPES: dict[str, np.dtype[Any]] = {"16": np.dtype("<i2"), "61": np.dtype(">i2"), "32": np.dtype("<i4"), "80": np.dtype("u1")}
_INVALID = {"16": -(2**15), "61": -(2**15), "32": -(2**31), "80": -(2**7), "212": -(2**11)}
"""The count that means "not recorded": the lowest of each format (signal(5))."""

_MILLIVOLT = {"mv": 1.0, "millivolt": 1.0, "v": 1e3, "volt": 1e3, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "microvolt": 1e-3, "nv": 1e-6}


def header_path(path: Path | str) -> Path | None:
    """The header of a WFDB record named as ``X``, ``X.hea`` or by one of its signal files; None where there is none."""
    path = Path(path)
    if path.suffix.lower() == ".hea":
        return path if path.is_file() else None
    beside = path.with_name(path.name + ".hea")
    if beside.is_file():
        return beside
    # ``X.dat`` belongs to ``X.hea``; but a record ``100.1`` that is not there must not be answered with ``100``.
    if path.suffix.lower() in (".dat", ".mat") or path.is_file():
        beside = path.with_suffix(".hea")
        return beside if beside.is_file() else None
    return None


def read_header(path: Path | str) -> Header:
    """The header of a WFDB record, however the record is named. Raises FormatError."""
    found = header_path(path)
    if found is None:
        raise FormatError(f"{path}: no WFDB header: expected {Path(path).with_suffix('.hea').name} beside it.")
    if (size := found.stat().st_size) > MAX_HEADER_BYTES:
        raise FormatError(f"{found}: expected a WFDB header, a short text; it has {size} bytes.")
    # Latin-1 maps every byte: comments in other encodings stay readable enough, and binary garbage fails as a record line.
    data = found.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return parse_header(text, found)


def borrowed_signal(header: Header, path: Path) -> str | None:
    """Why a header cannot be trusted with the signal it names, or None.

    A header of another record's name that also uses that record's signal file is an edited copy (a changed rate, a changed gain) left
    beside the original: the WFDB library refuses the name alone.
    """
    named = header.record.removesuffix(".mat").removesuffix(".dat")
    if named == path.stem or not header.signals:
        return None
    files = {signal.file for signal in header.signals}
    if any(Path(file).stem == path.stem for file in files):
        return None
    return f"the header calls its record {named} and reads {', '.join(sorted(files))}, another record's signal; rename or mend one of them."


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """A WFDB record in mV, named with or without its extension (``X``, ``X.hea``, ``X.dat``, ``X.mat``).

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    Channels that are no ECG keep their own name and unit (``meta["units"]``; ``io.ecg_leads`` picks the ECG). Channels slower than the
    fastest are interpolated to its rate (``meta["interpolated"]``). Raises FormatError.
    """
    found = header_path(path)
    header = read_header(path)
    assert found is not None
    _check_named(Path(path), header)
    if problem := borrowed_signal(header, found):
        raise FormatError(f"{found}: {problem}")
    meta, labels, patient = describe(header.comments)
    if header.time is not None:
        meta["time"] = header.time
    if _is_simple(header):
        _check_files(found, header)
        signal, more, done = _read_simple(found, header, start, stop)
        fs, names, units = header.fs, [s.name for s in header.signals], [s.unit for s in header.signals]
    else:
        signal, fs, names, units, more = _read_with_wfdb(found, header)
        done = False
    meta |= more
    names = unique_names([canonical(name) for name in names])
    others = {name: unit for name, unit in zip(names, units) if unit.lower() not in _MILLIVOLT}
    if others:
        meta["units"] = others
    record = Record(
        signal,
        fs,
        tuple(names),
        record=found.stem,
        patient=patient,
        labels=labels,
        label_system="SNOMED CT" if labels is not None else None,
        meta=meta,
    )
    return cut(record, path, leads=leads, start=None if done else start, stop=None if done else stop)


def _check_named(path: Path, header: Header) -> None:
    """A signal file that its namesake header does not use must not be answered with another file's signal."""
    if path.suffix.lower() != ".hea" and path.is_file() and header.signals and path.name not in {Path(s.file).name for s in header.signals}:
        files = ", ".join(sorted({s.file for s in header.signals}))
        raise FormatError(f"{path}: {path.with_suffix('.hea').name} does not name it but {files}; rename or mend one of them.")


def _is_simple(header: Header) -> bool:
    known = all(s.format in _INVALID and s.samples_per_frame == 1 and s.skew == 0 for s in header.signals)
    return known and not header.segments


def _groups(header: Header) -> list[tuple[str, list[Signal]]]:
    """Signals that share a file, in order; such signals are interleaved sample by sample."""
    groups: list[tuple[str, list[Signal]]] = []
    for signal in header.signals:
        if groups and groups[-1][0] == signal.file:
            groups[-1][1].append(signal)
        else:
            groups.append((signal.file, [signal]))
    return groups


def _check_files(path: Path, header: Header) -> None:
    """Every signal file is there and long enough for what the header promises; nothing is allocated before this holds."""
    if all(signal.file == NOTHING for signal in header.signals):
        raise FormatError(f"{path}: the header describes no signal.")
    groups = _groups(header)
    if len({file for file, _ in groups}) != len(groups):
        raise FormatError(f"{path}: signals of one file must stand together in the header.")
    total = 0
    for file, signals in groups:
        first, where = signals[0], path.parent / file
        if {(s.format, s.offset) for s in signals} != {(first.format, first.offset)}:
            raise FormatError(f"{path}: the signals of {file} have different formats; one file has one.")
        if first.format not in _BITS:
            raise FormatError(f"{path}: signal format {first.format} is not known; known are {', '.join(_BITS)}.")
        if file == NOTHING:
            continue
        if not where.is_file():
            raise FormatError(f"{path}: the header names the signal file {file}, which is not there; restore it beside the header.")
        frame = sum(s.samples_per_frame for s in signals)
        size = where.stat().st_size - first.offset
        if header.n_samples is not None:
            needed = int(np.ceil(header.n_samples * frame * _BITS[first.format] / 8))
            total += needed
            if size < needed:
                # Whole samples only: what a byte short of the last frame would give is not a sample of every lead.
                there = max(0, int(size * 8 / _BITS[first.format] / frame))
                raise FormatError(
                    f"{where}: truncated: the header promises {header.n_samples} samples of {len(signals)} leads, {needed + first.offset} bytes; "
                    f"it has {size + first.offset}, enough for {there} samples."
                )
        elif size * 8 < _BITS[first.format] * frame:
            raise FormatError(f"{where}: holds no sample of {len(signals)} leads; it has {size + first.offset} bytes.")
    if total > MAX_BYTES:
        raise FormatError(f"{path}: {total} bytes of samples are more than is read at once.")


def _read_simple(path: Path, header: Header, start: float | None, stop: float | None) -> tuple[np.ndarray, dict[str, Any], bool]:
    """(lead, time) float32 in mV, what there is to say about it, and whether start and stop are done already."""
    parts, mismatched, n_summed = [], [], 0
    done = start is not None or stop is not None
    n_samples = header.n_samples
    if n_samples is None:
        n_samples = min(_n_samples(path.parent / file, signals) for file, signals in _groups(header) if file != NOTHING)
    first = 0 if start is None else min(max(round(start * header.fs), 0), n_samples)
    last = n_samples if stop is None else min(max(round(stop * header.fs), first), n_samples)
    for file, signals in _groups(header):
        if file == NOTHING:
            parts.append(np.full((len(signals), last - first), np.nan, dtype=np.float32))
            continue
        counts = _counts(path.parent / file, signals, first, last)
        # Sums of uint16 wrap round at 65536, which is what a checksum does.
        sums = counts.astype(np.uint16).sum(axis=1, dtype=np.uint16).tolist() if not done else []
        for row, (lead, total) in enumerate(zip(signals, sums)):
            if lead.checksum is None:
                continue
            agrees = (total - lead.checksum) % 65536 == 0
            if agrees or lead.checksum != 0:
                n_summed += 1
            if not agrees and lead.checksum != 0:
                mismatched.append(canonical(lead.name) or f"lead {row + 1}")
        parts.append(_physical(counts, signals))
    if mismatched and len(mismatched) == n_summed:
        raise FormatError(
            f"{path}: the checksum of every lead disagrees with {', '.join(f for f, _ in _groups(header))}: "
            "this is not the signal that the header describes, or it is damaged."
        )
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return signal, {"checksum_mismatch": mismatched} if mismatched else {}, done


def _n_samples(path: Path, signals: list[Signal]) -> int:
    """How many samples of each lead a file has room for."""
    return int((path.stat().st_size - signals[0].offset) * 8 / _BITS[signals[0].format] / len(signals))


def _counts(path: Path, signals: list[Signal], first: int, last: int) -> np.ndarray:
    """(lead, time) integers of one signal file, samples first up to last."""
    encoding, offset, n_leads = signals[0].format, signals[0].offset, len(signals)
    n = (last - first) * n_leads
    if encoding == "212":
        return np.ascontiguousarray(_unpack_212(path, offset, first * n_leads, n).reshape(-1, n_leads).T)
    dtype = _DTYPES[encoding]
    counts = np.fromfile(path, dtype=dtype, count=n, offset=offset + first * n_leads * dtype.itemsize)
    if encoding == "80":
        counts = counts.astype(np.int16) - 128
    return np.ascontiguousarray(counts.reshape(-1, n_leads).T)


def _unpack_212(path: Path, offset: int, first: int, n: int) -> np.ndarray:
    """Two 12-bit two's complement samples in three bytes: low byte, both high halves, low byte (signal(5))."""
    skip = first % 2
    data = np.fromfile(path, dtype=np.uint8, count=(n + skip + 1) // 2 * 3, offset=offset + first // 2 * 3)
    triples = np.zeros(-(-len(data) // 3) * 3, dtype=np.uint8)
    triples[: len(data)] = data
    low, high, second = triples.reshape(-1, 3).T.astype(np.int16)
    counts = np.stack([low | (high & 0x0F) << 8, second | (high & 0xF0) << 4], axis=1).reshape(-1)
    counts -= (counts & 0x800) << 1
    return counts[skip : skip + n]


def _physical(counts: np.ndarray, signals: list[Signal]) -> np.ndarray:
    """(lead, time) counts -> (lead, time) float32 in mV (other units as they are), NaN for the count that means "not recorded"."""
    baseline = np.array([s.baseline for s in signals])
    gain = np.array([s.gain / _MILLIVOLT.get(s.unit.lower(), 1.0) for s in signals])
    # A 16-bit count less a baseline below 2^23 is exact in float32; 32-bit counts are not.
    exact = signals[0].format != "32" and np.abs(baseline).max() < 2**23 and not (baseline % 1).any()
    dtype = np.float32 if exact else np.float64
    signal: np.ndarray[Any, Any] = (counts - baseline[:, None].astype(dtype)) / gain[:, None].astype(dtype)
    invalid = _INVALID[signals[0].format]
    if counts.size and counts.min() == invalid:
        signal[counts == invalid] = np.nan
    return signal.astype(np.float32, copy=False)


def _check_segments(path: Path, header: Header) -> None:
    """Every segment is there and as long as the master header says, so that no other library is asked for the absurd."""
    total = 0
    for name, n_samples in header.segments:
        total += n_samples
        if name == NOTHING:  # a gap
            continue
        where = path.parent / f"{name}.hea"
        if not where.is_file():
            raise FormatError(f"{path}: the header names the segment {name}, whose header is not there; restore it beside this one.")
        segment = read_header(where)
        if segment.segments:
            raise FormatError(f"{where}: a segment cannot have segments of its own.")
        if n_samples == 0:  # the layout of a variable-layout record: names and gains, no samples
            continue
        if segment.n_samples is not None and segment.n_samples != n_samples:
            raise FormatError(f"{path}: segment {name} has {segment.n_samples} samples; this header promises {n_samples}.")
        _check_files(where, replace(segment, n_samples=n_samples))
    if header.n_samples is not None and header.n_samples != total:
        raise FormatError(f"{path}: the segments have {total} samples together; the record line promises {header.n_samples}.")
    if total > MAX_BYTES // 100:
        raise FormatError(f"{path}: {total} samples are more than is read at once.")


def _read_with_wfdb(path: Path, header: Header) -> tuple[np.ndarray, float, list[str], list[str], dict[str, Any]]:
    """Everything rare: signal, fs, lead names, units, and what there is to say about it."""
    if header.segments:
        _check_segments(path, header)
    else:
        _check_files(path, header)
    import wfdb

    try:
        # Not smoothed: by default the package averages the fast (ECG) channels down to the slowest one's rate.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas' deprecations inside the package are not the reader's
            record: Any = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
        rows, per_frame = list(record.e_p_signal), list(record.samps_per_frame)
        names, units = [name or "" for name in record.sig_name], list(record.units)
    except Exception as error:  # the package raises whatever its parsing meets
        reason = re.sub(r"\s+", " ", str(error)) or type(error).__name__
        raise FormatError(f"{path}: the wfdb package cannot read this record: {reason[:200]}") from error
    most = max(per_frame)
    n_samples = max(len(row) * most // n for row, n in zip(rows, per_frame))
    signal = np.full((len(rows), n_samples), np.nan)
    interpolated = []
    for out, row, n, name in zip(signal, rows, per_frame, names):
        if n == most:
            out[: len(row)] = row
        elif len(row):
            out[:] = np.interp(np.arange(n_samples) * (n / most), np.arange(len(row)), row)
            interpolated.append(canonical(name))
    signal *= np.array([_MILLIVOLT.get(unit.lower(), 1.0) for unit in units])[:, None]
    return signal, header.fs * most, names, units, {"interpolated": interpolated} if interpolated else {}
