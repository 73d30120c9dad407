"""Writes MUSE files for the tests: one element after another, as the exports of MUSE 9 have them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
PERSON = {"PatientID": "0815", "PatientAge": "43", "AgeUnits": "YEARS", "DateofBirth": "07-08-1979", "Gender": "FEMALE"}
TEST = {"AcquisitionDevice": "MAC5", "AcquisitionTime": "22:41:16", "AcquisitionDate": "04-29-2023"}
MEASURED = {"VentricularRate": "90", "PRInterval": "144", "QTcFrederica": "460", "QOnset": "219", "ECGSampleBase": "500", "TAxis": "*"}
STATEMENTS = (("Normal sinus rhythm", True), ("Anterior infarct", False), (", age undetermined", True), ("Abnormal ECG", True))


def section(name: str, fields: Mapping[str, str]) -> str:
    return f"<{name}>" + "".join(f"<{key}>{value}</{key}>" for key, value in fields.items()) + f"</{name}>"


def lead(name: str, counts: np.ndarray, **changed: str) -> str:
    data = counts.astype("<i2").tobytes()
    text = base64.b64encode(data).decode()
    fields = {
        "LeadByteCountTotal": str(len(data)),
        "LeadTimeOffset": "0",
        "LeadSampleCountTotal": str(len(counts)),
        "LeadAmplitudeUnitsPerBit": "4.88",
        "LeadAmplitudeUnits": "MICROVOLTS",
        "LeadHighLimit": "32767",
        "LeadLowLimit": "-32768",
        "LeadID": name,
        "LeadSampleSize": "2",
        "LeadOff": "FALSE",
        "LeadDataCRC32": str(zlib.crc32(data)),
        "WaveFormData": "\n".join(text[place : place + 72] for place in range(0, len(text), 72)),
    }
    return section("LeadData", fields | changed)


def waveform(
    counts: np.ndarray, names: Sequence[str] = EIGHT, kind: str = "Rhythm", base: str = "500", exponent: str = "0", **of_leads: str
) -> str:
    """counts : (lead, time) whole numbers of 4.88 µV; ``of_leads`` are fields of every lead that are to be others"""
    fields = {
        "WaveformType": kind,
        "WaveformStartTime": "0",
        "SampleType": "CONTINUOUS_SAMPLES",
        "SampleBase": base,
        "SampleExponent": exponent,
    }
    head = section("Waveform", fields).removesuffix("</Waveform>")
    return head + "".join(lead(name, row, **of_leads) for name, row in zip(names, counts)) + "</Waveform>"


def diagnosis(statements: Sequence[tuple[str, bool]] = STATEMENTS, name: str = "Diagnosis") -> str:
    """A statement and whether a line ends with it."""
    lines = (
        "<DiagnosisStatement>" + "<StmtFlag>ENDSLINE</StmtFlag>" * ends + f"<StmtText>{text}</StmtText></DiagnosisStatement>"
        for text, ends in statements
    )
    return f"<{name}><Modality>RESTING</Modality>" + "".join(lines) + f"</{name}>"


def muse_xml(
    *waveforms: str, person: Mapping[str, str] = PERSON, said: str | None = None, test_id: str = "", encoding: str = "ISO-8859-1"
) -> bytes:
    """A whole file; ``said`` are the statements' elements."""
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG>'
        "<MuseInfo><MuseVersion>9.0.10.18530</MuseVersion></MuseInfo>"
        + section("PatientDemographics", person)
        + section("TestDemographics", TEST)
        + section("RestingECGMeasurements", MEASURED)
        + (diagnosis() if said is None else said)
        + "".join(waveforms)
        + (f"<PharmaData><PharmaUniqueECGID>{test_id}</PharmaUniqueECGID></PharmaData>" if test_id else "")
        + "</RestingECG>"
    )
    return text.encode(encoding)
