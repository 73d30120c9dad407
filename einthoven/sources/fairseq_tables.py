"""Tables that fairseq-signals' newer pipeline leaves beside its files: ``meta.csv``, ``meta_split.csv``, and the folder ``labels``."""

from __future__ import annotations

import math
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.io.demographics import years
from einthoven.sources.csv_table import read_csv
from einthoven.sources.vocabulary import CLASSES, CODE, SCP, SNOMED, scp_names, targets

_WHAT = "a table of fairseq-signals' pipeline"
_PATIENT = ("subject_id", "patient_id", "patient")
_TIME = ("ecg_time", "time", "acq_dt", "recording_date")
_REPORT = ("machine_report", "report")
_SEX = {"1": "female", "1.0": "female", "0": "male", "0.0": "male"}
_MALE = {"1": "male", "1.0": "male", "True": "male", "0": "female", "0.0": "female", "False": "female"}
_UNITS = {"": 1.0, "mv": 1.0, "uv": 0.001, "µv": 0.001, "v": 1000.0}
_YES_NO = {"True": 1.0, "1": 1.0, "1.0": 1.0, "False": 0.0, "0": 0.0, "0.0": 0.0}
_CODE_LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``meta.csv``.

    stem      : the name of its files without the ending
    name      : the same without the name of its source, with which it begins
    millivolt : what one unit of its files in ``org`` is in mV; None for a unit that is no voltage
    leads     : names of the rows of its signal; None where the table does not say
    labels    : the six findings of CODE-15 %, which stand in its table; None for other sources
    """

    stem: str
    name: str
    idx: int
    patient: str | None
    diagnosis: str | None
    millivolt: float | None
    leads: tuple[str, ...] | None
    labels: Mapping[str, float] | None
    meta: Mapping[str, Any]


def rows(table: Path) -> Iterator[Row]:
    """Every row of ``meta.csv`` (or ``records.csv``, where it has these columns), in its order. Raises EinthovenError where a column is
    missing."""
    for line, row in read_csv(table, ("idx", "save_file"), _WHAT):
        idx = _idx(row["idx"], table, line)
        meta: dict[str, Any] = {"dataset": row["dataset"]} if row.get("dataset") else {}
        if (age := years(row.get("age") or "")) is not None:
            meta["age"] = age
        if sex := _SEX.get(row.get("sex") or "") or _MALE.get(row.get("is_male") or ""):
            meta["sex"] = sex
        if time := _first(row, _TIME):
            meta["time"] = time.replace(" ", "T")
        if report := _first(row, _REPORT):
            meta["report"] = report
        patient = _first(row, _PATIENT)
        unit = (row.get("units") or "").strip().lower()
        stem = row["save_file"].removesuffix(".mat")
        if not stem or set(stem) & set("/\\\0"):
            raise EinthovenError(f"{table}, line {line}: expected the name of a file as save_file; got {row['save_file']!r}.")
        yield Row(
            stem=stem,
            name=stem.removeprefix(f"{row.get('source') or table.parent.name}_"),
            idx=idx,
            patient=patient.removesuffix(".0") if patient else None,
            diagnosis=row.get("diagnosis") or None,
            millivolt=_UNITS.get(unit),
            leads=tuple(re.findall(r"'([^']+)'", row.get("lead_order") or "")) or None,
            labels={name: _YES_NO.get(row[name], math.nan) for name in _CODE_LABELS} if row.keys() >= set(_CODE_LABELS) else None,
            meta=meta,
        )


def splits(table: Path) -> dict[str, str]:
    """Stem of a recording's files -> its part, from ``meta_split.csv``."""
    return {row["save_file"].removesuffix(".mat"): row["split"] for _, row in read_csv(table, ("save_file", "split"), _WHAT)}


def _idx(text: str, table: Path, line: int) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise EinthovenError(f"{table}, line {line}: expected a number as idx; got {text!r}.") from None


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((row[name].strip() for name in names if (row.get(name) or "").strip()), None)


