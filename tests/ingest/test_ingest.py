from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fake_corpus
import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources.facts import RecordRef
from einthoven.store.read import Store


def every_byte(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, summary) of an ingest that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    summary = ingest(Corpus(), folder / "root", folder / "store", shard_records=7, workers=1)
    return folder / "store", summary


def test_every_recording_is_stored_or_rejected_with_its_reason(whole):
    path, summary = whole
    with open(path / "rejected.csv", newline="") as file:
        rejected = {line["record"]: line for line in csv.DictReader(file)}
    refs = [ref.record for ref in Corpus().records(Path("root"))]
    assert sorted([*Store(path).column("record"), *rejected]) == sorted(refs)
    assert (summary.n_refs, summary.n_records, summary.n_rejected) == (60, 51, 9)
    assert rejected["rec0016"]["reason"] == "its table names no signal"
    assert rejected["rec0017"]["reason"] == "truncated"  # the path stands in its own column
    assert rejected["rec0017"]["file"] == "g1/rec0017.dat"
    assert rejected["rec0018"]["reason"] == 'could not be read: KeyError: "a reader\'s mistake"'


def test_counts_are_the_recording_to_half_a_count(whole):
    store = Store(whole[0])
    for row, name in enumerate(store.column("record")):
        i = int(name[3:])
        stored, given = store.record(row), fake_corpus.make(i)
        if fake_corpus.rate(i) != 500:
            continue
        half = store.column("microvolt_per_count")[row] / 2000
        for lead, signal in zip(fake_corpus.leads(i), given):
            lead = {"Lead II": "II"}.get(lead, lead)
            if lead not in stored.leads or lead in store.column("derived")[row].split():
                continue
            ok = np.isfinite(signal)
            np.testing.assert_allclose(stored.signal[stored.leads.index(lead)][ok], signal[ok], atol=half, rtol=1e-6)


def test_leads_come_in_the_standard_order_and_what_follows_from_two_is_derived(whole):
    store = Store(whole[0])
    leads = dict(zip(store.column("record"), store.column("leads")))
    derived = dict(zip(store.column("record"), store.column("derived")))
    assert leads["rec0006"] == " ".join(TWELVE)
    assert (leads["rec0007"], derived["rec0007"]) == (" ".join(TWELVE), "III aVR aVL aVF")
    assert leads["rec0008"] == "II V1 X"
    assert leads["rec0005"] == "MLII"
    assert derived["rec0000"] == ""
    eight = store.record(list(store.column("record")).index("rec0007"))
    np.testing.assert_allclose(eight.signal[0] + eight.signal[2], eight.signal[1], atol=1.5e-3)


def test_gaps_flat_leads_and_high_peaks_are_kept_and_flagged(whole):
    store = Store(whole[0])
    row = {name: i for i, name in enumerate(store.column("record"))}
    assert store.column("n_filled")[row["rec0009"]] == 50
    filled, given = store.record(row["rec0009"]).signal[3], fake_corpus.make(9)[3]
    line = np.linspace(given[99], given[150], 52)[1:-1]
    np.testing.assert_allclose(filled[100:150], line, atol=6e-4)
    assert store.column("flat")[row["rec0010"]] == "V2"
    assert store.column("derived")[row["rec0010"]] == "III"  # wholly missing, and I and II are there
    assert store.column("microvolt_per_count")[row["rec0011"]] == 2.0
    assert store.column("microvolt_per_count")[row["rec0000"]] == 1.0
    assert np.abs(store.record(row["rec0011"]).signal[8]).max() == pytest.approx(40, abs=1e-3)
    assert store.column("interrupted")[row["rec0012"]] == "V6"
    assert "V6" not in store.record(row["rec0012"]).leads


