"""What holds for every writer: what it writes is read back, by us and by other packages, within one step; what it cannot hold is refused."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.io.quantise import counts_of, step_of
from einthoven.leads import TWELVE, derive_limb_leads
from einthoven.record import Record

ENDINGS = {name: suffix for suffix, name in reversed(io.SUFFIXES.items())}
META = {"age": 54.0, "sex": "female", "time": datetime(2020, 3, 4, 5, 6, 7)}


def signal(n_leads: int, n_samples: int, amplitude: float = 1.0, seed: int = 0) -> np.ndarray:
    """Leads that obey the limb laws, in mV."""
    rng = np.random.default_rng([seed, n_leads, n_samples])
    out = np.cumsum(rng.normal(size=(n_leads, n_samples)), axis=1)
    out *= amplitude / np.abs(out).max(axis=1, keepdims=True)
    if n_leads >= 12:
        out[2:6] = derive_limb_leads(out[0], out[1])
    return out.astype(np.float32)


KINDS = {
    "twelve leads, 10 s at 500 Hz": (TWELVE, 5000, 500.0, 1.0),
    "twelve leads, an odd length": (TWELVE, 4999, 500.0, 2.0),
    "fifteen leads": ((*TWELVE, "X", "Y", "Z"), 1501, 1000.0, 1.0),
    "fifteen leads of the back": ((*TWELVE, "V7", "V8", "V9"), 700, 250.0, 1.0),
    "two leads": (("I", "II"), 3600, 360.0, 1.0),
    "one lead": (("I",), 2934, 400.0, 0.3),
    "a lead without a name of its own": (("ECG",), 900, 300.0, 1.0),
    "at 100 Hz": (TWELVE, 1000, 100.0, 1.0),
    "at 257 Hz": (TWELVE, 2571, 257.0, 1.0),
    "at 511.844 Hz": (("I",), 15355, 511.844, 0.5),
    "a large amplitude": (TWELVE, 1000, 500.0, 30.0),
    "an absurd amplitude": (TWELVE, 1000, 500.0, 900.0),
    "a tiny amplitude": (TWELVE, 1000, 500.0, 0.004),
}


def may_hold(writer: str, record: Record, path) -> bool:
    """Whether a format holds a record; a refusal must say so in one line and leave nothing behind."""
    try:
        io.WRITERS[writer](record, path)
    except FormatError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        assert not list(path.parent.iterdir())
        return False
    return True


def test_every_writer_has_an_ending_and_a_reader():
    assert set(io.WRITERS) == set(ENDINGS) & set(io.WRITERS) and set(io.WRITERS) <= set(io.READERS)


@pytest.mark.parametrize("writer", io.WRITERS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back_within_a_step(tmp_path, writer, kind):
    leads, n_samples, fs, amplitude = KINDS[kind]
    record = Record(signal(len(leads), n_samples, amplitude), fs, leads, record="r", patient="P17", meta=META)
    path = tmp_path / f"r{ENDINGS[writer]}"
    if not may_hold(writer, record, path):
        # The clinical formats have no place for every kind; the twelve leads at a common rate they must hold.
        assert not kind.startswith("twelve leads")
        pytest.skip(f"{writer} does not hold {kind}")
    assert io.recognise(path) == writer
    back = io.read(path)
    assert back.fs == pytest.approx(fs, rel=1e-6) and back.signal.shape == record.signal.shape and back.leads == record.leads
    largest = np.abs(record.signal).max(axis=1, keepdims=True)
    step = np.maximum(1e-3, 2.5 * largest / 2**15)  # 1 µV, or the next of 1, 2, 5, … that 16 bits allow
    assert (np.abs(back.signal - record.signal) <= step * 1.001 / 2 + 1e-6 * largest).all() or writer not in ("WFDB", "EDF", "table")
    assert (np.abs(back.signal - record.signal) <= step * 1.001 + 1e-6 * largest).all()


@pytest.mark.parametrize("writer", io.WRITERS)
def test_what_is_missing_is_missing_again_or_refused(tmp_path, writer):
    values = signal(12, 1000)
    values[3, 100:140] = np.nan
    record = Record(values, 500, TWELVE, record="r")
    path = tmp_path / f"r{ENDINGS[writer]}"
    if may_hold(writer, record, path):
        back = io.read(path)
        np.testing.assert_array_equal(np.isnan(back.signal), np.isnan(values))
    else:
        assert writer in ("EDF", "DICOM", "HL7 aECG XML")


@pytest.mark.parametrize("writer", io.WRITERS)
def test_who_was_recorded_when_stays_known(tmp_path, writer):
    meta = {**META, "report": "Sinus rhythm\nNormal ECG"}
    record = Record(signal(12, 1000), 500, TWELVE, record="r", patient="P17", meta=meta)
    path = tmp_path / f"r{ENDINGS[writer]}"
    io.WRITERS[writer](record, path)
    back = io.read(path)
    assert back.patient == "P17" and back.meta["sex"] == "female" and back.meta["time"] == META["time"]
    assert back.meta["age"] == pytest.approx(54, abs=0.01)


@pytest.mark.parametrize("writer", io.WRITERS)
def test_a_file_appears_whole_or_not_at_all(tmp_path, writer, monkeypatch):
    record = Record(signal(12, 1000), 500, TWELVE, record="r", meta=META)
    path = tmp_path / f"r{ENDINGS[writer]}"

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("einthoven.whole.os.replace", fail)
    with pytest.raises(EinthovenError, match="No space left"):
        io.WRITERS[writer](record, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("writer", io.WRITERS)
@pytest.mark.parametrize("values", [np.zeros((1, 0)), np.zeros((0, 10)), np.full((1, 100), np.inf)])
def test_a_recording_of_nothing_is_refused(tmp_path, writer, values):
    if writer == "table" and np.isinf(values).any():
        pytest.skip("a text holds any number")
    record = Record(values, 500, ("I",)[: len(values)], record="r")
    assert not may_hold(writer, record, tmp_path / f"r{ENDINGS[writer]}")


@pytest.mark.parametrize("largest", [1e-6, 0.1, 3.2767, 3.2768, 6.5, 32.7, 33, 1e5])
def test_a_step_is_the_finest_that_sixteen_bits_hold(largest):
    values = np.array([largest, -largest, np.nan, 0])
    step = step_of(values)
    counts = counts_of(values, step, -(2**15))
    assert np.abs(counts[:2]).max() <= 2**15 - 1 and counts[2] == -(2**15)
    np.testing.assert_allclose(counts[[0, 1, 3]] * step, values[[0, 1, 3]], atol=step / 2 * (1 + 1e-9))
    assert step == 1e-4 or largest / step > 2**15 / 2.6


# ---------------------------------------------------------------- other packages read what we wrote


def test_the_wfdb_package_reads_our_record(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    values = signal(12, 4321)
    values[5, 7:90] = np.nan
    record = Record(
        values, 500, TWELVE, record="r", patient="P17", meta={**META, "units": {}}, labels={"426783006": 1.0}, label_system="SNOMED CT"
    )
    io.write(record, tmp_path / "r.hea")
    other = wfdb.rdrecord(str(tmp_path / "r"))
    np.testing.assert_allclose(other.p_signal.T, values, atol=6e-5)
    assert other.sig_name == list(TWELVE) and other.fs == 500 and other.units == ["mV"] * 12
    assert other.base_datetime == META["time"] and "Dx: 426783006" in other.comments
    digital = wfdb.rdrecord(str(tmp_path / "r"), physical=False)
    assert [(a - b) % 65536 for a, b in zip(digital.calc_checksum(), digital.checksum)] == [0] * 12
    back = io.read(tmp_path / "r")
    assert back.labels == {"426783006": 1.0}


def test_the_edfio_package_reads_our_file(tmp_path):
    import edfio

    values = signal(12, 4321)
    values[11] = np.nan  # not recorded: not in the file
    record = Record(values, 500, TWELVE, record="study 5", patient="P 17", meta={**META, "report": "Sinus rhythm"})
    io.write(record, tmp_path / "r.edf")
    other = edfio.read_edf(tmp_path / "r.edf")
    assert (
        [lead.label for lead in other.signals] == [f"ECG {name}" for name in TWELVE[:11]]
        and other.patient.code == "P_17"
        and other.patient.sex == "F"
    )
    np.testing.assert_allclose([lead.data / 1000 for lead in other.signals], values[:11], atol=6e-5)
    assert {lead.sampling_frequency for lead in other.signals} == {500} and other.startdatetime == META["time"]
    assert [text.text for text in other.annotations] == ["Report: Sinus rhythm"]
    back = io.read(tmp_path / "r.edf")
    assert back.meta["report"] == "Sinus rhythm" and back.leads == TWELVE[:11]


def test_pandas_reads_our_table(tmp_path):
    pandas = pytest.importorskip("pandas")
    record = Record(signal(12, 500), 511.844, TWELVE, record="r")
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        io.write(record, tmp_path / f"r{ending}")
        frame = pandas.read_csv(tmp_path / f"r{ending}", sep=separator)
        assert list(frame) == ["time (s)", *(f"{name} (mV)" for name in TWELVE)]
        np.testing.assert_array_equal(frame.to_numpy()[:, 1:].T.astype(np.float32), record.signal)
        np.testing.assert_array_equal(io.read(tmp_path / f"r{ending}").signal, record.signal)  # bit by bit


def test_signals_that_are_no_ecg_keep_their_unit(tmp_path):
    values = np.stack([signal(1, 1000)[0], np.linspace(60, 140, 1000)])
    record = Record(values, 250, ("II", "ABP"), record="r", meta={"units": {"ABP": "mmHg"}})
    for writer in ("WFDB", "EDF", "table"):
        path = tmp_path / f"r{ENDINGS[writer]}"
        io.WRITERS[writer](record, path)
        back = io.read(path)
        assert back.meta["units"] == {"ABP": "mmHg"}
        np.testing.assert_allclose(back.signal, values, atol=4e-3)


def test_what_a_format_cannot_hold_is_said(tmp_path):
    one = signal(1, 1000)
    with pytest.raises(FormatError, match="a record name of letters, digits"):
        io.write(Record(one, 500, ("I",)), tmp_path / "a b.hea")
    for patient in ("Müller", "x" * 57):  # altered or cut, it could become another's
        with pytest.raises(FormatError, match="up to 56 ASCII characters"):
            io.write(Record(one, 500, ("I",), patient=patient), tmp_path / "a.edf")
    for patient in ("a\\b", "x" * 65, "a  b"):
        with pytest.raises(FormatError, match="up to 64 characters without a backslash"):
            io.write(Record(one, 500, ("I",), patient=patient), tmp_path / "a.dcm")
    gap = one.copy()
    gap[0, 5] = np.nan
    with pytest.raises(FormatError, match="lead I misses 1 of 1000 samples, and EDF cannot say so; write WFDB"):
        io.write(Record(gap, 500, ("I",)), tmp_path / "a.edf")
    with pytest.raises(FormatError, match=r"EDF cannot hold 1 samples at 511\.844 Hz"):
        io.write(Record(one[:, :1], 511.844, ("I",)), tmp_path / "a.edf")
    with pytest.raises(FormatError, match="two samples, whose times give the rate"):
        io.write(Record(one[:, :1], 500, ("I",)), tmp_path / "a.csv")
    with pytest.raises(FormatError, match="expected a name that ends in"):
        io.write(Record(one, 500, ("I",)), tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


def test_edf_ends_where_the_last_lead_ends(tmp_path):
    """Nothing was recorded after that: the calibration pulse of Philips's files."""
    signal = np.random.default_rng(0).normal(0, 0.3, (2, 1000)).astype(np.float32)
    signal[:, 900:] = np.nan
    io.write(Record(signal, 500, ("I", "II")), tmp_path / "a.edf")
    back = io.read(tmp_path / "a.edf")
    assert back.signal.shape == (2, 900)
    np.testing.assert_allclose(back.signal, signal[:, :900], atol=6e-5)
    signal[1, 900:] = 0.1
    with pytest.raises(FormatError, match="lead I misses 100 of 1000"):
        io.write(Record(signal, 500, ("I", "II")), tmp_path / "b.edf")


@pytest.mark.data
def test_real_recordings_go_from_format_to_format_unchanged(tmp_path, data_root):
    for name in ("cinc2021/georgia/E00018.hea", "ptbdb/s0010_re.hea", "sph/SPH00002.h5", "edf/sample.edf", "mitdb/100.hea"):
        paths = sorted(data_root.glob(name))
        if not paths:
            continue
        record = io.read(paths[0], stop=30)
        for ending in (".hea", ".edf", ".csv"):
            io.write(record, tmp_path / f"x{ending}")
            back = io.read(tmp_path / f"x{ending}")
            assert back.leads == record.leads and back.fs == record.fs and back.patient == record.patient
            np.testing.assert_allclose(back.signal, record.signal, atol=6e-5 + 1.6e-5 * np.nanmax(np.abs(record.signal)))
