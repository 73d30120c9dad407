from __future__ import annotations

import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.store.ingest import ingest
from einthoven.store.read import Store
from einthoven.store.where import select


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("where")
    ingest(Corpus(), folder, folder / "store", workers=1)
    return Store(folder / "store")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("age >= 50 and sex == female", lambda row: row["age"] >= 50 and row["sex"] == "female"),
        ("not (age < 50 or split != train)", lambda row: not (row["age"] < 50 or row["split"] != "train")),
        ("patient == p3", lambda row: row["patient"] == "p3"),
        ("patient != p3", lambda row: row["patient"] not in (None, "p3")),
        ("fold in ('1', '2')", lambda row: row["fold"] in ("1", "2")),
        ("device == x and n_samples > 5000", lambda row: row["n_samples"] > 5000),
        ("flat != ''", lambda row: row["flat"] != ""),
    ],
)
def test_a_condition_chooses_what_a_plain_loop_over_the_table_chooses(store, condition, holds):
    expected = [number for number, row in enumerate(store.table.to_pylist()) if holds(row)]
    assert 0 < len(expected) < len(store)
    assert select(store, condition).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("agee > 3", "did you mean age"),
        ("age >", "cannot be read"),
        ("age > female", "cannot be compared"),
        ("__import__('os').system('true')", "expected comparisons"),
        ("age > (3).__class__", "expected a number"),
    ],
)
def test_what_is_no_condition_is_refused_and_never_run(store, condition, message):
    with pytest.raises(StoreError, match=message):
        select(store, condition)
