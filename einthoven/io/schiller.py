"""Schiller EDI (SEMA): XML whose root is ``com.xiriuz.sema.xml.schillerEDI.SchillerEDI``.

The wave block of type ``ECG_RHYTHMS`` is read; ``ECG_AVERAGES``, which stands before it, holds averaged beats. A rate is written as value and exponent:
500 and 1 mean 500 Hz (the file's own R peaks say so), hence the exponent is that of the value; another exponent is refused until a file shows
what it means. Among the measurements, those named ``…_ON`` and ``…_OFF`` count samples of the averaged beat and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.demographics import age_at, known, moment, only_known, sex_of
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt
from einthoven.io.xml_leads import MAX_LEADS, numbers_in, stacked
from einthoven.io.xml_tree import number_at, read_tree, shown, text_at
from einthoven.leads import canonical
from einthoven.record import Record

ROOT = "com.xiriuz.sema.xml.schillerEDI.SchillerEDI"
RHYTHM = "ECG_RHYTHMS"
_NO_DATE = datetime(1970, 1, 1)  # a device whose clock was never set, or an anonymised file


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """The rhythm of a Schiller EDI file, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    Further rhythm blocks are counted in ``meta["further_waveforms"]``. Raises FormatError.
    """
    path = Path(path)
    root = read_tree(path, ROOT)
    blocks = root.findall("eventdata/event/wavedata")
    rhythms = [block for block in blocks if (text_at(block, "type") or "").upper() == RHYTHM]
    if not rhythms:
        kinds = ", ".join(shown(text_at(block, "type")) for block in blocks[:9]) or "none"
        raise FormatError(f"{path}: expected a wavedata of type {RHYTHM}; its blocks: {kinds}; export the ECG with its rhythm.")
    block = rhythms[0]
    fs, factor = _rate(block, path), _resolution(block, path)
    channels = block.findall("channel")
    names = [canonical(text_at(channel, "name") or "") for channel in channels]
    lines = [_samples(channel, name, path) * factor for channel, name in zip(channels[: MAX_LEADS + 1], names)]
    signal = stacked(names, lines, path)
    patient, meta = _describe(root)
    if len(rhythms) > 1:
        meta["further_waveforms"] = len(rhythms) - 1
    record = Record(signal, fs, tuple(unique_names(names)), record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def _rate(block: Element, path: Path) -> float:
    rate = "resolution/samplerate"
    fs, exponent = number_at(block, f"{rate}/value"), number_at(block, f"{rate}/exponent")
    if not is_rate(fs) or exponent not in (None, 1.0):
        raise FormatError(
            f"{path}: expected a samplerate in Hz with exponent 1; came {shown(text_at(block, f'{rate}/value'))}, exponent {shown(text_at(block, f'{rate}/exponent'))}; export the ECG again."
        )
    return fs


def _resolution(block: Element, path: Path) -> float:
    """mV of one count."""
    value, unit = number_at(block, "resolution/yres/unitperbit"), text_at(block, "resolution/yres/units")
    factor = in_millivolt(unit)
    if factor is None or value is None or not 0 < value < 1e9:
        raise FormatError(
            f"{path}: expected unitperbit above 0 in UV or MV; came {shown(text_at(block, 'resolution/yres/unitperbit'))} {shown(unit)}; export the ECG again."
        )
    return value * factor


def _samples(channel: Element, name: str, path: Path) -> np.ndarray:
    where = f"{path}: lead {shown(name)}"
    kind = text_at(channel, "datastype") or "COMMASEPARATE"
    if kind.upper() != "COMMASEPARATE":
        raise FormatError(f"{where}: expected data of type COMMASEPARATE; came {shown(kind)}, which is not known; export the ECG again.")
    try:
        values = numbers_in(text_at(channel, "data") or "")
    except ValueError as error:
        raise FormatError(f"{where}: {error}; export the ECG again.") from None
    promised = number_at(channel, "samplecount")
    if promised is not None and promised != len(values):
        raise FormatError(f"{where}: expected {promised:g} samples; it has {len(values)}: truncated? Export the ECG again.")
    return values


def _describe(root: Element) -> tuple[str | None, dict[str, Any]]:
    exam = "examdescript"
    day, clock = text_at(root, f"{exam}/startdatetime/date"), text_at(root, f"{exam}/startdatetime/time") or ""
    time = moment(f"{day} {clock[:6]}", "%Y%m%d %H%M%S") or moment(day, "%Y%m%d")  # HHMMSS and milliseconds
    time = None if time == _NO_DATE else time
    birth = moment(text_at(root, "patdata/birthdate"), "%Y%m%d")
    measured: dict[str, float] = {}
    for element in root.findall("eventdata/event/annotation_global"):
        name, value = text_at(element, "name") or "", number_at(element, "value")
        if value is not None and not name.endswith(("_ON", "_OFF")):
            measured.setdefault(name, value)
    lines = [text for block in root.findall("eventdata/event/textdata") for line in block.iter("textdata") if (text := text_at(line))]
    device = [text_at(root, f"{exam}/aquiringdevice/hardware/{name}") for name in ("vendor", "model")]
    said = {
        "age": age_at(birth, time),
        "sex": sex_of(text_at(root, "patdata/gender")),
        "time": time,
        "report": "\n".join(lines),
        "measurements": measured,
        "device": " ".join(filter(None, device)),
    }
    return known(text_at(root, "patdata/id")), only_known(said)
