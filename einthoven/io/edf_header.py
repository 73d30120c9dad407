"""Headers of EDF, EDF+ and BDF: fixed-width ASCII in, a frozen description out; no sample is read here.

Sources: Kemp et al., A simple format for exchange of digitized polygraphic recordings, 1992; Kemp and Olivan, European data format 'plus',
2003; BioSemi's description of its 24-bit variant.

Our own, though the package edfio (which writes our files) reads EDF too: it knows no interrupted recordings (EDF+D), reads a BDF file whole
whatever part is asked, and takes the numbers of a damaged header for true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from einthoven.errors import FormatError
from einthoven.io.demographics import age_at, known, sex_of, years
from einthoven.io.rates import simplest
from einthoven.io.texts import decoded, one_line

_FIXED, _PER_SIGNAL = 256, 256
_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("physical_min", 8),
    ("physical_max", 8),
    ("digital_min", 8),
    ("digital_max", 8),
    ("prefiltering", 80),
    ("n_samples", 8),
    ("reserved", 32),
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
MAX_SIGNALS = 4096


@dataclass(frozen=True)
class Channel:
    """One signal: where it stands in a data record (``offset`` in bytes) and how counts become a physical quantity."""

    name: str
    unit: str
    n_samples: int
    offset: int
    digital: tuple[int, int]
    physical: tuple[float, float]
    is_annotation: bool


@dataclass(frozen=True)
class Header:
    """One file. ``plus`` is "", "C" (continuous) or "D" (interrupted); ``seconds`` and ``n_bytes`` are those of one data record,
    ``rounded`` the error that ``seconds`` may have."""

    width: int
    plus: str
    patient_field: str
    recording_field: str
    start: datetime | None
    offset: int
    n_records: int
    seconds: Fraction
    rounded: Fraction
    n_bytes: int
    channels: tuple[Channel, ...]

    def rate(self, n_samples: int) -> float:
        """Hz of a channel with so many samples in a data record. A duration that fills its eight characters was rounded: of the rates that
        it allows, the one with the fewest digits (650000 samples in 1805.556 s are 360 Hz)."""
        if self.rounded:
            return simplest(n_samples, float(self.seconds), float(self.rounded))
        return float(n_samples / self.seconds)


def read_header(path: Path) -> Header:
    """The header of a file whose size was compared with what it promises. Raises FormatError."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        fixed = file.read(_FIXED)
        if len(fixed) < _FIXED or (not (is_bdf := fixed[:8] == b"\xffBIOSEMI") and fixed[:8] != b"0       "):
            raise FormatError(f"{path}: expected the 256 bytes that begin an EDF or BDF file; they are not there. Ask for the file again.")
        n_signals = _whole(path, fixed[252:256], "a number of signals")
        if not 0 < n_signals <= MAX_SIGNALS:
            raise FormatError(
                f"{path}: expected 1 to {MAX_SIGNALS} signals; its header says {n_signals}; mend its header, or export it again."
            )
        raw = file.read(_PER_SIGNAL * n_signals)
    offset = _FIXED + len(raw)
    if len(raw) < _PER_SIGNAL * n_signals or _whole(path, fixed[184:192], "a header length") != offset:
        raise FormatError(
            f"{path}: expected a header of {_FIXED + _PER_SIGNAL * n_signals} bytes for {n_signals} signals; "
            f"it says {_text(fixed[184:192])!r} and the file has {size} bytes: damaged or truncated; mend its header, or export it again."
        )
    width = 3 if is_bdf else 2
    channels = _channels(path, raw, n_signals, width)
    n_bytes = width * sum(channel.n_samples for channel in channels)
    n_records = _whole(path, fixed[236:244], "a number of data records")
    available = (size - offset) // n_bytes
    if n_records == -1:  # the recorder did not live to fill it in
        n_records = available
    if n_records > available or n_records < 1:
        raise FormatError(
            f"{path}: truncated: the header promises {n_records} data records of {n_bytes} bytes; the file has {available}. Ask for the whole file."
        )
    if not 0 <= _number(path, fixed[244:252], "a duration of a data record") <= 1e8:
        raise FormatError(
            f"{path}: expected the duration of a data record in s; its header says {_text(fixed[244:252])}; mend its header, or export it again."
        )
    duration = _text(fixed[244:252]).replace(",", ".")
    decimals = len(duration.partition(".")[2]) if "e" not in duration.lower() else 0
    kind = re.match(r"(?:EDF|BDF)\+([CD])", _text(fixed[192:236]))
    return Header(
        width=width,
        plus=kind[1] if kind else "",
        patient_field=_text(fixed[8:88]),
        recording_field=_text(fixed[88:168]),
        start=_start(_text(fixed[168:176]), _text(fixed[176:184]), _text(fixed[88:168])),
        offset=offset,
        n_records=n_records,
        seconds=Fraction(duration),
        rounded=Fraction(1, 2 * 10**decimals) if decimals and len(duration) >= 7 else Fraction(0),
        n_bytes=n_bytes,
        channels=channels,
    )


