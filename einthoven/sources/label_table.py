"""``labels.csv``: what somebody knows about the files of a folder. Its columns are described in ``folder.py``."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.io.demographics import sex_of, years
from einthoven.sources.facts import RecordRef

TABLE = "labels.csv"
_KNOWN = ("record", "patient", "age", "sex", "fold", "report", "time", "label_system", "labels")
_VALUES = {
    "1": 1.0,
    "1.0": 1.0,
    "true": 1.0,
    "yes": 1.0,
    "0": 0.0,
    "0.0": 0.0,
    "false": 0.0,
    "no": 0.0,
    "": math.nan,
    "nan": math.nan,
    "na": math.nan,
}
_UNKNOWN = ("", "nan", "na", "n/a", "-", "?", "unknown", "u", "other", "o", "x")


@dataclass(frozen=True)
class Row:
    """One row. ``labels`` is None where it says nothing; ``line`` is its line in the table."""

    patient: str | None
    labels: Mapping[str, float] | None
    label_system: str | None
    fold: str | None
    meta: Mapping[str, Any]
    line: int


def tables(root: Path) -> list[Path]:
    """The table beside the recordings, where there is one: ingest notes what it was."""
    return [root / TABLE] if (root / TABLE).is_file() else []


def rows_of(root: Path) -> dict[str, Row]:
    """The table of a folder by record name (``read_table``); nothing where there is none."""
    return read_table(root / TABLE) if (root / TABLE).is_file() else {}


def with_row(ref: RecordRef, row: Row) -> RecordRef:
    """What the table says goes before what the file says; where the table is silent, the file stands."""
    labels, system = (row.labels, row.label_system) if row.labels is not None else (ref.labels, ref.label_system)
    patient = row.patient if row.patient is not None else ref.patient
    return replace(ref, patient=patient, labels=labels, label_system=system, fold=row.fold or ref.fold, meta={**ref.meta, **row.meta})


def as_named(name: str) -> str:
    """A name in one of the two ways in which Unicode writes "ö": macOS names its files in the other one."""
    return unicodedata.normalize("NFC", name)


def read_table(path: Path) -> dict[str, Row]:
    """Record name -> row.

    Raises EinthovenError that names the line for a missing column, a record that stands twice, or a value that is no label: a label that is lost
    would count as a no.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise EinthovenError(f"{path}, line {line}: expected UTF-8; save the table as CSV in UTF-8.") from None
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    # Strict: a quotation mark that is never closed would swallow every row after it.
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return _rows(table, path)
    except csv.Error as error:
        raise EinthovenError(f"{path}, line {table.line_num}: cannot be read as CSV: {error}.") from None


def _rows(table: csv.DictReader[str], path: Path) -> dict[str, Row]:
    columns = [name.strip() for name in table.fieldnames or []]
    if "record" not in columns:
        raise EinthovenError(
            f"{path}: expected a column named record (rename the file if it is a table of another kind); it has {', '.join(columns) or 'none'}."
        )
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise EinthovenError(f"{path}: the column {', '.join(twice)} is there twice.")
    rows: dict[str, Row] = {}
    for values in table:
        where = f"{path}, line {table.line_num}"
        nameless = [*(values.pop(None, None) or []), *(value for column, value in values.items() if not column.strip())]
        if any(value and value.strip() for value in nameless):
            raise EinthovenError(
                f"{where}: has more values than there are named columns; several codes in one cell are separated by ; or | in quotation marks."
            )
        row = {column.strip(): (value or "").strip() for column, value in values.items() if column.strip()}
        name = as_named(row["record"].removeprefix("./"))
        if not name:
            raise EinthovenError(f"{where}: names no record.")
        if name in rows:
            raise EinthovenError(f"{where}: the record {name} stands in line {rows[name].line} already.")
        labels = _labels(row, where)
        rows[name] = Row(
            patient=row.get("patient") or None,
            labels=labels,
            label_system=(row.get("label_system") or "own") if labels is not None else None,
            fold=row.get("fold") or None,
            meta=_meta(row, where),
            line=table.line_num,
        )
    return rows


def _labels(row: Mapping[str, str], where: str) -> dict[str, float] | None:
    labels = dict.fromkeys(filter(None, (code.strip() for code in re.split(r"[;|]", row.get("labels", "")))), 1.0)
    for name, text in row.items():
        if name in _KNOWN:
            continue
        if text.lower() not in _VALUES:
            raise EinthovenError(f"{where}: column {name}: expected 1, 0 or nothing; got {text!r}.")
        labels[name] = _VALUES[text.lower()]
    # A row of nothing but empty cells says nothing; one empty cell among others says that this label is not known.
    return labels if any(value == value for value in labels.values()) else None


def _meta(row: Mapping[str, str], where: str) -> dict[str, Any]:
    meta: dict[str, Any] = {name: row[name] for name in ("report", "time") if row.get(name)}
    if row.get("age"):
        age = years(row["age"])
        if age is None and row["age"].lower() not in ("nan", "na", "unknown"):
            raise EinthovenError(f"{where}: expected an age in years; got {row['age']!r}.")
        meta |= {"age": age} if age is not None else {}
    try:
        datetime.fromisoformat(meta.get("time", "2000-01-01"))
    except ValueError:
        raise EinthovenError(f"{where}: expected a time such as 2020-03-12 10:00; got {row['time']!r}.") from None
    sex = sex_of(row.get("sex"))
    if sex is None and row.get("sex", "").lower() not in _UNKNOWN:
        raise EinthovenError(f"{where}: expected a sex as female or male (f, m), or nothing; got {row['sex']!r}.")
    meta |= {"sex": sex} if sex is not None else {}
    return meta
