"""GE MUSE: the rhythm and not the median beat, in mV, and what the file says of person, test and diagnosis."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import muse
from einthoven.leads import INDEPENDENT, TWELVE, limb_law_residual
from einthoven.signal.peaks import r_peaks

from muse_xml import EIGHT, PERSON, diagnosis, muse_xml, section, waveform  # isort: skip

COUNTS = np.cumsum(np.random.default_rng(1).integers(-9, 10, size=(8, 1000)), axis=1)
MEDIAN = waveform(np.ones((8, 300)), kind="Median")
REAL = {"muse-sinus": 15, "braveheart_example1": 8, "braveheart_example2": 10, "MUSE_20080710_165457_96000": 12}
"""File -> QRS complexes that the file itself counts."""


def written(folder, *waveforms, **more):
    path = folder / "r.xml"
    path.write_bytes(muse_xml(*(waveforms or (MEDIAN, waveform(COUNTS))), **more))
    return path


def test_the_rhythm_comes_in_millivolt_with_the_limb_leads_that_follow(tmp_path):
    record = io.read(written(tmp_path))
    assert record.leads == TWELVE and record.fs == 500 and record.record == "r" and record.patient == "0815"
    assert record.meta["derived"] == ["III", "aVR", "aVL", "aVF"]
    np.testing.assert_allclose(record.signal[[0, 1, 6, 7, 8, 9, 10, 11]], COUNTS * 0.00488, atol=1e-6)
    assert max(limb_law_residual(record.signal, record.leads).values()) < 1e-6


def test_a_part_is_the_part_of_the_whole(tmp_path):
    path = written(tmp_path)
    part = muse.read(path, leads=["aVF", "v1"], start=0.5, stop=1.0)
    np.testing.assert_array_equal(part.signal, muse.read(path).signal[[5, 6], 250:500])


def test_what_the_file_says_is_in_meta(tmp_path):
    meta = muse.read(written(tmp_path, test_id="SKJ1")).meta
    assert meta["age"] == 43 and meta["sex"] == "female" and meta["time"] == datetime(2023, 4, 29, 22, 41, 16)
    assert meta["device"] == "MAC5" and meta["test_id"] == "SKJ1"
    assert meta["report"] == "Normal sinus rhythm\nAnterior infarct, age undetermined\nAbnormal ECG"
    # Onsets are samples of the median beat, ECGSampleBase its rate, and a star is no number.
    assert meta["measurements"] == {"VentricularRate": 90.0, "PRInterval": 144.0, "QTcFrederica": 460.0}


@pytest.mark.parametrize(
    ("person", "age"),
    [
        ({"PatientAge": "6", "AgeUnits": "MONTHS"}, 0.5),
        ({"PatientAge": "2", "AgeUnits": "WEEKS"}, 0.0383),
        ({"PatientAge": "73", "AgeUnits": "DAYS"}, 0.2),
        ({"PatientAge": "7"}, 7.0),
        ({"DateofBirth": "04-29-2003"}, 20.0),
        ({"PatientAge": "43", "AgeUnits": "MOONS"}, None),
        ({}, None),
    ],
)
def test_an_age_has_its_unit_or_follows_from_the_birth(tmp_path, person, age):
    found = muse.read(written(tmp_path, person=person)).meta.get("age")
    assert found == (pytest.approx(age, abs=2e-3) if age is not None else None)


@pytest.mark.parametrize("placeholder", ["xxxxx", "", "UNKNOWN", "---"])
def test_a_placeholder_is_nobody(tmp_path, placeholder):
    record = muse.read(written(tmp_path, person=PERSON | {"PatientID": placeholder, "Gender": "UNKNOWN"}))
    assert record.patient is None and "sex" not in record.meta


def test_statements_without_their_text_are_numbers_and_no_report(tmp_path):
    meta = muse.read(written(tmp_path, said=diagnosis([("Statement Text(22)", True), ("Statement Text(1684)", True)]))).meta
    assert meta["statement_numbers"] == [22, 1684] and "report" not in meta


def test_the_confirmed_diagnosis_goes_before_the_machines(tmp_path):
    machine = diagnosis([("Machine", True)], name="OriginalDiagnosis")
    assert muse.read(written(tmp_path, said=machine + diagnosis([("Doctor", True)]))).meta["report"] == "Doctor"
    assert muse.read(written(tmp_path, said=machine)).meta["report"] == "Machine"


def test_a_bare_ampersand_in_a_statement_is_no_reason_to_refuse(tmp_path):
    assert muse.read(written(tmp_path, said=diagnosis([("ST & T abnormality", True)]))).meta["report"] == "ST & T abnormality"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ISO-8859-1"])
def test_every_encoding_reads_alike(tmp_path, encoding):
    record = muse.read(written(tmp_path, person=PERSON | {"PatientID": "Jürgen"}, encoding=encoding))
    assert record.patient == "Jürgen" and record.signal.shape == (12, 1000)


@pytest.mark.parametrize(("unit", "factor"), [("MILLIVOLTS", 1.0), ("MICROVOLTS", 1e-3), ("uV", 1e-3)])
def test_amplitudes_have_their_unit(tmp_path, unit, factor):
    signal = muse.read(written(tmp_path, waveform(COUNTS, LeadAmplitudeUnits=unit, LeadAmplitudeUnitsPerBit="2.5"))).signal
    np.testing.assert_allclose(signal[0], COUNTS[0] * 2.5 * factor, rtol=1e-6)


def test_the_rate_is_the_base_times_ten_to_the_exponent(tmp_path):
    assert muse.read(written(tmp_path, waveform(COUNTS, base="5", exponent="2"))).fs == 500
    assert muse.read(written(tmp_path, waveform(COUNTS, base="250"))).fs == 250


def test_a_lead_that_was_off_is_missing(tmp_path):
    off = (
        waveform(COUNTS[:1], ["I"], LeadOff="TRUE").replace("</Waveform>", "")
        + waveform(COUNTS[1:], EIGHT[1:]).partition("</SampleExponent>")[2]
    )
    record = muse.read(written(tmp_path, off))
    assert np.isnan(record.signal[0]).all() and np.isnan(record.signal[2]).all() and np.isfinite(record.signal[[1, 6, 11]]).all()


def test_further_rhythm_blocks_add_leads_and_the_rest_of_them_is_counted(tmp_path):
    more = waveform(COUNTS[:2] + 5, ["V1", "V4R"])
    record = muse.read(written(tmp_path, MEDIAN, waveform(COUNTS), more, waveform(COUNTS, base="250")))
    assert record.leads == (*TWELVE, "V4R") and record.meta["further_waveforms"] == 2
    np.testing.assert_allclose(record.signal[12], (COUNTS[1] + 5) * 0.00488, atol=1e-6)
    np.testing.assert_allclose(record.signal[6], COUNTS[2] * 0.00488, atol=1e-6)


def test_bytes_and_long_integers_are_read_by_their_size(tmp_path):
    small = waveform(np.zeros((1, 3)), ["V1"], LeadSampleSize="1", LeadSampleCountTotal="6")
    assert muse.read(written(tmp_path, small)).signal.shape == (1, 6)
    large = waveform(np.array([[1, 2, 3, 4]]), ["V1"], LeadSampleSize="4", LeadSampleCountTotal="2")
    np.testing.assert_allclose(muse.read(written(tmp_path, large)).signal[0], np.array([1 + 2 * 65536, 3 + 4 * 65536]) * 0.00488)


@pytest.mark.parametrize(
    ("waveforms", "reason"),
    [
        ((MEDIAN,), "type Rhythm with leads; its waveforms: median"),
        ((section("Waveform", {"WaveformType": "Rhythm"}),), "its waveforms: rhythm"),
        ((waveform(COUNTS, base="0"),), "SampleBase 0"),
        ((waveform(COUNTS, base="5", exponent="99"),), "SampleExponent 99"),
        ((waveform(COUNTS).replace("CONTINUOUS_SAMPLES", "DIFFERENCES"),), "came DIFFERENCES"),
        ((waveform(COUNTS, LeadAmplitudeUnits="MMHG"),), "lead I: .* came 4.88 MMHG"),
        ((waveform(COUNTS, LeadAmplitudeUnitsPerBit="0"),), "above 0"),
        ((waveform(COUNTS, LeadSampleSize="3"),), "came 3"),
        ((waveform(COUNTS, LeadDataCRC32="12345"),), "checksum"),
        ((waveform(COUNTS, LeadSampleCountTotal="999"),), "LeadSampleCountTotal 999"),
        ((waveform(COUNTS, LeadByteCountTotal="7"),), "LeadByteCountTotal 7"),
        ((waveform(COUNTS, WaveFormData="AAA"),), "base64"),
        ((waveform(COUNTS, WaveFormData="ÄÄÄÄ"),), "base64"),
        (
            (waveform(COUNTS, WaveFormData="AAAA", LeadDataCRC32="0", LeadSampleCountTotal="1", LeadByteCountTotal="3"),),
            "LeadSampleCountTotal",
        ),
        ((waveform(np.zeros((8, 0))),), "no samples"),
        ((waveform(COUNTS[:4], EIGHT[:4]), waveform(COUNTS[4:, :9], EIGHT[4:])), "I has 1000 samples, V3 9"),
    ],
)
def test_a_damaged_or_unknown_waveform_is_refused_in_one_line(tmp_path, waveforms, reason):
    path = written(tmp_path, *waveforms)
    with pytest.raises(FormatError, match=reason) as caught:
        muse.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_checksum_of_nothing_is_not_asked_for(tmp_path):
    assert muse.read(written(tmp_path, waveform(COUNTS, LeadDataCRC32="0"))).signal.shape == (12, 1000)


def test_a_truncated_file_is_refused(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FormatError, match="damaged or truncated"):
        io.read(path)


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_has_the_heartbeats_that_it_counts(data_root, name):
    record = io.read(data_root / "muse-xml" / f"{name}.xml")
    assert record.leads == TWELVE and record.seconds == 10 and 0.05 < np.median(record.signal.std(axis=1)) < 0.5
    assert max(limb_law_residual(record.signal, record.leads).values()) < 1e-5
    beats = r_peaks(record.signal, record.fs, record.leads)
    assert len(beats) == REAL[name] == record.meta["measurements"]["QRSCount"]
    assert 60 / np.diff(beats).mean() == pytest.approx(record.meta["measurements"]["VentricularRate"], abs=1)


@pytest.mark.data
def test_a_real_file_says_what_a_person_reads_in_it(data_root):
    record = io.read(data_root / "muse-xml" / "muse-sinus.xml")
    assert record.patient == "081486213" and (record.meta["age"], record.meta["sex"]) == (43, "male")
    assert record.meta["report"].splitlines()[1:3] == [
        "Anterior infarct, age undetermined",
        "T wave abnormality, consider lateral ischemia",
    ]
    assert record.meta["measurements"]["QTCorrected"] == 491 and not any(
        re.search("set$|Sample", key) for key in record.meta["measurements"]
    )
    old = io.read(data_root / "muse-xml" / "MUSE_20080710_165457_96000.xml")
    assert old.fs == 250 and old.meta["statement_numbers"] == [22, 1684] and old.meta["time"] == datetime(1996, 3, 25, 11, 18)


@pytest.mark.data
def test_the_wfdb_copy_has_the_same_signal_five_times_as_high_and_other_limb_leads_order(data_root):
    ours, copy = io.read(data_root / "muse-xml" / "muse-sinus.xml"), io.read(data_root / "muse-xml" / "muse-sinus")
    assert copy.leads[3:6] == ("aVF", "aVL", "aVR") and ours.leads == TWELVE
    for name in TWELVE:
        mine, theirs = ours.signal[ours.leads.index(name)], copy.signal[copy.leads.index(name)]
        # The copy holds whole microvolts, of which its gain says 200 to the millivolt.
        np.testing.assert_allclose(mine, theirs / 5, atol=1.01e-3 if name not in INDEPENDENT else 5.1e-4)
