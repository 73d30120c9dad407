"""The sample sheet of a store: what stands on it is what the store holds."""

from __future__ import annotations

import re

import numpy as np
import pytest

from einthoven.ingest.run import ingest
from einthoven.report.labels import bearers, names_of_labels
from einthoven.report.samples import choose, samples_html
from einthoven.simulate.corpus import write_corpus
from einthoven.store.read import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    write_corpus(folder / "corpus", records=40, patients=20, seed=3, seconds=10.0, fs=250.0, workers=1)
    ingest("physionet2021", folder / "corpus", folder / "<store>", fs=250, workers=1)
    return Store(folder / "<store>")


def test_the_sheet_counts_what_the_table_counts(store):
    html = samples_html(store, n_records=6)
    assert len(re.findall('<svg class="ecg"', html)) == 6 and html.count('<section class="record"') == 6
    which, sets = store.label_sets()
    code, n = bearers(which, sets).most_common(1)[0]
    labels = store.labels()
    assert n == sum(one is not None and one.get(code) == 1.0 for one in labels)
    parts = [sum((labels[row] or {}).get(code) == 1.0 for row in store.where(split=part)) for part in ("train", "valid", "test")]
    cells = "".join(f'<td class="number">{value}</td>' for value in (n, *parts))
    assert f"<td>{code}</td>" in html and cells in html
    assert "<script" not in html and "&lt;store&gt;" in html and "<store>" not in html


def test_every_frequent_label_is_among_the_chosen_and_the_seed_decides(store):
    which, sets = store.label_sets()
    chosen = choose(store, np.arange(len(store)), 12, seed=1)
    assert len(set(chosen)) == 12 and chosen == choose(store, np.arange(len(store)), 12, seed=1)
    assert chosen != choose(store, np.arange(len(store)), 12, seed=2)
    shown = {code for row in chosen for code in sets[which[row]] or {}}
    assert {code for code, _ in bearers(which, sets).most_common(6)} <= shown


def test_only_the_rows_asked_for_are_drawn(store):
    rows = store.where(split="train")[:5]
    assert set(choose(store, rows, 24, seed=1)) == set(rows.tolist())


def test_labels_have_their_own_vocabularys_names(store):
    names = names_of_labels(store)
    assert names["426783006"] == "sinus rhythm"
    other = Store(store.path)
    other._codes["label_system"] = np.zeros(len(store), dtype=np.int32), np.array(["somebody's own", None], dtype=object)
    assert names_of_labels(other) == {}
