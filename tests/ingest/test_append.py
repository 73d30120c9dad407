from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.sources.facts import Facts
from einthoven.store.layout import parts_of
from einthoven.store.read import Store
from einthoven.store.split import assign
from einthoven.store.views import Segments


@dataclass(frozen=True)
class Other(Corpus):
    """Another corpus whose record and patient ids are those of the first, with ``fold`` as its folds are called."""

    fold: str | None = None
    FACTS = Facts("another", version="2", licence="none", records=30)

    def records(self, root, every=1):
        for ref in super().records(root, every):
            yield replace(ref, fold=self.fold)


def every_byte(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("append")
    ingest(Corpus(), folder / "root", folder / "store", shard_records=7, workers=1)
    return folder / "store"


@pytest.fixture
def store(first, tmp_path):
    return shutil.copytree(first, tmp_path / "store")


@pytest.fixture(scope="module")
def both(first, tmp_path_factory):
    """(store, summary) of an append that nothing disturbed."""
    path = shutil.copytree(first, tmp_path_factory.mktemp("both") / "store")
    return path, ingest(Other(n=30), path.parent / "other", path, shard_records=7, workers=1, append=True)


def test_rows_and_signals_of_both_are_there_and_the_first_are_as_they_were(first, both):
    path, summary = both
    old, new = Store(first), Store(path)
    assert (summary.n_refs, summary.n_records, summary.n_rejected) == (30, 27, 3)
    assert len(new) == len(old) + 27 and new.where(source="another").tolist() == list(range(len(old), len(new)))
    for row in range(len(old)):
        assert repr(new.record(row)) == repr(old.record(row)) and new.column("split")[row] == old.column("split")[row]
        np.testing.assert_array_equal(new.counts(row), old.counts(row))
    by_itself = path.parent / "alone"
    ingest(Other(n=30), path.parent / "other", by_itself, shard_records=7, workers=1)
    other = Store(by_itself)
    for row in range(27):
        np.testing.assert_array_equal(new.counts(len(old) + row), other.counts(row))
        assert new.record(len(old) + row).record == other.record(row).record
    with open(path / "rejected.csv", newline="") as file:
        assert [line["record"] for line in csv.DictReader(file)].count("rec0016") == 2
    assert new.patient_number[0] != new.patient_number[len(old)]  # p0 of another source is another person
    assert Segments(new, seconds=1.0).__getitems__(np.arange(64))["counts"].any()


def test_store_json_says_of_what_it_was_made(both):
    facts = json.loads((both[0] / "store.json").read_text())
    assert facts["source"]["name"] == "made up + another" and facts["source"]["records"] is None
    assert [part["source"]["name"] for part in parts_of(facts)] == ["made up", "another"]
    assert [part["n_shards"] for part in parts_of(facts)] == [9, 5] and len(facts["shards"]) == 14
    assert [part["counts"]["records"] for part in parts_of(facts)] == [51, 27] and facts["counts"]["records"] == 78
    assert facts["counts"]["patients"] == sum(part["counts"]["patients"] for part in parts_of(facts))
    assert not (both[0] / "unfinished").exists()


def test_the_same_again_finds_it_done_whichever_it_is(both):
    before = every_byte(both[0])
    again = ingest(Other(n=30), both[0].parent / "other", both[0], shard_records=7, workers=1, append=True)
    assert again.was_there and again.n_records == 27
    again = ingest(Corpus(), json.loads(before["store.json"])["recipe"]["root"], both[0], shard_records=7, workers=1)
    assert again.was_there and again.n_records == 51
    assert every_byte(both[0]) == before


def test_what_would_not_fit_is_refused_and_leaves_the_store_as_it_was(store, first, tmp_path):
    before = every_byte(store)
    root = json.loads(before["store.json"])["recipe"]["root"]
    with pytest.raises(StoreError, match=r"fs 500.0 there, 250.0 asked for; every recording of a store"):
        ingest(Other(), tmp_path / "other", store, fs=250, append=True, workers=1)
    with pytest.raises(StoreError, match="resampling 'polyphase' there, 'linear' asked for"):
        ingest(Other(), tmp_path / "other", store, resampling="linear", append=True, workers=1)
    with pytest.raises(StoreError, match=r"is in .* already, made with another shard_records"):
        ingest(Corpus(), root, store, shard_records=8, append=True, workers=1)
    with pytest.raises(StoreError, match=r"has a recording rec0000 of made up already, .*give this corpus a name"):
        ingest(Corpus(n=20), tmp_path / "elsewhere", store, append=True, workers=1)
    with pytest.raises(StoreError, match="add to it with append"):
        ingest(Other(), tmp_path / "other", store, workers=1)
    with pytest.raises(StoreError, match="there is no store"):
        ingest(Other(), tmp_path / "other", tmp_path / "nowhere", append=True, workers=1)
    with pytest.raises(StoreError, match="cannot be written in an object store"):
        ingest(Other(), tmp_path / "other", "s3://bucket/store", append=True)

    class Hopeless(Other):
        def read(self, ref):
            raise ValueError("no")

    with pytest.raises(StoreError, match=r"none of the 5 recordings .* is as it was"):
        ingest(Hopeless(n=5), tmp_path / "other", store, append=True, workers=1)
    assert every_byte(store) == before


def test_a_second_folder_of_one_source_goes_in_under_a_name_of_its_own(store, tmp_path):
    ingest(Corpus(n=20), tmp_path / "ward 2", store, append=True, workers=1, name="ward 2")
    opened = Store(store)
    assert set(opened.column("source").tolist()) == {"made up", "ward 2"}
    assert len(np.unique(opened.patient_number[opened.where(patient="p1")])) == 2
    assert ingest(Corpus(n=20), tmp_path / "ward 2", store, append=True, workers=1, name="ward 2").was_there


SCRIPT = """
import sys
from test_append import Other
from einthoven.ingest.run import ingest
if __name__ == "__main__":
    ingest(Other(n=30, nap=0.01), sys.argv[1], sys.argv[2], shard_records=7, workers=1, append=True)
"""


def test_killed_at_any_moment_the_old_store_can_be_read_and_the_next_call_ends_with_the_same_bytes(both, store):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", SCRIPT, str(both[0].parent / "other"), str(store)]
    killed = 0
    for delay in (0.05, 0.2):
        process = subprocess.Popen(command, env=environment)
        while not (store / "unfinished").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        killed += process.wait() == -9
        if not process.returncode == 0:
            assert Store(store).record(50).record == Store(both[0]).record(50).record and len(Store(store)) == 51
    assert killed
    subprocess.run(command, env=environment, check=True)
    assert every_byte(store) == every_byte(both[0])


@pytest.mark.parametrize("last", ["records.parquet", "store.json"])
def test_ended_between_two_of_its_last_steps_the_store_is_the_old_or_the_new_one_and_the_next_call_finishes(last, both, store, monkeypatch):
    """The steps after the last shard are three renames: the table, store.json, rejected.csv."""
    old = Store(store)
    replace_file = os.replace

    def die_after(source, target):
        replace_file(source, target)
        if Path(target).name == last and Path(target).parent == store:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die_after)
    with pytest.raises(KeyboardInterrupt):
        ingest(Other(n=30), both[0].parent / "other", store, shard_records=7, workers=1, append=True)
    monkeypatch.undo()
    between = Store(store)
    assert len(between) == (51 if last == "records.parquet" else 78)
    assert len(between.table) == len(between.column("record")) == len(between.labels()) == len(between.patient_number) == len(between)
    assert len(between.statistics()[2]) == len(between) + 1 and between.record(len(between) - 1).record == between.column("record")[-1]
    if last == "records.parquet":  # the old store, in use as before
        assign(store, ["train"] * 51)
        assert Store(store).where(split="train").size == 51
        assign(store, old.column("split"), dict(old.split_rule))
    assert ingest(Other(n=30), both[0].parent / "other", store, shard_records=7, workers=1, append=True).n_records == 27
    assert every_byte(store) == every_byte(both[0])