def _channels(path: Path, raw: bytes, n_signals: int, width: int) -> tuple[Channel, ...]:
    fields: dict[str, list[bytes]] = {}
    at = 0
    for name, length in _FIELDS:
        fields[name] = [raw[at + length * k : at + length * (k + 1)] for k in range(n_signals)]
        at += length * n_signals
    channels, offset = [], 0
    for k in range(n_signals):
        name = _text(fields["label"][k])
        n_samples = _whole(path, fields["n_samples"][k], f"the samples of {name or k + 1} in a data record")
        if not 0 < n_samples <= 2**31:
            raise FormatError(f"{path}: expected a number of samples of {name or k + 1} in a data record; its header says {n_samples}.")
        is_annotation = name in ("EDF Annotations", "BDF Annotations")
        digital, physical = (0, 0), (0.0, 0.0)
        if not is_annotation:
            digital = (
                _whole(path, fields["digital_min"][k], "a digital minimum"),
                _whole(path, fields["digital_max"][k], "a digital maximum"),
            )
            physical = (
                _number(path, fields["physical_min"][k], "a physical minimum"),
                _number(path, fields["physical_max"][k], "a physical maximum"),
            )
        channels.append(Channel(name, _text(fields["unit"][k]), n_samples, width * offset, digital, physical, is_annotation))
        offset += n_samples
    return tuple(channels)


def describe(header: Header) -> tuple[dict[str, Any], str | None]:
    """What the two free fields say: (meta, patient).

    EDF+ has parts there: code, sex, birth date and name; start date, number of the investigation, technician and device. Plain EDF has text,
    which is the patient's identification by the format's definition, unless it is a path: mit2edf of PhysioNet writes the record's name there.
    """
    meta: dict[str, Any] = {}
    if header.start is not None:
        meta["time"] = header.start
    parts = header.patient_field.split()
    if len(parts) >= 4 and parts[1] in ("F", "M", "X") and (header.plus or _date(parts[2]) or parts[2] == "X"):
        if sex := sex_of(parts[1]):
            meta["sex"] = sex
        born = _date(parts[2])
        stated = next((found[1] for part in parts[4:] if (found := re.fullmatch(r"age=([\d.]{1,8})", part))), None)
        if (age := age_at(born, header.start) if born and header.start else years(stated)) is not None:
            meta["age"] = age
        patient: str | None = parts[0]
    else:
        patient = header.patient_field if "/" not in header.patient_field else None
    recording = header.recording_field.split()
    if header.plus and len(recording) >= 5 and recording[0] == "Startdate" and _known(recording[4]):
        meta["device"] = recording[4].replace("_", " ")
    return meta, _known(patient)


def _known(text: str | None) -> str | None:
    """The same as of any header; X is how EDF+ leaves a part of a field out."""
    return None if (text or "").lower() in ("x", "xx") else known(text)


def texts(raw: bytes) -> tuple[float | None, list[tuple[float, str]]]:
    """The annotations of one data record: (the record's own onset, [(onset in s, text), …]). A list that cannot be read ends where it breaks."""
    first, found = None, []
    for entry in raw.split(b"\x14\x00"):
        timing, _, rest = entry.lstrip(b"\0").partition(b"\x14")
        onset = re.fullmatch(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15\d{1,12}(?:\.\d{0,12})?)?", timing)
        if onset is None:
            break
        seconds = float(onset[1])
        first = seconds if first is None else first
        found += [(seconds, text.decode("utf-8", "replace")) for text in rest.split(b"\x14") if text]
    return first, found


def _start(day: str, time: str, recording: str) -> datetime | None:
    """The start; None where the date is not told. EDF+ repeats the date with all its digits; 01.01.85 stands for "not known"."""
    clock = re.fullmatch(r"(\d\d)[.:](\d\d)[.:](\d\d)", time)
    found = re.match(r"Startdate (\S+)", recording)
    full = _date(found[1]) if found else None
    short = re.fullmatch(r"(\d\d)[./-](\d\d)[./-](\d\d)", day)
    if (found and found[1] == "X") or clock is None:
        return None
    try:
        if full is None and short is not None and day[:2] + day[3:5] + day[6:] != "010185":
            year = int(short[3])
            full = date(year + (1900 if year >= 85 else 2000), int(short[2]), int(short[1]))
        return datetime.combine(full, datetime.strptime(":".join(clock.groups()), "%H:%M:%S").time()) if full else None
    except ValueError:
        return None


def _date(text: str) -> date | None:
    found = re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})", text)
    if found is None or found[2].upper() not in _MONTHS:
        return None
    try:
        return date(int(found[3]), _MONTHS.index(found[2].upper()) + 1, int(found[1]))
    except ValueError:
        return None


def _text(field: bytes) -> str:
    """ASCII by the standard; UTF-8 or Latin-1 (µV) where a machine did otherwise."""
    return one_line(decoded(field))


def _whole(path: Path, field: bytes, what: str) -> int:
    text = _text(field)
    if not re.fullmatch(r"[-+]?\d{1,8}", text):
        # Some writers put "32767.0" where a whole number belongs.
        if not re.fullmatch(r"[-+]?\d{1,6}\.0*", text):
            raise FormatError(f"{path}: expected {what}, a whole number; its header says {text!r}; mend its header, or export it again.")
        text = text.split(".")[0]
    return int(text)


def _number(path: Path, field: bytes, what: str) -> float:
    text = _text(field).replace(",", ".")
    if not re.fullmatch(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?", text):
        raise FormatError(f"{path}: expected {what}, a number; its header says {text!r}; mend its header, or export it again.")
    return float(text)
