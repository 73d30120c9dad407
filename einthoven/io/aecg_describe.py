"""What an annotated ECG says besides its signal: the person, the moment, the device, and the machine's statements and measurements."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element

from einthoven.io.demographics import age_at, age_of, known, only_known, sex_of, stamp, stamped_day
from einthoven.io.xml_tree import as_number, text_at

REPORTED_AGE = "21612-7"
"""LOINC: the age that a person states."""
_SUBJECT = "componentOf/timepointEvent/componentOf/subjectAssignment/subject/trialSubject"
_AGE_UNITS = {"a": "years", "mo": "months", "wk": "weeks", "d": "days"}  # UCUM
_TO_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3}
_RATES = ("/min", "bpm", "{beats}/min", "{H.B.}/min")
_PLACES = ("MDC_ECG_BEAT", "MDC_ECG_WAVC")
"""Annotations of these kinds are marks in the signal; what stands in them is of one beat."""


def describe(root: Element, series: Element, begin: datetime | None) -> tuple[str | None, dict[str, Any]]:
    """(patient, meta) of a file and the series that was read from it, which began then as far as its samples say.

    meta has ``age, sex, time, device, report, measurements``, each where it is known. The age is that at the recording by the date of birth, else
    the one reported.
    """
    subject = root.find(_SUBJECT)
    person = subject.find("subjectDemographicPerson") if subject is not None else None
    time = begin or _begin(series.find("effectiveTime")) or _begin(root.find("effectiveTime"))
    statements, measurements = _annotations(series)
    maker = text_at(series, "author/seriesAuthor/manufacturerOrganization/name")
    model = text_at(series, "author/seriesAuthor/manufacturedSeriesDevice/manufacturerModelName")
    age = age_at(stamped_day(_attribute(person, "birthTime", "value")), time)
    found = {
        "age": age if age is not None else _reported_age(root),
        "sex": sex_of(_attribute(person, "administrativeGenderCode", "code")),
        "time": time,
        "device": " ".join(part for part in (known(maker), known(model)) if part),
        "report": "\n".join(statements),
        "measurements": measurements,
    }
    return _patient(subject, person), only_known(found)


def _attribute(parent: Element | None, path: str, name: str) -> str | None:
    found = parent.find(path) if parent is not None else None
    return found.get(name) if found is not None else None


def _patient(subject: Element | None, person: Element | None) -> str | None:
    """The extension of the subject's id, or Mindray's own element; a root alone names whoever gave the ids."""
    stated = known(_attribute(subject, "id", "extension"))
    return stated or (known(text_at(person, "PatientID")) if person is not None else None)


def _begin(interval: Element | None) -> datetime | None:
    if interval is None:
        return None
    stamps = (_attribute(interval, "low", "value"), _attribute(interval, "center", "value"), interval.get("value"))
    return next((time for text in stamps if (time := stamp(text)) is not None), None)


def _reported_age(root: Element) -> float | None:
    for observation in root.iterfind("controlVariable/relatedObservation"):
        if _attribute(observation, "code", "code") == REPORTED_AGE:
            unit = _AGE_UNITS.get(_attribute(observation, "value", "unit") or "a")
            return age_of(_attribute(observation, "value", "value"), unit) if unit else None
    return None


def _annotations(series: Element) -> tuple[list[str], dict[str, float]]:
    """Statements, and measurements of the whole recording by their codes, those of the series before those of its representative beat.

    Times are in ms; an interval or a rate of 0 was not measured. Marks in the signal, and values of one lead or one beat, are left out.
    """
    statements: list[str] = []
    measurements: dict[str, float] = {}
    sets = [*series.iterfind("subjectOf/annotationSet"), *series.iterfind("derivation/derivedSeries/subjectOf/annotationSet")]
    for annotation in (one for annotation_set in sets for one in _of_recording(annotation_set)):
        code, value = _attribute(annotation, "code", "code") or "", annotation.find("value")
        if value is None or not code:
            continue
        number, unit = as_number(value.get("value")), value.get("unit", "")
        if number is not None:
            if annotation.find("support") is None and (number != 0 or not (unit in _TO_MS or unit in _RATES or "TIME_PD" in code)):
                measurements.setdefault(code, number * _TO_MS.get(unit, 1.0))
        elif statement := known((value.text or "").strip() or value.get("displayName")):
            statements.append(statement.rstrip(" ,"))
    return list(dict.fromkeys(statements)), measurements


def _of_recording(parent: Element) -> Iterator[Element]:
    """The annotations below one that are not of a beat, a wave or a lead, in their order."""
    for annotation in parent.iterfind("component/annotation"):
        code = _attribute(annotation, "code", "code") or ""
        if code.startswith(_PLACES) or _is_of_lead(annotation):
            continue
        yield annotation
        yield from _of_recording(annotation)


def _is_of_lead(annotation: Element) -> bool:
    boundaries = annotation.iterfind("support/supportingROI/component/boundary/code")
    return any("_LEAD_" in code.get("code", "") for code in boundaries)
