"""GE CardioSoft: the strip or the full disclosure, in mV, and not the median beat."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import cardiosoft
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.signal.peaks import r_peaks

COUNTS = np.cumsum(np.random.default_rng(5).integers(-9, 10, size=(12, 900)), axis=1)
PERSON = "<PID>0815</PID><Gender>FEMALE</Gender><Age units='years'>61</Age>"


def block(name: str, counts: np.ndarray, names=TWELVE, rate: str = "500", unit: str = "uVperLsb", resolution: str = "5") -> str:
    leads = "".join(f"<WaveformData lead='{lead}'>{','.join(map(str, row))}</WaveformData>" for lead, row in zip(names, counts))
    return (
        f"<{name}><NumberOfLeads>{len(counts)}</NumberOfLeads><SampleRate units='Hz'>{rate}</SampleRate>"
        f"<ChannelSampleCountTotal>{counts.shape[1]}</ChannelSampleCountTotal><Resolution units='{unit}'>{resolution}</Resolution>{leads}</{name}>"
    )


def disclosure(counts: np.ndarray, names=("I", "II", "V5"), n: int = 3) -> str:
    numbers = ",".join(map(str, counts.T.ravel()))
    return (
        f"<FullDisclosure><NumberOfChannels>{n}</NumberOfChannels><SampleRate units='Hz'>250</SampleRate><Resolution units='uVperLsb'>2.5</Resolution>"
        f"<LeadOrder>{','.join(names)}</LeadOrder><FullDisclosureData>{numbers},\n</FullDisclosureData></FullDisclosure>"
    )


def written(folder, *blocks: str, person: str = PERSON, said: str = ""):
    path = folder / "r.xml"
    median = block("MedianSamples", np.ones((12, 30), dtype=int))
    date = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("Hour", "Minute", "Second", "Day", "Month", "Year"), (7, 8, 9, 1, 2, 2003))
    )
    path.write_text(
        f"<?xml version='1.0' encoding='ISO8859-1' ?><CardiologyXML><ObservationDateTime>{date}</ObservationDateTime>"
        "<ClinicalInfo><DeviceInfo><Desc>CardioSoft</Desc><SoftwareVer>V6.71</SoftwareVer></DeviceInfo></ClinicalInfo>"
        f"<PatientInfo>{person}</PatientInfo><Interpretation><Diagnosis><DiagnosisText>Sinusrhythmus</DiagnosisText>"
        f"<DiagnosisText>für alle</DiagnosisText></Diagnosis>{said}</Interpretation><RestingECGMeasurements><QRSDuration units='ms'>74</QRSDuration>"
        f"<POnset units='ms'>258</POnset><SokolovLVHIndex units='mV'></SokolovLVHIndex>{median}</RestingECGMeasurements>"
        + "".join(blocks)
        + "</CardiologyXML>",
        encoding="latin-1",
    )
    return path


def test_the_strip_comes_in_millivolt(tmp_path):
    path = written(tmp_path, block("StripData", COUNTS))
    record = io.read(path)
    assert record.leads == TWELVE and record.fs == 500 and record.patient == "0815" and record.record == "r"
    np.testing.assert_allclose(record.signal, COUNTS * 0.005, atol=1e-6)
    part = io.read(path, leads=["v6", "III"], start=0.5, stop=1)
    np.testing.assert_array_equal(part.signal, record.signal[[11, 2], 250:500])


@pytest.mark.parametrize(("unit", "factor"), [("uVperLsb", 1e-3), ("mVperLsb", 1.0), ("nVperLsb", 1e-6)])
def test_amplitudes_have_their_unit(tmp_path, unit, factor):
    signal = io.read(written(tmp_path, block("StripData", COUNTS, unit=unit, resolution="4.88"))).signal
    np.testing.assert_allclose(signal, COUNTS * 4.88 * factor, rtol=1e-6)


def test_the_full_disclosure_is_read_where_there_is_no_single_strip(tmp_path):
    strips = "<StripData><NumberOfLeads>3</NumberOfLeads><Strip><WaveformData lead='I'>1,2</WaveformData></Strip></StripData>"
    record = io.read(written(tmp_path, strips, disclosure(COUNTS[:3])))
    assert record.leads == ("I", "II", "V5") and record.fs == 250
    np.testing.assert_allclose(record.signal, COUNTS[:3] * 0.0025, atol=1e-6)
    both = io.read(written(tmp_path, block("StripData", COUNTS), disclosure(COUNTS[:3])))
    assert both.leads == TWELVE


def test_eight_stored_leads_are_twelve(tmp_path):
    rows = [0, 1, 6, 7, 8, 9, 10, 11]
    record = io.read(written(tmp_path, block("StripData", COUNTS[rows], [TWELVE[row] for row in rows])))
    assert record.leads == TWELVE and record.meta["derived"] == ["III", "aVR", "aVL", "aVF"]


def test_what_the_file_says_is_in_meta(tmp_path):
    meta = io.read(written(tmp_path, block("StripData", COUNTS))).meta
    assert meta == {
        "age": 61.0,
        "sex": "female",
        "time": datetime(2003, 2, 1, 7, 8, 9),
        "report": "Sinusrhythmus\nfür alle",
        "measurements": {"QRSDuration": 74.0},
        "device": "CardioSoft V6.71",
    }
    said = "<Conclusion><ConclusionText>Normal</ConclusionText></Conclusion>"
    born = "<BirthDateTime><Day>1</Day><Month>2</Month><Year>1983</Year></BirthDateTime><Gender>UNKNOWN</Gender><PID/>"
    other = io.read(written(tmp_path, block("StripData", COUNTS), person=born, said=said))
    assert other.meta["report"] == "Normal" and other.meta["age"] == pytest.approx(20, abs=0.01)
    assert "sex" not in other.meta and other.patient is None


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ((), "it has MedianSamples"),
        (("<StripData/>",), "it has MedianSamples, StripData"),
        ((block("StripData", COUNTS, rate="0"),), "SampleRate in Hz; came 0"),
        ((block("StripData", COUNTS).replace("'Hz'", "'bpm'"),), "came 500 bpm"),
        ((block("StripData", COUNTS, unit="mmHgperLsb"),), "came 5 mmHgperLsb"),
        ((block("StripData", COUNTS, unit=""),), "Resolution"),
        ((block("StripData", COUNTS, resolution="-5"),), "above 0"),
        ((block("StripData", COUNTS).replace(",", ",x", 1),), "lead I: expected 900 numbers"),
        ((block("StripData", COUNTS).replace("<NumberOfLeads>12", "<NumberOfLeads>13"),), "NumberOfLeads 13; its StripData has 12"),
        ((block("StripData", COUNTS).replace("Total>900", "Total>901"),), "ChannelSampleCountTotal 901"),
        ((block("StripData", np.zeros((2, 0), dtype=int), ("I", "II")),), "no samples"),
        ((disclosure(COUNTS[:3], n=4),), "NumberOfChannels 4"),
        ((disclosure(COUNTS[:3], names=("I", "II")),), "3.0"),
        ((disclosure(COUNTS[:3, :3], names=("I", "II"), n=2),), "it has 9 numbers"),
    ],
)
def test_a_damaged_or_unknown_waveform_is_refused_in_one_line(tmp_path, blocks, reason):
    path = written(tmp_path, *blocks)
    with pytest.raises(FormatError, match=reason) as caught:
        cardiosoft.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_lead_that_is_shorter_than_the_others_is_refused(tmp_path):
    whole = block("StripData", COUNTS)
    short = whole[: whole.rindex(",")] + whole[whole.rindex("</WaveformData>") :]
    with pytest.raises(FormatError, match="V6 899"):
        io.read(written(tmp_path, short))


@pytest.mark.data
def test_the_real_file_obeys_the_laws_and_has_its_heart_rate(data_root):
    record = io.read(data_root / "cardiosoft-xml" / "dummy_ecg.xml")
    assert record.leads == TWELVE and record.signal.shape == (12, 5000) and record.fs == 500
    assert max(limb_law_residual(record.signal, record.leads).values()) < 0.01  # counts of 5 µV, every lead filtered by itself
    beats = r_peaks(record.signal, record.fs, record.leads)
    assert len(beats) == record.meta["measurements"]["QRSNum"] == 12
    assert 60 / np.diff(beats).mean() == pytest.approx(record.meta["measurements"]["VentricularRate"], abs=1)
    # Its own table of measurements: R in I 1580 µV, S in III -1430 µV, both from its median beat.
    assert record.signal[0].max() == pytest.approx(1.580, abs=0.1) and record.signal[2].min() == pytest.approx(-1.430, abs=0.15)
    assert record.meta["report"].splitlines() == [
        "Normal sinus rhythm",
        "Voltage criteria for left ventricular hypertrophy",
        "Abnormal ECG",
    ]
