"""WFDB records of several segments: those that lie in the part that is asked for, each put in its place.

In a *fixed layout* every segment has the same leads. In a *variable layout* the first segment has no samples and names all leads; each other one has some of
them, by name. ``~`` is a segment in which nothing was recorded. A segment cannot have segments of its own, nor come twice, so there are no cycles.

Source: header(5) of the WFDB applications' guide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bounds import MOST_READ, MOST_UNPACKED
from einthoven.io.cut import unique_names
from einthoven.io.units import in_millivolt
from einthoven.io.wfdb_header import NOTHING, Header
from einthoven.io.wfdb_samples import Samples, check_files, rate, read_samples

ReadHeader = Callable[[Path], Header]


def layout(path: Path, header: Header, read_header: ReadHeader) -> Header:
    """The header whose leads are those of the record: of the layout segment, or of the first segment that there is. Raises FormatError."""
    names = [name for name, _ in header.segments if name != NOTHING]
    if not names:
        raise FormatError(
            f"{path}: the header describes no signal: nothing was recorded in any of its segments; mend the header, or fetch the record again."
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{path}: the header names the segment {twice} twice; mend the header, or fetch the record again.")
    total = sum(n for _, n in header.segments)
    if header.n_samples not in (None, total):
        raise FormatError(
            f"{path}: the segments have {total} samples together; the record line promises {header.n_samples}; mend the header, or fetch the record again."
        )
    first = _segment(path, header, names[0], read_header)
    if not first.signals:
        raise FormatError(f"{path}: the segment {names[0]}, which names the leads, has none; mend the header, or fetch the record again.")
    return first


def read_segments(path: Path, header: Header, first: int, last: int, read_header: ReadHeader) -> Samples:
    """The samples from ``first`` up to ``last`` of a record of several segments, counted at the rate of its fastest lead. Raises FormatError."""
    leads = layout(path, header, read_header)
    names = unique_names([signal.name for signal in leads.signals])
    to_rate = rate(leads)
    spans, place = [], 0
    for name, n in header.segments:
        if n and place + n * to_rate > first and place < last:
            spans.append((name, n, place))
        place += n * to_rate
    segments = {name: _checked(path, header, name, n, read_header) for name, n, _ in spans if name != NOTHING}
    gap = sum(n * to_rate for name, n, _ in spans if name == NOTHING)
    size = 4 * len(names)
    if size * min(gap, last - first) > MOST_UNPACKED or size * (last - first) > MOST_READ:
        raise FormatError(
            f"{path}: {last - first} samples of {len(names)} leads are more than is read at once; ask for a part (start, stop)."
        )
    signal = np.full((len(names), last - first), np.nan, dtype=np.float32)
    interpolated: list[str] = []
    mismatched: list[str] = []
    for name, n, place in spans:
        if name == NOTHING:
            continue
        segment = segments[name]
        rows = _rows(path, name, segment, names, leads, to_rate)
        begin, end = max(first - place, 0), min(last - place, n * to_rate)
        part = read_samples(path.parent / f"{name}.hea", segment, begin, end, to_rate, whole=begin == 0 and end == n * to_rate)
        signal[rows, place + begin - first : place + end - first] = part.signal
        interpolated += [lead for lead in part.interpolated if lead not in interpolated]
        mismatched += [f"{lead} of {name}" for lead in part.mismatched]
    return Samples(signal, interpolated, mismatched)


def _segment(path: Path, header: Header, name: str, read_header: ReadHeader) -> Header:
    where = path.parent / f"{name}.hea"
    if not where.is_file():
        raise FormatError(f"{path}: the header names the segment {name}, whose header is not there; restore it beside this one.")
    segment = read_header(where)
    if segment.segments:
        raise FormatError(f"{where}: a segment cannot have segments of its own; mend the header, or fetch the record again.")
    if abs(segment.fs - header.fs) > 1e-6 * header.fs:
        raise FormatError(
            f"{path}: segment {name} has {segment.fs:g} Hz; this header states {header.fs:g}; mend the header, or fetch the record again."
        )
    return segment


def _checked(path: Path, header: Header, name: str, n: int, read_header: ReadHeader) -> Header:
    """The header of a segment that is there, and as long as the record's header says."""
    segment = _segment(path, header, name, read_header)
    if segment.n_samples not in (None, n):
        raise FormatError(
            f"{path}: segment {name} has {segment.n_samples} samples; this header promises {n}; mend the header, or fetch the record again."
        )
    segment = replace(segment, n_samples=n)
    check_files(path.parent / f"{name}.hea", segment)
    return segment


def _rows(path: Path, name: str, segment: Header, names: list[str], leads: Header, to_rate: int) -> list[int]:
    """Which leads of the record those of a segment are; they must be as many, the same, or, in a variable layout, some of them."""
    mine = unique_names([signal.name for signal in segment.signals])
    if unknown := [lead for lead in mine if lead not in names]:
        raise FormatError(
            f"{path}: segment {name} has the lead {unknown[0]}; the record has {', '.join(names)}; mend the header, or fetch the record again."
        )
    rows = [names.index(lead) for lead in mine]
    if rate(segment) > to_rate:
        raise FormatError(
            f"{path}: segment {name} has {rate(segment)} samples per frame; the record has {to_rate}; mend the header, or fetch the record again."
        )
    for row, signal in zip(rows, segment.signals):
        expected = leads.signals[row].unit
        if signal.unit.lower() != expected.lower() and None in (in_millivolt(signal.unit), in_millivolt(expected)):
            raise FormatError(
                f"{path}: segment {name} has the lead {names[row]} in {signal.unit}; the record has it in {expected}; mend the header, or fetch the record again."
            )
    return rows
