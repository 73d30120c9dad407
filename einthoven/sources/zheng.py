"""Chapman University and Shaoxing People's Hospital: 12-lead ECGs of 10 s, labelled with one rhythm and any number of further conditions.

The release on figshare: ``Diagnostics.xlsx`` (or the same table as ``Diagnostics.csv``) and one CSV of microvolts for each recording in
``ECGData/``, and the same filtered in ``ECGDataDenoised/``. (PhysioNet's release of the same recordings, in WFDB and with SNOMED CT codes,
is read by ``physionet2021``.)

Labels are the table's acronyms: its rhythm, and its ``Beat`` split at spaces, of which NONE says that there is no further condition.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError, FormatError
from einthoven.io.demographics import years
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.csv_table import need_columns, read_csv
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import described, existing_root, files, one_of, refuse_problem
from einthoven.sources.spreadsheet import read_sheet

__all__ = ["FACTS", "SIGNALS", "read", "records", "tables"]

SYSTEM = "Chapman-Shaoxing"
FACTS = Facts(
    name="Chapman-Shaoxing",
    licence="CC BY 4.0",
    citation=(
        "Zheng et al., A 12-lead electrocardiogram database for arrhythmia research covering more than 10,000 patients, "
        "Scientific Data 7:48, 2020"
    ),
    url="https://doi.org/10.6084/m9.figshare.c.4560497",
    records=10_646,
    patients=10_646,
    fs=500.0,
    label_system=SYSTEM,
)

SIGNALS = {"recorded": "ECGData", "denoised": "ECGDataDenoised"}
TABLES = ("Diagnostics.xlsx", "Diagnostics.csv")
LAYOUT = f"the folder with {' or '.join(TABLES)} and {SIGNALS['recorded']}/<FileName>.csv"
_COLUMNS = ("FileName", "Rhythm", "Beat", "PatientAge", "Gender")


def records(root: Path | str, *, signals: str = "recorded") -> Iterator[RecordRef]:
    """Every row of the table, in its order.

    signals : "recorded", or "denoised" for the filtered signals of the publishers

    A row whose file is not there, and a file that no row names, are given with their problem. Raises EinthovenError where the table is
    missing, or lacks a column.
    """
    one_of("signals", signals, SIGNALS)
    root = existing_root(root, LAYOUT)
    table = next(iter(tables(root)), None)
    if table is None:
        raise EinthovenError(f"{root}: neither {' nor '.join(TABLES)} is in it; expected {LAYOUT}.")
    folder = root / SIGNALS[signals]
    on_disk = {path.stem: path for path in files(folder) if path.suffix == ".csv"} if folder.is_dir() else {}
    named: set[str] = set()
    for line, row in _rows(table):
        name = row["FileName"].removesuffix(".csv")
        problem = f"{table.name}, line {line}: its file {folder.name}/{name}.csv is not there."
        if name in named:
            problem = f"{table.name}, line {line}: names {name} a second time."
        yield _ref(row, name, folder / f"{name}.csv", None if name in on_disk and name not in named else problem)
        named.add(name)
    for name in sorted(on_disk.keys() - named):
        yield RecordRef(on_disk[name], name, problem=f"{table.name} has no row for this file.")


def tables(root: Path) -> list[Path]:
    """The table of diagnoses: the workbook where it is there, else its export."""
    return [root / name for name in TABLES if (root / name).is_file()][:1]


def read(ref: RecordRef) -> Record:
    """A recording in mV. Raises FormatError where its file is no table of twelve leads."""
    refuse_problem(ref)
    try:
        with open(ref.path, encoding="utf-8-sig") as file:
            first = file.readline()
            leads = tuple(name.strip() for name in first.split(","))
            if _is_number(leads[0]):  # the denoised files have no header; their columns are those of the others
                leads = TWELVE if len(leads) == len(TWELVE) else ()
                file.seek(0)
            signal = np.loadtxt(file, delimiter=",", dtype=np.float64, ndmin=2).T
    except (OSError, ValueError) as error:
        raise FormatError(f"{ref.path}: cannot be read as a table of microvolts: {error}.") from error
    if signal.shape[0] != len(leads) or signal.shape[1] == 0:
        raise FormatError(f"{ref.path}: expected a column for each of 12 leads; it has {signal.shape[0]} columns, {signal.shape[1]} rows.")
    return described(Record(signal * 0.001, FACTS.fs or 0.0, leads), ref)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    what = f"the table of diagnoses of {FACTS.name}"
    rows = read_csv(table, _COLUMNS, what) if table.suffix == ".csv" else _of_sheet(table, what)
    for line, row in rows:
        if any(row.values()):
            yield line, {name: value.strip() for name, value in row.items()}


def _of_sheet(table: Path, what: str) -> Iterator[tuple[int, dict[str, str]]]:
    rows = read_sheet(table)
    header = [name.strip() for name in rows[0]] if rows else []
    need_columns(table, header, _COLUMNS, what)
    for line, row in enumerate(rows[1:], start=2):
        yield line, dict(zip(header, row + [""] * (len(header) - len(row))))


def _ref(row: dict[str, str], name: str, path: Path, problem: str | None) -> RecordRef:
    codes = [*(code for code in row["Beat"].split() if code != "NONE"), *([row["Rhythm"]] if row["Rhythm"] else [])]
    meta: dict[str, Any] = {}
    if (age := years(row["PatientAge"])) is not None:
        meta["age"] = age
    if row["Gender"].lower() in ("female", "male"):
        meta["sex"] = row["Gender"].lower()
    numbers = {key: float(value) for key, value in row.items() if key not in _COLUMNS and _is_number(value)}
    if numbers:
        meta["measurements"] = numbers
    return RecordRef(
        path, name, labels=dict.fromkeys(codes, 1.0) if codes else None, label_system=SYSTEM if codes else None, meta=meta, problem=problem
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