def test_readers_that_have_the_old_store_open_go_on_with_it(store, tmp_path):
    old = Store(store)
    sent = pickle.dumps(old)
    names = old.column("record").tolist()
    ingest(Other(n=30), tmp_path / "other", store, shard_records=7, workers=1, append=True)
    for reader in (old, pickle.loads(sent)):
        assert len(reader) == 51 and reader.column("record").tolist() == names and len(reader.column("path")) == 51
        assert reader.record(50).record == names[50] and len(reader.table) == 51


def test_columns_that_others_added_stay_with_nulls_in_the_new_rows_and_through_a_split(store, tmp_path):
    table = pq.read_table(store / "records.parquet")
    quality = pa.array([{"ok": row % 2 == 0, "why": f"row {row}"} for row in range(len(table))])
    metadata = {**table.schema.metadata, b"audit": b"1"}
    pq.write_table(table.append_column("quality", quality).replace_schema_metadata(metadata), store / "records.parquet")
    ingest(Other(n=30), tmp_path / "other", store, shard_records=7, workers=1, append=True)
    opened = Store(store)
    expected = [*quality.to_pylist(), *[None] * 27]
    assert opened.table["quality"].to_pylist() == expected
    assign(store, opened.column("split"), {"strategy": "mine"})
    opened = Store(store)
    assert opened.table["quality"].to_pylist() == expected and opened.split_rule == {"strategy": "mine"}
    assert opened.table.schema.metadata[b"audit"] == b"1"


