"""GE MUSE: XML whose root is ``RestingECG``. The rhythm is read; the median beat that stands before it is not.

A lead is base64 of little-endian integers in ``LeadAmplitudeUnitsPerBit`` of ``LeadAmplitudeUnits``, at ``SampleBase`` times ten to the
``SampleExponent`` Hz. Eight leads are stored, the other four follow. ``LeadDataCRC32`` is the CRC-32 of the decoded bytes (so in all files of MUSE 7
and 9 that we have): a waveform that was changed after it was written is refused. ``RestingECGMeasurements`` counts its onsets and offsets in samples of
the median beat; those are left out.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.demographics import age_at, age_of, known, moment, only_known, sex_of
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt
from einthoven.io.xml_leads import stacked
from einthoven.io.xml_tree import number_at, read_tree, shown, text_at
from einthoven.leads import canonical
from einthoven.record import Record

ROOT = "RestingECG"
_INTEGER = {1: "i1", 2: "<i2", 4: "<i4"}
_PLACEHOLDER = re.compile(r"Statement Text\((\d+)\)")  # an export without the table of statements: its number only
_IN_SAMPLES = re.compile(r"ECGSample.*|.*O(?:n|ff)set")


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """The rhythm of a MUSE file, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    Further rhythm blocks add the leads that the first lacks; what they hold besides is counted in ``meta["further_waveforms"]``. A lead that was off
    is NaN. Raises FormatError.
    """
    path = Path(path)
    root = read_tree(path, ROOT)
    patient, meta = describe(root)
    fs, names, lines, more = _rhythm(root, path)
    record = Record(stacked(names, lines, path), fs, tuple(unique_names(names)), record=path.stem, patient=patient, meta=meta | more)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def describe(root: Element) -> tuple[str | None, dict[str, Any]]:
    """What a file says besides its waveforms: (patient, meta), with ``test_id`` where it has one. The waveforms may be missing."""
    patient = known(text_at(root, "PatientDemographics/PatientID"))
    test = "TestDemographics/Acquisition"
    day, hour = text_at(root, f"{test}Date"), text_at(root, f"{test}Time")
    time = moment(f"{day} {hour}", "%m-%d-%Y %H:%M:%S") or moment(day, "%m-%d-%Y")
    age = age_of(text_at(root, "PatientDemographics/PatientAge"), text_at(root, "PatientDemographics/AgeUnits"))
    if age is None:
        age = age_at(moment(text_at(root, "PatientDemographics/DateofBirth"), "%m-%d-%Y"), time)
    report, numbers = _statements(root)
    said = {
        "age": age,
        "sex": sex_of(text_at(root, "PatientDemographics/Gender")),
        "time": time,
        "report": report,
        "statement_numbers": numbers,
        "measurements": _measurements(root),
        "device": known(text_at(root, f"{test}Device")),
        "test_id": known(text_at(root, "PharmaData/PharmaUniqueECGID")) or known(text_at(root, ".//TestID")),
    }
    return patient, only_known(said)


def _statements(root: Element) -> tuple[str, list[int]]:
    """The confirmed statements, else the machine's, as lines, and the numbers of those whose text the export lacks.

    A statement goes on in the next one (``Anterior infarct`` ``, age undetermined``) until one is flagged ENDSLINE.
    """
    section = root.find("Diagnosis")
    section = section if section is not None else root.find("OriginalDiagnosis")
    lines, numbers, line = [], [], ""
    for statement in section.findall("DiagnosisStatement") if section is not None else ():
        text = text_at(statement, "StmtText") or ""
        if found := _PLACEHOLDER.fullmatch(text):
            numbers.append(int(found[1]))
            text = ""
        line += text if text[:1] in (",", ".", ";", ":") or not line else f" {text}"
        if "ENDSLINE" in [text_at(flag) for flag in statement.findall("StmtFlag")]:
            lines.append(line)
            line = ""
    return "\n".join(" ".join(line.split()) for line in [*lines, line] if line.strip()), numbers


def _measurements(root: Element) -> dict[str, float]:
    section = root.find("RestingECGMeasurements")
    section = section if section is not None else root.find("OriginalRestingECGMeasurements")
    if section is None:
        return {}
    values = {child.tag: number_at(child) for child in section if not _IN_SAMPLES.fullmatch(child.tag)}
    return {name: value for name, value in values.items() if value is not None}


def _rhythm(root: Element, path: Path) -> tuple[float, list[str], list[np.ndarray], dict[str, Any]]:
    """Sampling frequency, lead names, samples in mV, and what else there is to say."""
    kinds = [(text_at(waveform, "WaveformType") or "").lower() for waveform in root.findall("Waveform")]
    blocks = [
        waveform for kind, waveform in zip(kinds, root.findall("Waveform")) if kind == "rhythm" and waveform.find("LeadData") is not None
    ]
    if not blocks:
        found = ", ".join(shown(kind) for kind in kinds[:9]) or "none"
        raise FormatError(f"{path}: expected a waveform of type Rhythm with leads; its waveforms: {found}; export the ECG with its rhythm.")
    fs = _rate(blocks[0], path)
    names: list[str] = []
    lines: list[np.ndarray] = []
    offsets: dict[str, float] = {}
    n_further = 0
    for block in blocks:
        found_leads = [(canonical(text_at(lead, "LeadID") or ""), lead) for lead in block.findall("LeadData")]
        if block is not blocks[0]:
            fits = number_at(block, "WaveformStartTime") == number_at(blocks[0], "WaveformStartTime") and _rate(block, path) == fs
            new = [pair for pair in found_leads if fits and pair[0] not in names]
            n_further += len(new) < len(found_leads)
            found_leads = new
        for name, lead in found_leads:
            names.append(name)
            lines.append(_samples(lead, name, path))
            if offset := number_at(lead, "LeadTimeOffset"):
                offsets[name] = offset
    more: dict[str, Any] = {"further_waveforms": n_further} if n_further else {}
    if offsets:  # in a unit that no file tells: said, not applied
        more["lead_time_offset"] = offsets
    return fs, names, lines, more


def _rate(block: Element, path: Path) -> float:
    base, exponent = number_at(block, "SampleBase"), number_at(block, "SampleExponent") or 0.0
    fs = base * 10.0**exponent if base is not None and abs(exponent) <= 6 else 0.0
    if not is_rate(fs):
        raise FormatError(
            f"{path}: expected a sampling frequency in Hz; came SampleBase {shown(text_at(block, 'SampleBase'))}, SampleExponent {shown(text_at(block, 'SampleExponent'))}; export the ECG again."
        )
    kind = text_at(block, "SampleType")
    if kind is not None and kind.upper() != "CONTINUOUS_SAMPLES":
        raise FormatError(f"{path}: expected SampleType CONTINUOUS_SAMPLES; came {shown(kind)}, which is not known; export the ECG again.")
    return fs


def _samples(lead: Element, name: str, path: Path) -> np.ndarray:
    """One lead in mV, (time,) float32."""
    where = f"{path}: lead {shown(name)}"
    per_bit, unit = number_at(lead, "LeadAmplitudeUnitsPerBit"), text_at(lead, "LeadAmplitudeUnits")
    factor = in_millivolt(unit)
    if factor is None or per_bit is None or not 0 < per_bit < 1e9:
        raise FormatError(
            f"{where}: expected LeadAmplitudeUnitsPerBit above 0, in MICROVOLTS or MILLIVOLTS; came {shown(text_at(lead, 'LeadAmplitudeUnitsPerBit'))} {shown(unit)}; export the ECG again."
        )
    size = number_at(lead, "LeadSampleSize")
    size = 2.0 if size is None else size
    if size not in _INTEGER:
        raise FormatError(f"{where}: expected LeadSampleSize 1, 2 or 4 bytes; came {size:g}; export the ECG again.")
    try:
        data = base64.b64decode("".join((text_at(lead, "WaveFormData") or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{where}: expected WaveFormData in base64: {error}; export the ECG again.") from None
    checksum = number_at(lead, "LeadDataCRC32")
    if checksum and int(checksum) % 2**32 != zlib.crc32(data):
        raise FormatError(
            f"{where}: its samples do not have the checksum that the file states (LeadDataCRC32): damaged or changed; export it again."
        )
    n_samples = len(data) // int(size)
    for promise, expected in (("LeadSampleCountTotal", n_samples), ("LeadByteCountTotal", len(data))):
        promised = number_at(lead, promise)
        if (promised is not None and promised != expected) or len(data) % int(size):
            raise FormatError(
                f"{where}: expected {promise} {promised}; its waveform has {len(data)} bytes of {size:g} a sample: truncated? Export the ECG again."
            )
    if n_samples == 0:
        raise FormatError(f"{where}: has no samples; export the ECG again.")
    line = (np.frombuffer(data, dtype=_INTEGER[int(size)]) * (per_bit * factor)).astype(np.float32)
    if (text_at(lead, "LeadOff") or "").upper() == "TRUE":
        line[:] = np.nan
    return line
