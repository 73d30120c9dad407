"""EDF, EDF+ and BDF: a real file with its twin in another format, files written byte by byte here, and what is refused."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import edf

RNG = np.random.default_rng(3)


def field(text: str | bytes, length: int) -> bytes:
    return (text if isinstance(text, bytes) else text.encode("latin-1")).ljust(length)


def write(
    path,
    channels: list[dict],
    n_records: int,
    seconds: str = "1",
    *,
    plus: str = "",
    patient: str = "X X X X",
    recording: str = "Startdate 04-MAR-2020 X X MAC_5500",
    day: str = "04.03.20",
    time: str = "05.06.07",
    promised: int | None = None,
    width: int = 2,
):
    """An EDF file (BDF at ``width`` 3), by the standard's tables. A channel: name, unit, counts (n_records, n), and optionally its scale."""
    n = len(channels)
    head = b"\xffBIOSEMI" if width == 3 else field("0", 8)
    head += field(patient, 80) + field(recording, 80) + field(day, 8) + field(time, 8) + field(str(256 * (n + 1)), 8)
    head += field(plus, 44) + field(str(n_records if promised is None else promised), 8) + field(seconds, 8) + field(str(n), 4)
    top = 2 ** (8 * width - 1)
    defaults = {"digital": (-top, top - 1), "physical": (-top, top - 1)}
    channels = [defaults | channel for channel in channels]
    for key, length in [("name", 16), ("", 80), ("unit", 8)]:
        head += b"".join(field(channel.get(key, ""), length) for channel in channels)
    for key in ("physical", "digital"):
        for side in (0, 1):
            head += b"".join(field(str(channel[key][side]), 8) for channel in channels)
    head += field("", 80 * n)
    head += b"".join(
        field(str(np.shape(channel["counts"])[1] if "counts" in channel else len(channel["raw"][0]) // width), 8) for channel in channels
    )
    head += field("", 32 * n)
    body = b""
    for k in range(n_records):
        for channel in channels:
            if "raw" in channel:
                body += channel["raw"][k]
            else:
                body += b"".join(int(count).to_bytes(width, "little", signed=True) for count in channel["counts"][k])
    path.write_bytes(head + body)
    return path


def counts(n_records: int, n: int, top: int = 2000) -> np.ndarray:
    return RNG.integers(-top, top, size=(n_records, n))


def annotations(onsets: list[float], width: int = 2, texts: dict[int, bytes] | None = None) -> dict:
    raw = [f"{onset:+.2f}\x14\x14\x00".encode() + (texts or {}).get(k, b"") for k, onset in enumerate(onsets)]
    return {
        "name": "EDF Annotations" if width == 2 else "BDF Annotations",
        "raw": [line.ljust(120, b"\0") for line in raw],
        "physical": (-1, 1),
    }


@pytest.mark.data
def test_the_real_file_is_its_wfdb_twin_sample_by_sample(data_root):
    record, twin = io.read(data_root / "edf/sample.edf"), io.read(data_root / "cinc2017/A00001")
    assert record.fs == twin.fs == 300 and record.leads == ("ECG",) and record.record == "sample"
    np.testing.assert_array_equal(record.signal[:, :9000], twin.signal)
    # The last data record is filled up with the lowest count, which is no measurement.
    assert record.signal.shape == (1, 12000) and np.isnan(record.signal[:, 9000:]).all() and record.meta["not_recorded"] == {"ECG": 3000}
    assert record.patient is None and "time" not in record.meta  # "challenge/2017/…" and 01.01.85 are placeholders


@pytest.mark.data
def test_edfio_reads_the_real_file_alike(data_root):
    import edfio

    other = edfio.read_edf(data_root / "edf/sample.edf").signals[0]
    record = io.read(data_root / "edf/sample.edf")
    np.testing.assert_allclose(record.signal[0, :9000], other.data[:9000], atol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1.0), ("uV", 1e-3), ("V", 1e3), ("nV", 1e-6), ("\xb5V", 1e-3), ("uV".upper(), 1e-3)])
def test_units_of_voltage_become_millivolt(tmp_path, unit, factor):
    values = counts(3, 200)
    path = write(tmp_path / "a.edf", [{"name": "ECG II", "unit": unit, "counts": values, "digital": (-1000, 1000), "physical": (-5, 5)}], 3)
    record = io.read(path)
    assert record.leads == ("II",) and record.fs == 200
    np.testing.assert_allclose(record.signal[0], values.reshape(-1) / 200 * factor, rtol=1e-5)


