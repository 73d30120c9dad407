"""A corpus that is in a store and has grown: what came since goes in, and only that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from growing_corpus import Ward, add, every_byte, rejected

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.sources.facts import Facts
from einthoven.store.layout import parts_of
from einthoven.store.read import Store


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory):
    """The store of the first 40 recordings, one of which was still being copied."""
    folder = tmp_path_factory.mktemp("grown")
    (folder / "root").mkdir()
    ingest(Ward(n=40, broken=(3,)), folder / "root", folder / "store", shard_records=7, workers=1)
    return folder / "store"


@pytest.fixture(scope="module")
def today(yesterday):
    """(store, summary) after an append that nothing disturbed."""
    store = shutil.copytree(yesterday, yesterday.parent / "today")
    return store, add(Ward(n=60), store)


@pytest.fixture
def store(yesterday):
    path = shutil.copytree(yesterday, yesterday.parent / "store of a test")
    yield path
    shutil.rmtree(path)


def test_what_came_since_is_taken_and_the_rest_is_as_it_was(yesterday, today):
    store, summary = today
    old, new = Store(yesterday), Store(store)
    whole = yesterday.parent / "whole"
    ingest(Ward(n=60), yesterday.parent / "root", whole, shard_records=7, workers=1)
    assert sorted(new.column("record")) == sorted(Store(whole).column("record")) and sorted(rejected(store)) == sorted(rejected(whole))
    for row in range(len(old)):
        assert repr(new.record(row)) == repr(old.record(row)) and new.column("split")[row] == old.column("split")[row]
        np.testing.assert_array_equal(new.counts(row), old.counts(row))
    place = {name: row for row, name in enumerate(Store(whole).column("record"))}
    for row in range(len(old), len(new)):
        np.testing.assert_array_equal(new.counts(row), Store(whole).counts(place[new.column("record")[row]]))
    # 20 came, and of 7 that were rejected rec0003 is whole now
    assert (summary.n_refs, summary.n_records, summary.n_rejected) == (27, 18, 9) and summary.n_before == 33
    assert "27 recordings beyond the 33 that were there: 18 stored, 9 rejected" in str(summary)
    assert "rec0003" in rejected(yesterday) and "rec0003" not in rejected(store)
    facts = json.loads((store / "store.json").read_text())
    assert facts["counts"]["listed"] == 60 and facts["counts"]["patients"] == len(set(new.column("patient")) - {None})
    assert [part["recipe"].get("growth") for part in parts_of(facts)] == [None, 1] and facts["source"]["records"] == 60
    assert summary.differences == ("published at 500 Hz, 3 recordings here at 400 Hz",)  # and 60 published, 60 here, over both parts


def test_a_patient_who_came_again_stays_where_the_first_recordings_are(today, yesterday):
    store, n_old = Store(today[0]), len(Store(yesterday))
    side: dict[str, set[str]] = {}
    for patient, part in zip(store.column("patient"), store.column("split")):
        side.setdefault(patient, set()).add(part)
    assert all(len(parts) == 1 for patient, parts in side.items() if patient is not None)
    again = set(store.column("patient")[n_old:]) & set(store.column("patient")[:n_old]) - {None}
    assert again and store.split_rule["strategy"] == "random" and "appended" not in store.split_rule


def test_once_more_there_is_nothing_new_and_nothing_is_written(today):
    store = today[0]
    before = every_byte(store)
    again = add(Ward(n=60), store)
    assert again.was_there and str(again).startswith("nothing new: its 51 recordings were there already, 9 rejected") and again.n_gone == 0
    left = ingest(Ward(n=60), store.parent / "root", store, shard_records=7, workers=1)
    assert left.was_there and left.n_refs == 60 and "came to the corpus since is not in it: add --append to take it" in str(left)
    assert every_byte(store) == before


def test_each_night_is_one_part_more(store):
    for n in (45, 45, 52, 60):
        add(Ward(n=n), store)
    facts = json.loads((store / "store.json").read_text())
    assert [part["recipe"].get("growth") for part in parts_of(facts)] == [None, 1, 2, 3]
    assert sorted(rejected(store)) == [f"rec{i:04d}" for i in range(60) if i % 20 in (16, 17, 18)] and len(Store(store)) == 51
    assert len(set(Store(store).column("record"))) == 51


def test_a_file_that_is_rejected_again_has_one_line_and_a_new_broken_one_gets_its_own(store):
    summary = add(Ward(n=40, broken=(3,)), store)
    assert summary.was_there and rejected(store).count("rec0003") == 1
    n_shards = len(list((store / "shards").iterdir()))
    summary = add(Ward(n=42, broken=(3, 40, 41)), store)  # nothing but a broken file came
    assert (summary.n_records, summary.was_there) == (0, False) and sorted(rejected(store))[-2:] == ["rec0040", "rec0041"]
    assert rejected(store).count("rec0003") == 1 and len(list((store / "shards").iterdir())) == n_shards and len(Store(store)) == 33
    assert add(Ward(n=42), store).n_records == 3 and not {"rec0003", "rec0040", "rec0041"} & set(rejected(store))
    assert json.loads((store / "store.json").read_text())["counts"]["listed"] == 42


def test_files_that_are_gone_leave_their_recordings_in_the_store_and_are_told(store):
    summary = add(Ward(n=45, missing=(0, 5, 16)), store)
    assert summary.n_gone == 2 and "; 2 that are in the store are in the corpus no longer" in str(summary)  # the third was rejected
    assert {"rec0000", "rec0005"} <= set(Store(store).column("record")) and "rec0016" not in rejected(store)


def test_another_corpus_goes_between_and_its_lines_and_ids_stay_its_own(store):
    elsewhere = store.parent / "elsewhere"
    ingest(Ward(n=30), elsewhere, store, shard_records=7, workers=1, append=True, name="b")
    add(Ward(n=60), store)
    opened = Store(store)
    assert {name: int((opened.column("source") == name).sum()) for name in ("ward", "b")} == {"ward": 51, "b": 27}
    assert len(rejected(store)) == 9 + 3
    again = ingest(Ward(n=60), elsewhere, store, shard_records=7, workers=1, append=True, name="b")
    assert (again.n_records, again.n_before) == (24, 27) and len(rejected(store)) == 18
    left = ingest(Ward(n=60), elsewhere, store, shard_records=7, workers=1, name="b")
    assert left.was_there and (left.n_refs, left.n_records, left.n_patients) == (
        60,
        51,
        Store(store.parent / "today").facts["counts"]["patients"],
    )


def test_a_corpus_whose_name_was_forgotten_does_not_go_in_twice(store):
    ingest(Ward(n=30), store.parent / "elsewhere", store, workers=1, append=True, name="b")
    with pytest.raises(StoreError, match=r"elsewhere is in .* already, as b; .* --name b"):
        ingest(Ward(n=60), store.parent / "elsewhere", store, workers=1, append=True)


def test_an_id_of_another_corpus_under_the_same_name_stops_the_growth(store):
    ingest(Ward(n=60, first=50), store.parent / "elsewhere", store, shard_records=7, workers=1, append=True)
    before = every_byte(store)
    with pytest.raises(StoreError, match=r"a recording rec0050 of ward already, and .* is another; rename the file, or make a store anew"):
        add(Ward(n=60), store)
    assert every_byte(store) == before


# ------------------------------------------------------------------------------------------------------------ by whomever


def test_workers_executors_and_job_arrays_give_the_same_bytes(today, store):
    with ThreadPoolExecutor(3) as executor:
        add(Ward(n=60), store, executor=executor)
    assert every_byte(store) == every_byte(today[0])
    shutil.rmtree(store)
    shutil.copytree(today[0].parent / "store", store)
    assert not any(add(Ward(n=60), store, shards=(i, 3)).finished for i in (2, 0, 1))
    assert len(Store(store)) == 33
    add(Ward(n=60), store)
    assert every_byte(store) == every_byte(today[0])


SCRIPT = """
import sys
from pathlib import Path
from growing_corpus import Ward, add
if __name__ == "__main__":
    add(Ward(n=60, nap=0.01), Path(sys.argv[1]), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_next_call_ends_with_the_same_bytes(workers, today, store):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", SCRIPT, str(store), str(workers)]
    killed = 0
    for delay in (0.05, 0.15) if workers == 1 else (0.5, 1.5):
        process = subprocess.Popen(command, env=environment)
        while not (store / "unfinished").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        killed += process.wait() == -9
        if process.returncode:
            assert len(Store(store)) == 33
    assert killed
    subprocess.run(command, env=environment, check=True)
    assert every_byte(store) == every_byte(today[0])


@pytest.mark.parametrize("last", ["records.parquet", "store.json", "rejected.csv"])
def test_ended_between_two_of_its_last_steps_the_next_call_finishes(last, today, store, monkeypatch):
    rename = os.replace

    def die_after(source, target):
        rename(source, target)
        if Path(target).name == last and Path(target).parent == store:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", die_after)
        add(Ward(n=60), store)
    assert len(Store(store)) == (33 if last == "records.parquet" else 51)
    assert add(Ward(n=60), store).was_there == (last != "records.parquet")
    assert every_byte(store) == every_byte(today[0])


def test_a_killed_append_does_not_note_its_split_twice(store, monkeypatch):
    """Between the table and store.json, the table's metadata speak already of what is not in the store yet."""

    @dataclass(frozen=True)
    class Other(Ward):
        FACTS = Facts("other")

    def other():
        return ingest(Other(n=20), store.parent / "elsewhere", store, workers=1, append=True)

    rename = os.replace

    def die_after(source, target):
        rename(source, target)
        if Path(target).name == "records.parquet":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", die_after)
        other()
    other()
    assert [one["source"] for one in Store(store).split_rule["appended"]] == ["other"]


# -------------------------------------------------------------------------------------------------------------- its split


def test_the_folds_of_a_corpus_go_on_though_a_night_brings_not_all_of_them(tmp_path):
    (tmp_path / "root").mkdir()
    store = tmp_path / "store"
    ingest(Ward(n=40, folds=True), tmp_path / "root", store, shard_records=7, workers=1)
    assert Store(store).split_rule["strategy"] == "fold"
    add(Ward(n=60, folds=True), store)
    opened = Store(store)
    expected = {"9": "valid", "10": "test"}
    assert all(part == expected.get(fold, "train") for fold, part in zip(opened.column("fold")[34:], opened.column("split")[34:]))
    assert set(opened.column("fold")[34:]) < {str(fold) for fold in range(1, 11)} and "appended" not in opened.split_rule


def test_after_a_split_by_data_sets_what_comes_to_a_set_stays_with_it(tmp_path):
    from einthoven.store.split import assign, split

    class Hospitals(Ward):
        def records(self, root):
            for i, ref in enumerate(super().records(root)):
                yield replace(ref, patient=f"p{i}", meta={**ref.meta, "dataset": f"set {i % 3}"})

    (tmp_path / "root").mkdir()
    store = tmp_path / "store"
    ingest(Hospitals(n=40), tmp_path / "root", store, shard_records=7, workers=1)
    rule = {"strategy": "source", "test_source": ("set 1",), "valid_source": "set 2", "fractions": (0.8, 0.1, 0.1), "seed": 1}
    assign(store, split(Store(store), strategy="source", test_source="set 1", valid_source="set 2"), rule)
    add(Hospitals(n=60), store)
    opened = Store(store)
    sides = ("train", "test", "valid")
    assert opened.column("split").tolist() == [sides[int(name[3:]) % 3] for name in opened.column("record")]
