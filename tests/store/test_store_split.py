from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from fake_corpus import Corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.layout import schema
from einthoven.store.read import Store
from einthoven.store.split import assign, default_split, split


def table(patients, labels=None, folds=None, datasets=None) -> pa.Table:
    n = len(patients)
    columns = {
        "record": [f"r{i}" for i in range(n)],
        "source": ["here"] * n,
        "patient": patients,
        "labels": labels or [None] * n,
        "fold": folds or [None] * n,
        "meta": [None if datasets is None else f'{{"dataset": "{name}"}}' for name in datasets or [""] * n],
    }
    names = [*columns]
    return pa.Table.from_pydict(columns, schema=pa.schema([schema().field(name) for name in names]))


def sides(patients, column) -> dict:
    found: dict = {}
    for patient, part in zip(patients, column):
        if patient is not None:
            found.setdefault(patient, set()).add(str(part))
    return found


PATIENTS = st.lists(st.one_of(st.none(), st.integers(0, 12).map(str)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(patients=PATIENTS, seed=st.integers(0, 1000), strategy=st.sampled_from(["random", "stratified"]))
def test_no_patient_stands_on_two_sides_and_order_does_not_matter(patients, seed, strategy):
    rng = np.random.default_rng(seed)
    labels = [None if rng.random() < 0.2 else [(code, 1.0) for code in "abc" if rng.random() < 0.3] for _ in patients]
    whole = table(patients, labels)
    column = split(whole, strategy=strategy, seed=seed)
    assert all(len(parts) == 1 for parts in sides(patients, column).values())
    order = rng.permutation(len(patients))
    shuffled = split(whole.take(pa.array(order)), strategy=strategy, seed=seed)
    assert shuffled.tolist() == column[order].tolist()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 400), seed=st.integers(0, 100))
def test_the_parts_have_their_shares_as_near_as_patients_allow(n, seed):
    rng = np.random.default_rng(seed)
    patients = [f"p{i}" for i in range(n) for _ in range(rng.integers(1, 4))]
    column = split(table(patients), seed=seed)
    for name, share in zip(("train", "valid", "test"), (0.8, 0.1, 0.1)):
        assert abs(np.count_nonzero(column == name) - share * len(patients)) <= 6  # two patients of three recordings
        assert (column == name).any()


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    patients = [f"p{i}" for i in range(200)]
    assert (split(table(patients), seed=1) == split(table(patients), seed=1)).all()
    assert (split(table(patients), seed=1) != split(table(patients), seed=2)).mean() > 0.1


def test_stratified_keeps_prevalences_better_than_random():
    rng = np.random.default_rng(0)
    prevalence = {f"c{i}": p for i, p in enumerate([0.5, 0.2, 0.1, 0.05, 0.02, 0.01])}
    patients, labels = [], []
    for patient in range(1500):
        for _ in range(rng.integers(1, 3)):
            patients.append(f"p{patient}")
            labels.append([(code, 1.0) for code, p in prevalence.items() if rng.random() < p])
    whole = table(patients, labels)
    has = np.array([[any(code == one for one, _ in row) for code in prevalence] for row in labels])

    def error(column) -> float:
        return sum(np.abs(has[column == part].mean(0) / has.mean(0) - 1).sum() for part in ("valid", "test"))

    plain = [error(split(whole, strategy="random", seed=seed)) for seed in range(5)]
    strata = [error(split(whole, strategy="stratified", seed=seed)) for seed in range(5)]
    assert max(strata) < min(plain)
    column = split(whole, strategy="stratified", seed=0)
    assert abs((column == "test").mean() - 0.1) < 0.01


def test_published_folds_are_taken_and_their_absence_is_said():
    patients = [f"p{i}" for i in range(40)]
    folds = [str(i % 10 + 1) for i in range(40)]
    column = split(table(patients, folds=folds), strategy="fold")
    assert column.tolist() == ["test" if fold == "10" else "valid" if fold == "9" else "train" for fold in folds]
    other = split(table(patients, folds=folds), strategy="fold", valid_fold=[1, 2], test_fold="3")
    assert {fold for fold, part in zip(folds, other) if part == "valid"} == {"1", "2"}
    with pytest.raises(StoreError, match="no published fold"):
        split(table(patients), strategy="fold")
    with pytest.raises(StoreError, match="no fold 11 here; the folds are 1, 2, 3"):
        split(table(patients, folds=folds), strategy="fold", test_fold=11)
    with pytest.raises(StoreError, match="two sides"):
        split(table(["p"] * 40, folds=folds), strategy="fold")
    named = split(table(patients[:3], folds=["train", "val", "test"]), strategy="fold")
    assert named.tolist() == ["train", "valid", "test"]


def test_whole_data_sets_can_be_held_out():
    patients = [f"p{i}" for i in range(60)]
    names = ["georgia", "ptb", "cpsc_2018"] * 20
    column = split(table(patients, datasets=names), strategy="source", test_source="ptb")
    assert set(column[np.array(names) == "ptb"]) == {"test"} and set(column[np.array(names) != "ptb"]) == {"train", "valid"}
    both = split(table(patients, datasets=names), strategy="source", valid_source=["georgia"], test_source=["ptb"])
    assert set(zip(names, both.tolist())) == {("georgia", "valid"), ("ptb", "test"), ("cpsc_2018", "train")}
    with pytest.raises(StoreError, match="no data set chapman here; the data sets are cpsc_2018, georgia, ptb"):
        split(table(patients, datasets=names), strategy="source", test_source="chapman")


