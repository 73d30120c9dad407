"""DICOM: electrocardiograms among the waveform objects (12-lead, General, Ambulatory, General 32-bit ECG).

An object holds one to five multiplex groups. Those that are ORIGINAL and share the rate of the longest are the recording: usually one group, else
three leads after three leads and a rhythm strip, which their time offsets put together. DERIVED groups (the median beat) are not read. A value is
sample × sensitivity × correction factor + baseline, in the channel's unit (PS3.3 C.10.9).

A padding value stands for what was not recorded only where it lies beyond all other samples of its lead: ECG Toolkit states 0, and a signal
crosses zero. Channel filters are not undone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.dicom_describe import describe
from einthoven.io.dicom_object import get, items, load, number, text
from einthoven.io.pieces import Piece, together
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STORAGE = {
    "1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG Waveform Storage",
    "1.2.840.10008.5.1.4.1.1.9.1.2": "General ECG Waveform Storage",
    "1.2.840.10008.5.1.4.1.1.9.1.3": "Ambulatory ECG Waveform Storage",
    "1.2.840.10008.5.1.4.1.1.9.1.4": "General 32-bit ECG Waveform Storage",
}
"""SOP classes that are read."""

LEAD_CODES = {
    **{
        1: "I",
        2: "II",
        3: "V1",
        4: "V2",
        5: "V3",
        6: "V4",
        7: "V5",
        8: "V6",
        9: "V7",
        11: "V3R",
        12: "V4R",
        13: "V5R",
        14: "V6R",
        15: "V7R",
    },
    **{16: "X", 17: "Y", 18: "Z", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 66: "V8", 67: "V9"},
}
"""Number of a lead in SCP-ECG (``5.6.3-9-61``) and, the same, in ISO/IEEE 11073-10102 (``2:61``)."""

_SAMPLES = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
_BEATS = ("MEDIAN", "BEAT", "AVERAGE", "TEMPLATE", "REPRESENT")
_SHORTEST_RHYTHM = 2.0
"""s; a DERIVED group must be longer than any single beat to be taken for a recording."""


@dataclass(frozen=True, eq=False)
class _Group:
    """The header of one multiplex group."""

    item: Dataset
    channels: tuple[Dataset, ...]
    n_samples: int
    fs: float
    start: float  # s
    is_original: bool
    label: str

    @property
    def seconds(self) -> float:
        return self.n_samples / self.fs


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """The ECG of a DICOM waveform object, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    Raises FormatError: another kind of object (images, hemodynamics, sound, which are named), companded samples, a lead without a unit of voltage,
    groups that contradict their own size.
    """
    path = Path(path)
    with warnings.catch_warnings():  # pydicom warns of each value that breaks a rule of form, and many devices write UIDs that do
        warnings.simplefilter("ignore")
        content = load(path)
        _check_storage(path, content)
        groups = _recording(path, [_group(path, item) for item in items(content, "WaveformSequence", path)])
        pieces, units = _decode(path, groups, content.original_encoding[1] is not False)
        patient, meta = describe(content, path)
    signal, names = together(pieces, groups[0].fs, path)
    if units:
        meta["units"] = units
    if not groups[0].is_original:
        meta["originality"] = "DERIVED"
    record = Record(signal, groups[0].fs, names, record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def _check_storage(path: Path, content: Dataset) -> None:
    from pydicom.uid import UID

    uid = text(content, "SOPClassUID")
    if uid in STORAGE:
        return
    if not uid:
        raise FormatError(
            f"{path}: expected a DICOM ECG; this is no DICOM object, or one that does not say its SOP class; export it again."
        )
    name = UID(uid).name
    hint = " its ECG channels only accompany pressures;" if "Hemodynamic" in name else ""
    raise FormatError(f"{path}: expected a 12-lead, general or ambulatory ECG; this DICOM object is {name};{hint} export the ECG itself.")


def _group(path: Path, item: Dataset) -> _Group:
    n_samples, n_channels = number(item, "NumberOfWaveformSamples", path), number(item, "NumberOfWaveformChannels", path)
    fs, offset = number(item, "SamplingFrequency", path), number(item, "MultiplexGroupTimeOffset", path)
    channels = items(item, "ChannelDefinitionSequence", path)
    if not is_rate(fs):
        raise FormatError(f"{path}: expected a sampling frequency in Hz; came {fs}; export it again.")
    if not n_samples or n_channels != len(channels) or not channels:
        raise FormatError(
            f"{path}: expected samples in channels that are described; came {n_samples or 0:g} samples of {n_channels or 0:g} channels, "
            f"{len(channels)} of them described; export it again."
        )
    return _Group(
        item,
        tuple(channels),
        int(n_samples),
        fs,
        (offset or 0.0) / 1e3,
        is_original=text(item, "WaveformOriginality").upper() != "DERIVED",
        label=text(item, "MultiplexGroupLabel"),
    )


def _recording(path: Path, groups: list[_Group]) -> list[_Group]:
    """The groups that are the rhythm, the longest first."""
    if not groups:
        raise FormatError(
            f"{path}: expected an ECG; the object has no waveform, or is truncated before it; copy it again, whole, or export it with its signal."
        )
    no_beats = [group for group in groups if not any(word in group.label.upper() for word in _BEATS)]
    rhythm = [group for group in no_beats if group.is_original]
    rhythm = rhythm or [group for group in no_beats if group.seconds >= _SHORTEST_RHYTHM]
    if not rhythm:
        found = ", ".join(f"{group.label or 'unnamed'} ({group.seconds:g} s)" for group in groups)
        raise FormatError(f"{path}: expected a rhythm; the object holds only derived beats: {found}; export the recording itself.")
    longest = max(rhythm, key=lambda group: group.seconds)
    return [longest, *(group for group in rhythm if group is not longest and group.fs == longest.fs)]


def _decode(path: Path, groups: list[_Group], is_little_endian: bool) -> tuple[list[Piece], dict[str, str]]:
    """The channels of some groups in mV, and the units of those that are no voltage."""
    pieces: list[Piece] = []
    units: dict[str, str] = {}
    for group in groups:
        counts, padding = _counts(path, group, is_little_endian)
        names = unique_names([_lead_name(path, channel) for channel in group.channels])
        for name, channel, lead in zip(names, group.channels, counts.T):
            scale, offset, unit = _scale(path, name, channel)
            if unit is not None:
                units[name] = unit
            signal = (lead.astype(np.float64) * scale + offset).astype(np.float32)
            if padding is not None and _is_apart(lead, padding):
                signal[lead == padding] = np.nan
            skew = number(channel, "ChannelTimeSkew", path) or (number(channel, "ChannelSampleSkew", path) or 0.0) / group.fs
            pieces.append(Piece(name, group.start + skew, signal))
    return pieces, units


def _counts(path: Path, group: _Group, is_little_endian: bool) -> tuple[np.ndarray, int | None]:
    """The samples (time, channel) as they are stored, and the padding value."""
    kind = text(group.item, "WaveformSampleInterpretation")
    if kind in ("MB", "AB"):
        raise FormatError(
            f"{path}: its samples are companded as sound is ({'mu' if kind == 'MB' else 'A'}-law), which keeps no linear amplitude; export it as SS."
        )
    bits = number(group.item, "WaveformBitsAllocated", path)
    if kind not in _SAMPLES or bits != 8 * int(_SAMPLES[kind][1]):
        raise FormatError(
            f"{path}: expected samples SB, UB, SS, US, SL or UL of 8, 16 or 32 bits; came {kind or 'none'} of {bits or 0:g} bits; export the ECG again."
        )
    dtype = np.dtype(_SAMPLES[kind]).newbyteorder("<" if is_little_endian else ">")
    data = get(group.item, "WaveformData", path) or b""
    n_bytes = group.n_samples * len(group.channels) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) < n_bytes:
        raise FormatError(
            f"{path}: truncated: expected {n_bytes} bytes of waveform ({group.n_samples} samples of {len(group.channels)} channels), "
            f"came {len(data)}; copy it again, whole, or export the ECG again."
        )
    pad = get(group.item, "WaveformPaddingValue", path)
    is_value = isinstance(pad, bytes) and len(pad) >= dtype.itemsize
    padding = int(np.frombuffer(pad, dtype, count=1)[0]) if is_value else None
    return np.frombuffer(data, dtype, count=n_bytes // dtype.itemsize).reshape(group.n_samples, -1), padding


def _is_apart(lead: np.ndarray, padding: int) -> bool:
    """Whether a padding value lies beyond all other samples of a lead, or is all there is."""
    others = lead[lead != padding]
    return others.size < lead.size and (others.size == 0 or bool(padding < others.min() or padding > others.max()))


def _lead_name(path: Path, channel: Dataset) -> str:
    """By the code of the lead where we know it, else by its meaning, else by the channel's label. Two known names must agree."""
    source = next(iter(items(channel, "ChannelSourceSequence", path)), None)
    label = text(channel, "ChannelLabel")
    if source is None:
        return canonical(label)
    system, code, meaning = (text(source, keyword) for keyword in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning"))
    stated = canonical(meaning) if meaning else canonical(label) or canonical(code)
    tail = code.removeprefix("5.6.3-9-") if system == "SCPECG" else code.removeprefix("2:") if system == "MDC" else ""
    coded = LEAD_CODES.get(int(tail)) if tail.isdecimal() and len(tail) < 6 else None
    if coded is not None and stated in TWELVE and stated != coded:
        raise FormatError(
            f"{path}: a channel has the code of lead {coded} ({code}) and is called {meaning or label}; which is true? Mend it."
        )
    return coded or stated


def _scale(path: Path, name: str, channel: Dataset) -> tuple[float, float, str | None]:
    """mV of one count, mV of count 0, and the unit where it is no voltage."""
    unit_item = next(iter(items(channel, "ChannelSensitivityUnitsSequence", path)), None)
    code, meaning = (text(unit_item, key) if unit_item is not None else "" for key in ("CodeValue", "CodeMeaning"))
    factors = [number(channel, key, path) for key in ("ChannelSensitivity", "ChannelSensitivityCorrectionFactor", "ChannelBaseline")]
    sensitivity, correction, baseline = factors
    millivolt = in_millivolt(code) or in_millivolt(meaning)
    if name in TWELVE and (millivolt is None or not sensitivity):
        came = f"{sensitivity or 'no sensitivity'} {code or meaning or 'without a unit'}"
        raise FormatError(
            f"{path}: expected lead {name} in uV, mV or V per count; came {came}: its amplitude is not known; export the ECG again."
        )
    gain = (1.0 if sensitivity is None else sensitivity) * (1.0 if correction is None else correction)
    unit = None if millivolt is not None else code or meaning or "counts"
    return gain * (millivolt or 1.0), (baseline or 0.0) * (millivolt or 1.0), unit
