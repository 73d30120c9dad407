"""HL7 annotated ECGs, against documents that this test writes itself, and read again with a plain XML parser as a third party would."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import aecg, aecg_write, dicom
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.record import Record

COUNTS = np.random.default_rng(3).integers(-2000, 2000, size=(12, 600))
ABSOLUTE = '<value xsi:type="GLIST_TS"><head value="20200304050607"/><increment value="0.002" unit="s"/></value>'


def sequence(code: str, value: str, more: str = "") -> str:
    return f'<component><sequence><code code="{code}" codeSystem="2.16.840.1.113883.6.24" {more}/>{value}</sequence></component>'


def lead(name: str, counts, scale="1", unit="uV", origin="0", origin_unit="uV", kind="SLIST_PQ", code: str | None = None, more="") -> str:
    digits = counts if isinstance(counts, str) else " ".join(map(str, counts))
    value = f'<value xsi:type="{kind}"><origin value="{origin}" unit="{origin_unit}"/><scale value="{scale}" unit="{unit}"/><digits>{digits}</digits></value>'
    return sequence(code or f"MDC_ECG_LEAD_{name.upper()}", value, more)


def times(value: str = ABSOLUTE) -> str:
    return sequence("TIME_RELATIVE" if "GLIST_PQ" in value else "TIME_ABSOLUTE", value)


def sequence_set(*sequences: str, clock: str = ABSOLUTE) -> str:
    return f"<component><sequenceSet>{times(clock)}{''.join(sequences)}</sequenceSet></component>"


def series(*sets: str, code="RHYTHM", more="") -> str:
    return f'<component><series><code code="{code}"/><effectiveTime><low value="20200304050607"/></effectiveTime>{"".join(sets)}{more}</series></component>'


def save(path: Path, *parts: str, subject: str = "") -> Path:
    trial = f"<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>{subject}</trialSubject></subject></subjectAssignment></componentOf></timepointEvent></componentOf>"
    names = 'xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    path.write_text(f"<?xml version='1.0' encoding='utf-8'?><AnnotatedECG {names}>{trial}{''.join(parts)}</AnnotatedECG>", encoding="utf-8")
    return path


def twelve(counts=COUNTS, **more) -> str:
    return sequence_set(*(lead(name, row) for name, row in zip(TWELVE, counts)), **more)


def test_digits_times_scale_plus_origin_is_the_voltage(tmp_path):
    rows = [lead("I", COUNTS[0], "2.5", origin="-3"), lead("II", COUNTS[1], "0.001", "mV"), lead("V1", COUNTS[2], "5000", "nV", "1", "mV")]
    record = io.read(save(tmp_path / "a.xml", series(sequence_set(*rows))))
    expected = [(COUNTS[0] * 2.5 - 3) / 1000, COUNTS[1] / 1000, COUNTS[2] * 0.005 + 1]
    np.testing.assert_allclose(record.signal, expected, rtol=1e-5, atol=1e-6)
    assert record.leads == ("I", "II", "V1") and record.fs == 500 and record.record == "a"
    assert record.patient is None and record.meta == {"time": datetime(2020, 3, 4, 5, 6, 7)}


@pytest.mark.parametrize(
    "step, unit, fs",
    [
        ("0.002", "s", 500),
        ("4", "ms", 250),
        ("1000", "us", 1000),
        ("0.00277778", "s", 360),
        ("0.003", "s", 1000 / 3),
        ("0.0019537205", "s", 511.844),
    ],
)
def test_a_rate_follows_from_the_step_in_time(tmp_path, step, unit, fs):
    clock = f'<value xsi:type="GLIST_PQ"><head value="0" unit="s"/><increment value="{step}" unit="{unit}"/></value>'
    assert io.read(save(tmp_path / "a.xml", series(twelve(clock=clock)))).fs == pytest.approx(fs, rel=1e-6 if fs == 511.844 else 1e-9)
    assert aecg.rate(Decimal("0.00277778")) == 360.0


@pytest.mark.parametrize(
    "step, unit", [("0", "s"), ("-0.002", "s"), ("", "s"), ("nan", "s"), ("1e-9", "s"), ("x", "s"), ("2", "mV"), ("1e-999999", "s")]
)
def test_a_step_that_is_none_is_refused(tmp_path, step, unit):
    clock = f'<value xsi:type="GLIST_TS"><increment value="{step}" unit="{unit}"/></value>'
    with pytest.raises(FormatError, match="time between two samples"):
        io.read(save(tmp_path / "a.xml", series(twelve(clock=clock))))


def test_the_rhythm_is_read_and_not_the_representative_beat(tmp_path):
    beat = series(twelve(np.full((12, 3000), 9)), code="REPRESENTATIVE_BEAT")
    np.testing.assert_allclose(io.read(save(tmp_path / "a.xml", beat, series(twelve()))).signal, COUNTS / 1000, atol=1e-6)
    with pytest.raises(FormatError, match="expected a series of rhythm"):
        io.read(save(tmp_path / "b.xml", beat))


def test_sets_are_put_together_by_their_clocks(tmp_path):
    later = ABSOLUTE.replace("20200304050607", "20200304050608.5")
    path = save(
        tmp_path / "a.xml",
        series(sequence_set(lead("I", COUNTS[0])), sequence_set(lead("I", COUNTS[1]), lead("V1", COUNTS[2]), clock=later)),
    )
    record = io.read(path)
    assert record.leads == ("I", "V1") and record.signal.shape == (2, 1350)
    np.testing.assert_allclose(record.signal[0, 750:], COUNTS[1] / 1000, atol=1e-6)
    assert np.isnan(record.signal[0, 600:750]).all() and np.isnan(record.signal[1, :750]).all()
    century = ABSOLUTE.replace("20200304050607", "20990304050607")
    with pytest.raises(FormatError, match="a damaged time offset"):
        io.read(save(tmp_path / "b.xml", series(twelve(), twelve(clock=century))))


def test_the_longest_of_several_series_is_read_and_the_others_are_counted(tmp_path):
    record = io.read(save(tmp_path / "a.xml", series(twelve(COUNTS[:, :100])), series(twelve())))
    assert record.signal.shape == (12, 600) and record.meta["further_waveforms"] == 1


@pytest.mark.parametrize(
    "code, more, name",
    [
        ("MDC_ECG_LEAD_AVR", "", "aVR"),
        ("MINDRAY_ECG_LEAD_V3R", "", "V3R"),
        ("L-7", 'displayName="Lead V2"', "V2"),
        ("MDC_ECG_LEAD_MCL1", "", "MCL1"),
    ],
)
def test_a_lead_is_named_by_its_code_or_what_is_displayed(tmp_path, code, more, name):
    assert io.read(save(tmp_path / "a.xml", series(sequence_set(lead("I", COUNTS[0], code=code, more=more))))).leads == (name,)


def test_a_lead_without_digits_is_missing_and_eight_leads_become_twelve(tmp_path):
    names = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    rows = [lead(name, "" if name == "V3" else row) for name, row in zip(names, COUNTS)]
    record = io.read(save(tmp_path / "a.xml", series(sequence_set(*rows))))
    assert record.leads == TWELVE and np.isnan(record.signal[8]).all() and np.isnan(record.signal).sum() == 600
    assert record.meta["derived"] == ["III", "aVR", "aVL", "aVF"]


@pytest.mark.parametrize(
    "rows, problem",
    [
        ([lead("I", "1 2 x 4")], "digits of I are damaged|expected numbers"),
        ([lead("I", "1 2 inf 4")], "expected numbers"),
        ([lead("I", "1 2 3"), lead("II", "1 2")], "leads of one length"),
        ([lead("I", "1 2 3", unit="mmHg")], "expected lead I in uV"),
        ([lead("I", "1 2 3", scale="")], "expected lead I in uV"),
        ([lead("I", "1 2 3", kind="GLIST_PQ")], "as SLIST_PQ"),
        ([], "expected a series of rhythm"),
    ],
)
def test_damaged_leads_are_refused(tmp_path, rows, problem):
    with pytest.raises(FormatError, match=problem) as caught:
        io.read(save(tmp_path / "a.xml", series(sequence_set(*rows))))
    assert "\n" not in str(caught.value) and str(tmp_path / "a.xml") in str(caught.value)


def test_leads_without_times_are_refused(tmp_path):
    with pytest.raises(FormatError, match="its rate is not known"):
        io.read(save(tmp_path / "a.xml", series(f"<component><sequenceSet>{lead('I', '1 2 3')}</sequenceSet></component>")))


def test_entities_are_never_expanded(tmp_path):
    path = save(tmp_path / "a.xml", series(twelve()))
    path.write_text(
        path.read_text().replace("<AnnotatedECG", '<!DOCTYPE AnnotatedECG [<!ENTITY a SYSTEM "file:///etc/passwd">]><AnnotatedECG', 1)
    )
    with pytest.raises(FormatError):
        io.read(path)
    truncated = save(tmp_path / "b.xml", series(twelve()))
    truncated.write_bytes(truncated.read_bytes()[:5000])
    with pytest.raises(FormatError, match="truncated"):
        io.read(truncated)


def annotated(*annotations: str) -> str:
    return f"<subjectOf><annotationSet>{''.join(annotations)}</annotationSet></subjectOf>"


def annotation(code: str, value: str = "", more: str = "") -> str:
    return f'<component><annotation><code code="{code}"/>{value}{more}</annotation></component>'


def test_person_statements_and_measurements_are_told_and_those_of_a_beat_or_a_lead_are_not(tmp_path):
    subject = '<id root="1.2" extension="S-1"/><subjectDemographicPerson><administrativeGenderCode code="M"/><birthTime value="19500601"/></subjectDemographicPerson>'
    in_lead = '<support><supportingROI><component><boundary><code code="MDC_ECG_LEAD_I"/></boundary></component></supportingROI></support>'
    some = annotated(
        annotation("MDC_ECG_HEART_RATE", '<value value="57" unit="bpm"/>'),
        annotation("MDC_ECG_TIME_PD_PR", '<value value="0.16" unit="s"/>'),
        annotation("MDC_ECG_TIME_PD_QTc", '<value value="0" unit="ms"/>', annotation("X_QTcH", '<value value="413" unit="ms"/>')),
        annotation("MATRIX", "", in_lead + annotation("X_P_DUR", '<value value="110" unit="ms"/>')),
        annotation("MDC_ECG_BEAT", "", annotation("MDC_ECG_TIME_PD_QRS", '<value value="99" unit="ms"/>')),
        annotation("MDC_ECG_RHY", '<value displayName="Sinus Rhythm" code="R"/>'),
        annotation("MDC_ECG_INTERPRETATION", "", annotation("MDC_ECG_INTERPRETATION_STATEMENT", "<value>Normal ECG, , </value>")),
    )
    record = io.read(save(tmp_path / "a.xml", series(twelve(), more=some), subject=subject))
    assert record.patient == "S-1" and record.meta["sex"] == "male" and record.meta["age"] == pytest.approx(69.76, abs=0.01)
    assert record.meta["measurements"] == {"MDC_ECG_HEART_RATE": 57.0, "MDC_ECG_TIME_PD_PR": 160.0, "X_QTcH": 413.0}
    assert record.meta["report"] == "Sinus Rhythm\nNormal ECG"


META = {
    "age": 54.5,
    "sex": "female",
    "time": datetime(2020, 3, 4, 5, 6, 7, 250000),
    "device": "E1",
    "report": "Sinusrhythmus <60\nÜberleitung & Lage normal",
}
WRITTEN = {
    "twelve": (TWELVE, 5000, 500.0),
    "fifteen with Frank's": ((*TWELVE, "X", "Y", "Z"), 2000, 1000.0),
    "a Holter's two": (("MLII", "ECG 1"), 7200, 360.0),
    "at 250 Hz": (TWELVE, 2500, 250.0),
    "at 257 Hz": (TWELVE, 257, 257.0),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_we_write_a_third_party_reads_with_any_xml_parser(tmp_path, kind):
    leads, n_samples, fs = WRITTEN[kind]
    values = np.random.default_rng(5).normal(size=(len(leads), n_samples)).astype(np.float32)
    values[-1] *= 20
    measurements = {"MDC_ECG_TIME_PD_QT": 400.0, "MDC_ECG_HEART_RATE": 60.0}
    record = Record(values, fs, leads, record="r", patient="P1", meta={**META, "measurements": measurements, "unknown": 1})
    aecg_write.write(record, tmp_path / "r.xml")
    v3 = {"h": "urn:hl7-org:v3"}
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    found = root.findall("h:component/h:series/h:component/h:sequenceSet/h:component/h:sequence", v3)
    assert root.tag == "{urn:hl7-org:v3}AnnotatedECG" and found[0].find("h:code", v3).get("code") == "TIME_ABSOLUTE"
    assert 1 / float(found[0].find("h:value/h:increment", v3).get("value")) == pytest.approx(fs, rel=1e-12)
    for row, name, one in zip(values, leads, found[1:], strict=True):
        digits = np.array(one.find("h:value/h:digits", v3).text.split(), dtype=int)
        step = float(one.find("h:value/h:scale", v3).get("value"))
        assert np.abs(digits).max() < 2**15 and one.find("h:value/h:scale", v3).get("unit") == "uV"
        assert np.abs(digits * step / 1000 - row).max() <= step / 1000 * 0.501
        assert one.find("h:code", v3).get("displayName") == name
    if kind == "twelve":
        assert [one.find("h:code", v3).get("code") for one in found[1:]] == ["MDC_ECG_LEAD_" + name.upper() for name in TWELVE]
    back = io.read(tmp_path / "r.xml")
    assert back.leads == leads and back.fs == fs and back.patient == "P1" and back.meta == {**META, "measurements": measurements}


# The children that the schema (PORT_MT020001.xsd, December 2003) knows, in its order; what must be there is in capitals of the second table.
ORDER = {
    "AnnotatedECG": "id code text effectiveTime confidentialityCode reasonCode componentOf definition location controlVariable pertainsTo component",
    "timepointEvent": "code effectiveTime reasonCode performer componentOf",
    "subjectAssignment": "subject definition componentOf",
    "trialSubject": "id code subjectDemographicPerson",
    "clinicalTrial": "id title activityTime componentOf author location responsibleParty",
    "relatedObservation": "code text value author",
    "series": "id code effectiveTime author secondaryPerformer support controlVariable component subjectOf derivation",
    "seriesAuthor": "id manufacturedSeriesDevice manufacturerOrganization",
    "manufacturedSeriesDevice": "id code manufacturerModelName softwareName",
    "sequence": "code value controlVariable",
    "annotation": "code text value support component",
}
REQUIRED = {
    "AnnotatedECG": "id code effectiveTime componentOf",
    "subjectAssignment": "subject componentOf",
    "trialSubject": "id",
    "clinicalTrial": "id",
    "series": "code effectiveTime component",
    "seriesAuthor": "manufacturedSeriesDevice",
    "sequence": "code value",
    "annotation": "code",
}


@pytest.mark.parametrize("meta", [{}, META])
def test_what_we_write_has_the_elements_of_the_schema_in_their_order(tmp_path, meta):
    aecg_write.write(Record(COUNTS / 1000, 500, TWELVE, patient="P1" if meta else None, meta=meta), tmp_path / "r.xml")
    for element in ElementTree.parse(tmp_path / "r.xml").getroot().iter():
        name = element.tag.rpartition("}")[2]
        children = [child.tag.rpartition("}")[2] for child in element]
        if name in ORDER:
            allowed = ORDER[name].split()
            assert [allowed.index(child) for child in children] == sorted(allowed.index(child) for child in children), name
            assert set(REQUIRED.get(name, "").split()) <= set(children), name
        if (stamp := element.get("value")) and name in ("low", "high", "head") and len(stamp) > 8:
            assert re.fullmatch(r"[0-9]{14}\.[0-9]+", stamp)  # the schema's form of a time with a fraction
        assert not re.search(r"\s", element.get("code", ""))


def test_a_time_that_is_not_known_stays_so_and_the_same_recording_is_the_same_document(tmp_path):
    record = Record(COUNTS / 1000, 500, TWELVE, meta={"report": "a\x00b \x1f"})
    aecg_write.write(record, tmp_path / "a.xml")
    aecg_write.write(record, tmp_path / "b.xml")
    assert (tmp_path / "a.xml").read_bytes() == (tmp_path / "b.xml").read_bytes()
    assert io.read(tmp_path / "a.xml").meta == {"report": "a b"} and io.read(tmp_path / "a.xml").patient is None


def test_a_lead_that_was_off_is_left_out_and_a_gap_is_refused(tmp_path):
    values = COUNTS / 1000
    values[7] = np.nan
    aecg_write.write(Record(values, 500, TWELVE), tmp_path / "r.xml")
    assert io.read(tmp_path / "r.xml").leads == tuple(name for name in TWELVE if name != "V2")
    values[3, 5:9] = np.nan
    with pytest.raises(FormatError, match="lead aVR misses 4 of 600"):
        aecg_write.write(Record(values, 500, TWELVE), tmp_path / "s.xml")
    for wrong in (np.full((1, 10), np.nan), np.full((1, 10), np.inf)):
        with pytest.raises(FormatError):
            aecg_write.write(Record(wrong, 500, ("I",)), tmp_path / "s.xml")
    with pytest.raises(FormatError, match="ABP is none"):
        aecg_write.write(Record(np.zeros((1, 10)), 500, ("ABP",), meta={"units": {"ABP": "mmHg"}}), tmp_path / "s.xml")
    assert not (tmp_path / "s.xml").exists()


@pytest.mark.data
def test_a_recording_is_the_same_as_dicom_and_as_aecg(data_root):
    xml = aecg.read(data_root / "ecgtoolkit-3formats/Example.xml")
    dcm = dicom.read(data_root / "ecgtoolkit-3formats/Example.dcm", leads=xml.leads)
    assert xml.leads == ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")
    np.testing.assert_array_equal(xml.signal, dcm.signal)
    for record in (xml, dcm):
        assert (
            record.patient == "SBJ-123"
            and record.meta["age"] == pytest.approx(49.54)
            and record.meta["time"] == datetime(2002, 11, 22, 9, 10)
        )
    of_xml, of_dcm = (list(record.meta["measurements"].values()) for record in (xml, dcm))
    assert of_xml[1:] == of_dcm  # the XML has the duration of P besides
    assert xml.meta["report"] == "Sinus Rhythm"


@pytest.mark.data
def test_the_philips_conversion_obeys_the_limb_laws_but_for_its_calibration_pulse(data_root):
    record = aecg.read(data_root / "philips-xml/ad4d3d80-d165_1-04_converted.xml")
    assert record.signal.shape == (12, 5500) and record.leads == TWELVE and record.patient == "20044"
    assert max(limb_law_residual(record.signal[:, :5350], TWELVE).values()) < 0.006  # mV; the step is 5 µV
    np.testing.assert_allclose(record.signal[:6, 5360:5440].mean(axis=1), 1.0, atol=0.01)  # 1 mV in every lead, which no heart gives
    assert record.meta["measurements"]["MDC_ECG_TIME_PD_QT"] == 564 and record.meta["report"].startswith(
        "(SB) SINUS BRADYCARDIA, V-rate<60\n"
    )


@pytest.mark.data
def test_the_other_real_files_read_as_they_are_described(data_root):
    mindray = aecg.read(data_root / "hl7-aecg/hl7aecg_example.xml")
    assert mindray.fs == 100 and mindray.signal.shape == (12, 1000) and mindray.patient == "25060897140" and "sex" not in mindray.meta
    assert mindray.meta["measurements"]["MDC_ECG_HEART_RATE"] == 57 and "MINDRAY_P_DUR" not in mindray.meta["measurements"]
    assert mindray.meta["report"].splitlines()[0] == "Rythme sinusal avec ESA"
    least = aecg.read(data_root / "hl7-aecg/minimum_aecg.xml")
    np.testing.assert_allclose(least.signal, np.array([[-2, -2, -2, -2, -3, -4, -3, -5, -5, -4, -6, -9, -9]]) * 0.0025, atol=1e-7)
    assert least.leads == ("II",) and least.fs == 500