def test_bdf_has_24_bits(tmp_path):
    values = counts(3, 200, top=2**23 - 1)
    values[0, :3] = -(2**23), 2**23 - 1, -1
    path = write(
        tmp_path / "a.bdf",
        [{"name": "V1", "unit": "uV", "counts": values}, {"name": "II", "unit": "uV", "counts": values // 2}],
        3,
        width=3,
    )
    assert io.recognise(path) == "BDF"
    record = io.read(path)
    np.testing.assert_allclose(record.signal, np.stack([values.reshape(-1), values.reshape(-1) // 2]) / 1000, rtol=1e-6)
    part = io.read(path, leads=["II"], start=0.5, stop=2.25)
    np.testing.assert_array_equal(part.signal, record.signal[1:, 100:450])


def test_slower_signals_are_interpolated_and_named_and_other_units_kept(tmp_path):
    ecg, slow, fast = counts(4, 250), counts(4, 25), counts(4, 1000)
    path = write(
        tmp_path / "a.edf",
        [
            {"name": "ECG I", "unit": "uV", "counts": ecg},
            {"name": "RESP", "unit": "mmHg", "counts": slow},
            {"name": "Sound", "unit": "", "counts": fast},
            {"name": "EKG V5", "unit": "uV", "counts": slow},
        ],
        4,
    )
    record = io.read(path)
    assert record.fs == 250 and record.leads == ("I", "RESP", "Sound", "V5")  # not the 1000 Hz of a signal that is no ECG
    assert record.meta["interpolated"] == ["RESP", "Sound", "V5"] and record.meta["units"] == {"RESP": "mmHg", "Sound": ""}
    np.testing.assert_allclose(record.signal[0], ecg.reshape(-1) / 1000, rtol=1e-6)
    np.testing.assert_allclose(record.signal[1, ::10], slow.reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(record.signal[1, 5:-10:10], (slow.reshape(-1)[:-1] + slow.reshape(-1)[1:]) / 2, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(record.signal[2], fast.reshape(-1)[::4], rtol=1e-6)
    part = io.read(path, start=0.9, stop=3.3)
    np.testing.assert_array_equal(part.signal, record.signal[:, 225:825])
    assert io.read(path, leads=["V5", "I"]).leads == ("V5", "I")


def test_the_pauses_of_an_interrupted_recording_are_missing(tmp_path):
    values, slow, onsets = counts(4, 100), counts(4, 20), [0.25, 1.25, 4.25, 6.75]
    channels = [{"name": "II", "unit": "uV", "counts": values}, {"name": "V1", "unit": "uV", "counts": slow}, annotations(onsets)]
    path = write(tmp_path / "a.edf", channels, 4, plus="EDF+D")
    record = io.read(path)
    expected = np.full(750, np.nan)
    for onset, row in zip(onsets, values):
        expected[round((onset - 0.25) * 100) :][:100] = row / 1000
    np.testing.assert_allclose(record.signal[0], expected, rtol=1e-6)
    assert np.isnan(record.signal[1, 230:390]).all() and np.isfinite(record.signal[1, :190]).all()
    assert record.meta["time"] == datetime(2020, 3, 4, 5, 6, 7, 250000)  # the first onset holds the fraction of the start
    for start, stop in [(1.5, 4.5), (2.1, 3.9), (0.0, 0.3), (6.0, 99.0)]:
        part = io.read(path, start=start, stop=stop)
        np.testing.assert_array_equal(part.signal, record.signal[:, round(start * 100) : round(stop * 100)])


def test_a_year_between_two_data_records_is_not_allocated(tmp_path):
    channels = [{"name": "II", "unit": "uV", "counts": counts(2, 500)}, annotations([0, 31536000])]
    path = write(tmp_path / "a.edf", channels, 2, plus="EDF+D")
    with pytest.raises(FormatError, match="more than is read at once; give start and stop"):
        io.read(path)
    assert io.read(path, start=0, stop=2).signal.shape == (1, 1000)
    channels[1] = annotations([0, 0.5])
    write(path, channels, 2, plus="EDF+D")
    with pytest.raises(FormatError, match="overlap"):
        io.read(path)
    channels[1] = annotations([0, 2e9])
    write(path, channels, 2, plus="EDF+D")
    with pytest.raises(FormatError, match="damaged"):
        io.read(path, start=0, stop=1)
    write(path, channels[:1], 2, plus="EDF+D")
    with pytest.raises(FormatError, match="no annotation channel"):
        io.read(path)


def test_annotations_are_no_leads_and_their_texts_are_kept(tmp_path):
    texts = {0: b"+0\x14Report: Sinus rhythm\x14\x00", 1: "+1.5\x152\x14Vorhofflimmern é\x14\x00".encode()}
    path = write(
        tmp_path / "a.edf", [{"name": "II", "unit": "uV", "counts": counts(2, 100)}, annotations([0, 1], texts=texts)], 2, plus="EDF+C"
    )
    record = io.read(path)
    assert record.leads == ("II",)
    assert record.meta["report"] == "Sinus rhythm" and record.meta["annotations"] == [(1.5, "Vorhofflimmern é")]


def test_who_was_recorded_when_and_with_what(tmp_path):
    channel = {"name": "II", "unit": "uV", "counts": counts(2, 100)}
    record = io.read(write(tmp_path / "a.edf", [channel], 2, plus="EDF+C", patient="MCH-0234567 F 02-MAY-1951 Haagse_Harry"))
    assert record.patient == "MCH-0234567" and record.meta["sex"] == "female" and round(record.meta["age"], 2) == 68.84
    assert record.meta["device"] == "MAC 5500" and record.meta["time"] == datetime(2020, 3, 4, 5, 6, 7)
    plain = io.read(write(tmp_path / "a.edf", [channel], 2, patient="0815", recording="", day="31.12.84"))
    assert plain.patient == "0815" and plain.meta["time"] == datetime(2084, 12, 31, 5, 6, 7) and "sex" not in plain.meta
    unknown = io.read(write(tmp_path / "a.edf", [channel], 2, plus="EDF+C", recording="Startdate X X X X", day="01.01.85"))
    assert unknown.patient is None and not unknown.meta


def test_a_duration_that_was_rounded_to_eight_characters_gives_the_rate_that_was_meant(tmp_path):
    channel = {"name": "II", "unit": "uV", "counts": counts(1, 15355)}
    assert io.read(write(tmp_path / "a.edf", [channel], 1, "29.99937")).fs == 511.844
    assert io.read(write(tmp_path / "a.edf", [{**channel, "counts": counts(1, 4099)}], 1, "8.198")).fs == 500


def test_only_the_part_that_is_asked_for_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.edf", [{"name": "II", "unit": "uV", "counts": counts(1000, 10)}], 1000)
    seen = []
    monkeypatch.setattr(edf, "_counts", lambda columns, width, real=edf._counts: seen.append(len(columns)) or real(columns, width))
    io.read(path, start=500, stop=502)
    assert seen and max(seen) <= 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"promised": 5}, "truncated: the header promises 5 data records"),
        ({"promised": -7}, "truncated"),
        ({"seconds": "0"}, "annotations and no signal"),
        ({"seconds": "nan"}, "duration of a data record"),
        ({"seconds": "1e-9"}, "up to 1 MHz"),
        ({"seconds": "-1"}, "duration of a data record"),
    ],
)
def test_contradictions_in_a_header_are_refused(tmp_path, change, words):
    path = write(tmp_path / "a.edf", [{"name": "II", "unit": "uV", "counts": counts(3, 200)}], 3, **change)
    with pytest.raises(FormatError, match=words):
        io.read(path)


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ({"unit": "mmHg"}, "lead II is in 'mmHg', expected mV"),
        ({"unit": ""}, "lead II is in ''"),
        ({"digital": (5, 5)}, "has no scale"),
        ({"physical": (0, 0)}, "has no scale"),
        ({"physical": ("x", 1)}, "a physical minimum, a number; its header says 'x'"),
    ],
)
def test_a_lead_without_a_scale_is_refused(tmp_path, channel, words):
    with pytest.raises(FormatError, match=words):
        io.read(write(tmp_path / "a.edf", [{"name": "II", "unit": "uV", "counts": counts(2, 10), **channel}], 2))


def test_an_unfinished_recording_is_read_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.edf", [{"name": "II", "unit": "uV", "counts": counts(3, 100)}], 3, promised=-1)
    assert io.read(path).signal.shape == (1, 300)


def test_damaged_headers_are_refused_in_one_line(tmp_path):
    path = write(tmp_path / "a.edf", [{"name": "II", "unit": "uV", "counts": counts(2, 100)}], 2)
    good = path.read_bytes()
    for data in (
        good[:200],
        good[:300],
        good[:252] + b"9999" + good[256:],
        good[:252] + b"-3  " + good[256:],
        good[:184] + b"99999999" + good[192:],
    ):
        path.write_bytes(data)
        with pytest.raises(FormatError) as error:
            edf.read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
