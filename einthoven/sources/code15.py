"""CODE-15 %: 12-lead ECGs of 7 and 10 s of the Telehealth Network of Minas Gerais, labelled for six abnormalities and as normal.

``exams.csv`` and eighteen files ``exams_part0.hdf5`` … ``exams_part17.hdf5``, of which any may be missing: the exams of the parts that are
there are read. A part holds ``exam_id`` (n,) and ``tracings`` (n, 4096, 12) at 400 Hz; its last entry is no exam (number 0, all zeros).
Tracings of 7 s are padded with zeros at both ends, which are cut off: they would enter the mean. A tracing of nothing but zeros is left as
it is, and rejected as flat when it is ingested.

The numbers are taken as mV. The unit is not certain: the release states none, the authors' code says "scale 1e-4V" and to multiply volts by
1000, which contradict one another, and amplitudes are about twice those of other corpora (99.5 % amplitude of lead II 1.5 mV against 0.6 to
0.9). A scaling by record does not mind; everything that is said in mV does.

Labels are yes or no for each code; ``normal_ecg`` is one of them. ``death`` and ``timey`` (years until it, or of follow-up) are known for
the first exam of a person only.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import EinthovenError, FormatError
from einthoven.io.demographics import years
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.indexed_table import IndexedTable
from einthoven.sources.reading import described, existing_root, refuse_problem
from einthoven.sources.ribeiro import unpadded
from einthoven.sources.vocabulary import CODE

if TYPE_CHECKING:
    import h5py

__all__ = ["CODES", "FACTS", "missing", "read", "records", "tables"]

FACTS = Facts(
    name="CODE-15%",
    version="1.0.0",
    licence="CC BY 4.0",
    citation=(
        "Ribeiro et al., CODE-15%: a large scale annotated dataset of 12-lead ECGs (version 1.0.0), Zenodo, 2021; "
        "Ribeiro et al., Automatic diagnosis of the 12-lead ECG using a deep neural network, Nature Communications 11:1760, 2020"
    ),
    url="https://doi.org/10.5281/zenodo.4916206",
    records=345_779,
    patients=233_770,
    fs=400.0,
    label_system=CODE,
)

CODES = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF", "normal_ecg")
TABLE = "exams.csv"
N_PARTS, N_SAMPLES = 18, 4096
LAYOUT = f"the folder with {TABLE} and exams_part0.hdf5 to exams_part{N_PARTS - 1}.hdf5, or some of these"
_COLUMNS = ("age", "is_male", "patient_id", "trace_file", *CODES)
_YES_NO = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
_OPEN = 4
_handles: OrderedDict[tuple[Any, ...], h5py.File] = OrderedDict()


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every exam of the parts that are there, part by part in their order, so that a disk reads forwards.

    An exam without a row in the table, and a row whose exam is not in its part, are given with their problem; rows of parts that are not
    there are left out. Raises EinthovenError where the table or every part is missing, or the table lacks a column.
    """
    root = existing_root(root, LAYOUT)
    if not (root / TABLE).is_file():
        raise EinthovenError(f"{root}: {TABLE} is not in it; expected {LAYOUT}.")
    parts = {path.name: path for path in sorted(root.glob("exams_part*.hdf5"), key=_number)}
    if not parts:
        zipped = " (they are zipped: unpack them)" if any(root.glob("exams_part*.zip")) else ""
        raise EinthovenError(f"{root}: no exams_part*.hdf5 is in it{zipped}; expected {LAYOUT}.")
    with IndexedTable(root / TABLE, "exam_id", _COLUMNS, f"the table of {FACTS.name}") as table:
        there: dict[str, np.ndarray] = {}
        for name, path in parts.items():
            try:
                ids = _exam_ids(path)
            except FormatError as error:
                problem = str(error).removeprefix(f"{path}: ")
                yield RecordRef(path, path.stem, problem=problem)
                continue
            there[name] = np.sort(ids)
            for place, exam in enumerate(ids.tolist()):
                if exam == 0 and place == len(ids) - 1:
                    continue
                row = table.row(exam)
                if row is None:
                    yield RecordRef(path, str(exam), meta={"hdf_ind": place}, problem=f"{TABLE} has no row for this exam.")
                else:
                    yield _ref(path, exam, place, row)
        for row in table:
            exam, ids_there = int(row["exam_id"]), there.get(row["trace_file"])
            if ids_there is not None:
                place = int(np.searchsorted(ids_there, exam))
                if place == len(ids_there) or ids_there[place] != exam:
                    problem = f"{TABLE} names {row['trace_file']} for the exam {exam}, which is not in it."
                    yield RecordRef(parts[row["trace_file"]], str(exam), row["patient_id"] or None, problem=problem)


