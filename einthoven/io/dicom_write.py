"""DICOM ECG objects written, by the package pydicom: explicit VR little endian, one multiplex group of 16-bit samples, a sensitivity per lead.

Which object a recording becomes follows from what the standard allows each to hold (PS3.3 A.34.3 to A.34.5). The UIDs are made from the content:
the same recording, written twice, is the same object. The object names Einthoven as contributing equipment, and nothing in it says that a device made
it which did not.
"""

from __future__ import annotations

import hashlib
import textwrap
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.demographics import SEX_LETTERS
from einthoven.io.dicom import LEAD_CODES
from einthoven.io.quantise import counts_of, step_of_lead
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.whole import appearing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NOT_RECORDED = -(2**15)
"""The padding value: counts run from -32767."""
UNKNOWN_TIME = datetime(1900, 1, 1)
"""What stands where the standard demands a time and none is known; readers of ours take it for none."""
_MOST_BYTES = 2**31 - 1
_LONGEST_ID, _LONGEST_TEXT = 64, 1024
_CODES = {name: code for code, name in LEAD_CODES.items()}


@dataclass(frozen=True)
class Kind:
    """What one SOP class may hold."""

    uid: str
    name: str
    n_leads: int
    fs: tuple[float, float]
    n_samples: int | None = None
    leads: tuple[str, ...] | None = None

    def holds(self, record: Record) -> bool:
        n_leads, n_samples = record.signal.shape
        named = self.leads is None or set(record.leads) <= set(self.leads)
        return named and n_leads <= self.n_leads and n_samples <= (self.n_samples or n_samples) and self.fs[0] <= record.fs <= self.fs[1]


KINDS = (
    Kind("1.2.840.10008.5.1.4.1.1.9.1.1", "12-lead ECG", 13, (200, 1000), 16384, TWELVE),
    Kind("1.2.840.10008.5.1.4.1.1.9.1.2", "General ECG", 24, (200, 1000)),
    Kind("1.2.840.10008.5.1.4.1.1.9.1.3", "Ambulatory ECG", 12, (50, 1000)),
)
"""In the order in which they are tried."""


def write(record: Record, path: Path) -> None:
    """Write a recording as a DICOM ECG: 12-lead where all its leads are of the twelve and it is at most 16,384 samples long, else general, else,
    below 200 Hz, ambulatory.

    The step is the finest of 0.1, 0.2, 0.5, 1, … µV in which a lead fits into 16 bits; NaN is the padding value. Kept besides are patient, age (in whole
    years from two years on, as DICOM writes it), sex, time, device and the report (a line of more than 1024 characters in several). Raises FormatError for
    what no such object may hold, and for a patient's id that it would have to cut.
    """
    kind = _kind(record, path)
    steps = [step_of_lead(path, name, values) for name, values in zip(record.leads, record.signal)]
    counts = np.stack([counts_of(values, step, NOT_RECORDED) for values, step in zip(record.signal, steps)], axis=1)
    samples = np.ascontiguousarray(counts, dtype="<i2").tobytes()
    content = _object(record, kind, _digest(record, steps, samples))
    content.WaveformSequence = [_group(record, steps, samples)]
    lines = str(record.meta.get("report") or "").splitlines()
    if statements := [part for line in lines for part in textwrap.wrap(line, _LONGEST_TEXT)]:
        content.WaveformAnnotationSequence = [_statement(part) for part in statements]
    with appearing(path) as part:
        content.save_as(part, enforce_file_format=True)


def _kind(record: Record, path: Path) -> Kind:
    n_leads, n_samples = record.signal.shape
    if not n_leads or not n_samples:
        raise FormatError(f"{path}: expected a recording with leads and samples; it has {n_leads} leads and {n_samples} samples.")
    if units := record.meta.get("units"):
        raise FormatError(f"{path}: DICOM's ECG objects hold voltages; {', '.join(units)} is none; leave it out (leads=).")
    if record.patient is not None and _short(record.patient, _LONGEST_ID) != record.patient:  # cut or altered, it could become another's
        raise FormatError(
            f"{path}: DICOM holds a patient's id of up to {_LONGEST_ID} characters without a backslash; this one is {record.patient!r}: give another."
        )
    if 2 * n_leads * n_samples > _MOST_BYTES:
        raise FormatError(f"{path}: {2 * n_leads * n_samples} bytes are more than one DICOM object holds; write shorter parts.")
    for kind in KINDS:
        if kind.holds(record):
            return kind
    raise FormatError(
        f"{path}: DICOM holds up to 24 leads at 200 to 1000 Hz, or up to 12 at 50 to 1000 Hz; this recording has {n_leads} at {record.fs:g} Hz; "
        "resample it or leave leads out."
    )


