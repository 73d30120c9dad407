"""MATLAB files without a header: variables against scipy, segments of fairseq-signals, CPSC, and bare matrices of which the rest is told."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io.matlab_variables import read_variables
from einthoven.leads import TWELVE, derive_limb_leads
from einthoven.signal.scale import standardise


def refused(path, *words: str, **told) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path, **told)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and all(word in message for word in words), message


def test_a_val_alone_does_not_say_its_rate(tmp_path):
    path = tmp_path / "A0001.mat"
    scipy.io.savemat(path, {"val": np.zeros((12, 100), dtype=np.int16)}, format="4")
    refused(path, "neither a rate", "A0001.hea")


def test_a_truncated_version_4_file_is_refused_before_it_is_loaded(tmp_path):
    path = tmp_path / "A0001.mat"
    scipy.io.savemat(path, {"val": np.zeros((12, 100), dtype=np.int16)}, format="4")
    path.write_bytes(path.read_bytes()[:1000])
    refused(path, "truncated", "2424")


def test_a_matlab_file_without_an_ecg_is_told_what_was_expected(tmp_path):
    path = tmp_path / "R_1.mat"
    scipy.io.savemat(path, {"R_peak": np.arange(4)})
    refused(path, "feats", "R_peak")


def test_the_scaling_of_fairseq_signals_is_undone(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(12, 700)) * 0.3 + rng.normal(size=(12, 1))
    truth[4] = 0.25  # a flat lead comes back as its mean
    scaled = {
        "feats": standardise(truth),
        "curr_sample_rate": 500,
        "mean": truth.mean(1, keepdims=True),
        "std": truth.std(1, keepdims=True),
    }
    path = tmp_path / "x_1.mat"
    scipy.io.savemat(path, {**scaled, "segment_i": 1})
    record = io.read(path)
    np.testing.assert_allclose(record.signal, truth, atol=1e-6)
    assert record.fs == 500 and record.leads == TWELVE and record.meta["segment"] == 1 and "unscaled" in record.meta
    scipy.io.savemat(path, {"feats": truth, "curr_sample_rate": 400})
    unscaled = io.read(path, leads=["V6"], start=1)
    np.testing.assert_allclose(unscaled.signal, truth[[11], 400:], atol=1e-6)
    assert unscaled.fs == 400 and "unscaled" not in unscaled.meta


def test_a_number_of_leads_that_has_no_names_gets_none(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"feats": np.ones((8, 100)), "curr_sample_rate": 500})
    assert io.read(path).leads[:2] == ("lead 1", "lead 2")


@pytest.mark.parametrize(
    "change",
    [
        {"curr_sample_rate": [1, 2]},
        {"curr_sample_rate": "fast"},
        {"curr_sample_rate": -1},
        {"feats": "text"},
        {"mean": np.ones((3, 1)), "std": np.ones((12, 1))},
    ],
)
def test_contradictions_in_a_segment_are_refused(tmp_path, change):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"feats": np.ones((12, 100)), "curr_sample_rate": 500} | change)
    refused(path, "expected")


def test_a_cpsc_2018_struct_is_read(tmp_path):
    path = tmp_path / "A1.mat"
    data = np.random.default_rng(0).normal(size=(12, 300))
    scipy.io.savemat(path, {"ECG": {"sex": "Male", "age": 52, "data": data}})
    record = io.read(path)
    np.testing.assert_allclose(record.signal, data.astype(np.float32))
    assert (record.fs, record.leads, record.meta) == (500.0, TWELVE, {"sex": "male", "age": 52.0})


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_variables_are_those_that_scipy_reads(tmp_path, compressed):
    values = {
        "a": np.arange(24.0).reshape(2, 3, 4), "b": np.int16([[-3, 4]]), "c": np.float32([[1.5]]), "text": "Grüße", "empty": np.empty((0, 3)),
        "struct": {"x": np.arange(5), "y": "no", "deep": {"z": 2}}, "long_name_of_a_variable": np.uint8([[1], [2]]), "complex": np.array([[1j]]),
    }  # fmt: skip
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, values, do_compression=compressed)
    found, expected = read_variables(path.read_bytes()), scipy.io.loadmat(path)
    assert found.keys() == values.keys() and found.pop("complex") is None
    for name, value in found.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == expected[name].dtype
            np.testing.assert_array_equal(value, expected[name])
    assert found["text"] == "Grüße" and found["struct"]["y"] == "no" and found["struct"]["deep"]["z"] == 2
    np.testing.assert_array_equal(found["struct"]["x"], expected["struct"]["x"][0, 0])


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, 500), value=st.binary(min_size=1, max_size=6), cut=st.integers(0, 400), compressed=st.booleans())
def test_a_damaged_matlab_file_is_a_value_error_and_ends_no_process(where, value, cut, compressed):
    stream = BytesIO()
    scipy.io.savemat(
        stream,
        {"feats": np.arange(24.0).reshape(12, 2), "curr_sample_rate": 500, "s": {"a": "text", "b": [1, 2]}},
        do_compression=compressed,
    )
    data = bytearray(stream.getvalue())
    data[where : where + len(value)] = value
    try:
        read_variables(bytes(data[: len(data) - cut]))
    except ValueError as error:
        assert str(error)


def test_a_small_file_that_claims_to_be_huge_is_refused(tmp_path, monkeypatch):
    stream = BytesIO()
    scipy.io.savemat(stream, {"feats": np.zeros((12, 10_000))}, do_compression=True)
    monkeypatch.setattr("einthoven.io.matlab_variables.MOST_UNPACKED", 500_000)
    with pytest.raises(ValueError, match="larger than"):
        read_variables(stream.getvalue())


@pytest.mark.data
def test_real_matlab_files_are_read(data_root):
    paths = [*sorted((data_root / "cpsc2018").glob("*.mat")), *sorted((data_root / "code15-mat").glob("*.mat"))]
    if not paths:
        pytest.skip("no MATLAB files here")
    for path in paths:
        record = io.read(path)
        assert record.leads == TWELVE and 0.01 < np.nanstd(record.signal) < 10


def test_what_a_segment_says_of_itself_is_not_overruled_and_its_leads_may_be_named(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"feats": np.ones((2, 100)), "curr_sample_rate": 500})
    assert io.read(path, fs=500, unit="mV", names=("II", "v1")).leads == ("II", "V1")
    refused(path, "its rate is 500.0; it was told 250.0", fs=250)
    refused(path, "its unit is mV; it was told uV", unit="uV")
    refused(path, "expected names for its 2 leads; 3 were told", names=("I", "II", "III"))
    scipy.io.savemat(path, {"ECG": {"sex": "Male", "age": 52, "data": np.ones((12, 100))}})
    refused(path, "leads are", names=tuple(reversed(TWELVE)))


# ---------------------------------------------------------------- a bare matrix


def test_a_bare_matrix_is_read_where_its_rate_unit_and_leads_are_told(tmp_path):
    path = tmp_path / "a.mat"
    counts = np.random.default_rng(1).integers(-900, 900, size=(3, 400))
    scipy.io.savemat(path, {"val": counts})
    record = io.read(path, fs=360, unit="uV", names=("II", "V1", "resp"), start=0.5, stop=1)
    np.testing.assert_allclose(record.signal, counts[:, 180:360] * 1e-3, atol=1e-6)
    assert record.fs == 360 and record.leads == ("II", "V1", "resp") and record.record == "a"
    scipy.io.savemat(path, {"signal": counts.T})  # either way round
    np.testing.assert_allclose(io.read(path, fs=360, unit="mV", names=("II", "V1", "V5"), leads=["v5"]).signal, counts[2:], atol=1e-3)


def test_a_matrix_of_version_4_is_read_where_the_rest_is_told(tmp_path):
    path = tmp_path / "a.mat"
    for kind in (np.float64, np.float32, np.int32, np.int16, np.uint16, np.uint8):
        counts = np.random.default_rng(1).integers(0, 200, size=(2, 300)).astype(kind)
        scipy.io.savemat(path, {"val": counts}, format="4")
        record = io.read(path, fs=100, unit="uV", names=("II", "V1"), start=1)
        np.testing.assert_allclose(record.signal, counts[:, 100:] * 1e-3, atol=1e-6)
    refused(path, "its unit, lead names", fs=100)
    scipy.io.savemat(path, {"val": np.ones((2, 9)) * 1j}, format="4")
    refused(path, "expected a matrix of real numbers", fs=100, unit="mV", names=("I", "II"))


def test_a_matrix_of_many_recordings_is_read_one_by_one(tmp_path):
    path = tmp_path / "a.mat"
    many = np.random.default_rng(1).normal(size=(4, 2, 50))
    scipy.io.savemat(path, {"x": many})
    told = {"fs": 100, "unit": "mV", "names": ("I", "II")}
    np.testing.assert_allclose(io.read(path, record=3, **told).signal, many[3], atol=1e-6)
    refused(path, "holds 4 recordings", "record=0 … 3", **told)
    refused(path, "(0 … 3); asked for 4", record=4, **told)


def test_eight_leads_of_a_bare_matrix_become_twelve(tmp_path):
    path = tmp_path / "a.mat"
    eight = np.random.default_rng(1).normal(size=(8, 500))
    scipy.io.savemat(path, {"ecg": eight})
    record = io.read(path, fs=500, unit="mV", names=("I", "II", *TWELVE[6:]))
    assert record.leads == TWELVE
    np.testing.assert_allclose(record.signal[2:6], derive_limb_leads(eight[0], eight[1]), atol=1e-6)


def test_the_sidecar_of_a_matrix_is_believed_and_a_keyword_goes_before_it(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"data": np.ones((2, 100))})
    path.with_suffix(".json").write_text(json.dumps({"fs": 250, "unit": "mV", "leads": ["I", "II"]}))
    assert io.read(path).fs == 250 and io.read(path).leads == ("I", "II")
    assert io.read(path, fs=500).fs == 500


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, ("rate, unit, lead names", "fs=, unit=, names=", "a.json")),
        ({"fs": 500}, ("its unit, lead names",)),
        ({"fs": 500, "unit": "mV"}, ("its lead names: give names=",)),
        ({"fs": 500, "unit": "mmHg", "names": ("I", "II")}, ("as mV, uV or V", "mmHg")),
        ({"fs": -1, "unit": "mV", "names": ("I", "II")}, ("rate in Hz", "-1")),
        ({"fs": 500, "unit": "mV", "names": ("I", "II", "III")}, ("expected 3 leads", "(2, 100)")),
    ],
)
def test_what_a_bare_matrix_does_not_say_is_asked_for(tmp_path, told, words):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"x": np.ones((2, 100))})
    refused(path, *words, **told)


def test_what_cpsc_2019_is_known_to_be_is_not_asked_for(tmp_path):
    lead = np.cumsum(np.random.default_rng(2).normal(size=(5000, 1)), axis=0) * 0.01
    for name, is_known in (("data_00001.mat", True), ("mine.mat", False)):
        scipy.io.savemat(tmp_path / name, {"ecg": lead})
        if is_known:
            record = io.read(tmp_path / name)
            assert record.fs == 500 and record.leads == ("ecg",) and record.seconds == 10
            np.testing.assert_allclose(record.signal[0], lead[:, 0], atol=1e-6)
            assert io.read(tmp_path / name, fs=250, unit="uV", names=("II",)).leads == ("II",)
        else:
            refused(tmp_path / name, "does not say its rate")
    scipy.io.savemat(tmp_path / "data_00002.mat", {"ecg": lead, "other": 1})  # not as that corpus has it
    refused(tmp_path / "data_00002.mat", "does not say its rate")


def test_a_name_with_a_line_break_makes_no_message_of_two_lines(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"some_name": np.ones((2, 9))})
    path.write_bytes(path.read_bytes().replace(b"some_name", b"some\nname"))
    refused(path, "it holds some name; name the signal so")