def test_the_table_holds_the_moments_of_what_is_stored(whole):
    store = Store(whole[0])
    mean, sd, first = store.statistics()
    for row in range(len(store)):
        signal = store.record(row).signal.astype(np.float64)
        np.testing.assert_allclose(mean[first[row] : first[row + 1]], signal.mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(sd[first[row] : first[row + 1]], signal.std(axis=1), rtol=1e-4, atol=1e-6)


def test_another_rate_is_resampled_to_the_stores(whole):
    store = Store(whole[0])
    row = list(store.column("record")).index("rec0004")
    assert store.column("source_fs")[row] == 400 and store.column("n_samples")[row] == 5000
    given = fake_corpus.make(4)
    middle = slice(200, -200)  # a band-limited signal would return exactly; a random walk nearly
    back = np.array([np.interp(np.arange(4000) / 400, np.arange(5000) / 500, lead) for lead in store.record(row).signal])
    assert np.sqrt(np.mean((back - given)[:, middle] ** 2)) < 0.1


def test_what_tables_and_files_say_is_kept(whole):
    record = Store(whole[0]).record(0)
    assert record.patient == "p0" and dict(record.labels) == {fake_corpus.FIBRILLATION: 1.0} and record.label_system == "SNOMED CT"
    assert record.meta["age"] == 40 and record.meta["sex"] == "male" and record.meta["time"].isoformat() == "2021-03-01T08:00:00"
    assert record.meta["device"] == "x" and record.meta["comments"] == ["a", "b"]
    unlabelled = Store(whole[0]).where(record="rec0013")[0]
    assert Store(whole[0]).record(unlabelled).labels is None


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(whole, tmp_path):
    root = whole[0].parent / "root"
    ingest(Corpus(), root, tmp_path / "two", shard_records=7, workers=2)
    assert every_byte(tmp_path / "two") == every_byte(whole[0])


def test_any_executor_and_a_job_array_give_the_same_bytes(whole, tmp_path):
    root = whole[0].parent / "root"
    with ThreadPoolExecutor(3) as executor:
        ingest(Corpus(), root, tmp_path / "threads", shard_records=7, executor=executor)
    assert every_byte(tmp_path / "threads") == every_byte(whole[0])
    parts = [ingest(Corpus(), root, tmp_path / "array", shard_records=7, workers=1, shards=(i, 3)) for i in (2, 0, 1)]
    assert sum(part.n_refs for part in parts) == 60 and not any(part.finished for part in parts)
    with pytest.raises(StoreError, match="unfinished"):
        Store(tmp_path / "array")
    assert ingest(Corpus(), root, tmp_path / "array", shard_records=7, workers=1).finished
    assert every_byte(tmp_path / "array") == every_byte(whole[0])


SCRIPT = """
import sys
from pathlib import Path
from fake_corpus import Corpus
from einthoven.ingest.run import ingest
if __name__ == "__main__":
    ingest(Corpus(nap=0.004), sys.argv[1], sys.argv[2], shard_records=7, workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_run_again_it_is_the_uninterrupted_ingest(workers, whole, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, str(script), str(whole[0].parent / "root"), str(tmp_path / "store"), str(workers)]
    rng = np.random.default_rng(workers)
    killed = 0
    for _ in range(4):
        process = subprocess.Popen(command, env=environment)
        while not (tmp_path / "store" / "unfinished").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.35 if workers == 1 else 2.0))
        process.kill()
        killed += process.wait() == -9
        if not (tmp_path / "store" / "store.json").exists():
            with pytest.raises(StoreError, match="unfinished"):
                Store(tmp_path / "store")
    assert killed >= 2
    subprocess.run(command, env=environment, check=True)
    assert every_byte(tmp_path / "store") == every_byte(whole[0])


def test_an_ingest_goes_on_where_it_was(whole, tmp_path):
    class Broken(Corpus):
        def read(self, ref):
            if ref.record == "rec0030":
                raise KeyboardInterrupt
            return super().read(ref)

    with pytest.raises(KeyboardInterrupt):
        ingest(Broken(), whole[0].parent / "root", tmp_path / "store", shard_records=7, workers=1)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "shards").iterdir()}
    assert len(done) == 4
    ingest(Corpus(), whole[0].parent / "root", tmp_path / "store", shard_records=7, workers=1)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert every_byte(tmp_path / "store") == every_byte(whole[0])


@pytest.mark.slow
def test_a_worker_that_dies_loses_no_recording(whole, tmp_path):
    corpus = Corpus(deadly=23, once=tmp_path / "died")
    ingest(corpus, whole[0].parent / "root", tmp_path / "store", shard_records=7, workers=2)
    assert (tmp_path / "died").exists()
    assert every_byte(tmp_path / "store") == every_byte(whole[0])


@pytest.mark.slow
def test_a_file_that_kills_every_worker_is_rejected_and_the_rest_is_stored(whole, tmp_path):
    summary = ingest(Corpus(deadly=23), whole[0].parent / "root", tmp_path / "store", shard_records=7, workers=2)
    assert (summary.n_refs, summary.n_records, summary.n_rejected) == (60, 50, 10)
    with open(tmp_path / "store" / "rejected.csv", newline="") as file:
        reasons = {line["record"]: line["reason"] for line in csv.DictReader(file)}
    assert "ended the process that read it" in reasons["rec0023"]


def test_a_finished_store_is_left_as_it_is_and_nothing_else_is_overwritten(whole, tmp_path):
    path, root = whole[0], whole[0].parent / "root"
    before = every_byte(path)
    again = ingest(Corpus(), root, path, shard_records=7, workers=1)
    assert again.was_there and (again.n_records, again.n_rejected) == (51, 9)
    with pytest.raises(StoreError, match=r"fs 500.0 there, 250.0 asked for"):
        ingest(Corpus(), root, path, fs=250.0, shard_records=7)
    with pytest.raises(StoreError, match="options"):
        ingest(Corpus(), root, path, shard_records=7, source_options={"every": 2})
    assert every_byte(path) == before
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="no store"):
        ingest(Corpus(), root, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    (tmp_path / "mine" / "shards").mkdir(parents=True)
    (tmp_path / "mine" / "shards" / "00000.npy").write_text("also years of work")
    with pytest.raises(StoreError, match="no store"):
        ingest(Corpus(), root, tmp_path / "mine")
    assert (tmp_path / "mine" / "shards" / "00000.npy").exists()
    with pytest.raises(StoreError, match="no source 'ptb'; there are"):
        ingest("ptb", root, tmp_path / "new")


def test_source_options_reach_the_source(tmp_path):
    assert ingest(Corpus(), tmp_path, tmp_path / "store", source_options={"every": 2}).n_refs == 30


def test_nothing_to_ingest_leaves_nothing_behind(tmp_path):
    with pytest.raises(StoreError, match="no recordings"):
        ingest(Corpus(n=0), tmp_path, tmp_path / "store")
    assert not (tmp_path / "store").exists()

    class Hopeless(Corpus):
        def read(self, ref):
            raise ValueError("no")

    with pytest.raises(StoreError, match=r"none of the 5 recordings .*rec0000.dat: could not be read: ValueError: no"):
        ingest(Hopeless(n=5), tmp_path, tmp_path / "store")
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path / "store")
    assert ingest(Corpus(n=5), tmp_path, tmp_path / "store").n_records == 5  # the list of reasons is not in the way


@pytest.mark.parametrize(
    "wrong",
    [{"fs": 0}, {"workers": 0}, {"shard_records": 0}, {"shards": (2, 2)}, {"resampling": "cubic"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_arguments_are_refused_before_anything_is_written(wrong, tmp_path):
    with pytest.raises(StoreError, match="expected"):
        ingest(Corpus(n=3), tmp_path, tmp_path / "store", **wrong)
    assert not (tmp_path / "store").exists()


def test_progress_ends_at_the_whole(tmp_path):
    told = []
    ingest(Corpus(n=25), tmp_path, tmp_path / "store", progress=told.append)
    assert told[-1].n_done == told[-1].n_total == 25
    assert [one.n_done for one in told] == sorted(one.n_done for one in told)


def test_any_numpy_opens_a_shard_without_the_project(whole):
    path = whole[0]
    facts = json.loads((path / "store.json").read_text())
    for shard, n_counts in enumerate(facts["shards"]):
        counts = np.load(path / "shards" / f"{shard:05d}.npy")
        assert counts.dtype == np.int16 and counts.shape == (n_counts,)
    store = Store(path)
    assert sum(facts["shards"]) == sum(len(store.record(row).leads) * store.column("n_samples")[row] for row in range(len(store)))


def test_names_in_bytes_of_any_kind_do_not_stop_an_ingest(tmp_path):
    class Odd(Corpus):
        def records(self, root):
            odd = b"M\xfcller".decode("utf-8", "surrogateescape")
            for ref in super().records(root):
                yield replace(
                    ref, patient=odd, path=ref.path.with_name(odd + ref.path.name), meta={"sex": 1, "time": "yesterday", "device": odd}
                )

    summary = ingest(Odd(n=20), tmp_path, tmp_path / "store", workers=1)
    assert (summary.n_records, summary.n_rejected, summary.n_patients) == (17, 3, 1)
    record = Store(tmp_path / "store").record(0)
    assert (record.patient, record.meta["sex"], record.meta["time"]) == (r"M\udcfcller", "1", "yesterday")
    with open(tmp_path / "store" / "rejected.csv", encoding="utf-8") as file:
        assert r"M\udcfcllerrec0016.dat" in file.read()


def test_stopped_before_any_of_its_renames_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    def run(path):
        return ingest(Corpus(n=20), tmp_path, path, shard_records=7, workers=1)

    run(tmp_path / "whole")
    whole, rename = every_byte(tmp_path / "whole"), os.replace
    for stop in itertools.count():
        renames = itertools.count()

        def breaking(old, new, stop=stop, renames=renames):
            if next(renames) == stop:
                raise KeyboardInterrupt
            rename(old, new)

        path = tmp_path / f"stopped-{stop}"
        monkeypatch.setattr(os, "replace", breaking)
        try:
            run(path)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            monkeypatch.setattr(os, "replace", rename)
        with pytest.raises(StoreError, match="unfinished"):
            Store(path)
        run(path)
        assert every_byte(path) == whole
    assert stop == 1 + 2 * 3 + 3  # the plan; a shard and its part, three times; reasons, table, store.json


def test_stopped_in_its_last_moment_the_store_is_there_and_is_tidied_by_the_next_ingest(tmp_path, monkeypatch):
    ingest(Corpus(n=20), tmp_path, tmp_path / "whole", workers=1)

    def breaking(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", breaking)
        ingest(Corpus(n=20), tmp_path, tmp_path / "store", workers=1)
    assert len(Store(tmp_path / "store")) == 17
    assert ingest(Corpus(n=20), tmp_path, tmp_path / "store", workers=1).was_there
    assert every_byte(tmp_path / "store") == every_byte(tmp_path / "whole")


def test_a_corpus_that_changed_meanwhile_is_not_mixed_with_what_it_was(tmp_path):
    class Interrupted(Corpus):
        def read(self, ref):
            if ref.record == "rec0017":
                raise KeyboardInterrupt
            return super().read(ref)

    class Grown(Corpus):
        def records(self, root):
            yield RecordRef(Path(root) / "new.dat", "rec0040", "new")
            yield from super().records(root)

    with pytest.raises(KeyboardInterrupt):
        ingest(Interrupted(n=20), tmp_path, tmp_path / "store", shard_records=7, workers=1)
    ingest(Grown(n=20), tmp_path, tmp_path / "store", shard_records=7, workers=1)
    ingest(Grown(n=20), tmp_path, tmp_path / "straight", shard_records=7, workers=1)
    assert every_byte(tmp_path / "store") == every_byte(tmp_path / "straight")
    assert Store(tmp_path / "store").column("record")[0] == "rec0040"


def test_labels_that_were_mended_after_the_ingest_are_not_taken_for_ingested(tmp_path):
    class WithTable(Corpus):
        def tables(self, root):
            return [Path(root) / "labels.csv"]

    table, store = tmp_path / "labels.csv", tmp_path / "store"
    table.write_text("record,AF\nrec0001,1\n")
    ingest(WithTable(), tmp_path, store, workers=1)
    assert ingest(WithTable(), tmp_path, store, workers=1).was_there
    table.write_text("record,AF\nrec0001,0\n")
    with pytest.raises(StoreError, match=r"was made with another labels\.csv; delete it and ingest again"):
        ingest(WithTable(), tmp_path, store, workers=1)
