"""DICOM ECGs, against objects that this test builds itself and against pydicom's own reading of waveforms."""

from __future__ import annotations

import zlib
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import dicom, dicom_write
from einthoven.io.dicom import LEAD_CODES
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.record import Record

CODES = {name: code for code, name in LEAD_CODES.items()}
TWELVE_LEAD, GENERAL, AMBULATORY, HEMODYNAMIC = (f"1.2.840.10008.5.1.4.1.1.9.{end}" for end in ("1.1", "1.2", "1.3", "2.1"))
COUNTS = np.random.default_rng(3).integers(-2000, 2000, size=(12, 600))


def dataset(**values) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def channel(name: str, sensitivity="1", unit="uV", correction="1", baseline="0", source: Dataset | None = None, **more) -> Dataset:
    source = source or (code(f"2:{CODES[name]}", "MDC", f"Lead {name}") if name in CODES else code("x", "99TEST", name))
    out = dataset(ChannelSourceSequence=[source], WaveformBitsStored=16, **more)
    if sensitivity is not None:
        out.ChannelSensitivity, out.ChannelSensitivityCorrectionFactor, out.ChannelBaseline = sensitivity, correction, baseline
    if unit is not None:
        out.ChannelSensitivityUnitsSequence = [code(unit, "UCUM", unit)]
    return out


