"""CODE-15 % as fairseq-signals extracts and preprocesses it, through our source and LEGACY_ZSCORE."""

from __future__ import annotations

import csv
import json

import h5py
import numpy as np
import pytest
from parity_cases import ROOT

from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.signal.resample import resample
from einthoven.signal.scale import moments
from einthoven.sources import code15

CASE = ROOT / "fairseq_signals" / "preprocess_code15"
HEADER = ["exam_id", "age", "is_male", "nn_predicted_age", *code15.CODES[:6], "patient_id", "death", "timey", "normal_ecg", "trace_file"]


def exams() -> list:
    """A parameter per preprocessed exam of the folder; one that is skipped, visibly, where the folder is not there."""
    if not CASE.is_dir():
        return [
            pytest.param(
                "", id="preprocess_code15", marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")]
            )
        ]
    names = sorted(path.stem.removeprefix("preprocessed_") for path in CASE.glob("preprocessed_*.npz"))
    return [pytest.param(name, id=name, marks=pytest.mark.parity) for name in names]


def read_back(folder, exam: str, tracing: np.ndarray) -> Record:
    """A tracing (4096, 12) written as the only exam of a part, and read by our source."""
    with h5py.File(folder / "exams_part0.hdf5", "w") as file:
        file["exam_id"] = np.array([int(exam), 0])
        file["tracings"] = np.stack([tracing, np.zeros_like(tracing)])
    with open(folder / "exams.csv", "w", newline="") as file:
        csv.writer(file).writerows([HEADER, [exam, 50, True, 50.5, *[False] * 6, 1, "", "", False, "exams_part0.hdf5"]])
    (ref,) = code15.records(folder)
    return code15.read(ref)


def pad(signal: np.ndarray) -> np.ndarray:
    """(lead, time) -> (4096, lead), zeros at both ends."""
    tracing, before = np.zeros((4096, len(TWELVE)), np.float32), (4096 - signal.shape[1]) // 2
    tracing[before : before + signal.shape[1]] = signal.T
    return tracing


@pytest.mark.parity
@pytest.mark.skipif(not CASE.is_dir(), reason="no golden values: set EINTHOVEN_PARITY")
def test_the_padding_of_the_raw_file_is_cut_off_as_before(tmp_path):
    with np.load(CASE / "padded_raw.npz", allow_pickle=False) as raw, np.load(CASE / "org.npz", allow_pickle=False) as org:
        exam = str(raw["exam_id"])
        record = read_back(tmp_path, exam, raw["tracing"])
        assert record.fs == 400 and record.record == exam
        np.testing.assert_array_equal(record.signal, org[exam])
        np.testing.assert_array_equal(pad(org[exam]), raw["tracing"])  # so that the padding made here is that of the release


@pytest.mark.parametrize("exam", exams())
def test_every_stage_is_that_of_the_old_pipeline(tmp_path, exam):
    with np.load(CASE / "org.npz", allow_pickle=False) as org:
        record = read_back(tmp_path, exam, pad(org[exam]))
        np.testing.assert_array_equal(record.signal, org[exam])
    with np.load(CASE / f"preprocessed_{exam}.npz", allow_pickle=False) as golden:
        prepared = LEGACY_ZSCORE.apply(record)
        np.testing.assert_allclose(prepared.signal, golden["feats_float32"], atol=1e-5)
        mean, sd = moments(resample(record.signal, record.fs, LEGACY_ZSCORE.fs, LEGACY_ZSCORE.resampling))
        np.testing.assert_allclose(mean, golden["mean"].reshape(-1), atol=1e-5)
        np.testing.assert_allclose(sd, golden["std"].reshape(-1), atol=1e-5)
        assert golden["org_sample_rate"].item() == record.fs and golden["org_sample_size"].item() == record.signal.shape[1]
        assert golden["curr_sample_rate"].item() == LEGACY_ZSCORE.fs and golden["curr_sample_size"].item() == prepared.signal.shape[1]
    segments = json.loads((CASE / "expect.json").read_text())["segments"][exam]
    windows = LEGACY_ZSCORE.windows(prepared).signal
    assert len(windows) == segments
    for number, window in enumerate(windows):
        np.testing.assert_array_equal(window, prepared.signal[:, 2500 * number : 2500 * (number + 1)])
