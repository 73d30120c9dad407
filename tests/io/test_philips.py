"""Philips SierraECG, against files that this test compresses itself and against Philips' own conversion to aECG."""

from __future__ import annotations

import base64
from datetime import datetime

import defusedxml.ElementTree
import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import philips
from einthoven.io.philips_xli import decompress, unfold
from einthoven.leads import TWELVE, canonical, derive_limb_leads, limb_law_residual
from einthoven.signal.peaks import r_peaks

FS, N = 500, 1500
RATES = {"129DYPRG.XML": "I", "Philips103Example01.xml": "II", "ad4d3d80-d165_1-04_orig.xml": "II"}
"""File -> a lead in which the QRS is the highest wave (in the first, an infarct, T is higher in II)."""


def tracing(n_samples: int = N, seed: int = 3) -> np.ndarray:
    """Twelve leads in counts of 5 µV, (lead, time), whose limb leads follow from I and II but for a count or two."""
    draw = np.random.default_rng(seed)
    eight = np.cumsum(draw.integers(-3, 4, size=(8, n_samples)), axis=1)
    limb = np.round(derive_limb_leads(eight[0], eight[1])).astype(int) + draw.integers(-1, 2, size=(4, n_samples))
    return np.concatenate([eight[:2], limb, eight[2:]])


def xli(counts: np.ndarray) -> bytes:
    """A chunk per row: the inverse of what the format's description says, one sample after another, in 16 bits that wrap."""
    chunks = []
    for row in counts:
        samples = [int(value) for value in row]
        bends = [0, 0] + [samples[n] - 2 * samples[n - 1] + samples[n - 2] for n in range(2, len(samples))]
        codes = [*samples[:2], *(64 - bend for bend in bends[3:]), 64][: len(samples)]
        packed = lzw(bytes((code >> 8) & 255 for code in codes) + bytes(code & 255 for code in codes))
        first = -bends[2] & 0xFFFF if len(samples) > 2 else 0
        chunks.append(len(packed).to_bytes(4, "little") + b"\1\0" + first.to_bytes(2, "little") + packed)
    return b"".join(chunks)


def lzw(raw: bytes) -> bytes:
    table = {bytes([value]): value for value in range(256)}
    codes, piece = [], b""
    for value in raw:
        longer = piece + bytes([value])
        if longer in table:
            piece = longer
            continue
        codes.append(table[piece])
        if len(table) <= 1022:
            table[longer] = len(table)
        piece = bytes([value])
    codes.append(table[piece])
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))


def with_differences(counts: np.ndarray) -> np.ndarray:
    """The limb leads as XLI stores them: what follows from I and II, halves cut off towards zero, minus the lead."""
    out = counts.copy()
    i, ii, iii = counts[:3]
    out[2] = ii - i - iii
    out[3] = -np.trunc((i + ii) / 2) - counts[3]
    out[4] = np.trunc((i - iii) / 2) - counts[4]
    out[5] = np.trunc((ii + iii) / 2) - counts[5]
    return out


