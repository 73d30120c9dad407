"""PTB-XL: 12-lead ECGs of 10 s from Schiller devices, labelled with SCP-ECG statements by cardiologists.

Versions 1.0.1 to 1.0.3 have the same columns; 1.0.2 left out 36 duplicates, 1.0.3 two more. Newer versions write an age over 89 as 300: such a
person has no ``age`` but ``age_over`` = 89. Sex is 0 for male and 1 for female. A statement of likelihood 0 (all of form and rhythm, and
"not stated" for diagnoses) counts as present, as in every published use; the likelihoods stand in ``meta["likelihoods"]``.

``meta["report"]`` is the report as it was written, mostly in German. A translation is no part of the release: where a table
``ptbxl_database_translated.csv`` (as fairseq-signals ships it) lies beside the original, or is named, its ``report`` is
``meta["report_english"]``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.io.demographics import years
from einthoven.sources.csv_table import read_csv
from einthoven.sources.facts import Counts, Facts, RecordRef
from einthoven.sources.reading import existing_root, files, one_of, read
from einthoven.sources.versions import version_in_name
from einthoven.sources.vocabulary import SCP

__all__ = ["FACTS", "OTHER_FS", "RESOLUTIONS", "VERSIONS", "read", "records", "tables", "version"]

FACTS = Facts(
    name="PTB-XL",
    version="1.0.3",
    licence="CC BY 4.0",
    citation="Wagner et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific Data 7:154, 2020",
    url="https://physionet.org/content/ptb-xl/1.0.3/",
    records=21_799,
    patients=18_869,
    fs=500.0,
    label_system=SCP,
)
VERSIONS = {"1.0.2": Counts(21_801, 18_869), "1.0.1": Counts(21_837, 18_885)}
OTHER_FS = (100.0,)

RESOLUTIONS = ("best", "500", "100")
TABLE, TRANSLATED = "ptbxl_database.csv", "ptbxl_database_translated.csv"
LAYOUT = f"PTB-XL's folder with {TABLE}, records500/ and records100/"

_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
_TEXT = ("report", "heart_axis", "infarction_stadium1", "infarction_stadium2", "device", "baseline_drift", "static_noise", "burst_noise")
_MORE_TEXT = ("electrodes_problems", "extra_beats", "pacemaker")


def records(root: Path | str, *, resolution: str = "best", english: Path | str | None = None) -> Iterator[RecordRef]:
    """Every row of ``ptbxl_database.csv``, in its order.

    resolution : "500" or "100" Hz, or "best": 500 Hz where that file is there, else 100 Hz
    english    : a table with the columns ecg_id and report, the reports in English; None: ``ptbxl_database_translated.csv`` where it is there

    A row whose file is not there, and a file that no row names, are given with their problem. Raises EinthovenError where the table is missing, or
    lacks a column.
    """
    one_of("resolution", resolution, RESOLUTIONS)
    root = existing_root(root, LAYOUT)
    table = root / TABLE
    if not table.is_file():
        raise EinthovenError(f"{root}: {TABLE} is not in it; expected {LAYOUT}.")
    on_disk = {
        path
        for folder in ("records500", "records100")
        if (root / folder).is_dir()
        for path in files(root / folder)
        if path.suffix == ".hea"
    }
    translated = _translated(root, english)
    named: set[Path] = set()
    for line, row in read_csv(table, _COLUMNS, "PTB-XL's table"):
        paths = {"500": root / f"{row['filename_hr']}.hea", "100": root / f"{row['filename_lr']}.hea"}
        named.update(paths.values())
        there = [rate for rate in ("500", "100") if paths[rate] in on_disk]
        rate = resolution if resolution != "best" else there[0] if there else "500"
        ref = _ref(row, paths[rate], rate in there, f"{TABLE}, line {line}")
        yield replace(ref, meta={**ref.meta, "report_english": translated[ref.record]}) if ref.record in translated else ref
    for path in sorted(on_disk - named):
        yield RecordRef(path, path.stem, problem=f"{TABLE} has no row for this file.")


def tables(root: Path) -> list[Path]:
    """The translation beside the table, which is somebody's own."""
    return [root / TRANSLATED] if (root / TRANSLATED).is_file() else []


def version(root: Path) -> str | None:
    """The release in a folder: as its name says, else the one that has as many rows; None where that is none."""
    if (name := version_in_name(root)) is not None:
        return name
    try:
        with open(root / TABLE, encoding="utf-8-sig", newline="") as file:
            n_rows = sum(1 for _ in csv.DictReader(file))
    except (OSError, csv.Error, UnicodeDecodeError):
        return None
    counts = {**VERSIONS, str(FACTS.version): Counts(FACTS.records)}
    return next((name for name, of in counts.items() if of.records == n_rows), None)


def _translated(root: Path, english: Path | str | None) -> dict[str, str]:
    """ecg_id -> report in English."""
    table = Path(english).expanduser() if english is not None else root / TRANSLATED
    if english is None and not table.is_file():
        return {}
    rows = read_csv(table, ("ecg_id", "report"), "reports in English by ecg_id")
    return {name: text for _, row in rows if (name := _whole(row["ecg_id"])) and (text := row["report"].strip(" ,"))}


def _ref(row: dict[str, str], path: Path, is_there: bool, where: str) -> RecordRef:
    likelihoods, problem = _statements(row["scp_codes"]), None
    if likelihoods is None:
        problem = f"{where}: expected scp_codes such as {{'NORM': 100.0}}; got {row['scp_codes'][:60]!r}."
    if not is_there:
        problem = f"{where}: its file {path.parent.parent.name}/{path.parent.name}/{path.name} is not there."
    return RecordRef(
        path=path,
        record=_whole(row["ecg_id"]) or row["ecg_id"],
        patient=_whole(row["patient_id"]),
        labels=dict.fromkeys(likelihoods, 1.0) if likelihoods else None,
        label_system=SCP if likelihoods else None,
        fold=_whole(row["strat_fold"]),
        meta=_meta(row, likelihoods),
        problem=problem,
    )


def _statements(text: str) -> dict[str, float] | None:
    """``{'NORM': 100.0, 'SR': 0.0}``, a Python dict whose keys hold no quotes: JSON with other quotes."""
    try:
        statements = json.loads(text.replace("'", '"') or "{}")
        return {str(code): float(value) for code, value in statements.items()}
    except (ValueError, TypeError, AttributeError):
        return None


def _whole(text: str | None) -> str | None:
    """``15709.0`` -> ``15709``: the table passed through a program that knew missing values only as fractions."""
    try:
        return str(int(float(text or "")))
    except (ValueError, OverflowError):
        return None


def _meta(row: dict[str, str], likelihoods: dict[str, float] | None) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if (age := years(row["age"])) is not None:
        meta["age"] = age
    elif _whole(row["age"]) == "300":
        meta["age_over"] = 89.0
    if sex := {"0": "male", "1": "female"}.get(_whole(row["sex"]) or ""):
        meta["sex"] = sex
    for name in ("height", "weight"):
        if (value := _number(row.get(name))) is not None:
            meta[name] = value
    if row.get("recording_date"):
        meta["time"] = row["recording_date"].replace(" ", "T")
    for name in (*_TEXT, *_MORE_TEXT):
        if text := (row.get(name) or "").strip(" ,"):
            meta[name] = text
    if row.get("validated_by_human") in ("True", "False"):
        meta["validated_by_human"] = row["validated_by_human"] == "True"
    if likelihoods:
        meta["likelihoods"] = likelihoods
    return meta


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 else None
