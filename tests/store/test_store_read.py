from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.store.read import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read")
    ingest(Corpus(), folder, folder / "store", shard_records=7, workers=1)
    return Store(folder / "store")


@pytest.fixture
def copy(store, tmp_path):
    return shutil.copytree(store.path, tmp_path / "copy")


def test_an_item_is_the_record_in_the_standard_leads(store):
    for row in range(len(store)):
        item, record = store[row], store.record(row)
        assert item["ecg"].shape == (12, record.signal.shape[1]) and item["ecg"].dtype == np.float32 and item["fs"] == 500
        for lead, signal in zip(TWELVE, item["ecg"]):
            if lead in record.leads:
                np.testing.assert_array_equal(signal, record.signal[record.leads.index(lead)])
            else:
                assert np.isnan(signal).all()
        assert repr((item["record"], item["patient"], item["labels"])) == repr((record.record, record.patient, record.labels))  # NaN


def test_reading_by_pread_is_reading_by_memory_map(store):
    other = Store(store.path, access="pread")
    for row in range(len(store)):
        np.testing.assert_array_equal(other.counts(row), store.counts(row))


def test_a_whole_shard_is_the_same_by_either_way_before_and_after_a_part_of_it_was_read(store):
    for access in ("mmap", "pread"):
        other = Store(store.path, access=access)
        first, whole = other.read(0, 100, 50), other.shard(0)
        assert whole.dtype == np.int16 and not whole.flags.writeable
        np.testing.assert_array_equal(whole, np.load(store.path / "shards" / "00000.npy"))
        np.testing.assert_array_equal(other.read(0, 100, 50), first)
        np.testing.assert_array_equal(whole[100:150], first)


def test_columns_are_those_of_the_table(store):
    for name in ("record", "source", "n_samples", "fold", "age", "split", "leads", "sex", "label_system"):
        expected = store.table[name].to_pylist()
        got = store.column(name).tolist()
        assert got == expected
    assert store.column("time").dtype == np.dtype("datetime64[us]")
    assert [None if labels is None else sorted(labels) for labels in store.labels()] == [
        None if labels is None else sorted(code for code, _ in labels) for labels in store.table["labels"].to_pylist()
    ]


def test_where_finds_what_a_plain_loop_finds(store):
    wanted = [row for row, (split, sex) in enumerate(zip(store.column("split"), store.column("sex"))) if split == "train" and sex == "male"]
    assert store.where(split="train", sex="male").tolist() == wanted
    assert store.where(split=["valid", "test"]).tolist() == [row for row, split in enumerate(store.column("split")) if split != "train"]


def test_patient_numbers_are_equal_exactly_for_one_person(store):
    number, patient = store.patient_number, store.column("patient")
    for a in range(len(store)):
        for b in range(len(store)):
            assert (number[a] == number[b]) == (a == b or (patient[a] is not None and patient[a] == patient[b]))


def test_a_pickled_store_reads_the_same_and_carries_no_signals(store):
    store.counts(3)
    sent = pickle.dumps(store)
    assert len(sent) < 50_000
    np.testing.assert_array_equal(pickle.loads(sent).counts(3), store.counts(3))


def test_signals_cannot_be_changed_by_accident(store):
    with pytest.raises(ValueError, match="read-only"):
        store.counts(0)[0, 0] = 1


def test_opening_needs_no_torch_and_reads_no_column():
    code = "import sys; import einthoven.store.read, einthoven.ingest.run, einthoven.store.views; assert not {'torch', 'pyarrow', 'scipy.signal'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------------------------------------------------- bad stores


def test_no_store_there_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="einthoven ingest"):
        Store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is not a store"):
        Store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "file")


def test_a_store_of_another_version_is_refused_by_its_version(copy):
    facts = json.loads((copy / "store.json").read_text())
    (copy / "store.json").write_text(json.dumps({**facts, "version": 7}))
    with pytest.raises(StoreError, match=r"version 7; this einthoven reads version 1: make it again"):
        Store(copy)
    (copy / "store.json").write_text(json.dumps({"name": "npm"}))
    with pytest.raises(StoreError, match="does not belong to a store"):
        Store(copy)
    (copy / "store.json").write_text(json.dumps(facts)[:100])
    with pytest.raises(StoreError, match="damaged"):
        Store(copy)


@pytest.mark.parametrize("name", ["records.parquet", "rejected.csv", "shards/00003.npy"])
def test_a_missing_part_is_named(name, copy):
    (copy / name).unlink()
    with pytest.raises(StoreError, match=name.split("/")[-1]):
        Store(copy)


@pytest.mark.parametrize("name", ["records.parquet", "shards/00003.npy"])
def test_a_truncated_part_is_named(name, copy):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=name.split("/")[-1]):
        Store(copy)


def test_a_shard_with_a_damaged_header_is_named(copy):
    with open(copy / "shards" / "00002.npy", "r+b") as file:
        file.write(b"garbage!")
    store = Store(copy)
    with pytest.raises(StoreError, match=r"00002\.npy"):
        store.counts(int(store.where(shard=2)[0]))


def test_a_table_of_another_store_is_refused(copy, tmp_path):
    ingest(Corpus(n=10), tmp_path, tmp_path / "small", workers=1)
    shutil.copy(tmp_path / "small" / "records.parquet", copy / "records.parquet")
    with pytest.raises(StoreError, match=r"10|8"):
        Store(copy)


def test_an_unknown_column_or_row_is_said(store):
    with pytest.raises(StoreError, match="no column 'agee'"):
        store.column("agee")
    with pytest.raises(IndexError):
        store[len(store)]


def test_a_store_is_mapped_while_its_page_tables_stay_small(store, monkeypatch):
    from einthoven.store import shards

    assert Store(store.path).shards.access == "mmap"
    monkeypatch.setattr(shards, "MAPPED", 1000)
    large = Store(store.path)
    assert large.shards.access == "pread" and Store(store.path, access="mmap").shards.access == "mmap"
    np.testing.assert_array_equal(large.counts(0), store.counts(0))
