"""CODE-15 % in the layout of Zenodo, written here; and the rows and traces of the real one where they are present."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.io

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import code15
from einthoven.sources.checking import check_store
from einthoven.sources.facts import RecordRef
from einthoven.sources.vocabulary import CLASSES, targets

HEADER = "exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,normal_ecg,trace_file"  # as Zenodo has it
ROWS = [
    "11,38,True,40.160484,True,False,False,True,False,False,523632,False,2.098628,True,exams_part3.hdf5",
    "12,73,False,67.05944,False,False,False,False,False,True,1724173,True,6.657529,False,exams_part3.hdf5",
    "13,,False,,False,False,False,False,False,False,1724173,,,False,exams_part3.hdf5",
    "31,67,True,79.62274,False,False,False,False,False,False,331652,,,False,exams_part12.hdf5",
    "32,67,True,79.62274,False,False,False,False,False,False,331652,,,False,exams_part12.hdf5",
    "41,10,True,9.5,False,False,False,False,False,False,9,,,False,exams_part17.hdf5",
]


def heart(seed: int) -> np.ndarray:
    """(time, lead) as a part holds it, no sample 0."""
    return np.random.default_rng(seed).normal(0, 0.5, (4096, 12)).astype(np.float32) + 0.001


def padded(seed: int, before: int = 581, after: int = 581) -> np.ndarray:
    trace = heart(seed)
    trace[:before] = trace[4096 - after :] = 0
    return trace


def part(path: Path, exams: dict[int, np.ndarray]) -> None:
    """A part: the exams, and the last entry that is none."""
    with h5py.File(path, "w") as file:
        file["exam_id"] = np.array([*exams, 0], dtype=np.int64)
        file["tracings"] = np.stack([*exams.values(), np.zeros((4096, 12), np.float32)])


@pytest.fixture
def corpus(tmp_path) -> Path:
    (tmp_path / "exams.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    inside = padded(12, 100, 7)
    inside[2000:2100] = 0  # zeros between beats are signal
    part(tmp_path / "exams_part3.hdf5", {13: np.zeros((4096, 12), np.float32), 11: padded(11), 12: inside})
    part(tmp_path / "exams_part12.hdf5", {31: heart(31), 99: heart(99)})
    return tmp_path


def test_the_exams_of_the_parts_that_are_there_are_listed_in_the_order_of_the_disk(corpus):
    refs = list(code15.records(corpus))
    assert [ref.record for ref in refs] == ["13", "11", "12", "31", "99", "32"]
    assert [ref.path.name for ref in refs] == ["exams_part3.hdf5"] * 3 + ["exams_part12.hdf5"] * 3
    assert "no row for this exam" in refs[4].problem and "not in it" in refs[5].problem and not any(ref.problem for ref in refs[:4])
    second = refs[1]
    assert (second.patient, second.label_system) == ("523632", "CODE")
    assert second.labels == {"1dAVb": 1, "RBBB": 0, "LBBB": 0, "SB": 1, "ST": 0, "AF": 0, "normal_ecg": 1}
    assert second.meta == {"hdf_ind": 1, "age": 38, "sex": "male", "death": False, "nn_predicted_age": 40.160484, "timey": 2.098628}
    assert refs[0].meta == {"hdf_ind": 0, "sex": "female"} and refs[2].meta["death"] is True


def test_padding_is_cut_off_at_both_ends_and_a_trace_of_zeros_is_left(corpus):
    empty, first, second, whole, *_ = code15.records(corpus)
    record = code15.read(first)
    assert (record.fs, record.leads, record.record, record.patient) == (400, TWELVE, "11", "523632")
    np.testing.assert_array_equal(record.signal, heart(11)[581:-581].T)
    expected = heart(12)
    expected[2000:2100] = 0
    np.testing.assert_array_equal(code15.read(second).signal, expected[100:-7].T)
    np.testing.assert_array_equal(code15.read(whole).signal, heart(31).T)
    assert code15.read(empty).signal.shape == (12, 4096) and not code15.read(empty).signal.any()


def test_it_goes_through_ingest_and_answers_to_the_challenges_classes(corpus):
    summary = ingest("code15", corpus, corpus / "store", fs=100, workers=1)
    assert (summary.n_records, summary.n_rejected, summary.n_patients) == (3, 3, 3)
    table = pq.read_table(corpus / "store" / "records.parquet").to_pylist()
    assert [row["n_samples"] for row in table] == [734, 998, 1024] and json.loads(table[0]["meta"])["timey"] == 2.098628
    found = targets(dict(table[0]["labels"]), table[0]["label_system"], CLASSES["cinc2021"])
    said = {one.abbreviation: value for one, value in zip(CLASSES["cinc2021"], found) if not np.isnan(value)}
    assert said == {"AF": 0, "STach": 0, "IAVB": 1, "CRBBB|RBBB": 0, "CLBBB|LBBB": 0, "SB": 1}
    with open(corpus / "store" / "rejected.csv", newline="") as file:
        reasons = {row["record"]: row["reason"] for row in csv.DictReader(file)}
    assert "flat" in reasons["13"] and reasons.keys() == {"13", "99", "32"}
    assert check_store(corpus / "store", code15) == [
        "345,779 recordings published, 6 here, 3 of them rejected",
        "233,770 patients published for version 1.0.0, 3 among the recordings here",
        "not here of its parts: exams_part0.hdf5, exams_part1.hdf5, exams_part2.hdf5, exams_part4.hdf5, exams_part5.hdf5 and 11 more",
    ]


def test_one_exam_is_read_without_the_others(tmp_path):
    """A part of 40 MB: a row of it is 200 kB."""
    n = 200
    (tmp_path / "exams.csv").write_text(
        "\n".join([HEADER, *(f"{i + 1},50,True,50,{','.join(['False'] * 6)},{i},,,True,exams_part0.hdf5" for i in range(n))])
    )
    with h5py.File(tmp_path / "exams_part0.hdf5", "w") as file:
        file["exam_id"] = np.array([*range(1, n + 1), 0])
        file.create_dataset("tracings", (n + 1, 4096, 12), "f4", chunks=None)
        file["tracings"][150] = heart(150)
    refs = list(code15.records(tmp_path))
    assert len(refs) == n
    tracemalloc.start()
    np.testing.assert_array_equal(code15.read(refs[150]).signal, heart(150).T)
    assert tracemalloc.get_traced_memory()[1] < 3e6
    tracemalloc.stop()


def test_few_parts_stay_open_and_an_exchanged_one_is_noticed(tmp_path):
    rows = [f"{10 * i + 1},50,True,50,{','.join(['False'] * 6)},{i},,,True,exams_part{i}.hdf5" for i in range(8)]
    (tmp_path / "exams.csv").write_text("\n".join([HEADER, *rows]))
    for i in range(8):
        part(tmp_path / f"exams_part{i}.hdf5", {10 * i + 1: heart(i)})
    refs = list(code15.records(tmp_path))
    for ref in [*refs, *refs]:
        np.testing.assert_array_equal(code15.read(ref).signal, heart(int(ref.path.stem[-1])).T)
    assert sum(bool(handle) for handle in code15._handles.values()) <= 4
    (tmp_path / "exams_part7.hdf5").unlink()
    part(tmp_path / "exams_part7.hdf5", {5: heart(5), 71: heart(99)})
    os.utime(tmp_path / "exams_part7.hdf5", ns=(1, 1))
    with pytest.raises(FormatError, match="expected the exam 71 at place 0"):
        code15.read(refs[7])
    found = code15.read(RecordRef(refs[7].path, "71"))  # without its place it is looked for
    np.testing.assert_array_equal(found.signal, heart(99).T)


def test_missing_tables_parts_and_columns_are_told_in_one_line(corpus, tmp_path):
    def refused(match: str, root: Path = corpus) -> None:
        with pytest.raises(EinthovenError, match=match) as error:
            list(code15.records(root))
        assert "\n" not in str(error.value)

    (corpus / "exams.csv").write_text("exam_id,age,is_male,patient_id\n")
    refused("lacks the column trace_file, 1dAVb")
    (corpus / "exams.csv").unlink()
    refused("exams.csv is not in it; expected the folder with exams.csv and exams_part0.hdf5")
    refused("no such folder", tmp_path / "nowhere")
    zipped = tmp_path / "zipped"
    zipped.mkdir()
    (zipped / "exams.csv").write_text("\n".join([HEADER, *ROWS]))
    refused("no exams_part", zipped)
    (zipped / "exams_part0.zip").write_bytes(b"PK")
    refused("unpack them", zipped)


def test_a_part_that_cannot_be_read_is_set_aside_with_its_reason(corpus):
    (corpus / "exams_part3.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with h5py.File(corpus / "exams_part12.hdf5", "w") as file:
        file["exam_id"], file["tracings"] = np.array([31, 0]), np.zeros((2, 12, 4096), np.float32)
    first, second = code15.records(corpus)
    assert "cannot be read as HDF5" in first.problem and "tracings (exam, 4096, 12)" in second.problem
    with h5py.File(corpus / "exams_part12.hdf5", "w") as file:  # promises of 80 GB, of which nothing is there
        file.create_dataset("exam_id", (10**10,), "i8", chunks=(1000,))
        file.create_dataset("tracings", (10**10, 4096, 12), "f4", chunks=(1, 4096, 12))
    assert "expected exam_id" in list(code15.records(corpus))[1].problem
    with pytest.raises(FormatError, match="cannot be read as a part"):
        code15.read(RecordRef(corpus / "exams_part3.hdf5", "11", meta={"hdf_ind": 0}))


@pytest.mark.data
def test_the_real_rows_and_traces_come_out_as_they_were_published(data_root, tmp_path):
    """``meta.csv`` has the columns of exams.csv among its own; the published traces are put back into parts, padded as Zenodo has them."""
    with open(data_root / "code15-mat" / "meta.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(tmp_path / "exams.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, HEADER.split(","), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    published = {}
    for row in rows:
        mat = scipy.io.loadmat(data_root / "code15-mat" / row["save_file"])
        published[row["exam_id"]] = mat["feats"].astype(np.float32)
        trace, n = np.zeros((4096, 12), np.float32), mat["feats"].shape[1]
        trace[(4096 - n) // 2 : (4096 - n) // 2 + n] = mat["feats"].T
        part(tmp_path / row["trace_file"], {int(row["exam_id"]): trace})
    refs = {ref.record: ref for ref in code15.records(tmp_path)}
    assert refs.keys() == published.keys()
    for row in rows:
        ref = refs[row["exam_id"]]
        record = code15.read(ref)
        np.testing.assert_array_equal(record.signal, published[ref.record])
        np.testing.assert_allclose(record.signal.mean(axis=1), [float(row[f"mean_{i}"]) for i in range(12)], atol=1e-4)
        assert (
            ref.patient == row["patient_id"] and ref.meta["age"] == float(row["age"]) and record.signal.shape[1] == int(row["sample_size"])
        )
        assert {code for code, value in ref.labels.items() if value} == {code for code in code15.CODES if row[code] == "True"}
