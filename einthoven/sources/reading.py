"""From a reference to its record, and from a WFDB header to a reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from einthoven.errors import EinthovenError, FormatError
from einthoven.io import wfdb
from einthoven.io.wfdb_comments import describe
from einthoven.io.wfdb_header import NOTHING, Header
from einthoven.record import Record
from einthoven.sources.facts import RecordRef
from einthoven.sources.telling import read_told
from einthoven.sources.vocabulary import SNOMED


def read(ref: RecordRef) -> Record:
    """The record that a reference points to, with what the corpus' tables say of it; where they are silent, what the file says stands.

    Raises FormatError, also where the reference has a problem already.
    """
    refuse_problem(ref)
    return described(read_told(ref.path, ref.told), ref)


def refuse_problem(ref: RecordRef) -> None:
    """Raises FormatError where it is known already that the recording cannot be used."""
    if ref.problem is not None:
        raise FormatError(f"{ref.path}: {ref.problem}")


def described(record: Record, ref: RecordRef) -> Record:
    """A record as its file gives it, with what the corpus' tables say of it."""
    labels, system = (ref.labels, ref.label_system) if ref.labels is not None else (record.labels, record.label_system)
    patient = ref.patient if ref.patient is not None else record.patient
    meta = {**record.meta, **ref.meta}
    if isinstance(meta.get("time"), str):  # a table's text; a record's time is a datetime
        try:
            meta["time"] = datetime.fromisoformat(meta["time"])
        except ValueError:
            del meta["time"]
    return replace(record, record=ref.record, patient=patient, labels=labels, label_system=system, meta=meta)


def ref_from_header(path: Path, record: str, *, header: Header, meta: Mapping[str, Any] | None = None) -> RecordRef:
    """What a WFDB header says of its record, no signal loaded; ``problem`` where the header cannot be trusted or its signal is not there."""
    said, labels, patient = describe(header.comments)
    said.pop("comments", None)
    if (time := header.time or said.get("time")) is not None:
        said["time"] = time.isoformat()
    return RecordRef(
        path=path,
        record=record,
        patient=patient,
        labels=labels,
        label_system=SNOMED if labels is not None else None,
        meta={**said, **(meta or {})},
        problem=wfdb.borrowed_signal(header, path) or _absent(header, path),
    )


def headers_in(root: Path, layout: str) -> list[Path]:
    """Every WFDB header of a folder. Raises EinthovenError that says what layout was expected where there is none."""
    if headers := [path for path in files(root) if path.suffix == ".hea"]:
        return headers
    raise EinthovenError(f"{root}: no WFDB header (.hea) is in it; expected {layout}.")


def listed(path: Path, record: str, patient: str | None = None, meta: Mapping[str, Any] | None = None) -> tuple[RecordRef, tuple[str, ...]]:
    """The reference to a WFDB record, and the comments of its header for whoever knows more of them; with its problem where that cannot be read.

    patient : as the corpus names folders or files; None: as the header says
    """
    header = parse(path)
    if isinstance(header, str):
        return RecordRef(path, record, patient, meta=meta or {}, problem=header), ()
    ref = ref_from_header(path, record, header=header, meta=meta)
    return (ref if patient is None else replace(ref, patient=patient)), header.comments


def parse(path: Path) -> Header | str:
    """The header, or why there is none."""
    try:
        return wfdb.read_header(path)
    except FormatError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}."


NO_FILE = "is no file that can be opened: a link to nowhere, or a pipe."


def files(root: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Every file under a folder, in an order that depends on the names alone; hidden files and folders are left out.

    Links to folders are followed, but no folder is listed twice: a link upwards would never end, and would give each recording many names, which a
    split then takes for many patients. A folder that may not be listed is told to ``on_error``; without one, EinthovenError.
    """
    home = os.path.realpath(root)
    linked: set[str] = set()  # folders reached through a link, as they are named here
    known: set[str] = set()  # and where they really are
    for folder, below, names in os.walk(root, followlinks=True, onerror=on_error or cannot_list):
        kept = []
        for name in sorted(name for name in below if not name.startswith(".")):
            path = os.path.join(folder, name)
            if folder in linked or os.path.islink(path):
                real = os.path.realpath(path)
                if real in known or _is_listed_anyway(real, home):
                    continue
                known.add(real)
                linked.add(path)
            kept.append(name)
        below[:] = kept
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name)


def _is_listed_anyway(real: str, home: str) -> bool:
    """Whether a folder is the root or lies below it, no hidden folder between."""
    inside = os.path.relpath(real, home).split(os.sep) if real != home else []
    return not any(part.startswith(".") for part in inside)  # ".." leads out of it


def cannot_list(error: OSError) -> NoReturn:
    """Raises EinthovenError for a folder that may not be listed."""
    raise EinthovenError(
        f"{error.filename}: this folder cannot be listed: {error.strerror or error}; make it readable, or leave it out."
    ) from error


def closed_folder(root: Path, error: OSError) -> RecordRef:
    """A folder below the root that may not be listed (``lost+found`` of a disk), as a recording with a problem. Raises EinthovenError for the root."""
    path = Path(error.filename)
    if path == root:
        cannot_list(error)
    problem = f"this folder cannot be listed: {error.strerror or error}; what is in it is not taken in."
    return RecordRef(path, f"{path.relative_to(root).as_posix()}/", problem=problem)


def existing_root(root: Path | str, expected: str) -> Path:
    """The folder as an absolute path. Raises EinthovenError that says what layout was expected where it is none."""
    path = Path(root).expanduser().absolute()
    if not path.is_dir():
        raise EinthovenError(f"{root}: {'is a file, not a folder' if path.exists() else 'no such folder'}; expected {expected}.")
    return path


def one_of(name: str, value: str, known: Collection[str]) -> None:
    """Raises EinthovenError for a value that an option of a source has not."""
    if value not in known:
        raise EinthovenError(f"expected {name} as one of {', '.join(known)}; got {value!r}.")


def _absent(header: Header, path: Path) -> str | None:
    missing = sorted({signal.file for signal in header.signals if signal.file != NOTHING and not (path.parent / signal.file).is_file()})
    return f"the header names the signal file {', '.join(missing)}, which is not there; restore it beside the header." if missing else None
