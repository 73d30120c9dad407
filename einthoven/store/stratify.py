"""Ten folds for a corpus that has none: iterative stratification of whole patients, as PTB-XL's own folds were made.

Sechidis et al., On the Stratification of Multi-Label Data, ECML PKDD 2011; Wagner et al., Scientific Data 7:154, 2020.
``split.split(strategy="stratified")`` uses the same idea for three parts and no random number; here is the algorithm as ecg-selfsupervised
and the benchmark run it, draw for draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.patients import OF_A_PATIENT, OF_A_SIGNAL, columns_of, patients_of

AGES = (20.0, 40.0, 60.0, 80.0)
"""Borders of the age groups that the benchmark stratifies by, in years; a group begins with its border."""


def stratify(
    labels: Sequence[Sequence[str]],
    classes: Sequence[str],
    shares: Sequence[float],
    *,
    sizes: Sequence[int] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """A fold for each item (a record, or a patient with all of its records' labels): (item,) int64, -1 for one without any label.

    labels  : of each item; a label may stand several times (a patient's, once for each record)
    classes : the labels in the order in which ties between rare ones are broken
    shares  : of each fold; they sum up to 1
    sizes   : records of each item, 1 without it

    The rarest label that is left goes first; of its items those that carry it most often, then the later ones; each to the fold that wants
    the label most, then to the one that wants records most, then by lot from NumPy's legacy generator, so that folds of the old systems
    (seed 0) come out again.
    """
    counts = [Counter(one) for one in labels]
    size = np.ones(len(labels)) if sizes is None else np.asarray(sizes, dtype=np.float64)
    place = {name: at for at, name in enumerate(classes)}
    if unknown := sorted({name for one in counts for name in one} - set(place)):
        raise ValueError(f"expected labels among the classes; got {', '.join(unknown[:5])}")
    share = np.asarray(shares, dtype=np.float64)
    if (share < 0).any() or not np.isclose(share.sum(), 1):
        raise ValueError(f"expected shares from 0 that sum up to 1; got {share.tolist()}")
    state = np.random.RandomState(seed)
    items: list[set[int]] = [set() for _ in classes]
    for item, one in enumerate(counts):
        for name in one:
            items[place[name]].add(item)
    n_of_label = np.array([sum(counts[item][name] for item in items[at]) for at, name in enumerate(classes)], dtype=np.float64)
    wanted = share[:, None] * n_of_label  # (fold, label)
    room = share * size.sum()
    fold = np.full(len(labels), -1, dtype=np.int64)
    while any(items):
        left = [len(there) or np.inf for there in items]
        label = int(np.argmin(left))
        name = classes[label]
        for item in sorted(items[label], key=lambda item: (counts[item][name], item), reverse=True):
            most = np.flatnonzero(wanted[:, label] == wanted[:, label].max())
            if len(most) > 1:
                most = most[room[most] == room[most].max()]
            here = int(most[0]) if len(most) == 1 else int(state.choice(most))
            fold[item] = here
            room[here] -= size[item]
            for other, times in counts[item].items():
                wanted[here, place[other]] -= times
                items[place[other]].discard(item)
    return fold


def stratified_folds(store: Any, n_folds: int = 10, *, by: Sequence[str] = ("labels", "sex", "age"), seed: int = 0) -> np.ndarray:
    """A fold "1" … "10" for every row of a store (or of its pyarrow table), whole patients in each: (row,) of text.

    by : what is to be as frequent in every fold: codes that are present, sex, age group (borders ``AGES``)

    A recording whose patient is not known is a patient of its own, copies of one recording stay together, and the folds do not depend on
    the order of the rows (``store.split``). Unlabelled recordings are a group that is spread evenly, too. Raises StoreError for what cannot
    be made.
    """
    if not 2 <= n_folds <= 1000 or not by or not set(by) <= {"labels", "sex", "age"}:
        raise StoreError(f"expected 2 to 1000 folds by some of labels, sex, age; got {n_folds} by {', '.join(by) or 'nothing'}")
    table = columns_of(store, [*OF_A_PATIENT, *OF_A_SIGNAL, *by])
    patients = patients_of(table, seed)
    if len(patients.n_records) < n_folds:
        raise StoreError(f"{len(patients.n_records)} patients cannot make {n_folds} folds; ask for fewer")
    tags: list[list[str]] = [[] for _ in patients.n_records]
    for name in by:
        for patient, found in zip(patients.of_row.tolist(), _tags(name, table[name].to_pylist())):
            tags[patient].extend(found)
    for one in tags:
        if not one:
            one.append("nothing known")  # else it would be in no fold
    classes = sorted({tag for one in tags for tag in one})
    fold = stratify(tags, classes, np.full(n_folds, 1 / n_folds).tolist(), sizes=patients.n_records.tolist(), seed=seed)
    return (fold + 1).astype(str)[patients.of_row]


def parts(fold: Sequence[str] | np.ndarray, *, valid: Sequence[str] = ("9",), test: Sequence[str] = ("10",)) -> np.ndarray:
    """Folds -> a "train", "valid" or "test" for every row, for ``split.assign``. Raises StoreError where no row is in a fold that is named."""
    fold = np.asarray(fold, dtype=str)
    if missing := sorted((set(valid) | set(test)) - set(fold.tolist())):
        raise StoreError(f"there is no fold {', '.join(missing)} here; the folds are {', '.join(sorted(set(fold.tolist())))}")
    return np.where(np.isin(fold, list(test)), "test", np.where(np.isin(fold, list(valid)), "valid", "train"))


def _tags(name: str, column: list[Any]) -> list[list[str]]:
    if name == "sex":
        return [[f"sex {value}"] if value is not None else [] for value in column]
    if name == "age":
        return [[f"age {int(np.searchsorted(AGES, value, side='right'))}"] if value is not None else [] for value in column]
    present = [None if labels is None else [code for code, value in labels if value == 1.0] for labels in column]
    return [["unlabelled"] if codes is None else [f"label {code}" for code in codes] or ["no finding"] for codes in present]