def _digest(record: Record, steps: Sequence[float], samples: bytes) -> str:
    said = {key: record.meta.get(key) for key in ("age", "sex", "time", "report", "device")}
    digest = hashlib.sha256(repr((record.record, record.patient, record.fs, record.leads, list(steps), said)).encode())
    digest.update(samples)
    return digest.hexdigest()


def _uid(digest: str, role: str) -> str:
    """A UID that anybody may make from a UUID (PS3.5 B.2), here one that follows from a content and a role."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{role} {digest}').int}"


def _object(record: Record, kind: Kind, digest: str) -> Dataset:
    """Everything but the waveform."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    from einthoven import __version__

    meta: dict[str, Any] = dict(record.meta)
    stated = meta.get("time")
    time = stated if isinstance(stated, datetime) else UNKNOWN_TIME
    date, clock = f"{time.year:04d}{time:%m%d}", f"{time:%H%M%S}.{time.microsecond:06d}"
    content = Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.MediaStorageSOPClassUID = UID(kind.uid)
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.file_meta.MediaStorageSOPInstanceUID = UID(_uid(digest, "instance"))
    content.SpecificCharacterSet = "ISO_IR 192"
    content.SOPClassUID, content.SOPInstanceUID = kind.uid, _uid(digest, "instance")
    content.StudyInstanceUID, content.SeriesInstanceUID = _uid(digest, "study"), _uid(digest, "series")
    content.Modality = "ECG"
    content.StudyDate, content.StudyTime = (date, clock) if time is not UNKNOWN_TIME else ("", "")
    content.ContentDate, content.ContentTime, content.AcquisitionDateTime = date, clock, date + clock
    content.Manufacturer = _short(meta.get("device") or "", 64)
    content.SeriesDescription = "ECG written by Einthoven"
    content.PatientID, content.PatientName, content.PatientBirthDate = record.patient or "", "", ""
    content.PatientSex = SEX_LETTERS.get(str(meta.get("sex")), "")
    if (age := _age(meta.get("age"))) is not None:
        content.PatientAge = age
    content.AccessionNumber, content.ReferringPhysicianName = "", ""
    content.StudyID, content.SeriesNumber, content.InstanceNumber = _short(record.record, 16), "1", "1"
    content.AcquisitionContextSequence = []
    writer = Dataset()
    writer.Manufacturer, writer.ManufacturerModelName, writer.SoftwareVersions = "Einthoven", "Einthoven", __version__
    writer.PurposeOfReferenceCodeSequence = [_code("109103", "DCM", "Modifying Equipment")]
    content.ContributingEquipmentSequence = [writer]
    return content


def _short(text: str, most: int) -> str:
    """A text of one line, without the backslash that separates values, as long as the element takes."""
    return " ".join(str(text).replace("\\", "/").split())[:most]


def _age(age: Any) -> str | None:
    if age is None or not 0 <= age <= 120:
        return None
    if age < 2:
        return f"{round(age * 12):03d}M"
    return f"{int(age):03d}Y"


def _code(value: str, scheme: str, meaning: str, version: str = "") -> Dataset:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    if version:
        code.CodingSchemeVersion = version
    return code


def _group(record: Record, steps: Sequence[float], samples: bytes) -> Dataset:
    from pydicom.dataset import Dataset

    group = Dataset()
    group.MultiplexGroupTimeOffset = "0"
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(record.leads), record.signal.shape[1]
    group.SamplingFrequency = f"{record.fs:.10g}"
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = [_channel(number, name, step) for number, (name, step) in enumerate(zip(record.leads, steps), 1)]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.add_new("WaveformPaddingValue", "OW", np.array(NOT_RECORDED, "<i2").tobytes())
    group.add_new("WaveformData", "OW", samples)
    return group


def _channel(number: int, name: str, step: float) -> Dataset:
    from pydicom.dataset import Dataset

    channel = Dataset()
    known = name in _CODES
    channel.WaveformChannelNumber, channel.ChannelLabel = number, _short(name, 16)
    lead = (
        _code(f"5.6.3-9-{_CODES[name]}", "SCPECG", f"Lead {name}", "1.3")
        if known
        else _code(_short(name, 16), "99EINTHOVEN", _short(name, 64))
    )
    channel.ChannelSourceSequence = [lead]
    channel.ChannelSensitivity = f"{step * 1000:.10g}"
    channel.ChannelSensitivityUnitsSequence = [_code("uV", "UCUM", "microvolt", "1.4")]
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline, channel.ChannelSampleSkew = "1", "0", "0"
    channel.WaveformBitsStored = 16
    return channel


def _statement(line: str) -> Dataset:
    """A line of the report, of all channels of the group."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedWaveformChannels = [1, 0]
    item.AnnotationGroupNumber = 0
    item.UnformattedTextValue = line
    return item