def group(counts: np.ndarray, channels: list[Dataset], fs=500, kind="SS", padding: int | None = None, order="<", **more) -> Dataset:
    dtype = np.dtype({"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4", "MB": "u1", "AB": "u1"}[kind]).newbyteorder(
        order
    )
    out = dataset(WaveformOriginality="ORIGINAL", NumberOfWaveformChannels=len(channels), NumberOfWaveformSamples=counts.shape[1])
    out.SamplingFrequency, out.ChannelDefinitionSequence = str(fs), channels
    out.WaveformBitsAllocated, out.WaveformSampleInterpretation = 8 * dtype.itemsize, kind
    if padding is not None:
        out.add_new(
            "WaveformPaddingValue",
            "OW" if dtype.itemsize > 1 else "OB",
            np.array([padding] * (2 // min(dtype.itemsize, 2)), dtype).tobytes(),
        )
    data = np.ascontiguousarray(counts.T).astype(dtype).tobytes()
    out.add_new("WaveformData", "OW" if dtype.itemsize > 1 else "OB", data + b"\0" * (len(data) % 2))
    for keyword, value in more.items():
        setattr(out, keyword, value)
    return out


def save(path: Path, groups: list[Dataset], uid: str = TWELVE_LEAD, syntax=ExplicitVRLittleEndian, **more) -> Path:
    content = dataset(SOPClassUID=uid, SOPInstanceUID="1.2.3", Modality="ECG", WaveformSequence=groups, **more)
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = syntax
    content.file_meta.MediaStorageSOPClassUID, content.file_meta.MediaStorageSOPInstanceUID = uid, "1.2.3"
    content.save_as(
        path, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
    )
    return path


def twelve(counts: np.ndarray = COUNTS, **more) -> Dataset:
    return group(counts, [channel(name) for name in TWELVE], **more)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_an_object_reads_in_every_transfer_syntax(tmp_path, syntax):
    path = save(tmp_path / "a.dcm", [twelve(order=">" if syntax == ExplicitVRBigEndian else "<")], syntax=syntax)
    record = io.read(path)
    np.testing.assert_allclose(record.signal, COUNTS / 1000, atol=1e-6)
    assert record.leads == TWELVE and record.fs == 500 and record.record == "a" and record.patient is None and not record.meta


def test_an_object_without_its_preamble_reads(tmp_path):
    path = save(tmp_path / "a.dcm", [twelve()])
    path.write_bytes(path.read_bytes()[132:])
    assert io.recognise(path) == "DICOM"
    np.testing.assert_allclose(io.read(path).signal, COUNTS / 1000, atol=1e-6)


@pytest.mark.parametrize("kind", ["SB", "UB", "SS", "US", "SL", "UL"])
def test_every_interpretation_of_samples_reads_as_pydicom_reads_it(tmp_path, kind):
    low, high = {"SB": (-128, 128), "UB": (0, 256), "SS": (-(2**15), 2**15), "US": (0, 2**16), "SL": (-(2**30), 2**30), "UL": (0, 2**31)}[
        kind
    ]
    counts = np.random.default_rng(1).integers(low, high, size=(2, 301))
    path = save(
        tmp_path / "a.dcm", [group(counts, [channel("I", "2.5", correction="1.1", baseline="7"), channel("V9")], kind=kind)], GENERAL
    )
    expected = pydicom.dcmread(path).waveform_array(0).T / 1000
    np.testing.assert_allclose(dicom.read(path).signal, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(expected[0], (counts[0] * 2.5 * 1.1 + 7) / 1000)


@pytest.mark.parametrize("unit, millivolt", [("uV", 1e-3), ("mV", 1.0), ("V", 1e3), ("nV", 1e-6)])
def test_a_unit_of_voltage_becomes_millivolt(tmp_path, unit, millivolt):
    path = save(tmp_path / "a.dcm", [group(COUNTS[:1], [channel("II", "0.5", unit, baseline="3")])])
    np.testing.assert_allclose(dicom.read(path).signal[0], (COUNTS[0] * 0.5 + 3) * millivolt, rtol=1e-6)


def test_a_channel_of_another_unit_keeps_it_and_a_lead_may_not(tmp_path):
    path = save(tmp_path / "a.dcm", [group(COUNTS[:2], [channel("II"), channel("Resp", "0.1", "Ohm")])], GENERAL)
    record = dicom.read(path)
    assert record.leads == ("II", "Resp") and record.meta["units"] == {"Resp": "Ohm"}
    np.testing.assert_allclose(record.signal[1], COUNTS[1] * 0.1, rtol=1e-6)
    for wrong in (channel("II", unit="mm[Hg]"), channel("II", unit=None), channel("II", sensitivity=None)):
        with pytest.raises(FormatError, match="expected lead II in uV, mV or V"):
            dicom.read(save(tmp_path / "b.dcm", [group(COUNTS[:1], [wrong])]))


@pytest.mark.parametrize("padding, lost", [(-32768, True), (0, False), (2500, True)])
def test_padding_is_missing_only_where_it_cannot_be_signal(tmp_path, padding, lost):
    counts = COUNTS.copy()
    counts[3, 100:150] = padding
    signal = dicom.read(save(tmp_path / "a.dcm", [twelve(counts, padding=padding)])).signal
    assert np.isnan(signal[3, 100:150]).all() == lost and np.isnan(signal).sum() == (50 if lost else 0)


def test_the_rhythm_is_read_and_not_the_median_beat(tmp_path):
    beat = twelve(np.full((12, 3000), 9), WaveformOriginality="DERIVED", MultiplexGroupLabel="MEDIAN BEAT")
    record = dicom.read(save(tmp_path / "a.dcm", [beat, twelve()]))
    np.testing.assert_allclose(record.signal, COUNTS / 1000, atol=1e-6)
    with pytest.raises(FormatError, match="only derived beats: MEDIAN BEAT"):
        dicom.read(save(tmp_path / "b.dcm", [beat]))


def test_four_times_three_leads_and_a_strip_are_put_together_in_time(tmp_path):
    parts = [
        group(COUNTS[3 * n : 3 * n + 3, :150], [channel(name) for name in TWELVE[3 * n : 3 * n + 3]], MultiplexGroupTimeOffset=str(300 * n))
        for n in range(4)
    ]
    strip = group(COUNTS[:1], [channel("II")])
    record = dicom.read(save(tmp_path / "a.dcm", [*parts, strip]))
    assert set(record.leads) == set(TWELVE) and record.signal.shape == (12, 600)
    v1 = record.signal[record.leads.index("V1")]
    np.testing.assert_allclose(v1[300:450], COUNTS[6, :150] / 1000, atol=1e-6)
    assert np.isnan(v1[:300]).all() and np.isnan(v1[450:]).all()
    np.testing.assert_allclose(record.signal[record.leads.index("II")], COUNTS[0] / 1000, atol=1e-6)
    parts[3].MultiplexGroupTimeOffset = "1e12"
    with pytest.raises(FormatError, match="a damaged time offset"):
        dicom.read(save(tmp_path / "b.dcm", parts))


@pytest.mark.parametrize(
    "source, name",
    [
        (code("5.6.3-9-62", "SCPECG", "Lead aVR"), "aVR"),
        (code("2:3", "MDC", "whatever"), "V1"),
        (code("MDC_ECG_LEAD_AVF", "MDC", "Lead aVF"), "aVF"),
        (code("L1", "99VENDOR", "Lead I (Einthoven)"), "I"),
        (code("L1", "99VENDOR", "CM5"), "CM5"),
    ],
)
def test_a_lead_is_named_by_its_code_or_its_meaning(tmp_path, source, name):
    assert dicom.read(save(tmp_path / "a.dcm", [group(COUNTS[:1], [channel("I", source=source)])], GENERAL)).leads == (name,)


def test_a_code_and_a_meaning_that_contradict_each_other_are_refused(tmp_path):
    path = save(tmp_path / "a.dcm", [group(COUNTS[:1], [channel("I", source=code("5.6.3-9-1", "SCPECG", "Lead V2"))])])
    with pytest.raises(FormatError, match=r"the code of lead I .*is called Lead V2"):
        dicom.read(path)


def test_eight_leads_become_twelve(tmp_path):
    names = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    record = dicom.read(save(tmp_path / "a.dcm", [group(COUNTS[:8], [channel(name) for name in names])]))
    assert record.leads == TWELVE and record.meta["derived"] == ["III", "aVR", "aVL", "aVF"]
    assert max(limb_law_residual(record.signal, record.leads).values()) < 1e-6


@pytest.mark.parametrize(
    "uid, name", [(HEMODYNAMIC, "Hemodynamic"), ("1.2.840.10008.5.1.4.1.1.9.4.1", "Voice Audio"), ("1.2.840.10008.5.1.4.1.1.2", "CT Image")]
)
def test_another_kind_of_object_is_refused_by_name(tmp_path, uid, name):
    with pytest.raises(FormatError, match=name):
        dicom.read(save(tmp_path / "a.dcm", [twelve()], uid))


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"WaveformSampleInterpretation": "MB"}, "companded"),
        ({"WaveformSampleInterpretation": "AB"}, "companded"),
        ({"WaveformSampleInterpretation": "SL"}, "of 16 bits"),
        ({"NumberOfWaveformSamples": 601}, "truncated"),
        ({"NumberOfWaveformSamples": 2**32 - 1}, "truncated"),
        ({"NumberOfWaveformSamples": 0}, "expected samples in channels"),
        ({"NumberOfWaveformChannels": 13}, "12 of them described"),
        ({"SamplingFrequency": "0"}, "sampling frequency"),
        ({"SamplingFrequency": "-500"}, "sampling frequency"),
        ({"SamplingFrequency": "1e9"}, "sampling frequency"),
    ],
)
def test_a_group_that_contradicts_itself_is_refused(tmp_path, change, problem):
    with pytest.raises(FormatError, match=problem) as caught:
        dicom.read(save(tmp_path / "a.dcm", [twelve(**change)]))
    assert "\n" not in str(caught.value) and str(tmp_path / "a.dcm") in str(caught.value)