# ------------------------------------------------------------------------------------------------------------------ split


def test_after_folds_the_new_corpus_goes_by_its_own_folds_or_at_random(store, tmp_path):
    assert Store(store).split_rule["strategy"] == "fold"
    ingest(Other(n=30, fold="10"), tmp_path / "a", store, append=True, workers=1)  # only fold 10: not these folds
    rule = Store(store).split_rule
    assert rule["strategy"] == "fold" and [one["strategy"] for one in rule["appended"]] == ["random"]

    class Later(Other):  # none of them a copy of what is there, which would go where that is
        def records(self, root, every=1):
            return iter(list(super().records(root))[60:])

    ingest(Later(n=80, fold="test"), tmp_path / "b", store, append=True, workers=1, name="b")
    opened = Store(store)
    assert [one["strategy"] for one in opened.split_rule["appended"]] == ["random", "fold"]
    assert set(opened.column("split")[opened.where(fold="test")]) == {"test"}


def test_after_a_random_split_persons_keep_their_side_and_new_ones_go_by_the_same_hash(tmp_path):
    class Persons(Corpus):
        """Recording i is of person i // 3; everybody's folds are unknown, so that the split is random."""

        first = 0

        def records(self, root, every=1):
            for ref in list(super().records(root))[self.first :]:
                if int(ref.record[3:]) % 20 not in (13, 15, 16, 17, 18):
                    yield replace(ref, fold=None)

    class Later(Persons):
        first = 41

    path = tmp_path / "store"
    ingest(Persons(n=41), tmp_path / "x", path, workers=1)
    before = Store(path).column("split").tolist()
    ingest(Later(n=300), tmp_path / "y", path, workers=1, append=True)
    opened = Store(path)
    assert opened.column("split").tolist()[: len(before)] == before
    sides: dict[str, set[str]] = {}
    for person, side in zip(opened.column("patient"), opened.column("split")):
        sides.setdefault(person, set()).add(side)
    assert all(len(one) == 1 for one in sides.values())
    new = opened.column("split")[len(before) :]
    assert 0.65 < np.mean(new == "train") < 0.95 and {"valid", "test"} <= set(new)


def test_a_copy_of_a_recording_that_is_there_goes_where_that_is(store, tmp_path):
    class Copies(Other):
        """The recordings of the first corpus once more; nobody knows of whom."""

        def records(self, root, every=1):
            for ref in super().records(root):
                yield replace(ref, patient=None, record=f"copy of {ref.record}", path=ref.path)

        def read(self, ref):
            return replace(super().read(replace(ref, record=ref.record[-7:])), patient=None)

    ingest(Copies(n=60), tmp_path / "copies", store, append=True, workers=1)
    opened = Store(store)
    side = dict(zip(opened.column("record"), opened.column("split")))
    assert {name for name in side if name.startswith("copy of ")} and all(
        side[name] == side[name[-7:]] for name in side if name.startswith("copy of ")
    )
