"""Philips SierraECG and PhilipsECG, versions 1.03 and 1.04: XML whose root is ``restingecgdata``.

The rhythm is ``parsedwaveforms``; ``repbeats``, the representative beats, are not read. Compressed (XLI) files hold 16 leads, of which the first
``numberchannelsallocated`` were recorded, and the limb leads III, aVR, aVL and aVF as differences from what follows from I and II.

A recording of 11 s ends in a calibration pulse of 1 mV in every lead, after and before nothing: that end is no ECG and is NaN here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bounds import MOST_UNPACKED
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.demographics import age_at, age_of, known, moment, only_known, sex_of
from einthoven.io.philips_xli import HEADER, decompress
from einthoven.io.xml_leads import MAX_LEADS, numbers_in
from einthoven.io.xml_tree import as_number, number_at, read_tree, shown, text_at
from einthoven.leads import LIMB, TWELVE, canonical
from einthoven.record import Record

ROOT = "restingecgdata"
_MEASURED = re.compile(r".*(?:rate|print|dur|qtint|qtc[a-z]?|rrint|axis)")  # not the places of waves in the representative beat


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """The rhythm of a SierraECG file, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    ``meta["calibration"]`` says from where on (s) the calibration pulse stood in place of the ECG. Raises FormatError.
    """
    path = Path(path)
    root = read_tree(path, ROOT)
    waves, about = root.find("waveforms/parsedwaveforms"), root.find("dataacquisition/signalcharacteristics")
    if waves is None or not (waves.text or "").strip() or about is None:
        raise FormatError(
            f"{path}: expected parsedwaveforms and signalcharacteristics; the file has no rhythm; export the ECG with its waveforms."
        )
    fs = _first(waves, about, "samplespersecond", "samplingrate", path)
    names = _names(waves, about, [lead.get("leadname", "") for lead in root.iter("leadmeasurement")], path)
    counts = _counts(waves, about, names, fs, path)
    factor = _first(waves, about, "resolution", "signalresolution", path) * 1e-3  # the format knows microvolts alone
    signal = (counts * factor).astype(np.float32)
    patient, meta = _describe(root)
    if (end := _calibration(counts, 1.0 / factor)) is not None:
        signal[:, end:] = np.nan
        meta["calibration"] = end / fs
    record = Record(signal, fs, tuple(unique_names([canonical(name) for name in names])), record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def _first(waves: Element, about: Element, attribute: str, element: str, path: Path) -> float:
    """A number above 0 that version 1.04 writes at the waveforms, and every version (under the same or another name) among the characteristics."""
    text = waves.get(attribute) or text_at(about, element) or text_at(about, attribute)
    value = as_number(text)
    if value is None or not 0 < value <= 1e6:
        raise FormatError(f"{path}: expected {attribute} above 0; came {shown(text)}; export the ECG again.")
    return value


def _counts(waves: Element, about: Element, names: Sequence[str], fs: float, path: Path) -> np.ndarray:
    """What was recorded, (lead, time) int32, the file's offset taken away."""
    promised = (as_number(waves.get("durationperchannel")) or 0.0) * fs / 1000  # ms
    if not 0.5 < promised <= MOST_UNPACKED / 4 / len(names):
        raise FormatError(
            f"{path}: expected durationperchannel in ms; came {shown(waves.get('durationperchannel'))} for {len(names)} leads at {fs:g} Hz; export the ECG again."
        )
    bits, offset = number_at(about, "bitspersample") or 16.0, number_at(about, "signaloffset") or 0.0
    is_signed = (text_at(about, "signalsigned") or "True").lower() == "true"
    if bits != 16 or not is_signed or abs(offset) > 2**15:
        raise FormatError(
            f"{path}: expected signed samples of 16 bits; came {bits:g} bits, signalsigned {shown(text_at(about, 'signalsigned'))}, offset {offset:g}; export the ECG again."
        )
    try:
        return _stored(waves, names, round(promised)) - int(offset)
    except (ValueError, binascii.Error) as error:
        raise FormatError(f"{path}: its waveform cannot be read: {error}; export the ECG again.") from None


def _stored(waves: Element, names: Sequence[str], n_samples: int) -> np.ndarray:
    """The leads as they were before they were compressed, (lead, time) int32. Raises ValueError."""
    encoding, method = (waves.get("dataencoding") or "").lower(), waves.get("compression") or waves.get("compressmethod") or "none"
    if (waves.get("compressflag") or "true").lower() != "true" or method.lower() == "uncompressed":
        method = "none"
    if encoding not in ("base64", "plain") or method.lower() not in ("none", "xli") or (method.lower() == "xli" and encoding == "plain"):
        raise ValueError(
            f"expected XLI in Base64, or nothing compressed in Base64 or Plain; came compression {shown(method)} in {shown(encoding)}"
        )
    if encoding == "plain":
        values = numbers_in(waves.text or "", separator=" ")
    else:
        data = base64.b64decode("".join((waves.text or "").split()), validate=True)
        if method.lower() == "xli":
            if len(data) < len(names) * HEADER or n_samples * len(names) > max(10_000_000, 50 * len(data)):
                raise ValueError(f"{len(data)} bytes are too few for {len(names)} leads of {n_samples} samples")
            return _with_limb_differences(decompress(data, len(names), n_samples).astype(np.int32), names)
        values = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")
    if len(values) < len(names) * n_samples:
        raise ValueError(f"expected {n_samples} samples for each of {len(names)} leads; there are {len(values)} in all")
    if np.abs(values := values[: len(names) * n_samples].astype(np.float64)).max() > 2**15:
        raise ValueError("its numbers are beyond 16 bits")
    return values.reshape(len(names), n_samples).astype(np.int32)


