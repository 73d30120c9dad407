"""HL7 annotated ECG written: one rhythm series with one sequence set, valid against the schema PORT_MT020001 of December 2003.

aECG has no way to say that a sample was not recorded: a lead of which nothing was recorded is left out, and a lead with gaps is refused. Its ids are
made from the content: the same recording, written twice, is the same document.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.aecg_describe import REPORTED_AGE
from einthoven.io.demographics import SEX_LETTERS
from einthoven.io.quantise import counts_of, step_of_lead
from einthoven.leads import canonical
from einthoven.record import Record
from einthoven.whole import write as write_whole

_MDC, _ACT, _LOINC, _GENDER = "2.16.840.1.113883.6.24", "2.16.840.1.113883.5.4", "2.16.840.1.113883.6.1", "2.16.840.1.113883.5.1"
_NAMESPACES = {"xmlns": "urn:hl7-org:v3", "xmlns:voc": "urn:hl7-org:v3/voc", "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"}
_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no place for
_UNITS = (("MDC_ECG_TIME_PD_", "ms"), ("MDC_ECG_HEART_RATE", "/min"), ("MDC_ECG_ANGLE_", "deg"))
"""How the MDC codes of measurements begin whose unit they tell."""


def write(record: Record, path: Path) -> None:
    """Write a recording as an annotated ECG: patient, sex, age, time, device, statements, and measurements that have an MDC code.

    Steps are the finest of 0.1, 0.2, 0.5, 1, … µV in which a lead fits into 16 bits, though text has no such limit: other readers do. Raises FormatError
    for gaps, infinite values, channels that are no voltage, and a recording without samples.
    """
    digits = _digits(record, path)
    document = _document(record, digits)
    indent(document)
    text = tostring(document, encoding="utf-8", xml_declaration=True)
    write_whole(path, lambda file: file.write(text))


def _digits(record: Record, path: Path) -> dict[str, tuple[float, np.ndarray]]:
    """Lead -> (mV of a step, counts (time,)), of the leads that were recorded."""
    there = [row for row, values in enumerate(record.signal) if not np.isnan(values).all()]
    if not there:
        raise FormatError(f"{path}: expected a recording with samples; nothing was recorded in {' '.join(record.leads) or 'it'}.")
    if units := record.meta.get("units"):
        raise FormatError(f"{path}: an annotated ECG holds voltages; {', '.join(units)} is none; leave it out (leads=).")
    found = {}
    for row in there:
        name, values = record.leads[row], record.signal[row]
        if n_missing := int(np.isnan(values).sum()):
            raise FormatError(
                f"{path}: lead {name} misses {n_missing} of {len(values)} samples, and HL7 aECG cannot say so; write DICOM, or cut the gap out."
            )
        step = step_of_lead(path, name, values)
        found[name] = (step, counts_of(values, step, 0))
    return found


def _document(record: Record, digits: dict[str, tuple[float, np.ndarray]]) -> Element:
    digest = _digest(record, digits)
    stated = record.meta.get("time")
    time = stated if isinstance(stated, datetime) else None
    root = Element("AnnotatedECG", {**_NAMESPACES, "type": "Observation", "classCode": "OBS", "moodCode": "EVN"})
    _add(root, "id", root=_uuid("document", digest))
    _add(root, "code", code="93000", codeSystem="2.16.840.1.113883.6.12", codeSystemName="CPT-4", displayName="Electrocardiogram")
    _interval(root, time, record.seconds)
    _subject(root, record, digest)
    if (age := record.meta.get("age")) is not None:
        observation = _below(root, "controlVariable", "relatedObservation")
        _add(observation, "code", code=REPORTED_AGE, codeSystem=_LOINC, codeSystemName="LOINC", displayName="Reported Age")
        _value(observation, "PQ", value=f"{float(age):.6g}", unit="a")
    _series(root, record, digits, time, digest)
    return root


def _digest(record: Record, digits: dict[str, tuple[float, np.ndarray]]) -> str:
    said = {key: record.meta.get(key) for key in ("age", "sex", "time", "report", "device")}
    digest = hashlib.sha256(repr((record.record, record.patient, record.fs, said)).encode("utf-8", "replace"))
    for name, (step, counts) in digits.items():
        digest.update(f"{name} {step}".encode("utf-8", "replace") + counts.astype("<i2").tobytes())
    return digest.hexdigest()


def _uuid(role: str, digest: str = "") -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{role} {digest}"))


def _add(parent: Element, tag: str, text: str | None = None, **attributes: str) -> Element:
    element = SubElement(parent, tag, {name: _FORBIDDEN.sub(" ", value) for name, value in attributes.items()})
    element.text = _FORBIDDEN.sub(" ", text) if text is not None else None
    return element


def _below(parent: Element, *tags: str) -> Element:
    """New elements, one in the other; the innermost."""
    for tag in tags:
        parent = SubElement(parent, tag)
    return parent


def _value(parent: Element, kind: str, text: str | None = None, **attributes: str) -> Element:
    element = _add(parent, "value", text, **attributes)
    element.set("xsi:type", kind)
    return element


def _stamp(time: datetime) -> str:
    return f"{time.year:04d}{time:%m%d%H%M%S}.{time.microsecond:06d}"


def _interval(parent: Element, time: datetime | None, seconds: float) -> None:
    """From when to when; said to be unknown where it is not known."""
    if time is None:
        _add(parent, "effectiveTime", nullFlavor="UNK")
        return
    interval = _add(parent, "effectiveTime")
    _add(interval, "low", value=_stamp(time), inclusive="true")
    try:
        _add(interval, "high", value=_stamp(time + timedelta(seconds=seconds)), inclusive="false")
    except OverflowError:  # a recording in the last seconds of the year 9999
        pass


def _subject(root: Element, record: Record, digest: str) -> None:
    """Who was recorded. The schema wants a clinical trial around everybody; this one has an id and nothing else."""
    assignment = _below(root, "componentOf", "timepointEvent", "componentOf", "subjectAssignment")
    subject = _below(assignment, "subject", "trialSubject")
    if record.patient is not None:
        _add(subject, "id", root=_uuid("subjects"), extension=record.patient)
    else:
        _add(subject, "id", nullFlavor="UNK")
    if (sex := SEX_LETTERS.get(str(record.meta.get("sex")))) is not None:
        _add(_below(subject, "subjectDemographicPerson"), "administrativeGenderCode", code=sex, codeSystem=_GENDER)
    _add(_below(assignment, "componentOf", "clinicalTrial"), "id", root=_uuid("no trial", digest))


def _series(root: Element, record: Record, digits: dict[str, tuple[float, np.ndarray]], time: datetime | None, digest: str) -> None:
    series = _below(root, "component", "series")
    _add(series, "id", root=_uuid("series", digest))
    _add(series, "code", code="RHYTHM", codeSystem=_ACT, codeSystemName="ActCode", displayName="Rhythm Waveforms")
    _interval(series, time, record.seconds)
    device = _below(series, "author", "seriesAuthor", "manufacturedSeriesDevice")
    if stated := record.meta.get("device"):
        _add(device, "manufacturerModelName", str(stated))
    _add(device, "softwareName", "written by Einthoven")
    times = _below(series, "component", "sequenceSet")
    sequence = _below(times, "component", "sequence")
    _add(sequence, "code", code="TIME_RELATIVE" if time is None else "TIME_ABSOLUTE", codeSystem=_ACT, codeSystemName="ActCode")
    value = _value(sequence, "GLIST_PQ" if time is None else "GLIST_TS")
    _add(value, "head", **({"value": "0", "unit": "s"} if time is None else {"value": _stamp(time)}))
    _add(value, "increment", value=f"{1 / record.fs:.17f}".rstrip("0"), unit="s")
    for name, (step, counts) in digits.items():
        sequence = _below(times, "component", "sequence")
        _lead_code(sequence, name)
        value = _value(sequence, "SLIST_PQ")
        _add(value, "origin", value="0", unit="uV")
        _add(value, "scale", value=f"{step * 1000:.10g}", unit="uV")
        _add(value, "digits", " ".join(map(str, counts.tolist())))
    _annotations(series, record.meta)


def _lead_code(sequence: Element, name: str) -> None:
    """The MDC code of a lead; a name that has none gets one of ours, without white space as the schema wants it."""
    code = "MDC_ECG_LEAD_" + name.upper()
    if re.fullmatch("MDC_ECG_LEAD_[A-Z0-9]+", code) and canonical(code) == name:
        _add(sequence, "code", code=code, codeSystem=_MDC, codeSystemName="MDC", displayName=name)
    else:
        ours = re.sub(r"\s+", "_", name.strip()) or "lead"
        _add(sequence, "code", code=ours, codeSystem=_uuid("lead names"), codeSystemName="Einthoven", displayName=name)


def is_coded(measurement: str) -> bool:
    """Whether a measurement has an MDC code, by which it is written; one of another name is left out."""
    return _unit(measurement) is not None


def _unit(measurement: str) -> str | None:
    return next((unit for start, unit in _UNITS if measurement.startswith(start)), None)


def _annotations(series: Element, meta: Any) -> None:
    statements = [line.strip() for line in str(meta.get("report") or "").splitlines() if line.strip()]
    measured = [(code, value, unit) for code, value in (meta.get("measurements") or {}).items() if (unit := _unit(code)) is not None]
    if not statements and not measured:
        return
    annotations = _below(series, "subjectOf", "annotationSet")
    for code, number, unit in measured:
        annotation = _below(annotations, "component", "annotation")
        _add(annotation, "code", code=code, codeSystem=_MDC, codeSystemName="MDC")
        _value(annotation, "PQ", value=f"{number:.10g}", unit=unit)
    if statements:
        interpretation = _below(annotations, "component", "annotation")
        _add(interpretation, "code", code="MDC_ECG_INTERPRETATION", codeSystem=_MDC, codeSystemName="MDC")
    for line in statements:
        annotation = _below(interpretation, "component", "annotation")
        _add(annotation, "code", code="MDC_ECG_INTERPRETATION_STATEMENT", codeSystem=_MDC, codeSystemName="MDC")
        _value(annotation, "ST", line)
