"""Any folder of ECG files, with or without a table of labels: the way in for one's own recordings.

``labels.csv`` in the folder (comma or semicolon, UTF-8) says more about them. One row per recording, with these columns:

``record``   which: the file's path below the folder, with or without its extension, or only its name (required)
``patient``, ``age`` (years), ``sex`` (female/male/f/m), ``fold``, ``report``, ``time`` (2020-03-12 10:00), ``label_system``   as far as known
``labels``   codes that are present, separated by ``;`` or ``|`` (in quotation marks where the table's own separator is ``;``)
any other    a label of that name: 1 or true, 0 or false, empty where not known

A table of bare numbers says its rate, unit and leads in a JSON file beside it (``io/sidecar.py``).

No file is passed over without a word: what belongs to another recording (the signal of a header, an annotation or a sidecar beside it) is not
listed again, and everything else that cannot be read is given with its problem.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.io.sidecar import sidecars
from einthoven.io.wfdb_header import Header
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.label_table import TABLE, Row, as_named, read_table
from einthoven.sources.reading import NO_FILE, closed_folder, existing_root, files, parse, read, ref_from_header

__all__ = ["FACTS", "read", "records", "tables"]

FACTS = Facts(name="folder")

LAYOUT = f"a folder of ECG files ({', '.join(io.READERS)}), optionally with {TABLE}"


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every recording in a folder and below, by path. ``record`` is the path without its extension.

    Raises EinthovenError where there is no file at all, or ``labels.csv`` cannot be understood.
    """
    root = existing_root(root, LAYOUT)
    closed: list[RecordRef] = []
    found = [path for path in files(root, lambda error: closed.append(closed_folder(root, error))) if path != root / TABLE]
    if not found and not closed:
        raise EinthovenError(f"{root}: is empty; expected {LAYOUT}.")
    rows = read_table(root / TABLE) if (root / TABLE).is_file() else {}
    headers = {path: _look(root, path) for path in found if path.suffix.lower() == ".hea"}
    described = _described(headers)
    refs = sorted([*described, *_from_others(root, found, headers, described), *closed], key=lambda ref: str(ref.path))
    refs = _with_unique_names(root, refs)
    stems: dict[str, list[str]] = defaultdict(list)
    for ref in refs:
        stems[Path(ref.record).name].append(ref.record)
    used = set()
    for ref in refs:
        keys = [ref.record, ref.path.relative_to(root).as_posix()]
        name = Path(ref.record).name
        keys += [name, ref.path.name] if len(stems[name]) == 1 else []  # a bare name stands for one file only
        key = next((key for key in map(as_named, keys) if key in rows), None)
        if key is None:
            yield ref
        else:
            used.add(key)
            yield _with_row(ref, rows[key])
    for name in sorted(rows.keys() - used):
        there = any(part.startswith(".") for part in Path(name).parts) and (root / name).exists()
        what = "which is hidden (its name, or a folder's, begins with a dot) and not taken in" if there else "and no such file is there"
        yield RecordRef(root / name, name, problem=f"{TABLE}, line {rows[name].line}: names this record, {what}.")


def tables(root: Path) -> list[Path]:
    """The table beside the recordings, where there is one: ingest notes what it was."""
    return [root / TABLE] if (root / TABLE).is_file() else []


def _with_row(ref: RecordRef, row: Row) -> RecordRef:
    """What the table says goes before what the file says; where the table is silent, the file stands."""
    labels, system = (row.labels, row.label_system) if row.labels is not None else (ref.labels, ref.label_system)
    patient = row.patient if row.patient is not None else ref.patient
    return replace(ref, patient=patient, labels=labels, label_system=system, fold=row.fold or ref.fold, meta={**ref.meta, **row.meta})


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _with_unique_names(root: Path, refs: list[RecordRef]) -> list[RecordRef]:
    """One recording in three formats, ``Example.dcm``, ``Example.scp`` and ``Example.xml``, is three records: those keep their extension."""
    times = Counter(ref.record for ref in refs)
    return [ref if times[ref.record] == 1 else replace(ref, record=ref.path.relative_to(root).as_posix()) for ref in refs]


@dataclass(frozen=True, slots=True)
class _Seen:
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


def _look(root: Path, path: Path) -> _Seen:
    header = parse(path)
    if isinstance(header, str):
        return _Seen(RecordRef(path, _name(root, path), problem=header), 0.0, frozenset(), frozenset(), None)
    return _Seen(
        ref_from_header(path, _name(root, path), header=header),
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


def _described(headers: Mapping[Path, _Seen]) -> list[RecordRef]:
    """A reference per header, but for the segments of a record that has a header of its own."""
    segments = {segment for seen in headers.values() for segment in seen.segments}
    trusted = {path: seen for path, seen in headers.items() if seen.ref.problem is None and path not in segments}
    doubts = {**_twins(trusted), **_claimed_twice(trusted)}
    return [replace(seen.ref, problem=seen.ref.problem or doubts.get(path)) for path, seen in headers.items() if path not in segments]


def _claimed_twice(headers: Mapping[Path, _Seen]) -> dict[Path, str]:
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


def _twins(headers: Mapping[Path, _Seen]) -> dict[Path, str]:
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


def _from_others(root: Path, found: list[Path], headers: Mapping[Path, _Seen], described: list[RecordRef]) -> list[RecordRef]:
    """What no header speaks for: files of other formats, and what cannot be read."""
    claimed = {file for seen in headers.values() for file in seen.files}
    stems = {path.with_suffix("") for path in headers}
    doubted = {ref.path.with_suffix("") for ref in described if ref.problem is not None}
    refs = []
    beside = sidecars(found)
    for path in found:
        stem, is_signal = path.with_suffix(""), path.suffix.lower() in (".dat", ".mat")
        # Annotations beside a header belong to it; an ECG in another format there (``x.xml`` beside ``x.hea``) is a file of its own.
        if path in headers or path in claimed or path in beside or (is_signal and stem in doubted) or io.is_annotation(path):
            continue
        problem = None
        try:
            if not path.is_file():
                raise FormatError(NO_FILE)  # opening a named pipe would wait for ever
            io.recognise(path)
        except FormatError as error:
            problem = str(error).removeprefix(f"{path}: ")
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}; make it readable, or leave it out."
        if problem is None and is_signal and stem in stems:
            problem = f"a signal file that its header {path.stem}.hea does not name; rename or mend one of them."
        refs.append(RecordRef(path, _name(root, path), problem=problem))
    return refs
