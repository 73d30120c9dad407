"""The WFDB headers of a folder that is nobody's corpus: which of them are recordings, and which contradict one another.

Somebody's folder may hold copies of a recording under other names and rates, views of one signal file, and segments of a longer record. What
is a copy at a wrong rate must not be learned from; who is wrong is told by names, and where they do not tell, both are in doubt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from einthoven.io.wfdb_header import Header
from einthoven.sources.facts import RecordRef
from einthoven.sources.kept_ids import ids_of
from einthoven.sources.reading import parse, ref_from_header


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a header while the others are read: a corpus may have a million.

    files    : the signal files it reads
    segments : the headers of its segments
    samples  : equal for equal samples, from length, initial values and checksums; None where they tell too little
    """

    ref: RecordRef
    fs: float
    files: frozenset[Path]
    segments: frozenset[Path]
    samples: int | None


def look(root: Path, path: Path) -> Seen:
    """A header with its reference, whose id is the path without its extension."""
    header, name = parse(path), ids_of(root, path)[0]
    if isinstance(header, str):
        return Seen(RecordRef(path, name, problem=header), 0.0, frozenset(), frozenset(), None)
    return Seen(
        ref_from_header(path, name, header=header),
        header.fs,
        frozenset(path.parent / signal.file for signal in header.signals),
        frozenset(path.parent / f"{name}.hea" for name, _ in header.segments),
        _fingerprint(header),
    )


def _fingerprint(header: Header) -> int | None:
    """At least three leads with values of their own are asked for: flat leads have equal checksums without being copies."""
    sums = tuple((signal.initial, signal.checksum) for signal in header.signals)
    told = len(set(sums)) >= 3 and all(value is not None for pair in sums for value in pair)
    return hash((header.n_samples, sums)) if told else None


def recordings(headers: Mapping[Path, Seen]) -> list[RecordRef]:
    """A reference per header, but for the segments of a record that has a header of its own."""
    segments = {segment for seen in headers.values() for segment in seen.segments}
    trusted = {path: seen for path, seen in headers.items() if seen.ref.problem is None and path not in segments}
    doubts = {**_twins(trusted), **_claimed_twice(trusted)}
    return [replace(seen.ref, problem=seen.ref.problem or doubts.get(path)) for path, seen in headers.items() if path not in segments]


def _claimed_twice(headers: Mapping[Path, Seen]) -> dict[Path, str]:
    """Headers that read one signal file at different rates: the file's namesake is believed, and who agrees with it; without one, nobody is."""
    claims: dict[Path, list[Path]] = defaultdict(list)
    for path, seen in headers.items():
        for file in seen.files:
            claims[file].append(path)
    doubts = {}
    for file, paths in claims.items():
        if len({headers[path].fs for path in paths}) == 1:
            continue
        believed = [headers[path].fs for path in paths if path.stem == file.stem]
        for path in paths:
            if headers[path].fs not in believed:
                others = ", ".join(
                    f"{other.name} says {headers[other].fs:g} Hz" for other in paths if headers[other].fs != headers[path].fs
                )
                doubts[path] = f"reads {file.name} at {headers[path].fs:g} Hz, but {others}: one of these rates is wrong."
    return doubts


def _twins(headers: Mapping[Path, Seen]) -> dict[Path, str]:
    """The same samples under two names at different rates. A name that continues the other's (``9190_low``, ``9190``) is the copy; where neither
    does, both rates are in doubt."""
    same: dict[int, list[Path]] = defaultdict(list)
    for path, seen in headers.items():
        if seen.samples is not None:
            same[seen.samples].append(path)
    doubts = {}
    for paths in same.values():
        for path in paths:
            others = [other for other in paths if headers[other].fs != headers[path].fs]
            if others and not all(other.stem != path.stem and other.stem.startswith(path.stem) for other in others):
                other = others[0]
                doubts[path] = (
                    f"its samples are those of {other.name} (equal initial values and checksums) but at {headers[path].fs:g} instead of "
                    f"{headers[other].fs:g} Hz: one of these rates is wrong."
                )
    return doubts