def test_the_default_is_the_corpus_own_folds_or_random_by_patient():
    patients = [f"p{i}" for i in range(40)]
    column, rule = default_split(table(patients, folds=[str(i % 10 + 1) for i in range(40)]))
    assert rule["strategy"] == "fold" and (column == "test").sum() == 4
    column, rule = default_split(table(patients))
    assert rule == {"strategy": "random", "fractions": [0.8, 0.1, 0.1], "seed": 1, "by": "patient", "records_without_patient": 0}
    assert (column == split(table(patients), seed=1)).all()


def test_wrong_wishes_are_refused():
    with pytest.raises(StoreError, match="strategy"):
        split(table(["a"]), strategy="folds")
    with pytest.raises(StoreError, match="three fractions"):
        split(table(["a"]), fractions=(0.5, 0.5))


def test_a_split_is_assigned_in_one_instant_and_nothing_else_changes(tmp_path):
    ingest(Corpus(), tmp_path, tmp_path / "store", shard_records=7, workers=1)
    before = Store(tmp_path / "store")
    assert before.split_rule["strategy"] == "fold"
    column = split(before, strategy="random", seed=5)
    assign(tmp_path / "store", column, {"strategy": "random", "seed": 5})
    after = Store(tmp_path / "store")
    assert after.column("split").tolist() == column.tolist() and after.split_rule == {"strategy": "random", "seed": 5}
    assert repr(after.table.drop_columns("split").to_pylist()) == repr(before.table.drop_columns("split").to_pylist())  # NaN
    torn = column.copy()
    rows = np.flatnonzero(before.patient_number == before.patient_number[0])
    torn[rows] = ["train", "test", "train"][: len(rows)]
    with pytest.raises(StoreError, match="two sides"):
        assign(tmp_path / "store", torn)
    with pytest.raises(StoreError, match="each of the 51 rows"):
        assign(tmp_path / "store", column[:-1])
    with pytest.raises(StoreError, match="'dev'"):
        assign(tmp_path / "store", np.where(column == "valid", "dev", column))
    assert Store(tmp_path / "store").column("split").tolist() == column.tolist()
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith(".")]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), strategy=st.sampled_from(["random", "stratified"]))
def test_copies_of_a_recording_whose_patient_nobody_knows_stay_together(seed, strategy):
    rng = np.random.default_rng(seed)
    signal = rng.integers(0, 40, 80)  # which signal a recording holds
    patients = [f"p{one}" if one < 10 and rng.random() < 0.3 else None for one in signal]
    moments = {"mean": [[float(one), 0.5] for one in signal], "sd": [[1.0, float(one % 7)] for one in signal], "n_samples": [5000] * 80}
    whole = table(patients, [None if one % 5 == 0 else [("a", 1.0)] for one in signal])
    for name, values in moments.items():
        whole = whole.append_column(schema().field(name), pa.array(values, type=schema().field(name).type))
    whole = pa.concat_tables([whole.slice(0, 30), whole.slice(30)])  # a store's columns come in pieces
    column = split(whole, strategy=strategy, seed=seed)
    assert all(len(parts) == 1 for parts in sides(signal.tolist(), column).values())
    order = rng.permutation(80)
    assert split(whole.take(pa.array(order)), strategy=strategy, seed=seed).tolist() == column[order].tolist()


def test_one_long_name_does_not_make_a_million_names_long():
    n = 20_000
    whole = table([None] * n)
    names = pa.array([*(f"r{i}" for i in range(n - 1)), "x" * 4000], type=schema().field("record").type)
    tracemalloc.start()
    split(whole.set_column(0, schema().field("record"), names))
    assert tracemalloc.get_traced_memory()[1] < 4 * n * 400  # an array of text would take 4 bytes for each of 4000 letters in each row
    tracemalloc.stop()


def test_copies_that_an_audit_found_stay_together_whoever_they_are_said_to_be():
    patients = [str(number) for number in range(30)]
    whole = table(patients)
    copies = {3: "r0", 17: "r3", 25: "r24", 28: "somebody's"}  # the last is of another store
    quality = pa.array([{"copy_of": copies.get(row)} for row in range(30)], pa.struct([("copy_of", pa.string())]))
    audited = whole.append_column("quality", quality)
    for seed in range(20):
        column = split(audited, strategy="random", seed=seed, fractions=(0.4, 0.3, 0.3))
        assert column[0] == column[3] == column[17] and column[24] == column[25]
    apart = [split(whole, strategy="random", seed=seed, fractions=(0.4, 0.3, 0.3)) for seed in range(20)]
    assert any(column[0] != column[3] for column in apart)
    order = np.random.default_rng(1).permutation(30)
    assert split(audited.take(pa.array(order)), seed=4).tolist() == split(audited, seed=4)[order].tolist()
