"""Folds of whole patients for a corpus that has none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from einthoven.errors import StoreError
from einthoven.store.stratify import parts, stratified_folds, stratify


def table(n: int = 600, seed: int = 0) -> pa.Table:
    """Recordings of some 350 patients with a rare, a middling and a frequent label; some unlabelled, some of unknown patient, sex or age."""
    generator = np.random.default_rng(seed)
    labels = []
    for _ in range(n):
        found = {code: 1.0 for code, p in (("RARE", 0.04), ("MID", 0.2), ("SR", 0.7)) if generator.random() < p}
        labels.append(None if generator.random() < 0.1 else [*found.items(), ("NO", 0.0)])
    return pa.table(
        {
            "record": [f"r{row}" for row in range(n)],
            "source": ["one"] * n,
            "patient": [None if draw < 0.1 else f"p{int(draw * 350)}" for draw in generator.random(n)],
            "labels": pa.array(labels, type=pa.map_(pa.string(), pa.float32())),
            "sex": generator.choice(np.array(["female", "male", None], dtype=object), n, p=[0.45, 0.45, 0.1]).tolist(),
            "age": [None if draw < 0.05 else float(100 * draw) for draw in generator.random(n)],
        }
    )


def has(rows: pa.Table, code: str) -> np.ndarray:
    return np.array([labels is not None and (code, 1.0) in labels for labels in rows["labels"].to_pylist()])


def test_every_row_has_a_fold_and_no_patient_has_two():
    rows = table()
    fold = stratified_folds(rows)
    assert set(fold) == {str(number) for number in range(1, 11)} and len(fold) == len(rows)
    of_patient: dict[str, set[str]] = {}
    for patient, one in zip(rows["patient"].to_pylist(), fold):
        if patient is not None:
            of_patient.setdefault(patient, set()).add(one)
    assert all(len(folds) == 1 for folds in of_patient.values())


def test_rare_labels_sexes_and_ages_are_spread_better_than_by_lot():
    rows = table()
    by_lot = np.random.default_rng(0).permutation(np.arange(len(rows)) % 10).astype(str)
    old = np.array([age is not None and age >= 80 for age in rows["age"].to_pylist()])
    for flag in (has(rows, "RARE"), has(rows, "MID"), np.array(rows["sex"].to_pylist()) == "female", old):
        ours, lot = (np.std([flag[fold == number].sum() for number in map(str, range(1, 11))]) for fold in (stratified_folds(rows), by_lot))
        assert ours < lot or ours < 1
    sizes = [(stratified_folds(rows) == number).sum() for number in map(str, range(1, 11))]
    assert max(sizes) - min(sizes) <= 12


def test_folds_do_not_depend_on_the_order_of_the_rows_but_on_the_seed():
    rows = table()
    order = np.random.default_rng(2).permutation(len(rows))
    np.testing.assert_array_equal(stratified_folds(rows.take(order)), stratified_folds(rows)[order])
    assert (stratified_folds(rows, seed=1) != stratified_folds(rows)).any()


def test_what_is_stratified_by_is_a_choice():
    rows = table()
    alone, labels = stratified_folds(rows, 5, by=("sex",)), stratified_folds(rows, 5, by=("labels",))
    female = np.array(rows["sex"].to_pylist()) == "female"

    def spread(fold: np.ndarray, flag: np.ndarray) -> float:
        return float(np.std([flag[fold == number].sum() for number in map(str, range(1, 6))]))

    assert spread(alone, female) < spread(labels, female) and spread(labels, has(rows, "RARE")) < spread(alone, has(rows, "RARE"))


def test_folds_become_the_three_parts():
    fold = stratified_folds(table())
    part = parts(fold)
    assert ((part == "test") == (fold == "10")).all() and ((part == "valid") == (fold == "9")).all()
    with pytest.raises(StoreError, match="no fold 11"):
        parts(fold, test=("11",))


def test_what_cannot_be_made_is_refused():
    with pytest.raises(StoreError, match="cannot make 10 folds"):
        stratified_folds(table(4))
    with pytest.raises(StoreError, match="labels, sex, age"):
        stratified_folds(table(), by=("height",))
    with pytest.raises(ValueError, match="among the classes; got b"):
        stratify([["b"]], ["a"], [0.5, 0.5])
    with pytest.raises(ValueError, match="sum up to 1"):
        stratify([["a"]], ["a"], [0.5, 0.4])
    assert stratify([["a"], []], ["a"], [0.5, 0.5]).tolist()[1] == -1
