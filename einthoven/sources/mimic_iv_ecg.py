"""MIMIC-IV-ECG: 12-lead ECGs of 10 s from Beth Israel Deaconess Medical Center, with the statements and measurements of the machine.

As PhysioNet has it: ``record_list.csv``, ``machine_measurements.csv`` (rows of the same study belong together whatever their order: the
study's number joins them, never the row's), ``waveform_note_links.csv`` and the recordings under ``files/``. There are no labels: the
machine's statements are ``meta["report"]``, a line each. Leads are told apart by name; the headers write aVF before aVL.

Numbers of the machine stand in ``meta["measurements"]`` under the table's names: times in ms from the beginning of the machine's average
beat, ``rr_interval`` in ms, axes in degrees. 29999 and above says "not measured" and gives no entry.

Times are shifted by up to two centuries, for each patient by one amount. Sex and age are in MIMIC-IV (``hosp/patients.csv.gz``), which is
given as ``mimic_iv``. Age is that at the patient's anchor year plus the time since its first of January; the publishers write 91 for
everybody over 89, who has no ``age`` but ``age_over`` = 89.

The tables are read from disk row by row: 800,000 recordings need about 60 MB here, whatever the reports' length.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.sources.csv_table import need_columns
from einthoven.sources.facts import Counts, Facts, RecordRef
from einthoven.sources.indexed_table import IndexedTable
from einthoven.sources.reading import existing_root, read

__all__ = ["FACTS", "MEASUREMENTS", "VERSIONS", "read", "records"]

FACTS = Facts(
    name="MIMIC-IV-ECG",
    version="1.0",
    licence="Open Database License 1.0",
    citation="Gow et al., MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset (version 1.0), PhysioNet, 2023",
    url="https://physionet.org/content/mimic-iv-ecg/1.0/",
    records=800_035,
    patients=161_352,
    fs=500.0,
)
VERSIONS = {"0.1": Counts(records=659, patients=92)}  # the demo

RECORDS, MACHINE, LINKS, PATIENTS = "record_list.csv", "machine_measurements.csv", "waveform_note_links.csv", "hosp/patients.csv.gz"
LAYOUT = f"MIMIC-IV-ECG's folder with {RECORDS}, {MACHINE} and files/"
MEASUREMENTS = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis")
_NOT_MEASURED = 29_999
_OVER_89 = 91
_MORE = ("bandwidth", "filtering", "cart_id")


def records(root: Path | str, *, mimic_iv: Path | str | None = None, machine: bool = True) -> Iterator[RecordRef]:
    """Every row of ``record_list.csv``, in its order; ``record`` is the study, ``patient`` the subject.

    mimic_iv : the folder of MIMIC-IV (with ``hosp/``), for sex and age
    machine  : False: leave ``machine_measurements.csv`` aside, for a copy that lacks it

    A row whose recording is not there, and a study's folder that no row names (beside those that are named), are given with their problem.
    Raises EinthovenError where a table is missing, lacks a column, or cannot be read.
    """
    root = existing_root(root, LAYOUT)
    for name in (RECORDS, *([MACHINE] if machine else [])):
        if not (root / name).is_file():
            hint = "; or leave it aside by machine=False (on the command line --option machine=false)" if name == MACHINE else ""
            raise EinthovenError(f"{root}: {name} is not in it; expected {LAYOUT}{hint}.")
    what = f"the table of {FACTS.name}"
    people = _People(Path(mimic_iv).expanduser()) if mimic_iv is not None else None
    with ExitStack() as stack:
        listed = stack.enter_context(IndexedTable(root / RECORDS, "study_id", ("subject_id", "ecg_time", "path"), what))
        said = notes = None
        if machine:
            said = stack.enter_context(IndexedTable(root / MACHINE, "study_id", ("report_0", *MEASUREMENTS), what))
        if (root / LINKS).is_file():
            notes = stack.enter_context(IndexedTable(root / LINKS, "study_id", ("note_id",), what))
        twice, strays = listed.twice(), set[str]()
        for folder, rows in groupby(listed, lambda row: (root / row["path"]).parent.parent):
            there = _names(folder)
            for row in rows:
                study, path = int(row["study_id"]), root / f"{row['path']}.hea"
                problem = None
                if study in twice:
                    problem = f"{RECORDS} names the study {study} more than once."
                elif path.parent.name not in there:
                    problem = f"{RECORDS} names {row['path']}, which is not there."
                meta = _meta(row["ecg_time"])
                if said is not None and (numbers := said.row(study)) is not None:
                    meta |= _machine(numbers)
                if notes is not None and (ids := [link["note_id"] for link in notes.rows(study) if link["note_id"]]):
                    meta["note_ids"] = ids
                if people is not None:
                    meta |= people.of(row["subject_id"], meta.get("time"))
                yield RecordRef(path, str(study), row["subject_id"] or None, meta=meta, problem=problem)
            for name in sorted(there - strays):
                if re.fullmatch(r"s\d{1,12}", name) and int(name[1:]) not in listed:
                    strays.add(name)
                    yield RecordRef(folder / name / f"{name[1:]}.hea", name[1:], problem=f"{RECORDS} has no row for this recording.")


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:  # every row in it then says that its recording is not there
        return set()


def _meta(time: str) -> dict[str, Any]:
    try:
        return {"time": datetime.fromisoformat(time).isoformat()}
    except ValueError:
        return {}


def _machine(row: dict[str, str]) -> dict[str, Any]:
    """What the machine said and measured: ``report_0`` to ``report_17``, of which any may be empty."""
    meta: dict[str, Any] = {}
    statements = [row[name] for name in row if name.startswith("report_") and row[name]]
    if statements:
        meta["report"] = "\n".join(statements)
    numbers = {name: value for name in MEASUREMENTS if (value := _measured(name, row[name])) is not None}
    if numbers:
        meta["measurements"] = numbers
    return meta | {name: row[name] for name in _MORE if row.get(name)}


def _measured(name: str, text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    is_one = abs(value) <= 360 if name.endswith("axis") else 0 <= value < _NOT_MEASURED
    return value if is_one and (name != "rr_interval" or value > 0) else None


class _People:
    """Sex and age from MIMIC-IV's table of patients: ten bytes a person."""

    def __init__(self, folder: Path):
        found = next((path for path in (folder / PATIENTS, folder / PATIENTS.removesuffix(".gz")) if path.is_file()), None)
        if found is None:
            raise EinthovenError(f"{folder}: {PATIENTS} is not in it; expected the folder of MIMIC-IV, as mimic_iv.")
        rows = []
        try:
            with gzip.open(found, "rt", encoding="utf-8", newline="") if found.suffix == ".gz" else open(found, encoding="utf-8") as file:
                table = csv.DictReader(file)
                needed = ("subject_id", "gender", "anchor_age", "anchor_year")
                need_columns(found, table.fieldnames or (), needed, "MIMIC-IV's table of patients")
                for row in table:
                    rows.append((int(row["subject_id"]), row["gender"].strip()[:1], int(row["anchor_age"]), int(row["anchor_year"])))
        except (OSError, EOFError, csv.Error, ValueError, TypeError, AttributeError) as error:
            raise EinthovenError(f"{found}: cannot be read as MIMIC-IV's table of patients: {error}.") from error
        kind = [("subject", "i4"), ("sex", "S1"), ("age", "u1"), ("year", "i2")]
        self.rows = np.sort(np.array(rows, dtype=kind), order="subject")

    def of(self, subject: str, time: str | None) -> dict[str, Any]:
        """sex and age of a patient at a time."""
        if not subject.isdecimal():
            return {}
        place = int(np.searchsorted(self.rows["subject"], int(subject)))
        if place == len(self.rows) or self.rows["subject"][place] != int(subject):
            return {}
        _, sex, age, year = self.rows[place].tolist()
        meta: dict[str, Any] = {"sex": {b"F": "female", b"M": "male"}[sex]} if sex in (b"F", b"M") else {}
        if age >= _OVER_89:
            return meta | {"age_over": 89.0}
        if time is not None:
            # fairseq-signals moves both dates to the middle of anchor_year_group first: the same but for a leap day or two.
            days = (datetime.fromisoformat(time) - datetime(year, 1, 1)).total_seconds() / 86_400
            meta["age"] = round(age + days / 365.25, 3)
        return meta
