"""A folder of GE MUSE's XML exports, with or without a table of labels.

What ``folder`` does, and beyond it: patient, age, sex, time, statements and measurements of every file are in the table without a waveform being
decoded (of each file only what stands before and after its waveforms is read), and ``labels.csv`` may name a recording in the ways in which a
hospital does. Its columns are those that ``folder`` describes; ``record`` is one of

- the file's path below the folder, with or without its extension, or only its name;
- the test's own id (``PharmaUniqueECGID``, ``TestID``);
- the patient's id and the time of the recording, ``081486213 2023-04-29 22:41:16``: every export of that recording is meant.

What the table says goes before what the file says; where the table is silent, the file stands.

An id is the path without its ``.xml``, but with it where a file of that very name, without an extension, lies there too. A store that grows
keeps the id that a file had.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError, FormatError
from einthoven.io.muse import ROOT, describe
from einthoven.io.recognise import HEAD, looks_like
from einthoven.io.xml_tree import MAX_BYTES, decoded, parse_tree
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.kept_ids import ids_of, keep_ids
from einthoven.sources.label_table import TABLE, Row, as_named, rows_of, tables, with_row
from einthoven.sources.reading import NO_FILE, closed_folder, existing_root, files, read

__all__ = ["FACTS", "keep_ids", "read", "records", "tables"]

FACTS = Facts(name="GE MUSE export")
LAYOUT = f"a folder of GE MUSE's XML files, optionally with {TABLE}"
FORMAT = "GE MUSE XML"

_BEFORE, _AFTER = 65_536, 16_384
"""Bytes in which the first waveform begins and after which the last ends in every file that we have; where not, the file is read whole."""

_BEGIN, _END = "<Waveform>", "</Waveform>"
_BY_PATIENT = re.compile(r"(\S.*?)[ ,]\s*(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?)")


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every file in the folder and below, by path; ``record`` is the path without its extension.

    What is no MUSE file, or is damaged, is given with its problem, and so is a row of the table that no file answers. Raises EinthovenError
    where there is no file at all, or ``labels.csv`` cannot be understood.
    """
    root = existing_root(root, LAYOUT)
    rows = rows_of(root)
    by_patient = {moment: name for name in rows if (moment := _patient_and_time(name))}
    bare = _named_once(root, rows) if rows else frozenset()
    used: set[str] = set()
    n_files = 0
    closed: list[RecordRef] = []
    for path in files(root, lambda error: closed.append(closed_folder(root, error))):
        if path == root / TABLE:
            continue
        n_files += 1
        ref = _ref(root, path)
        keys = [ref.record, path.relative_to(root).as_posix(), *(name for name in (path.name, path.stem) if as_named(name) in bare)]
        keys += [ref.meta["test_id"]] if "test_id" in ref.meta else []
        key = next((name for name in map(as_named, keys) if name in rows), None)
        if key is None and ref.patient is not None and "time" in ref.meta:
            key = by_patient.get((as_named(ref.patient), datetime.fromisoformat(ref.meta["time"])))
        if key is None:
            yield ref
        else:
            used.add(key)
            yield with_row(ref, rows[key])
    yield from closed
    if not n_files and not closed:
        raise EinthovenError(f"{root}: is empty; expected {LAYOUT}.")
    for name in sorted(rows.keys() - used):
        yield RecordRef(
            root / name, name, problem=f"{TABLE}, line {rows[name].line}: no file has this name, no test this id, no patient this time."
        )


def _ref(root: Path, path: Path) -> RecordRef:
    patient: str | None = None
    meta: dict[str, Any] = {}
    problem = None
    try:
        if not path.is_file():
            raise FormatError(NO_FILE)  # opening a named pipe would wait for ever
        patient, meta = describe(parse_tree(_without_waveforms(path), path, ROOT))
    except FormatError as error:
        problem = str(error).removeprefix(f"{path}: ")
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}."
    if "time" in meta:
        meta["time"] = meta["time"].isoformat()
    is_alone = path.suffix.lower() == ".xml" and not path.with_suffix("").exists()
    is_alone = is_alone and (path.suffix == ".xml" or not path.with_suffix(".xml").exists())
    return RecordRef(path, ids_of(root, path)[0 if is_alone else 1], patient=patient, meta=meta, problem=problem)


def _without_waveforms(path: Path) -> str:
    """A file's text but for its waveforms, which are nearly all of it. Raises FormatError for a file of another kind."""
    begin, end = _BEGIN.encode(), _END.encode()
    with open(path, "rb") as file:
        head = file.read(_BEFORE)
        if not head:
            raise FormatError(f"{path}: is empty.")
        if (kind := looks_like(head[:HEAD])) != FORMAT:
            raise FormatError(
                f"{path}: expected {FORMAT}; " + (f"it looks like {kind}." if kind else "its content is of no kind that we know.")
            )
        size = file.seek(0, 2)
        place = head.find(begin)
        if place >= 0:
            file.seek(max(place, size - _AFTER))
            tail = file.read()
            if (last := tail.rfind(end)) >= 0:
                return decoded(head[:place] + tail[last + len(end) :])
        if size > MAX_BYTES:
            raise FormatError(f"{path}: expected an XML file of at most {MAX_BYTES // 1_000_000} MB; it has {size // 1_000_000}.")
        file.seek(0)
        text = decoded(file.read())
    place, last = text.find(_BEGIN), text.rfind(_END)
    return text if place < 0 else text[:place] + (text[last + len(_END) :] if last >= 0 else "")


def _named_once(root: Path, rows: Mapping[str, Row]) -> frozenset[str]:
    """The names of the table that are the bare name of one file alone: in two folders they would stand for two."""
    times = Counter(name for path in files(root) for name in {as_named(path.name), as_named(path.stem)} if name in rows)
    return frozenset(name for name, n in times.items() if n == 1)


def _patient_and_time(name: str) -> tuple[str, datetime] | None:
    found = _BY_PATIENT.fullmatch(name)
    try:
        return (found[1], datetime.fromisoformat(found[2])) if found else None
    except ValueError:
        return None
