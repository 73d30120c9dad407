"""A folder of MUSE exports and its table of labels."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

from einthoven.errors import EinthovenError, FormatError
from einthoven.io import muse as reader
from einthoven.sources import SOURCES, muse

from muse_xml import PERSON, diagnosis, muse_xml, waveform  # isort: skip

COUNTS = np.cumsum(np.random.default_rng(2).integers(-9, 10, size=(8, 600)), axis=1)
FILE = muse_xml(waveform(np.ones((8, 99)), kind="Median"), waveform(COUNTS), test_id="SKJ1")


@pytest.fixture
def root(tmp_path):
    for name in ("a/MUSE_1.xml", "b/MUSE_1.xml", "MUSE_2.XML", "MUSE_3.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(FILE.replace(b"0815", name[-5:-4].encode() * 4))
    return tmp_path


def table(root, *lines):
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_folder_is_listed_with_what_its_files_say(root):
    refs = {ref.record: ref for ref in muse.records(root)}
    assert list(refs) == ["MUSE_2", "MUSE_3", "a/MUSE_1", "b/MUSE_1"] and all(ref.problem is None for ref in refs.values())
    ref = refs["MUSE_3"]
    assert ref.patient == "3333" and ref.labels is None and ref.path == root / "MUSE_3.xml"
    assert (ref.meta["age"], ref.meta["sex"], ref.meta["time"]) == (43.0, "female", "2023-04-29T22:41:16")
    assert ref.meta["report"].startswith("Normal sinus rhythm") and ref.meta["measurements"]["PRInterval"] == 144
    record = muse.read(ref)
    assert record.record == "MUSE_3" and record.signal.shape == (12, 600) and record.meta["time"].year == 2023
    assert SOURCES["muse"] is muse and muse.tables(root) == []


def test_listing_decodes_no_waveform_and_says_what_reading_says(root, monkeypatch):
    whole = reader.read(root / "MUSE_3.xml")
    monkeypatch.setattr(reader.base64, "b64decode", lambda *_: pytest.fail("a waveform was decoded"))
    monkeypatch.setattr(reader, "stacked", lambda *_: pytest.fail("a waveform was decoded"))
    meta = {ref.record: ref for ref in muse.records(root)}["MUSE_3"].meta
    assert meta | {"time": whole.meta["time"]} == {key: value for key, value in whole.meta.items() if key != "derived"}


@pytest.mark.parametrize(
    "more",
    [
        {"said": diagnosis([("x" * 99, True)] * 1000)},  # the waveform begins late
        {"test_id": "S" * 20_000},  # and ends early
        {"encoding": "utf-16"},
    ],
)
def test_a_file_of_unusual_shape_is_read_whole(tmp_path, more):
    (tmp_path / "x.xml").write_bytes(muse_xml(waveform(COUNTS), **more))
    (ref,) = muse.records(tmp_path)
    whole = reader.read(tmp_path / "x.xml")
    assert ref.problem is None and ref.patient == whole.patient == "0815" and ref.meta["report"] == whole.meta["report"]
    assert ref.meta.get("test_id") == whole.meta.get("test_id")


def test_labels_are_found_by_path_and_by_a_name_that_stands_for_one_file(root):
    table(root, "record,AF,note_1,patient,age", "a/MUSE_1,1,0,,", "MUSE_2,0,,P2,50", "MUSE_3.xml,,1,,")
    refs = {ref.record: ref for ref in muse.records(root)}
    assert refs["a/MUSE_1"].labels == {"AF": 1.0, "note_1": 0.0} and refs["b/MUSE_1"].labels is None
    assert refs["MUSE_2"].labels["AF"] == 0.0 and math.isnan(refs["MUSE_2"].labels["note_1"]) and refs["MUSE_2"].label_system == "own"
    assert refs["MUSE_2"].patient == "P2" and refs["MUSE_2"].meta["age"] == 50 and refs["a/MUSE_1"].patient == "1111"
    assert refs["MUSE_3"].labels["note_1"] == 1.0 and len(refs) == 4 and muse.tables(root) == [root / "labels.csv"]


def test_a_bare_name_of_two_files_stands_for_neither(root):
    table(root, "record,AF", "MUSE_1,1")
    refs = list(muse.records(root))
    assert [ref.labels for ref in refs[:4]] == [None] * 4 and refs[4].record == "MUSE_1"
    assert "labels.csv, line 2" in refs[4].problem and "no file has this name" in refs[4].problem


@pytest.mark.parametrize("key", ["1111 2023-04-29 22:41:16", "1111 2023-04-29T22:41:16"])
def test_labels_are_found_by_patient_and_time_in_every_export_of_the_recording(root, key):
    table(root, "record,AF", f"{key},1", "1111 2023-04-29 22:41:17,1", "9 2023-99-99 10:00,1")
    refs = {ref.record: ref for ref in muse.records(root)}
    assert refs["a/MUSE_1"].labels == refs["b/MUSE_1"].labels == {"AF": 1.0} and refs["MUSE_3"].labels is None
    assert sum(ref.problem is not None for ref in refs.values()) == 2


def test_labels_are_found_by_the_id_of_the_test(root):
    (root / "MUSE_2.XML").write_bytes(FILE.replace(b"SKJ1", b"SKJ2"))
    table(root, "record,labels", 'SKJ2,"AFIB;LBBB"')
    refs = {ref.record: ref.labels for ref in muse.records(root)}
    assert refs["MUSE_2"] == {"AFIB": 1.0, "LBBB": 1.0} and refs["MUSE_3"] is None


def test_what_is_no_muse_file_is_set_aside_with_its_reason(root):
    (root / "c.pdf").write_bytes(b"%PDF-1.4")
    (root / "d.xml").write_text("<html/>")
    (root / "e.xml").write_bytes(FILE[:-20])
    (root / "f.xml").write_bytes(b"")
    (root / "g").write_bytes(FILE)
    (root / "g.xml").write_bytes(FILE.replace(b"</Waveform>", b""))
    refs = {ref.record: ref for ref in muse.records(root)}
    reasons = {name: refs[name].problem for name in ("c.pdf", "d", "e", "f", "g.xml")}
    assert "looks like PDF" in reasons["c.pdf"] and "looks like HTML" in reasons["d"] and "truncated" in reasons["e"]
    assert "is empty" in reasons["f"] and "truncated" in reasons["g.xml"] and refs["g"].problem is None
    assert not any(str(root) in reason or "\n" in reason for reason in reasons.values()) and len(refs) == 10
    with pytest.raises(FormatError, match=r"c\.pdf: expected GE MUSE XML"):
        muse.read(refs["c.pdf"])


def test_a_capital_extension_beside_a_small_one_keeps_it(tmp_path):
    for name in ("a.xml", "a.XML"):
        (tmp_path / name).write_bytes(FILE)
    if len(list(tmp_path.iterdir())) == 2:  # a file system that knows one from the other
        assert sorted(ref.record for ref in muse.records(tmp_path)) == ["a", "a.XML"]


def test_a_wrong_root_or_table_is_told_in_one_line(tmp_path):
    with pytest.raises(EinthovenError, match="no such folder"):
        next(muse.records(tmp_path / "nowhere"))
    with pytest.raises(EinthovenError, match="is empty; expected a folder of GE MUSE"):
        next(muse.records(tmp_path))
    (tmp_path / "x.xml").write_bytes(FILE)
    table(tmp_path, "file,AF", "x,1")
    with pytest.raises(EinthovenError, match="expected a column named record"):
        next(muse.records(tmp_path))


def test_a_person_without_a_name_is_nobody(tmp_path):
    (tmp_path / "x.xml").write_bytes(muse_xml(waveform(COUNTS), person=PERSON | {"PatientID": "xxxxx"}))
    (ref,) = muse.records(tmp_path)
    assert ref.patient is None


@pytest.mark.data
def test_the_real_folder_lists_its_four_exports(data_root, tmp_path):
    for path in (data_root / "muse-xml").glob("*.xml"):
        shutil.copy(path, tmp_path)
    refs = {ref.record: ref for ref in muse.records(tmp_path)}
    assert len(refs) == 4 and all(ref.problem is None for ref in refs.values())
    assert refs["muse-sinus"].patient == "081486213" and refs["braveheart_example1"].patient is None
    for ref in refs.values():
        read = muse.read(ref)
        assert read.meta["measurements"] == ref.meta["measurements"] and read.fs in (250, 500)
