"""Any folder of ECG files, with or without a table of labels: the way in for one's own recordings.

``labels.csv`` in the folder (comma or semicolon, UTF-8) says more about them. One row per recording, with these columns:

``record``   which: the file's path below the folder, with or without its extension, or only its name (required)
``patient``, ``age`` (years), ``sex`` (female/male/f/m), ``fold``, ``report``, ``time`` (2020-03-12 10:00), ``label_system``   as far as known
``labels``   codes that are present, separated by ``;`` or ``|`` (in quotation marks where the table's own separator is ``;``)
any other    a label of that name: 1 or true, 0 or false, empty where not known

Files of bare numbers (CSV, NumPy, Parquet, MATLAB, HDF5) may say their rate, unit and leads in a JSON file beside them, ``recording.json`` for
one file or ``signals.json`` for a folder: ``{"fs": 250, "unit": "uV", "leads": ["I", "II", "V1"]}``. Where neither they nor such a file do,
``rate``, ``unit`` and ``leads`` are taken.

An id is a function of the files that are there: ``a.xml`` is "a", and "a.xml" once ``a.pdf`` lies beside it. A store that grows keeps the
id that a file had; one that is made anew may give another. A WFDB header that joins others as its segments makes one recording of them: a
store that had taken them in before has them twice from then on.

No file is passed over without a word: what belongs to another recording (the signal of a header, an annotation or a sidecar beside it) is not
listed again, and everything else that cannot be read is given with its problem.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.io.many import records_in
from einthoven.io.sidecar import sidecars
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.folder_headers import Seen, look, recordings
from einthoven.sources.kept_ids import ids_of, keep_ids
from einthoven.sources.label_table import TABLE, as_named, rows_of, tables, with_row
from einthoven.sources.reading import NO_FILE, closed_folder, existing_root, files, read
from einthoven.sources.telling import keywords

__all__ = ["FACTS", "keep_ids", "read", "records", "tables"]

FACTS = Facts(name="folder")

LAYOUT = f"a folder of ECG files ({', '.join(io.READERS)}), optionally with {TABLE}"


def records(
    root: Path | str, *, rate: float | None = None, unit: str | None = None, leads: Sequence[str] | str | None = None
) -> Iterator[RecordRef]:
    """Every recording in a folder and below, by path. ``record`` is the path without its extension, where no other file has that.

    rate  : Hz, of files that do not say it
    unit  : mV, uV or V, of files that do not say it
    leads : names, separated by commas, of files that do not say them: I,II,V1

    Of a file with many recordings each is one, ``record`` ending in its number or its own id. Raises EinthovenError where there is no file at
    all, for a rate, unit or leads that are none, and where ``labels.csv`` cannot be understood.
    """
    told = keywords(rate, unit, leads)
    root = existing_root(root, LAYOUT)
    closed: list[RecordRef] = []
    found = [path for path in files(root, lambda error: closed.append(closed_folder(root, error))) if path != root / TABLE]
    if not found and not closed:
        raise EinthovenError(f"{root}: is empty; expected {LAYOUT}.")
    rows = rows_of(root)
    headers = {path: look(root, path) for path in found if path.suffix.lower() == ".hea"}
    described = recordings(headers)
    refs = sorted([*described, *_from_others(root, found, headers, described, told), *closed], key=lambda ref: str(ref.path))
    refs = _with_unique_names(root, refs)
    if not rows:
        yield from refs
        return
    used = set()
    for ref, keys in zip(refs, _keys(root, refs)):
        key = next((key for key in map(as_named, keys) if key in rows), None)
        if key is None:
            yield ref
        else:
            used.add(key)
            yield with_row(ref, rows[key])
    for name in sorted(rows.keys() - used):
        there = any(part.startswith(".") for part in Path(name).parts) and (root / name).exists()
        what = "which is hidden (its name, or a folder's, begins with a dot) and not taken in" if there else "and no such file is there"
        yield RecordRef(root / name, name, problem=f"{TABLE}, line {rows[name].line}: names this record, {what}.")


def _ids(root: Path, ref: RecordRef) -> tuple[str, str]:
    return ids_of(root, ref.path, ref.told.get("record"))


def _with_unique_names(root: Path, refs: list[RecordRef]) -> list[RecordRef]:
    """One recording in three formats, ``Example.dcm``, ``Example.scp`` and ``Example.xml``, is three records: those keep their extension."""
    times = Counter(ref.record for ref in refs)
    return [ref if times[ref.record] == 1 else replace(ref, record=_ids(root, ref)[1]) for ref in refs]


def _keys(root: Path, refs: list[RecordRef]) -> Iterator[list[str]]:
    """Under what names the table of labels may speak of each recording: its id, its path with and without the extension, and only its name,
    where no other answers to that. A file that cannot be read (``a.pdf`` beside ``a.xml``) is no other."""
    both = [_ids(root, ref) for ref in refs]
    last = Counter(Path(ref.record).name for ref in refs)
    readable = Counter(name for (short, _), ref in zip(both, refs) if ref.problem is None for name in {short, Path(short).name})
    for (short, long), ref in zip(both, refs):
        keys = [ref.record, long]
        if last[Path(ref.record).name] == 1:
            keys += [Path(ref.record).name, Path(long).name]
        if ref.problem is None:
            keys += [name for name in (short, Path(short).name) if readable[name] == 1]
        yield keys


def _from_others(
    root: Path, found: list[Path], headers: Mapping[Path, Seen], described: list[RecordRef], told: Mapping[str, Any]
) -> list[RecordRef]:
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
        problem, words = None, dict[str, Any]()
        many: Sequence[str | int] = ()
        try:
            if not path.is_file():
                raise FormatError(NO_FILE)  # opening a named pipe would wait for ever
            kind = io.recognise(path)
            words, many = io.taken_by(kind, told), records_in(path, kind)
        except FormatError as error:
            problem = str(error).removeprefix(f"{path}: ")
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}; make it readable, or leave it out."
        if problem is None and is_signal and stem in stems:
            problem = f"a signal file that its header {path.stem}.hea does not name; rename or mend one of them."
        if many and problem is None:
            refs += [RecordRef(path, ids_of(root, path, which)[0], told={**words, "record": which}) for which in many]
        else:
            refs.append(RecordRef(path, ids_of(root, path)[0], problem=problem, told=words))
    return refs
