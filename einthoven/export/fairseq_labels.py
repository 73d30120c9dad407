"""Labels as fairseq-signals keeps them: ``labels.csv``, ``y.npy``, ``label_def.csv``, ``pos_weight.txt``.

``y.npy`` is float64 (largest idx + 1, class); row ``idx`` is a recording, of zeros where nobody labelled it, so that a table of the
labelled ones is needed beside it. A class that is not known of a labelled recording is NaN in it; such a recording does not count in
``label_def.csv``, and neither does one of no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from einthoven import whole
from einthoven.export.folder import table_text, writing_table
from einthoven.sources.vocabulary import CLASSES, CODE, SCP, SNOMED, LabelClass, own_classes
from einthoven.store.read import Store


def default_classes(store: Store, rows: np.ndarray) -> tuple[LabelClass, ...]:
    """The classes that recordings are exported with: the 26 of the Challenge 2021 for SNOMED CT, or where vocabularies are mixed; PTB-XL's
    71 statements; the codes that there are for any other vocabulary. None where nothing is labelled, or vocabularies that we know no list
    for are mixed."""
    systems = {system for system in store.column("label_system")[rows] if system is not None}
    if not systems:
        return ()
    if systems == {SCP}:
        return CLASSES["ptbxl_all"]
    if systems <= {SNOMED, SCP, CODE} and systems != {CODE}:
        return CLASSES["cinc2021"]
    if len(systems) > 1:
        return ()
    which, sets = store.label_sets()
    codes = {code for number in np.unique(which[rows]).tolist() for code in sets[number] or ()}
    return own_classes(codes, systems.pop())


def write_labels(folder: Path, names: Sequence[str], idx: np.ndarray, label: np.ndarray, split: np.ndarray) -> None:
    """The four files into ``folder``.

    idx, split : (record,) global number, and "train", "valid", "test" or None
    label      : (record, class), as ``targets_of`` gives it
    """
    labelled = ~np.isnan(label).all(axis=1)
    with writing_table(folder / "labels.csv", ["idx", *names]) as write:
        for number, row in zip(idx[labelled].tolist(), label[labelled]):
            write({"idx": number, **{name: None if np.isnan(value) else int(value) for name, value in zip(names, row.tolist())}})
    y = np.zeros((int(idx.max()) + 1, len(names)))
    y[idx[labelled]] = label[labelled]
    whole.write(folder / "y.npy", lambda file: np.save(file, y), lasting=False)
    counted = ~np.isnan(label).any(axis=1) & np.array([part is not None for part in split.tolist()], dtype=bool)
    definitions = definition(names, label[counted], split[counted])
    whole.write_text(folder / "label_def.csv", table_text(list(definitions[0]), definitions), lasting=False)
    if "pos_weight_train" in definitions[0]:
        weights = ",".join(repr(round(float(row["pos_weight_train"]), 6)) for row in definitions)
        whole.write_text(folder / "pos_weight.txt", f"[{weights}]", lasting=False)


def definition(names: Sequence[str], label: np.ndarray, split: np.ndarray) -> list[Mapping[str, Any]]:
    """The rows of ``label_def.csv``: of every class and part how many recordings are positive, which share that is, and the weight (1 -
    share) / share.

    label : (record, class) of 0 and 1
    split : (record,) "train", "valid" or "test"
    """
    parts = {name: label[split == name] for name in sorted(set(split.tolist()))}
    count = {name: part.sum(axis=0).astype(int) for name, part in parts.items()}
    percent = {name: part.mean(axis=0, dtype=np.float64) for name, part in parts.items()}
    with np.errstate(divide="ignore"):
        weight = {name: (1 - share) / share for name, share in percent.items()}
    everywhere = label.sum(axis=0).astype(int)
    return [
        {
            "name": name,
            **{f"pos_count_{part}": int(count[part][at]) for part in parts},
            **{f"pos_percent_{part}": float(percent[part][at]) for part in parts},
            **{f"pos_weight_{part}": float(weight[part][at]) for part in parts},
            "pos_count_all": int(everywhere[at]),
            "pos_percent_all": float(everywhere[at] / len(label)) if len(label) else float("nan"),
        }
        for at, name in enumerate(names)
    ]