def test_an_object_without_a_waveform_is_refused(tmp_path):
    with pytest.raises(FormatError, match="has no waveform"):
        dicom.read(save(tmp_path / "a.dcm", []))


@pytest.mark.parametrize("kept", [140, 300, 1000, 5000])
def test_a_truncated_object_is_refused(tmp_path, kept):
    path = save(tmp_path / "a.dcm", [twelve()])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FormatError, match=r"a\.dcm"):
        dicom.read(path)


def test_a_deflated_bomb_is_refused(tmp_path):
    path = save(tmp_path / "a.dcm", [twelve()], syntax=DeflatedExplicitVRLittleEndian)
    head = path.read_bytes()
    meta_length = 144 + int.from_bytes(head[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    path.write_bytes(head[:meta_length] + bomb)
    assert path.stat().st_size < 100_000
    with pytest.raises(FormatError, match="becomes more than"):
        dicom.read(path)


@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_person_moment_and_device_are_told(tmp_path):
    facts = dict(PatientID="P7", PatientSex="F", PatientBirthDate="19500601", Manufacturer="Acme", ManufacturerModelName="E1")
    record = dicom.read(save(tmp_path / "a.dcm", [twelve()], AcquisitionDateTime="20200304050607.5+0100", **facts))
    assert record.patient == "P7" and record.meta["sex"] == "female" and record.meta["device"] == "Acme E1"
    assert record.meta["time"] == datetime(2020, 3, 4, 5, 6, 7, 500000) and record.meta["age"] == pytest.approx(69.76, abs=0.01)
    older = dicom.read(
        save(tmp_path / "b.dcm", [twelve()], ContentDate="20200304", ContentTime="050607", PatientAge="018M", PatientID="removed")
    )
    assert older.patient is None and older.meta == {"age": 1.5, "time": datetime(2020, 3, 4, 5, 6, 7)}
    blank = dicom.read(save(tmp_path / "c.dcm", [twelve()], AcquisitionDateTime="19000101000000", PatientAge="abcY", PatientSex="O"))
    assert blank.meta == {}


def test_statements_and_measurements_are_told_and_marks_are_not(tmp_path):
    def measured(name, value, unit, **more):
        return dataset(
            ConceptNameCodeSequence=[code(name, "X", name)],
            NumericValue=value,
            MeasurementUnitsCodeSequence=[code(unit, "UCUM", unit)],
            **more,
        )

    annotations = [
        dataset(UnformattedTextValue="Sinus rhythm", ReferencedWaveformChannels=[1, 0]),
        dataset(ConceptNameCodeSequence=[code("f", "X", "finding")], ConceptCodeSequence=[code("n", "X", "Normal ECG")]),
        measured("QT", "0.4", "s", ReferencedWaveformChannels=[1, 0]),
        measured("QT", "999", "ms"),
        measured("PP", "0", "ms"),
        measured("P axis", "0", "deg"),
        measured("R in V5", "1200", "uV", ReferencedWaveformChannels=[1, 11]),
        dataset(
            ConceptNameCodeSequence=[code("q", "X", "QRS onset")],
            TemporalRangeType="POINT",
            ReferencedSamplePositions=[12],
            NumericValue="5",
        ),
    ]
    meta = dicom.read(save(tmp_path / "a.dcm", [twelve()], WaveformAnnotationSequence=annotations)).meta
    assert meta == {"report": "Sinus rhythm\nNormal ECG", "measurements": {"QT": 400.0, "P axis": 0.0}}


WRITTEN = {
    "twelve": (TWELVE, 5000, 500, TWELVE_LEAD),
    "twelve at 1000 Hz": (TWELVE, 10000, 1000, TWELVE_LEAD),
    "twelve, long": (TWELVE, 16385, 250, GENERAL),
    "fifteen with Frank's": ((*TWELVE, "X", "Y", "Z"), 2000, 360, GENERAL),
    "a Holter's two": (("MLII", "V5"), 7200, 360, GENERAL),
    "twelve at 100 Hz": (TWELVE, 1000, 100, AMBULATORY),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_we_write_a_third_party_reads_with_pydicom(tmp_path, kind):
    leads, n_samples, fs, uid = WRITTEN[kind]
    values = np.random.default_rng(5).normal(size=(len(leads), n_samples)).astype(np.float32)
    values[-1] *= 20  # needs a coarser step than the others
    meta = {"age": 54.4, "sex": "male", "time": datetime(2020, 3, 4, 5, 6, 7), "report": "Sinusrhythmus, 60/min\nÜberleitung normal"}
    dicom_write.write(Record(values, fs, leads, record="r", patient="P1", meta=meta), tmp_path / "r.dcm")
    content = pydicom.dcmread(tmp_path / "r.dcm")
    assert content.SOPClassUID == uid and content.file_meta.MediaStorageSOPClassUID == uid and content.PatientAge == "054Y"
    assert content.PatientID == "P1" and content.PatientSex == "M" and content.AcquisitionDateTime == "20200304050607.000000"
    assert [item.UnformattedTextValue for item in content.WaveformAnnotationSequence] == meta["report"].splitlines()
    assert content.ContributingEquipmentSequence[0].Manufacturer == "Einthoven" and content.Modality == "ECG"
    only = content.WaveformSequence[0]
    assert only.SamplingFrequency == fs and only.WaveformSampleInterpretation == "SS" and only.WaveformOriginality == "ORIGINAL"
    assert [one.ChannelLabel for one in only.ChannelDefinitionSequence] == list(leads)
    steps = np.array([float(one.ChannelSensitivity) for one in only.ChannelDefinitionSequence]) / 1000
    assert (steps <= 1e-3).all() or np.abs(values).max() > 32
    assert (np.abs(content.waveform_array(0).T - values * 1000).max(axis=1) / 1000 <= steps * 0.501).all()
    back = dicom.read(tmp_path / "r.dcm")
    assert back.leads == leads and back.fs == fs and back.meta == {**meta, "age": 54.0}


def test_missing_samples_and_leads_come_back_missing(tmp_path):
    values = np.random.default_rng(5).normal(size=(12, 700)).astype(np.float32)
    values[4, 10:60], values[7] = np.nan, np.nan
    dicom_write.write(Record(values, 500, TWELVE), tmp_path / "r.dcm")
    np.testing.assert_array_equal(np.isnan(dicom.read(tmp_path / "r.dcm").signal), np.isnan(values))


def test_the_same_recording_is_the_same_object_and_another_is_not(tmp_path):
    one, other = Record(COUNTS / 1000, 500, TWELVE), Record(COUNTS[::-1] / 1000, 500, TWELVE)
    for name, record in (("a", one), ("b", one), ("c", other)):
        dicom_write.write(record, tmp_path / f"{name}.dcm")
    a, b, c = ((tmp_path / f"{name}.dcm").read_bytes() for name in "abc")
    uids = [pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID for name in "abc"]
    assert a == b and a != c and uids[0] == uids[1] != uids[2] and all(uid.is_valid for uid in uids)
    assert "time" not in dicom.read(tmp_path / "a.dcm").meta  # the standard demands one, and we know that it is none


@pytest.mark.parametrize(
    "record, problem",
    [
        (Record(np.zeros((30, 100)), 500, [f"E{n}" for n in range(30)]), "up to 24 leads"),
        (Record(np.zeros((15, 100)), 100, [*TWELVE, "X", "Y", "Z"]), "resample it"),
        (Record(np.zeros((12, 100)), 2000, TWELVE), "resample it"),
        (Record(np.zeros((2, 100)), 500, ("I", "ABP"), meta={"units": {"ABP": "mmHg"}}), "ABP is none"),
        (Record(np.full((1, 100), np.inf), 500, ("I",)), "infinite"),
    ],
)
def test_what_no_object_may_hold_is_refused(tmp_path, record, problem):
    with pytest.raises(FormatError, match=problem):
        dicom_write.write(record, tmp_path / "r.dcm")
    assert not list(tmp_path.iterdir())


@pytest.mark.data
@pytest.mark.parametrize("name", ["dicom/anonymous_ecg.dcm", "dicom/example-DICOM1.dcm", "ecgtoolkit-3formats/Example.dcm"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_real_file_reads_as_pydicom_reads_it_and_obeys_the_limb_laws(data_root, name):
    record = dicom.read(data_root / name)
    np.testing.assert_allclose(record.signal, pydicom.dcmread(data_root / name).waveform_array(0).T / 1000, atol=1e-6)
    assert record.leads == TWELVE and record.seconds == 10
    assert max(limb_law_residual(record.signal, record.leads).values()) < 0.002  # mV; the steps are 1.25, 4.88 and 2.5 µV


@pytest.mark.data
def test_a_real_file_tells_what_its_machine_said(data_root):
    record = dicom.read(data_root / "dicom/anonymous_ecg.dcm")
    assert record.patient == "642341" and record.fs == 1000 and record.meta["age"] == 42 and record.meta["sex"] == "female"
    assert record.meta["report"] == "RITMO SINUSALE\nECG NORMALE" and record.meta["device"] == "Mortara Instrument, Inc. el250"
    assert record.meta["measurements"]["QT Interval"] == 368 and "PP Interval" not in record.meta["measurements"]
