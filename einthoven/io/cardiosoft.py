"""GE CardioSoft and Case: XML whose root is ``CardiologyXML``.

The rhythm is ``StripData``, one ``WaveformData`` of numbers per lead; the median beat (``MedianSamples``) is not read. An exercise test has strips of a
few seconds and, where it was exported, ``FullDisclosure``: all of it, sample by sample with the leads of ``LeadOrder`` side by side; that is read where
there is no single strip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.demographics import age_at, age_of, known, moment_of, only_known, sex_of
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt
from einthoven.io.xml_leads import MAX_LEADS, numbers_in, stacked
from einthoven.io.xml_tree import number_at, read_tree, shown, text_at
from einthoven.leads import canonical
from einthoven.record import Record

ROOT = "CardiologyXML"
_RESOLUTION = re.compile(r"(.+?)\s*per\s*lsb", re.IGNORECASE)
_OF_THE_MEDIAN_BEAT = re.compile(r".*O(?:n|ff)set")


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """The rhythm of a CardioSoft file, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    Raises FormatError.
    """
    path = Path(path)
    root = read_tree(path, ROOT)
    strip, whole = root.find("StripData"), root.find("FullDisclosure")
    if strip is not None and strip.find("WaveformData") is not None:
        fs, names, lines = _strip(strip, path)
    elif whole is not None and text_at(whole, "FullDisclosureData"):
        fs, names, lines = _full_disclosure(whole, path)
    else:
        kinds = (
            ", ".join(name for name in ("MedianSamples", "StripData", "FullDisclosure") if root.find(f".//{name}") is not None) or "none"
        )
        raise FormatError(
            f"{path}: expected StripData with one WaveformData per lead, or FullDisclosure; it has {kinds}, without such; export the whole ECG."
        )
    patient, meta = _describe(root)
    names = unique_names([canonical(name) for name in names[: MAX_LEADS + 1]])
    record = Record(stacked(names, lines, path), fs, tuple(names), record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def _strip(strip: Element, path: Path) -> tuple[float, list[str], list[np.ndarray]]:
    """Sampling frequency, lead names, samples in mV."""
    factor, names, lines = _resolution(strip, path), [], []
    for lead in strip.findall("WaveformData"):
        name = (lead.get("lead") or "").strip()
        lines.append(_numbers(lead.text or "", f"{path}: lead {shown(name)}") * factor)
        names.append(name)
    for promise, expected in (("NumberOfLeads", len(lines)), ("ChannelSampleCountTotal", len(lines[0]))):
        promised = number_at(strip, promise)
        if promised is not None and promised != expected:
            raise FormatError(f"{path}: expected {promise} {promised:g}; its StripData has {expected}: truncated? Export the ECG again.")
    return _rate(strip, path), names, lines


def _full_disclosure(whole: Element, path: Path) -> tuple[float, list[str], list[np.ndarray]]:
    """Sampling frequency, lead names, samples in mV."""
    names = [name.strip() for name in (text_at(whole, "LeadOrder") or "").split(",")]
    promised = number_at(whole, "NumberOfChannels")
    values = _numbers(text_at(whole, "FullDisclosureData") or "", f"{path}: FullDisclosureData")
    if (promised is not None and promised != len(names)) or len(values) % len(names) or len(names) > MAX_LEADS:
        raise FormatError(
            f"{path}: expected FullDisclosure with equally many samples for each of its {len(names)} leads (NumberOfChannels {promised}); "
            f"it has {len(values)} numbers; export the ECG again."
        )
    return _rate(whole, path), names, list(values.reshape(-1, len(names)).T * _resolution(whole, path))


def _numbers(text: str, where: str) -> np.ndarray:
    try:
        return numbers_in(text)
    except ValueError as error:
        raise FormatError(f"{where}: {error}; export the ECG again.") from None


def _rate(block: Element, path: Path) -> float:
    found = block.find("SampleRate")
    fs, unit = number_at(block, "SampleRate"), found.get("units", "Hz") if found is not None else ""
    if not is_rate(fs) or unit.lower() != "hz":
        raise FormatError(
            f"{path}: expected SampleRate in Hz; came {shown(text_at(block, 'SampleRate'))} {shown(unit)}; export the ECG again."
        )
    return fs


def _resolution(block: Element, path: Path) -> float:
    """mV of one count."""
    found = block.find("Resolution")
    value, unit = number_at(block, "Resolution"), found.get("units", "") if found is not None else ""
    voltage = _RESOLUTION.fullmatch(unit.strip())
    factor = in_millivolt(voltage[1]) if voltage else None
    if factor is None or value is None or not 0 < value < 1e9:
        raise FormatError(
            f"{path}: expected Resolution above 0 in uVperLsb; came {shown(text_at(block, 'Resolution'))} {shown(unit)}; export the ECG again."
        )
    return value * factor


def _describe(root: Element) -> tuple[str | None, dict[str, Any]]:
    person = "PatientInfo"
    time = _day(root, "ObservationDateTime")
    age_element = root.find(f"{person}/Age")
    age = age_of(text_at(age_element), age_element.get("units")) if age_element is not None else None
    birth = _day(root, f"{person}/BirthDateTime")
    # The conclusion is what a physician made of the machine's diagnosis.
    for place in ("Conclusion/ConclusionText", "Diagnosis/DiagnosisText"):
        lines = [text for line in root.findall(f"Interpretation/{place}") if (text := text_at(line))]
        if lines:
            break
    section = root.find("RestingECGMeasurements")
    numbers = (
        {child.tag: number_at(child) for child in section if not _OF_THE_MEDIAN_BEAT.fullmatch(child.tag)} if section is not None else {}
    )
    device = " ".join(filter(None, (text_at(root, f"ClinicalInfo/DeviceInfo/{name}") for name in ("Desc", "SoftwareVer"))))
    said = {
        "age": age if age is not None else age_at(birth, time),
        "sex": sex_of(text_at(root, f"{person}/Gender")),
        "time": time,
        "report": "\n".join(lines),
        "measurements": {name: value for name, value in numbers.items() if value is not None},
        "device": device,
    }
    return known(text_at(root, f"{person}/PID")), only_known(said)


def _day(root: Element, place: str) -> datetime | None:
    date = [number_at(root, f"{place}/{part}") for part in ("Year", "Month", "Day")]
    clock = [number_at(root, f"{place}/{part}") or 0.0 for part in ("Hour", "Minute", "Second")]
    return moment_of(*(int(part) if part is not None else 0 for part in (*date, *clock)))