class Labels:
    """The folder ``labels``: ``y.npy`` whose row is ``idx``, ``label_def.csv`` with the names of its columns, ``labels.csv`` or else a
    guess at who is labelled.

    A row of zeros may be a recording without finding or one that nobody labelled. ``labels.csv`` tells them apart; without it, a row of
    zeros is a labelled one where ``label_def.csv`` counted every row, and else nothing is known of it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        names, n_counted = [], 0
        for line, row in read_csv(folder / "label_def.csv", ("name", "pos_count_all", "pos_percent_all"), _WHAT):
            names.append(row["name"])
            try:
                count, percent = float(row["pos_count_all"]), float(row["pos_percent_all"] or "nan")
                n_counted = max(n_counted, round(count / percent) if percent > 0 else 0)
            except (ValueError, OverflowError):
                raise EinthovenError(
                    f"{folder / 'label_def.csv'}, line {line}: expected numbers as pos_count_all and pos_percent_all."
                ) from None
        self.names = tuple(names)
        try:
            self.y = np.load(folder / "y.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
            raise EinthovenError(f"{folder / 'y.npy'}: cannot be read as an array ({error}); copy it again.") from error
        if self.y.ndim != 2 or self.y.shape[1] != len(names) or self.y.dtype.kind not in "biuf":
            raise EinthovenError(
                f"{folder / 'y.npy'}: has shape {self.y.shape} and type {self.y.dtype} where label_def.csv names {len(names)} labels; "
                "take the two files from one run."
            )
        table = folder / "labels.csv"
        self.labelled: set[int] | None = None
        if table.is_file():
            self.labelled = {_idx(row["idx"], table, line) for line, row in read_csv(table, ("idx",), _WHAT)}
        self._zeros_are_known = n_counted == len(self.y)
        self.system, self._codes = _vocabulary(self.names)

    @classmethod
    def at(cls, path: Path) -> Labels:
        """Those of a folder, or of the folder that a file named lies in. Raises EinthovenError where it lacks one of the two files."""
        folder = path.parent if path.is_file() else path
        if not _has_labels(folder):
            raise EinthovenError(f"{path}: expected the folder of fairseq-signals' labels, with y.npy and label_def.csv.")
        return cls(folder)

    @classmethod
    def beside(cls, source: Path) -> Labels | None:
        """Those of a processed source; None where it has none."""
        return cls(source / "labels") if _has_labels(source / "labels") else None

    def row(self, idx: int) -> np.ndarray | None:
        """(label,) float64 of a recording, None where it is not labelled."""
        if not 0 <= idx < len(self.y) or (self.labelled is not None and idx not in self.labelled):
            return None
        values = np.asarray(self.y[idx], dtype=np.float64)
        return values if self.labelled is not None or self._zeros_are_known or values.any() else None

    def of(self, idx: int, diagnosis: str | None) -> tuple[dict[str, float], str] | None:
        """(labels, vocabulary) of a recording, None where it is not labelled.

        diagnosis : codes of SNOMED CT, separated by commas: what they say beyond the labels stays, where they agree with them
        """
        values = self.row(idx)
        if values is None:
            return None
        if self.system == SNOMED and diagnosis:
            codes = dict.fromkeys(filter(None, (code.strip() for code in diagnosis.split(","))), 1.0)
            if np.array_equal(targets(codes, SNOMED, CLASSES["cinc2021"]), values):
                return codes, SNOMED
        return labels_of(values, self._codes), self.system

    def check_weights(self, parts: Iterator[tuple[int, str]]) -> None:
        """Compares ``pos_weight.txt`` with what the labels of the training part give: (idx, part). Raises EinthovenError where they
        differ."""
        path = self.folder / "pos_weight.txt"
        if not path.is_file():
            return
        try:
            stated = np.array([float(text) for text in path.read_text(encoding="utf-8").strip().strip("[]").split(",")])
        except (OSError, ValueError) as error:
            raise EinthovenError(f"{path}: expected [w1,w2,…]; it cannot be read ({error}).") from error
        train = [row for row in (self.row(idx) for idx, part in parts if part == "train") if row is not None and not np.isnan(row).any()]
        if not train:
            return
        with np.errstate(all="ignore"):
            share = np.mean(train, axis=0)
            ours = (1 - share) / share
        if stated.shape != ours.shape or not np.allclose(stated, ours, rtol=1e-5, atol=2e-6):
            at = 0 if stated.shape != ours.shape else int(np.flatnonzero(~np.isclose(stated, ours, rtol=1e-5, atol=2e-6))[0])
            raise EinthovenError(
                f"{path}: gives {stated[at]:g} for {self.names[at]} where y.npy and the training part give {ours[at]:g}: "
                "these files are not from one run; remove pos_weight.txt if y.npy is right."
            )


def _has_labels(folder: Path) -> bool:
    return (folder / "y.npy").is_file() and (folder / "label_def.csv").is_file()


def _vocabulary(names: tuple[str, ...]) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The vocabulary of the labels' names, and the codes that each means."""
    challenge = {one.abbreviation: one.codes[SNOMED] for one in CLASSES["cinc2021"]}
    if names and set(names) <= set(challenge):
        return SNOMED, tuple(challenge[name] for name in names)
    system = SCP if names and set(names) <= set(scp_names()) else CODE if set(_CODE_LABELS) <= set(names) else "own"
    return system, tuple((name,) for name in names)


def labels_of(values: np.ndarray, codes: tuple[tuple[str, ...], ...]) -> dict[str, float]:
    """code -> 1, 0 or NaN. A class that several codes mean is its first one where it is present, and none of them where it is absent."""
    labels: dict[str, float] = {}
    for value, of_class in zip(values.tolist(), codes):
        if value == 1:
            labels[of_class[0]] = 1.0
        else:
            labels |= dict.fromkeys(of_class, math.nan if math.isnan(value) else 0.0)
    return labels
