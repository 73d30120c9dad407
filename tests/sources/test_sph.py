"""SPH in the layout of figshare, written here; and real recordings of it where they are present."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.sources import sph
from einthoven.sources.checking import check_store
from einthoven.sources.vocabulary import CLASSES, SNOMED, snomed_names, targets

HEADER = "ECG_ID,AHA_Code,Patient_ID,Age,Sex,N,Date"  # as figshare has it
ROWS = [
    "A00001,22;23,S00001,55,M,5000,2020-03-04",
    "A00002,60+310;147+367;50+346,S00002,32,F,6000,2019-09-03",
    "A00003,1,S00001,63,M,5000,2020-07-16",
    "A00004,146,S00003,,,5000,",
    "A00007,1,S00009,40,F,5000,2020-07-16",
]


def heart(name: str, n: int = 5000) -> np.ndarray:
    return np.random.default_rng(list(name.encode())).normal(0, 0.4, (12, n)).astype(np.float16)


def write(path: Path, name: str, n: int = 5000) -> None:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("ecg", data=heart(name, n), compression="gzip", chunks=(3, n // 4))


@pytest.fixture
def corpus(tmp_path) -> Path:
    (tmp_path / "metadata.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    for name, n in (("A00001", 5000), ("A00002", 6000), ("A00003", 4000), ("A00004", 5000), ("A00009", 5000)):
        write(tmp_path / "records" / f"{name}.h5", name, n)
    return tmp_path


def test_a_row_becomes_a_reference(corpus):
    first, second, third, fourth, absent, stray = sph.records(corpus)
    assert (first.record, first.patient, first.labels, first.label_system) == ("A00001", "S00001", {"22": 1.0, "23": 1.0}, "AHA")
    assert first.meta == {"age": 55, "sex": "male", "time": "2020-03-04", "n_samples": 5000}
    assert second.labels == {"60+310": 1.0, "147+367": 1.0, "50+346": 1.0} and second.meta["sex"] == "female"
    assert third.patient == first.patient and fourth.meta == {"n_samples": 5000}
    assert "not there" in absent.problem and stray.record == "A00009" and "no row" in stray.problem
    record = sph.read(second)
    assert (record.fs, record.leads, record.signal.dtype) == (500, TWELVE, np.float32)
    np.testing.assert_array_equal(record.signal, heart("A00002", 6000).astype(np.float32))
    with pytest.raises(FormatError, match=r"expected 5000 samples, as metadata\.csv says; it has 4000"):
        sph.read(third)


def test_statements_are_told_in_the_challenges_codes_where_they_have_one(corpus):
    refs = list(sph.records(corpus, labels="snomed"))
    assert refs[0].labels == {"426177001": 1.0, "427393009": 1.0} and refs[0].label_system == SNOMED
    assert refs[1].labels == {"59931005": 1.0, "164889003": 1.0} and refs[1].meta["statements"] == ["60+310", "147+367", "50+346"]
    assert refs[3].labels == {} and refs[3].meta["statements"] == ["146"]
    said = dict(zip((one.abbreviation for one in CLASSES["cinc2021"]), targets(refs[0].labels, SNOMED, CLASSES["cinc2021"])))
    assert said["SB"] == said["SA"] == 1 and said["AF"] == 0


def test_it_goes_through_ingest_and_its_differences_are_told(corpus):
    summary = ingest("sph", corpus, corpus / "store", fs=100, workers=1, source_options={"labels": "snomed"})
    assert (summary.n_records, summary.n_rejected, summary.n_patients) == (3, 3, 3)
    table = pq.read_table(corpus / "store" / "records.parquet").to_pylist()
    assert [row["labels"] for row in table] == [[("426177001", 1), ("427393009", 1)], [("164889003", 1), ("59931005", 1)], []]
    assert [row["n_samples"] for row in table] == [1000, 1200, 1000]
    assert check_store(corpus / "store", sph) == [
        "25,770 recordings published, 6 here, 3 of them rejected",
        "24,666 patients published, 3 among the recordings here",
    ]


def test_what_is_wrong_is_told_in_one_line(corpus):
    def refused(match: str, root: Path = corpus, **options) -> None:
        with pytest.raises(EinthovenError, match=match) as error:
            list(sph.records(root, **options))
        assert "\n" not in str(error.value)

    refused("expected labels as one of aha, snomed; got 'SNOMED'", labels="SNOMED")
    (corpus / "metadata.csv").write_text('ECG_ID,AHA_Code,Patient_ID,Age,Sex\nA00001,"1\n')
    refused("cannot be read as a table")
    (corpus / "metadata.csv").write_text("ECG_ID,Age,Sex\n")
    refused("lacks the column AHA_Code, Patient_ID")
    (corpus / "metadata.csv").unlink()
    refused("metadata.csv is not in it; expected the folder with metadata.csv and records/A00001.h5")
    refused("no such folder", corpus / "nowhere")


def test_a_damaged_file_is_refused(corpus):
    first, second, *_ = sph.records(corpus)
    first.path.write_bytes(first.path.read_bytes()[:900])
    with pytest.raises(FormatError, match="cannot be read as HDF5 with an array named ecg"):
        sph.read(first)
    with h5py.File(second.path, "w") as file:
        file["ecg"] = heart("A00002", 6000).T
    with pytest.raises(FormatError, match=r"shape \(lead=12, time up to 300000\), floating point; got \(6000, 12\)"):
        sph.read(second)
    with h5py.File(second.path, "w") as file:  # 50 GB, of which nothing is there
        file.create_dataset("ecg", (12, 2_000_000_000), "f2", chunks=(12, 1000))
    with pytest.raises(FormatError, match="up to 300000"):
        sph.read(replace(second, meta={}))


def test_a_recording_that_is_named_twice_is_taken_once(corpus):
    with open(corpus / "metadata.csv", "a") as file:
        file.write(ROWS[0] + "\n")
    refs = [ref for ref in sph.records(corpus) if ref.record == "A00001"]
    assert [ref.problem is None for ref in refs] == [True, False] and "a second time" in refs[1].problem


@pytest.mark.data
def test_real_recordings_are_read_whatever_their_files_are_called(data_root):
    pytest.importorskip("sleepecg", reason="R peaks need einthoven[peaks]")
    from einthoven.signal.peaks import r_peaks

    refs = list(sph.records(data_root / "sph"))
    assert refs and not any(ref.problem for ref in refs)
    with open(data_root / "sph" / "metadata.csv", newline="") as file:
        rows = {row["ECG_ID"]: row for row in csv.DictReader(file)}
    assert {ref.record for ref in refs} == rows.keys()
    rates = []
    for ref in refs:
        record, row = sph.read(ref), rows[ref.record]
        assert record.signal.shape[1] == int(row["N"]) and record.patient == row["Patient_ID"]
        assert max(limb_law_residual(record.signal, record.leads).values()) < 0.001 and 0.02 < record.signal.std() < 1
        beats = r_peaks(record.signal, record.fs, record.leads)
        rates.append(np.median(np.diff(beats)) * 1000 / ref.meta["measurements"]["RR_Interval"])
    assert np.median(np.abs(np.array(rates) - 1)) < 0.02  # A00001 is a bradycardia, as its label says; the machine's 934 ms are not


@pytest.mark.data
def test_the_codes_are_those_of_the_published_mapping(data_root):
    with open(data_root / "sph" / "AHA_SNOMED_mapping.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert sph.snomed([row["AHA_Code"]]) == {row["SNOMEDCTCode"]: 1.0}, row
        assert snomed_names()[row["SNOMEDCTCode"]].lower().split() == row["Dx"].lower().split(), row
    assert {row["SNOMEDCTCode"] for row in rows} == set(sph.SNOMED_OF.values())
