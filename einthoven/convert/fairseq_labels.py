"""What the outputs of published fairseq-signals classifiers mean: their files name no class."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from einthoven.errors import CheckpointError
from einthoven.sources.vocabulary import CLASSES, SNOMED

ECG_FM = [
    ("Poor data quality", "max"),
    ("Sinus rhythm", "mean"),
    ("Premature ventricular contraction", "max"),
    ("Tachycardia", "mean"),
    ("Ventricular tachycardia", "max"),
    ("Supraventricular tachycardia with aberrancy", "max"),
    ("Atrial fibrillation", "mean"),
    ("Atrial flutter", "mean"),
    ("Bradycardia", "mean"),
    ("Accessory pathway conduction", "mean"),
    ("Atrioventricular block", "mean"),
    ("1st degree atrioventricular block", "mean"),
    ("Bifascicular block", "mean"),
    ("Right bundle branch block", "mean"),
    ("Left bundle branch block", "mean"),
    ("Infarction", "mean"),
    ("Electronic pacemaker", "max"),
]
"""ECG-FM's labels in the order of its ``label_def.csv``, and how the windows of a record are put together: what comes and
goes is asked of the most striking window. They were read from machine reports by a labeller whose hierarchy makes some
wider than their names: tachycardia holds atrial fibrillation, accessory pathway conduction every re-entry."""


def classes_for(n_labels: int, labels: Path | str | Sequence[str] | None) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Classes as a model's configuration has them, the aggregation of each, and what is to be said about it.

    labels : names in order, or a ``label_def.csv`` with a column ``name``; None: recognised by their number
    Raises CheckpointError when the names given are not as many as the outputs.
    """
    ecg_fm = dict(ECG_FM)
    if labels is not None:
        names = read_label_def(Path(labels)) if isinstance(labels, str | Path) else list(labels)
        if len(names) != n_labels or len(set(names)) != n_labels:
            raise CheckpointError(
                f"the classifier has {n_labels} outputs; expected as many different names, got {len(names)}: {', '.join(names[:4])}, …"
            )
        aggregation = [ecg_fm.get(name, "mean") for name in names]
        return [{"name": name, "codes": []} for name in names], aggregation, []
    if n_labels == len(CLASSES["cinc2021"]):
        classes = [
            {
                "name": one.name,
                "abbreviation": one.abbreviation,
                "system": SNOMED,
                "codes": list(one.codes[SNOMED]),
                "vocabularies": {system: list(codes) for system, codes in one.codes.items()},
            }
            for one in CLASSES["cinc2021"]
        ]
        note = f"its {n_labels} outputs are taken for the classes of the CinC 2021 challenge, in the order of weights.csv; the file names none (labels=… names others)"
        return classes, ["mean"] * n_labels, [note]
    if n_labels == len(ECG_FM):
        note = f"its {n_labels} outputs are taken for ECG-FM's labels, in the order of its label_def.csv; the file names none (labels=… names others)"
        return [{"name": name, "codes": []} for name in ecg_fm], list(ecg_fm.values()), [note]
    names = [f"class_{position:02d}" for position in range(n_labels)]
    note = f"its {n_labels} outputs have no known names, so they are called {names[0]} to {names[-1]}; labels=label_def.csv names them"
    return [{"name": name, "codes": []} for name in names], ["mean"] * n_labels, [note]


def read_label_def(path: Path) -> list[str]:
    """The column ``name`` of a label_def.csv, in order."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(f"{path}: cannot be read as a table of labels ({error})") from error
    if not rows or "name" not in rows[0]:
        raise CheckpointError(f"{path}: expected a table with a column name, such as ECG-FM's label_def.csv")
    return [row["name"].strip() for row in rows]
