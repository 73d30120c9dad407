"""``labels.csv``: what somebody knows about the files of a folder. Its columns are described in ``folder.py``."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.io.wfdb_comments import years

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
_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}


@dataclass(frozen=True)
class Row:
    """One row. ``labels`` is None where it says nothing; ``line`` is its line in the table."""

    patient: str | None
    labels: Mapping[str, float] | None
    label_system: str | None
    fold: str | None
    meta: Mapping[str, Any]
    line: int


def read_table(path: Path) -> dict[str, Row]:
    """Record name -> row. Raises EinthovenError that names the line for a missing column, a record that stands twice, or a value that is no label."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    table = csv.DictReader(text.splitlines(), delimiter=";" if first.count(";") > first.count(",") else ",")
    columns = [name.strip() for name in table.fieldnames or []]
    if "record" not in columns:
        raise EinthovenError(
            f"{path}: expected a column named record (rename the file if it is a table of another kind); it has {', '.join(columns) or 'none'}."
        )
    rows: dict[str, Row] = {}
    for values in table:
        row = {str(name).strip(): str(value or "").strip() for name, value in values.items() if name is not None}
        name, where = row["record"].removeprefix("./"), f"{path}, line {table.line_num}"
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
    if sex := _SEX.get(row.get("sex", "").lower()):
        meta["sex"] = sex
    return meta
