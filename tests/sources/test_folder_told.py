"""Files of bare numbers in a folder: what is told of them on the command line, what they and their sidecars say, and files of many recordings."""

from __future__ import annotations

import json
import pickle

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import einthoven, one_line
from scipy.io import savemat

import einthoven as package
from einthoven.errors import EinthovenError, FormatError
from einthoven.sources import SOURCES
from einthoven.sources.options import options_of

LEADS = ("I", "II", "V1")
ECG = np.cumsum(np.random.default_rng(3).integers(-40, 41, size=(3, 500)), axis=1).astype(np.float64)
"""(lead, time) uV"""

TOLD = {"rate": 250.0, "unit": "uV", "leads": LEADS}
folder = SOURCES["folder"]


def bare_files(root):
    np.savetxt(root / "bare.csv", ECG.T, "%g", ",")
    np.save(root / "array.npy", ECG)
    savemat(root / "matrix.mat", {"val": ECG})
    with h5py.File(root / "data.h5", "w") as file:
        file["ecg"] = ECG
    pq.write_table(pa.table(dict(zip(LEADS, ECG))), root / "columns.parquet")
    return root


def read_all(root, **told):
    return {ref.record: folder.read(ref) for ref in folder.records(root, **told)}


def test_files_that_say_nothing_are_read_as_they_are_told(tmp_path):
    found = read_all(bare_files(tmp_path), **TOLD)
    assert found.keys() == {"bare", "array", "matrix", "data", "columns"}
    for record in found.values():
        assert (record.fs, record.leads[:2], record.leads[-1]) == (250.0, ("I", "II"), "V1")
        np.testing.assert_allclose(record.signal[[0, 1, -1]], ECG / 1000, atol=1e-6)


def test_what_is_told_reaches_another_process_and_is_no_part_of_the_recording(tmp_path):
    for ref in folder.records(bare_files(tmp_path), **TOLD):
        assert folder.read(pickle.loads(pickle.dumps(ref))).fs == 250 and not ref.meta


def test_a_file_goes_before_its_sidecar_and_both_before_what_is_told(tmp_path):
    times = np.arange(500) / 500
    np.savetxt(tmp_path / "timed.csv", np.c_[times, ECG.T / 1000], "%.4f", ",", header="time (s),I (mV),II (mV),V2 (mV)", comments="")
    np.savetxt(tmp_path / "half.csv", np.c_[times, ECG.T], "%.4f", ",", header="time (s),I,II,V2", comments="")
    np.save(tmp_path / "side.npy", ECG / 1000)
    (tmp_path / "side.json").write_text(json.dumps({"fs": 1000, "unit": "mV"}))
    np.savetxt(tmp_path / "plain.csv", ECG.T, "%g", ",")
    found = read_all(tmp_path, **TOLD)
    assert {name: record.fs for name, record in found.items()} == {"timed": 500, "half": 500, "side": 1000, "plain": 250}
    assert {name: record.leads[-1] for name, record in found.items()} == {"timed": "V2", "half": "V2", "side": "V1", "plain": "V1"}
    for record in found.values():
        np.testing.assert_allclose(record.signal[0], ECG[0] / 1000, atol=1e-4)


def test_files_that_are_known_by_their_look_are_not_told_otherwise(tmp_path):
    savemat(tmp_path / "data_00001.mat", {"ecg": ECG[:1].T / 1000})  # as CPSC 2019 has them: 500 Hz, mV
    with h5py.File(tmp_path / "A00001.h5", "w") as file:  # as SPH: 500 Hz, mV, twelve leads
        file["ecg"] = np.repeat(ECG, 4, axis=0).astype(np.float16) / 1000
    found = read_all(tmp_path, **TOLD)
    assert {name: (record.fs, len(record.leads)) for name, record in found.items()} == {"data_00001": (500, 1), "A00001": (500, 12)}


def test_a_file_that_cannot_be_read_is_set_aside_with_its_own_reason(tmp_path):
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'}")
    np.save(tmp_path / "four.npy", np.zeros((4, 100)))
    refs = {ref.record: ref for ref in folder.records(tmp_path, **TOLD)}
    with pytest.raises(FormatError, match="expected 3 leads"):
        folder.read(refs["four"])
    assert "damaged NumPy array" in str(refs["short"].problem)


@pytest.mark.parametrize(
    ("told", "words"),
    [({"rate": -1.0}, "rate in Hz, above 0"), ({"unit": "mmHg"}, "unit as mV, uV or V; got 'mmHg'"), ({"leads": "I,,V1"}, "names such as I,II,V1")],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_a_file_is_read(told, words, tmp_path):
    with pytest.raises(EinthovenError, match=words):
        list(folder.records(bare_files(tmp_path), **told))


def test_each_recording_of_a_file_of_many_is_one(tmp_path):
    many = np.stack([ECG, 2 * ECG])
    np.save(tmp_path / "a.npy", many)
    savemat(tmp_path / "m.mat", {"val": many})
    pq.write_table(pa.table({"ecg": [one.tolist() for one in many]}), tmp_path / "p.parquet")
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["ecg"], file["exam_id"] = many, np.array([77, 88])
    (tmp_path / "labels.csv").write_text("record,AF\n88,1\na/0,0\np/1,1\n")
    refs = list(folder.records(tmp_path, **TOLD))
    assert [ref.record for ref in refs] == ["a/0", "a/1", "h/77", "h/88", "m/0", "m/1", "p/0", "p/1"]
    assert [ref.record for ref in refs if ref.labels] == ["a/0", "h/88", "p/1"] and all(ref.problem is None for ref in refs)
    for which, ref in enumerate(refs):
        record = folder.read(ref)
        assert record.record == ref.record
        np.testing.assert_allclose(record.signal[0], (1 + which % 2) * ECG[0] / 1000, atol=1e-6)


def test_two_files_of_many_with_one_stem_keep_their_extensions(tmp_path):
    np.save(tmp_path / "all.npy", ECG[None])
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["ecg"] = ECG[None]
    assert [ref.record for ref in folder.records(tmp_path)] == ["all.h5/0", "all.npy/0"]


def test_a_row_of_the_labels_finds_its_recording_beside_its_printout(tmp_path):
    np.savetxt(tmp_path / "a.csv", ECG.T, "%g", ",")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "labels.csv").write_text("record,AF\na,1\n")
    refs = {ref.record: ref for ref in folder.records(tmp_path, **TOLD)}
    assert refs.keys() == {"a.csv", "a.pdf"} and refs["a.csv"].labels == {"AF": 1.0}


def test_a_folder_of_bare_numbers_goes_in_by_one_command(tmp_path):
    (tmp_path / "exports").mkdir()
    bare_files(tmp_path / "exports")
    outcome = einthoven("ingest folder exports store -o rate=250 -o unit=uV -o leads=I,II,V1 -j 1", tmp_path)
    assert outcome.code == 0 and outcome.out.startswith("5 recordings: 5 stored, none rejected"), outcome.out + outcome.err
    table = package.Store(tmp_path / "store").table
    assert set(table["source_fs"].to_pylist()) == {250.0} and table["meta"].null_count == 5
    one_line(einthoven("ingest folder exports other -o rate=fast -j 1", tmp_path), "--option rate=fast: expected a number; got 'fast'")


def test_a_number_on_the_command_line_is_a_number_for_every_source():
    assert options_of("ecg_selfsupervised", ["fs=250"]) == {"fs": 250.0}
    assert options_of("folder", ["rate=500", "leads=I,II"]) == {"rate": 500.0, "leads": "I,II"}
    assert options_of("fairseq_signals", ["leads=I II"]) == {"leads": "I II"}