def sierra(
    data: bytes | str,
    *,
    attributes: str = 'dataencoding="Base64" compression="XLI" numberofleads="12" leadlabels="I II III aVR aVL aVF V1 V2 V3 V4 V5 V6"',
    about: str = "<samplingrate>500</samplingrate><resolution>5</resolution><bitspersample>16</bitspersample><signalsigned>True</signalsigned>"
    "<signaloffset>0</signaloffset><numberchannelsallocated>12</numberchannelsallocated>",
    n_samples: int = N,
    age: str = "<years>50</years>",
    encoding: str = "utf-16",
    more: str = "",
) -> bytes:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return (
        f'<?xml version="1.0" encoding="{encoding}"?><restingecgdata xmlns="http://www3.medical.philips.com">'
        '<dataacquisition date="2011-12-01" time="07:27:34"><machine machineid="1">HeartstartMRx</machine>'
        f"<signalcharacteristics>{about}</signalcharacteristics></dataacquisition>"
        f"<patient><generalpatientdata><patientid>4711</patientid><age>{age}</age><sex>Male</sex></generalpatientdata></patient>{more}"
        '<interpretations><interpretation date="2011-12-01" time="07:27:34"><interpretationmeasurements><heartrate>41</heartrate>'
        "<sthorizaxis>Failed</sthorizaxis></interpretationmeasurements><severity>- ABNORMAL ECG -</severity>"
        "<statement><leftstatement>Sinus bradycardia</leftstatement><rightstatement>rate&lt; 50</rightstatement></statement></interpretation>"
        '<interpretation date="2011-12-02" time="01:00:00"><globalmeasurements><qtcb>393</qtcb><qonset>512</qonset></globalmeasurements>'
        "<severity>- BORDERLINE ECG -</severity><statement><leftstatement>Sinus rhythm</leftstatement></statement></interpretation></interpretations>"
        f'<waveforms><parsedwaveforms durationperchannel="{n_samples * 1000 // FS}" {attributes}>\n{text}\n</parsedwaveforms>'
        '<repbeats dataencoding="Base64"><repbeat leadname="I" duration="1200">AAAA</repbeat></repbeats></waveforms></restingecgdata>'
    ).encode(encoding)


def written(folder, *args, **more):
    path = folder / "r.xml"
    path.write_bytes(sierra(*args, **more))
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_a_compressed_recording_is_what_was_compressed(tmp_path, encoding):
    counts = tracing()
    path = written(tmp_path, xli(np.concatenate([with_differences(counts), np.zeros((4, N), dtype=int)])), encoding=encoding)
    record = io.read(path)
    assert record.leads == TWELVE and record.fs == FS and record.patient == "4711" and "derived" not in record.meta
    np.testing.assert_allclose(record.signal, counts * 0.005, atol=1e-6)
    part = io.read(path, leads=["V2", "III"], start=1, stop=2)
    np.testing.assert_array_equal(part.signal, record.signal[[7, 2], 500:1000])


@pytest.mark.parametrize("encoding", ["Base64", "Plain"])
def test_an_uncompressed_recording_holds_its_limb_leads_as_they_are(tmp_path, encoding):
    counts = tracing()
    data = counts.astype("<i2").tobytes() if encoding == "Base64" else " ".join(map(str, counts.ravel()))
    attributes = f'dataencoding="{encoding}" compressflag="False" compressmethod="XLI"'
    record = io.read(written(tmp_path, data, attributes=attributes))
    np.testing.assert_allclose(record.signal, counts * 0.005, atol=1e-6)


def test_version_1_03_names_its_leads_by_what_was_measured(tmp_path):
    names = (*TWELVE, "V3R", "V4R", "V7")
    measured = (
        "<measurements><leadmeasurements>"
        + "".join(f'<leadmeasurement leadname="{name}"/>' for name in names)
        + "</leadmeasurements></measurements>"
    )
    counts = np.concatenate([tracing(), tracing(seed=4)[:3]])
    about = (
        "<samplingrate>500</samplingrate><signalresolution>2.5</signalresolution><numberchannelsallocated>15</numberchannelsallocated>"
        "<numberchannelsvalid>15</numberchannelsvalid>"
    )
    stored = xli(np.concatenate([with_differences(counts), np.zeros((1, N), dtype=int)]))
    attributes = 'compressflag="True" compressmethod="XLI" dataencoding="Base64"'
    record = io.read(written(tmp_path, stored, about=about, attributes=attributes, more=measured, encoding="utf-8"))
    assert record.leads == names
    np.testing.assert_allclose(record.signal, counts * 0.0025, atol=1e-6)
    unnamed = io.read(written(tmp_path, stored, about=about, attributes=attributes))
    assert unnamed.leads == (*TWELVE, "lead 13", "lead 14", "lead 15")


def test_the_calibration_pulse_at_the_end_is_no_ecg(tmp_path):
    counts = tracing()
    counts[:, 1300:] = 0
    counts[:, 1400:1450] = 200
    record = io.read(written(tmp_path, xli(with_differences(counts))))
    assert record.meta["calibration"] == 2.6 and record.signal.shape == (12, N)
    assert np.isnan(record.signal[:, 1300:]).all() and np.isfinite(record.signal[:, :1300]).all()
    counts[:, 1400:1450] = 300  # of another height it is none
    assert np.isfinite(io.read(written(tmp_path, xli(with_differences(counts)))).signal).all()


