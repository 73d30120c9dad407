"""Ids of a folder that files come to every night: those that a store has stay."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from command_line import einthoven
from muse_xml import PERSON, muse_xml, waveform
from published_layouts import heart, write_wfdb

import einthoven as package
from einthoven.sources import SOURCES
from einthoven.sources.kept_ids import keep_ids

TOLD = "-o rate=250 -o unit=uV -o leads=I,II,V1"


def table(path, person=1):
    np.savetxt(path, 1000 * heart(person, fs=250.0)[[0, 1, 6]].T, "%.1f", "\t" if path.suffix == ".tsv" else ",")


def muse_file(path, person=1):
    counts = np.rint(heart(person)[[0, 1, 6, 7, 8, 9, 10, 11]] * 1000 / 4.88).astype(np.int64)
    path.write_bytes(muse_xml(waveform(counts), person={**PERSON, "PatientID": f"08{person}"}, test_id=f"T{person}"))


def ids(module, root, store):
    """id -> file of what is listed, by the ids of a store (id -> file)"""
    return {ref.record: ref.path.name for ref in module.keep_ids(module.records(root), root, store.get)}


NIGHTS = {
    "a printout": ("folder", ["a.csv"], ["a.pdf"], {"a": "a.csv", "a.pdf": "a.pdf"}),
    "another format, earlier by name": ("folder", ["a.tsv"], ["a.csv"], {"a": "a.tsv", "a.csv": "a.csv"}),
    "a third": ("folder", ["a.csv", "a.tsv"], ["a.xml"], {"a.csv": "a.csv", "a.tsv": "a.tsv", "a.xml": "a.xml"}),
    "a file without an extension": ("muse", ["a.xml"], ["a"], {"a": "a.xml"}),
    "a small extension": ("muse", ["a.XML"], ["a.xml"], {"a": "a.XML", "a.xml": "a.xml"}),
}


@pytest.mark.parametrize("case", NIGHTS)
def test_a_file_that_comes_changes_no_id_that_a_store_has(case, tmp_path):
    name, first, then, expected = NIGHTS[case]
    module, write = SOURCES[name], table if name == "folder" else muse_file
    for file in first:
        write(tmp_path / file)
    store = {ref.record: ref.path.name for ref in module.records(tmp_path)}
    for file in then:
        write(tmp_path / file)
    if len(list(tmp_path.iterdir())) < len(first) + len(then):
        pytest.skip("this file system does not tell capitals from small letters")
    now = ids(module, tmp_path, store)
    assert store.items() <= now.items() and expected.items() <= now.items()


def test_a_file_that_goes_leaves_its_id_to_nobody(tmp_path):
    table(tmp_path / "a.csv")
    table(tmp_path / "b.csv")
    table(tmp_path / "b.tsv")
    store = {ref.record: ref.path.name for ref in SOURCES["folder"].records(tmp_path)}
    assert store == {"a": "a.csv", "b.csv": "b.csv", "b.tsv": "b.tsv"}
    (tmp_path / "a.csv").rename(tmp_path / "a.tsv")
    (tmp_path / "b.tsv").unlink()
    assert ids(SOURCES["folder"], tmp_path, store) == {"a.tsv": "a.tsv", "b.csv": "b.csv"}


def test_the_recordings_of_a_file_of_many_keep_theirs(tmp_path):
    np.save(tmp_path / "all.npy", np.zeros((2, 3, 100)))
    store = {ref.record: ref.path.name for ref in SOURCES["folder"].records(tmp_path)}
    assert store == {"all/0": "all.npy", "all/1": "all.npy"}
    shutil.copy(tmp_path / "all.npy", tmp_path / "longer.npy")
    np.savez(tmp_path / "all.npz", ecg=np.zeros((2, 3, 100)))
    now = ids(SOURCES["folder"], tmp_path, store)
    assert store.items() <= now.items() and now.keys() - store.keys() == {"all.npz/0", "all.npz/1", "longer/0", "longer/1"}


@pytest.mark.parametrize("name", ["physionet2021", "cinc2020"])
def test_a_set_that_comes_to_the_challenges_changes_no_id_of_another(name, tmp_path):
    write_wfdb(tmp_path / "georgia" / "g1" / "R1", heart(1), 500)
    store = {ref.record: ref.path.relative_to(tmp_path).as_posix() for ref in SOURCES[name].records(tmp_path)}
    assert store == {"R1": "georgia/g1/R1.hea"}
    write_wfdb(tmp_path / "ours" / "R1", heart(2), 500)
    now = SOURCES[name].keep_ids(SOURCES[name].records(tmp_path), tmp_path, store.get)
    assert [(ref.record, ref.path.parent.name) for ref in now] == [("R1", "g1"), ("ours/R1", "ours")]


def test_a_row_that_names_a_file_elsewhere_is_passed_on_as_it_is(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    table(root / "a.csv")
    (root / "labels.csv").write_text(f"record,AF\n{tmp_path}/other.csv,1\n")
    refs = list(SOURCES["folder"].records(root))
    assert list(keep_ids(refs, root, {}.get)) == refs and refs[1].problem is not None


def test_a_store_that_grows_takes_no_recording_twice(tmp_path):
    (tmp_path / "in").mkdir()
    table(tmp_path / "in" / "a.csv", 1)
    table(tmp_path / "in" / "b.csv", 2)
    assert einthoven(f"ingest folder in store {TOLD} -j 1", tmp_path).code == 0
    (tmp_path / "in" / "a.pdf").write_bytes(b"%PDF-1.4")
    table(tmp_path / "in" / "b.tsv", 3)
    outcome = einthoven(f"ingest folder in store {TOLD} -j 1 --append", tmp_path)
    assert outcome.code == 0, outcome.err
    store = package.Store(tmp_path / "store")
    assert dict(zip(store.table["record"].to_pylist(), store.table["path"].to_pylist())) == {"a": "a.csv", "b": "b.csv", "b.tsv": "b.tsv"}