def tables(root: Path) -> list[Path]:
    """Whose content makes the labels."""
    return [root / TABLE] if (root / TABLE).is_file() else []


def missing(root: Path) -> list[str]:
    """The parts that the release has and the folder has not."""
    return [name for name in (f"exams_part{part}.hdf5" for part in range(N_PARTS)) if not (root / name).is_file()]


def read(ref: RecordRef) -> Record:
    """An exam without its padding; its row alone is read. Raises FormatError where the part cannot be read or does not hold it."""
    refuse_problem(ref)
    place = ref.meta.get("hdf_ind")
    try:
        file = _opened(ref.path)
        ids, tracings = file["exam_id"], file["tracings"]
        if place is None:
            found = np.flatnonzero(ids[()] == int(ref.record))
            place = int(found[0]) if len(found) else -1
        if not 0 <= place < min(len(ids), len(tracings)) or int(ids[place]) != int(ref.record):
            raise FormatError(f"{ref.path}: expected the exam {ref.record} at place {place}; it is not there: was the file exchanged?")
        if tracings.shape[1:] != (N_SAMPLES, len(TWELVE)):
            raise FormatError(f"{ref.path}: expected tracings of shape (exam, time={N_SAMPLES}, lead={len(TWELVE)}); got {tracings.shape}.")
        signal = np.asarray(tracings[place], dtype=np.float32).T
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise FormatError(f"{ref.path}: cannot be read as a part of {FACTS.name}: {error}.") from error
    cut = unpadded(signal)
    return described(Record(cut if cut.shape[1] else signal, FACTS.fs or 0.0, TWELVE), ref)


def _number(path: Path) -> tuple[int, str]:
    match = re.search(r"(\d+)$", path.stem)
    return (int(match[1]) if match else -1, path.name)


def _exam_ids(path: Path) -> np.ndarray:
    """(exam,) int64 of a part, found to have a tracing for each."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            ids, shape = file["exam_id"], tuple(file["tracings"].shape)
            fits = ids.ndim == 1 and ids.dtype.kind in "iu" and shape == (len(ids), N_SAMPLES, len(TWELVE))
            if not fits or len(ids) > os.path.getsize(path):  # what a header promises is not yet there
                raise FormatError(
                    f"{path}: expected exam_id (exam,) of whole numbers and tracings (exam, {N_SAMPLES}, {len(TWELVE)}); "
                    f"got {ids.dtype} {ids.shape} and {shape}."
                )
            return np.asarray(ids, dtype=np.int64)
    except (OSError, KeyError, AttributeError, RuntimeError) as error:
        raise FormatError(f"{path}: cannot be read as HDF5 with exam_id and tracings: {error}.") from error


def _opened(path: Path) -> h5py.File:
    """The file, open; a process keeps the last few open, and looks whether another file has taken the name."""
    import h5py

    state = os.stat(path)
    key = (os.getpid(), path, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in _handles:
        _handles[key] = h5py.File(path, "r")
        while len(_handles) > _OPEN:
            (owner, *_), handle = _handles.popitem(last=False)
            if owner == os.getpid():  # a handle that a fork brought along is its parent's to close
                handle.close()
    _handles.move_to_end(key)
    return _handles[key]


def _ref(path: Path, exam: int, place: int, row: dict[str, str]) -> RecordRef:
    labels = {code: _YES_NO.get(row[code].lower(), float("nan")) for code in CODES}
    known = any(value == value for value in labels.values())
    meta: dict[str, Any] = {"hdf_ind": place}
    if (age := years(row["age"])) is not None:
        meta["age"] = age
    if (is_male := _YES_NO.get(row["is_male"].lower())) is not None:
        meta["sex"] = "male" if is_male else "female"
    if (death := _YES_NO.get(row.get("death", "").lower())) is not None:
        meta["death"] = bool(death)
    for name in ("nn_predicted_age", "timey"):
        try:
            meta[name] = float(row.get(name, ""))
        except ValueError:
            continue
    return RecordRef(path, str(exam), row["patient_id"] or None, labels if known else None, CODE if known else None, meta=meta)
