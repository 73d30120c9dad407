"""Schiller EDI: the rhythm and not the averages, in mV."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import schiller
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.signal.peaks import r_peaks

COUNTS = np.cumsum(np.random.default_rng(6).integers(-9, 10, size=(12, 900)), axis=1)
NAMES = [name.upper() for name in TWELVE]
PERSON = "<id>0815</id><birthdate>19400131</birthdate><gender>MALE</gender>"


def block(
    counts: np.ndarray,
    names=NAMES,
    kind: str = "ECG_RHYTHMS",
    unit: str = "UV",
    per_bit: str = "1.0",
    rate: str = "500",
    exponent: str = "1",
) -> str:
    channels = "".join(
        f"<channel><name>{name}</name><data>{','.join(map(str, row))}</data><datastype>COMMASEPARATE</datastype><samplecount>{len(row)}</samplecount></channel>"
        for name, row in zip(names, counts)
    )
    return (
        f"<wavedata><type>{kind}</type><resolution><samplerate><exponent>{exponent}</exponent><value>{rate}</value></samplerate>"
        f"<yres><unitperbit>{per_bit}</unitperbit><units>{unit}</units></yres></resolution>{channels}</wavedata>"
    )


AVERAGES = block(np.ones((12, 50), dtype=int), kind="ECG_AVERAGES")


def written(folder, *blocks: str, person: str = PERSON, date: str = "20200312", time: str = "101112345"):
    path = folder / "r.xml"
    values = {"HR": "69", "AXIS_T": "3", "P_ON": "97", "QRS_OFF": "231", "BP_D": "-"}
    measured = "".join(
        f"<annotation_global><name>{name}</name><value>{value}</value></annotation_global>" for name, value in values.items()
    )
    path.write_text(
        f'<?xml version="1.0"?>\n<{schiller.ROOT}><patdata>{person}</patdata><examdescript><startdatetime><date>{date}</date><time>{time}</time>'
        "</startdatetime><aquiringdevice><hardware><vendor>Schiller</vendor><model>AT-10P</model></hardware></aquiringdevice></examdescript>"
        f"<eventdata><event>{''.join(blocks)}{measured}<textdata><type>INTERPRETATION</type><textdata>Sinus rhythm</textdata>"
        f"<textdata>Normal ECG</textdata></textdata></event></eventdata></{schiller.ROOT}>"
    )
    return path


def test_the_rhythm_comes_in_millivolt(tmp_path):
    path = written(tmp_path, AVERAGES, block(COUNTS))
    record = io.read(path)
    assert record.leads == TWELVE and record.fs == 500 and record.patient == "0815" and record.record == "r"
    np.testing.assert_allclose(record.signal, COUNTS * 0.001, atol=1e-6)
    part = io.read(path, leads=["aVF", "I"], start=0.5, stop=1)
    np.testing.assert_array_equal(part.signal, record.signal[[5, 0], 250:500])


@pytest.mark.parametrize(("unit", "factor"), [("UV", 1e-3), ("MV", 1.0), ("NV", 1e-6)])
def test_amplitudes_have_their_unit(tmp_path, unit, factor):
    signal = io.read(written(tmp_path, block(COUNTS, unit=unit, per_bit="2.5"))).signal
    np.testing.assert_allclose(signal, COUNTS * 2.5 * factor, rtol=1e-6)


def test_what_the_file_says_is_in_meta(tmp_path):
    meta = io.read(written(tmp_path, AVERAGES, block(COUNTS), block(COUNTS + 1))).meta
    assert meta == {
        "age": pytest.approx(80.11),
        "sex": "male",
        "time": datetime(2020, 3, 12, 10, 11, 12),
        "report": "Sinus rhythm\nNormal ECG",
        "measurements": {"HR": 69.0, "AXIS_T": 3.0},
        "device": "Schiller AT-10P",
        "further_waveforms": 1,
    }


def test_a_clock_that_was_never_set_and_a_person_of_no_name_are_unknown(tmp_path):
    record = io.read(
        written(tmp_path, block(COUNTS), person="<id/><birthdate/><gender>UNDEFINED</gender>", date="19700101", time="000000000")
    )
    assert record.patient is None and not {"age", "sex", "time"} & record.meta.keys()


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ((AVERAGES,), "type ECG_RHYTHMS; its blocks: ECG_AVERAGES"),
        ((), "its blocks: none"),
        ((block(COUNTS, rate="-5"),), "came -5, exponent 1"),
        ((block(COUNTS, exponent="2"),), "exponent 2"),
        ((block(COUNTS, unit="KPA"),), "came 1.0 KPA"),
        ((block(COUNTS, per_bit="0"),), "above 0"),
        ((block(COUNTS).replace("COMMASEPARATE", "BASE64"),), "came BASE64"),
        ((block(COUNTS).replace("<data>", "<data>x,"),), "lead I: expected 901 numbers"),
        ((block(COUNTS).replace("<samplecount>900", "<samplecount>901"),), "expected 901 samples; it has 900"),
        ((block(np.zeros((2, 0), dtype=int)),), "no samples"),
        ((block(COUNTS[:0]),), "it has 0"),
    ],
)
def test_a_damaged_or_unknown_waveform_is_refused_in_one_line(tmp_path, blocks, reason):
    path = written(tmp_path, *blocks)
    with pytest.raises(FormatError, match=reason) as caught:
        schiller.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.data
def test_the_real_file_obeys_the_laws_and_has_the_beats_that_it_marks(data_root):
    record = io.read(data_root / "schiller-xml" / "sample.xml")
    assert record.leads == TWELVE and record.signal.shape == (12, 5000) and record.fs == 500
    assert max(limb_law_residual(record.signal, record.leads).values()) < 0.0005  # whole microvolts
    beats = r_peaks(record.signal, record.fs, record.leads)
    # R_QRS_ON of the file, in samples: each R peak follows its QRS onset by less than 0.1 s, which fixes the rate at 500 Hz.
    onsets = np.array([353, 760, 1163, 1566, 2010, 2470, 2925, 3362, 3804, 4266, 4733]) / 500
    assert len(beats) == len(onsets) and ((beats - onsets > 0) & (beats - onsets < 0.1)).all()
    assert 60 / np.diff(beats).mean() == pytest.approx(record.meta["measurements"]["HR"], abs=1)
    assert record.patient is None and "time" not in record.meta and "report" not in record.meta