def _names(waves: Element, about: Element, measured: Sequence[str], path: Path) -> list[str]:
    """Version 1.04 names the leads; 1.03 says their number, and names those that were measured, in the same order."""
    labels = (waves.get("leadlabels") or "").split()
    text = (
        waves.get("numberofleads") or text_at(about, "numberchannelsallocated") or text_at(about, "numberchannelsvalid") or str(len(labels))
    )
    n_leads = as_number(text)
    if n_leads is None or not 1 <= n_leads <= MAX_LEADS or (labels and len(labels) < n_leads):
        raise FormatError(f"{path}: expected 1 to {MAX_LEADS} leads with a name each; came {shown(text)}, named {shown(' '.join(labels))}.")
    if not labels:
        labels = [*(measured if len(measured) >= n_leads else TWELVE), *(f"lead {n}" for n in range(13, int(n_leads) + 1))]
    return labels[: int(n_leads)]


def _with_limb_differences(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """III, aVR, aVL and aVF from what XLI stores of them: what follows from I and II, minus the lead.

    Halves are cut off towards zero. (Rounding down, as one published decoder does, puts every negative odd sum one count beside what Philips' own
    conversion of the same recording to aECG has.)
    """
    rows = {canonical(name): row for row, name in enumerate(names)}
    if not set(LIMB) <= rows.keys():
        return counts
    out = counts.copy()
    i, ii = counts[rows["I"]], counts[rows["II"]]
    iii = out[rows["III"]] = ii - i - counts[rows["III"]]
    out[rows["aVR"]] = -_half(i + ii) - counts[rows["aVR"]]
    out[rows["aVL"]] = _half(i - iii) - counts[rows["aVL"]]
    out[rows["aVF"]] = _half(ii + iii) - counts[rows["aVF"]]
    return out


def _half(value: np.ndarray) -> np.ndarray:
    return (value + (value < 0)) >> 1


def _calibration(counts: np.ndarray, millivolt: float) -> int | None:
    """The sample from which on all leads are one: nothing, 1 mV for a while, nothing. No heart does that (I = II = III only where all are 0)."""
    same = (counts == counts[0]).all(axis=0)
    end = len(same) - int(np.argmin(same[::-1])) if not same.all() else 0
    tail = counts[0, end:]
    pulse = np.flatnonzero(tail)
    if (
        end == 0
        or len(counts) < 3
        or len(pulse) == 0
        or not (abs(tail[pulse] - millivolt) <= 1).all()
        or pulse[-1] - pulse[0] + 1 != len(pulse)
    ):
        return None
    return end


def _describe(root: Element) -> tuple[str | None, dict[str, Any]]:
    person, acquisition = "patient/generalpatientdata", root.find("dataacquisition")
    time = birth = None
    if acquisition is not None:
        day, clock = acquisition.get("date") or "", acquisition.get("time") or ""
        time = moment(f"{day} {clock}", "%Y-%m-%d %H:%M:%S") or moment(day, "%Y-%m-%d")
    birth = moment(text_at(root, f"{person}/age/dateofbirth"), "%Y-%m-%d")
    ages = [age_of(text_at(root, f"{person}/age/{unit}"), unit) for unit in ("years", "months", "weeks", "days", "hours")]
    age = next((age for age in ages if age is not None), None)
    interpretations = root.findall("interpretations/interpretation")
    lines: list[str] = []
    numbers: dict[str, float | None] = {}
    if interpretations:  # the newest: editing adds one
        said_last = max(interpretations, key=lambda one: (one.get("date") or "", one.get("time") or ""))
        lines = [text for statement in said_last.findall("statement") if (text := text_at(statement, "leftstatement"))]
        lines += [text.strip(" -") for text in (text_at(said_last, "severity"),) if text]
        for section in ("interpretationmeasurements", "globalmeasurements"):
            numbers |= {child.tag: number_at(child) for child in said_last.findall(f"{section}/*") if _MEASURED.fullmatch(child.tag)}
    said = {
        "age": age if age is not None else age_at(birth, time),
        "sex": sex_of(text_at(root, f"{person}/sex")),
        "time": time,
        "report": "\n".join(lines),
        "measurements": {name: value for name, value in numbers.items() if value is not None},
        "device": known(text_at(root, "dataacquisition/machine")),
    }
    return known(text_at(root, f"{person}/patientid")), only_known(said)