def test_what_the_file_says_is_in_meta(tmp_path):
    path = written(tmp_path, xli(tracing()))
    meta = io.read(path).meta
    assert (meta["age"], meta["sex"], meta["device"]) == (50.0, "male", "HeartstartMRx") and meta["time"] == datetime(
        2011, 12, 1, 7, 27, 34
    )
    # The newer interpretation stands; the onset counts from the beginning of the representative beat.
    assert meta["report"] == "Sinus rhythm\nBORDERLINE ECG" and meta["measurements"] == {"qtcb": 393.0}
    assert io.read(written(tmp_path, xli(tracing()), age="<months>6</months>")).meta["age"] == 0.5
    born = io.read(written(tmp_path, xli(tracing()), age="<dateofbirth>1971-12-01</dateofbirth>")).meta
    assert born["age"] == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_compression_of_anything_comes_back(seed):
    draw = np.random.default_rng(seed)
    rows = [
        draw.integers(-30_000, 30_000, size=N),  # the table of codes fills, the second differences wrap
        np.zeros(N, dtype=int),  # each code is the one that it completes
        np.full(N, -7),
        np.cumsum(draw.integers(-2, 3, size=N)),
    ]
    np.testing.assert_array_equal(decompress(xli(np.array(rows)), 4, N), rows)


@pytest.mark.parametrize("n_samples", [1, 2, 3, 4])
def test_the_shortest_recordings_come_back(n_samples):
    counts = np.arange(1, n_samples + 1)[None] * 300 - 500
    np.testing.assert_array_equal(decompress(xli(counts), 1, n_samples), counts)


def test_codes_that_no_table_holds_are_refused():
    with pytest.raises(ValueError, match="code 700 where 256 are known"):
        unfold(bytes(int(f"{700:010b}".ljust(16, "0")[place : place + 8], 2) for place in (0, 8)), 2)
    with pytest.raises(ValueError, match="unfolds to 6 bytes; 4"):
        unfold(lzw(b"abcdef"), 4)
    with pytest.raises(ValueError, match="unfolds to 6"):
        unfold(lzw(b"abcdef"), 8)
    assert unfold(lzw(b"abab" * 9), 36) == b"abab" * 9


WHOLE = xli(tracing())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"data": WHOLE[:-900]}, "bytes; .* are left"),
        ({"data": WHOLE[:4]}, "too few"),
        ({"data": (2**31 - 1).to_bytes(4, "little") + WHOLE[4:]}, "should have 2147483647 bytes"),
        ({"data": b"\xff\xff\xff\xff" + WHOLE[4:]}, "should have -1 bytes"),
        ({"data": "?!"}, "waveform cannot be read"),
        ({"data": WHOLE, "n_samples": 1600}, "unfolds to 3000 bytes; 3200 expected"),
        ({"data": WHOLE, "n_samples": 10_000_000}, "too few for 12 leads"),
        ({"data": WHOLE, "n_samples": 10**9}, "durationperchannel"),
        ({"data": WHOLE, "n_samples": 0}, "durationperchannel"),
        ({"data": b"12", "attributes": 'dataencoding="Base64"'}, "expected 1500 samples for each of 12 leads; there are 1"),
        ({"data": "1 2 x", "attributes": 'dataencoding="Plain"'}, "numbers"),
        ({"data": "99999 " * 12 * N, "attributes": 'dataencoding="Plain"'}, "beyond 16 bits"),
        ({"data": WHOLE, "attributes": 'dataencoding="Base64" compression="Huffman"'}, "came compression Huffman"),
        ({"data": WHOLE, "attributes": 'dataencoding="Hex"'}, "in hex"),
        (
            {"data": WHOLE, "attributes": 'dataencoding="Base64" compression="XLI" numberofleads="13" leadlabels="I II"'},
            "came 13, named I II",
        ),
        ({"data": WHOLE, "attributes": 'dataencoding="Base64" compression="XLI" numberofleads="-1"'}, "came -1"),
        ({"data": WHOLE, "about": "<samplingrate>0</samplingrate><resolution>5</resolution>"}, "samplespersecond above 0; came 0"),
        ({"data": WHOLE, "about": "<samplingrate>500</samplingrate>"}, "resolution above 0; came nothing"),
        (
            {"data": WHOLE, "about": "<samplingrate>500</samplingrate><resolution>5</resolution><bitspersample>12</bitspersample>"},
            "12 bits",
        ),
        (
            {"data": WHOLE, "about": "<samplingrate>500</samplingrate><resolution>5</resolution><signalsigned>False</signalsigned>"},
            "signed",
        ),
        ({"data": " "}, "has no rhythm"),
    ],
)
def test_a_damaged_or_unknown_waveform_is_refused_in_one_line(tmp_path, changed, reason):
    changed = dict(changed)
    path = written(tmp_path, changed.pop("data"), **changed)
    with pytest.raises(FormatError, match=reason) as caught:
        philips.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.data
