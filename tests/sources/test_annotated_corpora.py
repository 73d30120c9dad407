"""LUDB, the QT Database and ECG-ID: their layouts built here, and the real files where they are present."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import wfdb

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE, from_vcg, limb_law_residual
from einthoven.sources import ecgid, ludb, qtdb
from einthoven.store.read import Store

HEART = from_vcg(np.cumsum(np.random.default_rng(3).normal(size=(3, 5000)), axis=1) * 0.01 + 0.05)


def write(folder, name, signal, fs, names, comments, gain=1000.0):
    folder.mkdir(parents=True, exist_ok=True)
    n = len(names)
    wfdb.wrsamp(
        name, fs=fs, units=["mV"] * n, sig_name=names, d_signal=np.rint(np.asarray(signal) * 1000).astype(np.int64).T,
        fmt=["16"] * n, adc_gain=np.broadcast_to(gain, n).tolist(), baseline=[0] * n, comments=comments, write_dir=str(folder),
    )  # fmt: skip


LUDB_COMMENTS = ["<age>: 64", "<sex>: M", "<diagnoses>:", "Rhythm: Sinus rhythm.", "Electric axis of the heart: normal. "]


def test_ludb_gives_each_diagnosis_of_the_header_and_a_person_for_each_recording(tmp_path):
    write(tmp_path / "data", "10", HEART, 500, [name.lower() for name in TWELVE], LUDB_COMMENTS)
    write(tmp_path / "data", "2", HEART, 500, [name.lower() for name in TWELVE], LUDB_COMMENTS[:2])
    second, tenth = ludb.records(tmp_path)
    assert (second.record, tenth.record, tenth.patient) == ("2", "10", "10") and second.labels is None
    assert tenth.labels == {"Rhythm: Sinus rhythm": 1.0, "Electric axis of the heart: normal": 1.0} and tenth.label_system == "LUDB"
    assert tenth.meta["age"] == 64 and tenth.meta["sex"] == "male"
    record = ludb.read(tenth)
    assert record.leads == TWELVE and "gain" not in record.meta
    np.testing.assert_allclose(record.signal, HEART, atol=6e-4)


def test_ludb_by_gains_that_contradict_the_laws_is_read_as_microvolt(tmp_path):
    gains = 1000 * np.ptp(HEART, axis=1)  # every lead has a range of 1 mV
    write(tmp_path / "data", "1", HEART, 500, [name.lower() for name in TWELVE], LUDB_COMMENTS, gains)
    record = ludb.read(next(ludb.records(tmp_path)))
    np.testing.assert_allclose(record.signal, HEART, atol=6e-4)
    assert record.meta["gain"].startswith("1 uV per count")


def test_qtdb_says_of_which_record_it_is_an_excerpt(tmp_path):
    comments = ["69 M 1085 1629 x1", "Produced by xform from record 100, beginning at 7:00.000"]
    write(tmp_path, "sel100", HEART[:2], 250, ["MLII", "V5"], comments)
    (ref,) = qtdb.records(tmp_path)
    assert ref.meta["excerpt_of"] == "100" and ref.meta["age"] == 69 and ref.patient is None and ref.labels is None
    assert qtdb.read(ref).leads == ("MLII", "V5")


def test_ecgid_takes_one_of_its_two_channels_as_lead_i(tmp_path):
    comments = ["Age: 25", "Sex: female", "ECG date: 08.12.2004"]
    for person, number in (("Person_02", 1), ("Person_01", 2), ("Person_01", 10)):
        write(tmp_path / person, f"rec_{number}", HEART[:2], 500, ["ECG I", "ECG I filtered"], comments)
    refs = list(ecgid.records(tmp_path))
    assert [ref.record for ref in refs] == ["Person_01/rec_2", "Person_01/rec_10", "Person_02/rec_1"]
    assert refs[0].patient == "Person_01" and refs[0].meta["time"] == "2004-12-08T00:00:00" and refs[0].meta["age"] == 25
    for signals, row in (("recorded", 0), ("filtered", 1)):
        record = ecgid.read(next(ecgid.records(tmp_path, signals=signals)))
        assert record.leads == ("I",)
        np.testing.assert_allclose(record.signal[0], HEART[row], atol=6e-4)
    summary = ingest("ecgid", tmp_path, tmp_path / "store", source_options={"signals": "filtered"}, workers=1)
    store = Store(tmp_path / "store")
    assert (summary.n_records, summary.n_patients) == (3, 2) and store.record(0).meta["signals"] == "filtered"


def test_ecgid_with_another_number_of_channels_is_refused(tmp_path):
    write(tmp_path / "Person_01", "rec_1", HEART[:3], 500, ["ECG I", "ECG I filtered", "II"], [])
    with pytest.raises(FormatError, match="expected lead I as it was recorded and as it was filtered; it has"):
        ecgid.read(next(ecgid.records(tmp_path)))
    with pytest.raises(EinthovenError, match="expected signals as one of recorded, filtered; got 'raw'"):
        list(ecgid.records(tmp_path, signals="raw"))


@pytest.mark.parametrize("source", [ludb, qtdb, ecgid])
def test_a_wrong_root_is_told_in_one_line(tmp_path, source):
    for root, words in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "expected")):
        with pytest.raises(EinthovenError, match=words) as caught:
            list(source.records(root))
        assert "\n" not in str(caught.value) and str(root) in str(caught.value)


@pytest.mark.data
def test_the_real_ludb_obeys_the_laws_and_has_its_tables_diagnoses(data_root):
    refs = {ref.record: ref for ref in ludb.records(data_root / "ludb")}
    with open(data_root / "ludb" / "ludb.csv", newline="") as file:
        rows = {row["ID"].strip(): row for row in csv.DictReader(file)}
    assert refs.keys() == rows.keys()
    for number, ref in refs.items():
        rhythm = rows[number]["Rhythms"].strip().splitlines()[0].strip().lower()
        assert any(code.lower() == f"rhythm: {rhythm}" for code in ref.labels), (number, rhythm, list(ref.labels))
    for number in ("2", "39", "100"):
        record = ludb.read(refs[number])
        assert max(limb_law_residual(record.signal, record.leads).values()) < 0.001
        assert 0.3 < np.ptp(record.signal[record.leads.index("II")]) < 5


@pytest.mark.data
def test_the_real_qtdb_excerpt_is_known_as_one(data_root):
    (ref,) = qtdb.records(data_root / "qtdb")
    assert ref.meta["excerpt_of"] == "100" and qtdb.read(ref).signal.shape == (2, 225_000)
