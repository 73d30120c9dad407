"""What a file is, found by its content; and MATLAB files without a header."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import wfdb
from einthoven.io.matlab5 import read_variables
from einthoven.leads import TWELVE
from einthoven.signal.scale import standardise


def refused(path, *words: str) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and all(word in message for word in words), message


BEGINNINGS = [
    (b"%PDF-1.7 ...", "PDF"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    (bytes(128) + b"DICM" + bytes(20), "DICOM"),
    (b"0       X X X", "EDF"),
    (b"\xffBIOSEMI", "BDF"),
    (b"ISHNE1.0....", "ISHNE Holter"),
    (b"<?xml version='1.0'?>\n<!DOCTYPE RestingECG>\n<RestingECG>", "GE MUSE XML"),
    ("\ufeff<?xml version='1.0' encoding='UTF-16'?><restingecgdata xmlns='x'>".encode("utf-16"), "Philips SierraECG XML"),
    (b"<?xml version='1.0'?><hl7:AnnotatedECG>", "HL7 aECG XML"),
    (b"<svg>", "XML of a kind we do not know"),
    (b"time,I,II\n" + b"".join(b"%.3f,%d,2\n" % (n / 500, n) for n in range(9)), "table"),
    (b"record,patient,age\nr1,p1,40\nr2,p2,50\n", "text"),
    (b"# A page\n\nof words, with 2 numbers, 3, 4.\n", "text"),
    (b"\x80\x04\x95", "Python pickle"),
    (bytes(range(128, 160)) * 3, "no kind that we know"),
]


@pytest.mark.parametrize(("content", "name"), BEGINNINGS)
@pytest.mark.parametrize("suffix", [".bin", ".mat", ".hea", ".ecg"])
def test_a_file_is_named_by_its_content_whatever_its_ending(tmp_path, content, name, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    if suffix == ".hea" and name in ("text", "table", "no kind that we know"):
        refused(path)  # a header that cannot be understood
    elif suffix != ".hea" and name in io.READERS:
        assert io.recognise(path) == name
        refused(path)  # it is damaged, and its reader says so
    else:
        refused(path, name)


def test_the_formats_that_are_read_are_told(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7")
    refused(path, *io.READERS)


def test_a_folder_an_empty_and_an_absent_file_are_told_apart(tmp_path):
    empty = tmp_path / "empty.hea"
    empty.touch()
    refused(empty, "is empty")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "nothing", "no such file")
    refused(tmp_path / "nothing.hea", "no such file")


@pytest.mark.data
@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("dicom/*.dcm", "DICOM"),
        ("scp/*.scp", "SCP-ECG"),
        ("muse-xml/*.xml", "GE MUSE XML"),
        ("cardiosoft-xml/*.xml", "GE CardioSoft XML"),
        ("philips-xml/*orig.xml", "Philips SierraECG XML"),
        ("schiller-xml/*.xml", "Schiller EDI XML"),
        ("sph/*.h5", "HDF5"),
        ("edf/*.edf", "EDF"),
        ("ishne/*.ecg", "ISHNE Holter"),
        ("hl7-aecg/*.xml", "HL7 aECG XML"),
        ("text/apple*.csv", "Apple Watch CSV"),
        ("text/*.txt", "table"),
    ],
)
def test_real_files_are_named(data_root, pattern, name):
    found = list(data_root.glob(pattern))
    assert found and {io.recognise(path) for path in found} == {name}


# ---------------------------------------------------------------- MATLAB without a header


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
    monkeypatch.setattr("einthoven.io.matlab5.MAX_BYTES", 500_000)
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


def test_annotations_that_begin_with_the_byte_of_a_tag_are_no_xml(tmp_path):
    (tmp_path / "r1.hea").write_text("r1 0 500\n")
    (tmp_path / "r1.atr").write_bytes(b"<\x04" + bytes([12, 4, 200, 4, 0, 0] * 20))
    assert io.is_annotation(tmp_path / "r1.atr")


def test_a_link_that_leads_nowhere_is_called_so(tmp_path):
    (tmp_path / "r1.hea").symlink_to("elsewhere.hea")
    with pytest.raises(FormatError, match=r"is a link to elsewhere\.hea, which is not there"):
        wfdb.read_header(tmp_path / "r1.hea")