@pytest.mark.parametrize("name", RATES)
def test_a_real_file_obeys_the_laws_and_has_its_heart_rate(data_root, name):
    record = io.read(data_root / "philips-xml" / name)
    assert record.leads == TWELVE and record.fs == 500 and record.signal.shape == (12, 5500)
    assert max(limb_law_residual(record.signal, record.leads).values()) < 0.004  # counts of 5 µV
    n_known = np.flatnonzero(np.isnan(record.signal).any(axis=0))[0]
    assert 10 <= record.meta["calibration"] == n_known / 500 < 10.7  # the pulse stands from 10.7 to 10.9 s
    beats = r_peaks(record.signal[:, :n_known], record.fs, record.leads, lead=RATES[name])
    assert 60 / np.median(np.diff(beats)) == pytest.approx(record.meta["measurements"]["heartrate"], abs=2)


@pytest.mark.data
def test_a_real_file_says_what_a_person_reads_in_it(data_root):
    mrx, first, orig = (io.read(data_root / "philips-xml" / name) for name in RATES)
    assert mrx.meta["report"].splitlines()[2:] == ["Inferior infarct, acute (LCx)", ">>> Acute MI <<<", "ABNORMAL ECG"]
    assert (first.meta["age"], first.meta["sex"], first.patient) == (pytest.approx(22.99), "male", "2")
    assert orig.meta["report"].splitlines()[0] == "SINUS BRADYCARDIA" and orig.meta["measurements"]["qtcf"] == 497
    assert orig.meta["time"] == datetime(2008, 12, 23, 19, 44, 46) and orig.patient == "9999"


@pytest.mark.data
def test_the_aecg_conversion_is_the_same_recording_with_its_mains_hum_filtered_away(data_root):
    """Philips' converter filtered at 60 Hz: a count of difference, which is neither a shift nor, where the sum is odd and negative, a bias."""
    folder = data_root / "philips-xml"
    ours = io.read(folder / "ad4d3d80-d165_1-04_orig.xml")
    theirs = {}
    for sequence in defusedxml.ElementTree.parse(folder / "ad4d3d80-d165_1-04_converted.xml").iter("{urn:hl7-org:v3}sequence"):
        name = canonical(sequence.find("{*}code").get("code"))
        if (digits := sequence.findtext("{*}value/{*}digits")) and name not in theirs:
            theirs[name] = np.array(digits.split(), dtype=float) * float(sequence.find("{*}value/{*}scale").get("value")) / 1000
    assert set(theirs) == set(TWELVE)
    known = np.isfinite(ours.signal[0])
    for name, row in zip(ours.leads, ours.signal):
        difference = (row - theirs[name])[known]
        assert np.abs(difference).max() < 0.0205 and difference.std() < 0.005
    i, ii = np.round(ours.signal[:2] * 200)
    odd = known & ((i + ii) < 0) & ((i + ii) % 2 == 1)
    assert np.abs((ours.signal[3] - theirs["aVR"])[odd].mean()) < 0.001 < 0.005  # a count is 5 µV
