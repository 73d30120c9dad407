"""WFDB records: a text header (``.hea``) and signal files (``.dat``, MATLAB v4 ``.mat``), the format of PhysioNet.

All signal formats, several rates, skew and several segments are read here, six to eight times as fast as by the ``wfdb`` package, and a part of
a long record without the rest of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names
from einthoven.io.rates import MAX_FS
from einthoven.io.texts import decoded
from einthoven.io.units import other_units
from einthoven.io.wfdb_comments import describe
from einthoven.io.wfdb_header import Header, parse_header
from einthoven.io.wfdb_samples import check_files, n_frames, rate, read_samples
from einthoven.io.wfdb_segments import layout, read_segments
from einthoven.leads import canonical
from einthoven.record import Record

MAX_HEADER_BYTES = 4_000_000
"""A header of a thousand leads has a tenth of this."""


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
    if found is None and Path(path).is_symlink():
        raise FormatError(f"{path}: is a link to {Path(path).readlink()}, which is not there.")
    if found is None:
        raise FormatError(
            f"{path}: no WFDB header: expected {Path(path).with_suffix('.hea').name} beside it; mend the header, or fetch the record again."
        )
    if (size := found.stat().st_size) > MAX_HEADER_BYTES:
        raise FormatError(
            f"{found}: expected a WFDB header, a short text; it has {size} bytes; mend the header, or fetch the record again."
        )
    # Comments in other encodings stay readable enough, and binary garbage fails as a record line.
    return parse_header(decoded(found.read_bytes()), found)


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
    start, stop : only this part, in seconds; no more than it is read from the disk

    Channels that are no ECG keep their own name and unit (``meta["units"]``; ``io.ecg_leads`` picks the ECG). Channels slower than the
    fastest are interpolated to its rate (``meta["interpolated"]``). Raises FormatError, also where one of the twelve leads is in no unit of voltage.
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
    if header.segments:
        described, n = layout(found, header, read_header), sum(n for _, n in header.segments)
    else:
        check_files(found, header)
        described, n = header, n_frames(found, header)
    to_rate = rate(described)
    fs = header.fs * to_rate
    if fs > MAX_FS:
        raise FormatError(
            f"{found}: expected a sampling frequency up to {MAX_FS:g} Hz; {to_rate} samples per frame at {header.fs:g} Hz are {fs:g} Hz; mend the header, or fetch the record again."
        )
    first = 0 if start is None else min(max(round(start * fs), 0), n * to_rate)
    last = n * to_rate if stop is None else min(max(round(stop * fs), first), n * to_rate)
    if header.segments:
        samples = read_segments(found, header, first, last, read_header)
    else:
        samples = read_samples(found, header, first, last, to_rate, whole=start is None and stop is None)
    meta |= samples.meta
    names, units = [s.name for s in described.signals], [s.unit for s in described.signals]
    names = unique_names([canonical(name) for name in names])
    if others := other_units(found, names, units):
        meta["units"] = others
    record = Record(
        samples.signal,
        fs,
        tuple(names),
        record=found.stem,
        patient=patient,
        labels=labels,
        label_system="SNOMED CT" if labels is not None else None,
        meta=meta,
    )
    return cut(record, path, leads=leads)


def _check_named(path: Path, header: Header) -> None:
    """A signal file that its namesake header does not use must not be answered with another file's signal."""
    if path.suffix.lower() != ".hea" and path.is_file() and header.signals and path.name not in {Path(s.file).name for s in header.signals}:
        files = ", ".join(sorted({s.file for s in header.signals}))
        raise FormatError(f"{path}: {path.with_suffix('.hea').name} does not name it but {files}; rename or mend one of them.")
