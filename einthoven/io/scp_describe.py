"""What an SCP-ECG file says beside the signal: the person, the moment, the device (section 1), measurements (7) and statements (8, 11).

Source: EN 1064 (ANSI/AAMI EC71), sections 5.4, 5.10, 5.11 and 5.14.
"""

from __future__ import annotations

import struct
from datetime import datetime, time
from typing import Any

from einthoven.io.demographics import SEX_BY_NUMBER, age_at, age_of, known_id, moment_of
from einthoven.io.scp_sections import Section
from einthoven.io.texts import one_line

# Byte 16 of the device's field: the language support code.
_ENCODINGS = {
    0x01: "latin-1", 0x03: "iso8859-2", 0x0B: "iso8859-4", 0x13: "iso8859-5", 0x1B: "iso8859-6", 0x23: "iso8859-7", 0x2B: "iso8859-8",
    0x33: "iso8859-11", 0x3B: "iso8859-15", 0x07: "utf-16-le", 0x0F: "euc-jp", 0x17: "euc-jp", 0x1F: "euc-jp", 0x27: "gb2312", 0x2F: "euc-kr",
}  # fmt: skip
_MAKERS = (
    "", "Burdick", "Cambridge", "Compumed", "Datamed", "Fukuda", "Hewlett-Packard", "Marquette", "Mortara", "Nihon Kohden", "Okin", "Quinton",
    "Siemens", "Spacelabs", "Telemed", "Hellige", "ESAOTE", "Schiller", "Picker-Schwarzer", "et medical", "Zwönitz",
)  # fmt: skip
_UNITS = {1: "years", 2: "months", 3: "weeks", 4: "days", 5: "hours"}
_NOT_COMPUTED = (29999, 0xFFFF, 19999)


def describe(sections: dict[int, Section]) -> tuple[dict[str, Any], str | None]:
    """(meta, patient): only what the file says. A field that is cut off, or holds no date or number that can be one, says nothing."""
    revision = max(section.revision for section in sections.values())
    fields = _fields(sections[1].data) if 1 in sections else {}
    device = fields.get(14, b"")
    encoding = _ENCODINGS.get(device[16], "latin-1") if len(device) > 16 else "latin-1"
    encoding = "utf-8" if 30 <= revision < 40 else encoding  # from version 3 on all text is UTF-8
    meta: dict[str, Any] = {}
    day, clock = _day(fields.get(25, b"")), _clock(fields.get(26, b""))
    if day is not None:
        meta["time"] = datetime.combine(day, clock or time())
    if (age := _age(fields.get(4, b""), _day(fields.get(5, b"")), day)) is not None:
        meta["age"] = age
    if sex := SEX_BY_NUMBER.get(fields.get(8, b"\0")[:1].ljust(1, b"\0")[0]):
        meta["sex"] = sex
    if name := _device(device, encoding):
        meta["device"] = name
    statements = _statements(sections.get(8), encoding) or _universal(sections.get(11), encoding)
    if statements:
        meta["report"] = "\n".join(statements)
    if measurements := _measurements(sections.get(7)):
        meta["measurements"] = measurements
    return meta, known_id(_text(fields.get(2, b""), encoding))


def _fields(data: bytes) -> dict[int, bytes]:
    """The tagged fields of section 1; of a tag that comes again, the first."""
    fields: dict[int, bytes] = {}
    place = 0
    while place + 3 <= len(data):
        tag, length = struct.unpack_from("<BH", data, place)
        if tag == 255 or place + 3 + length > len(data):
            break
        fields.setdefault(tag, data[place + 3 : place + 3 + length])
        place += 3 + length
    return fields


def _text(data: bytes, encoding: str) -> str:
    """Text up to its end mark, in one line."""
    return one_line(data.decode(encoding, errors="replace").partition("\0")[0])


def _day(data: bytes) -> datetime | None:
    return moment_of(*struct.unpack_from("<HBB", data)) if len(data) >= 4 else None


def _clock(data: bytes) -> time | None:
    try:
        return time(*data[:3]) if len(data) >= 3 else None
    except ValueError:
        return None


def _age(data: bytes, born: datetime | None, day: datetime | None) -> float | None:
    """In years, from the field or else from the dates of birth and of recording; a date that stands for none gives no age."""
    age = None
    if len(data) >= 3:
        value, unit = struct.unpack_from("<HB", data)
        age = age_of(value, _UNITS[unit]) if unit in _UNITS else None
    return age_at(born, day) if age is None else age


def _device(data: bytes, encoding: str) -> str:
    """Maker and model of the field of the acquiring device: a number or, as the last of its texts, a name; and a text of six bytes."""
    if len(data) < 14:
        return ""
    maker = _MAKERS[data[7]] if data[7] < len(_MAKERS) else ""
    texts = [_text(text, encoding) for text in data[36:].split(b"\0")]  # four, then the maker's name
    if not maker and len(texts) > 4:
        maker = texts[4]
    return f"{maker} {_text(data[8:14], encoding)}".strip()


def _statements(section: Section | None, encoding: str) -> list[str]:
    """The interpretation of section 8, one line a statement."""
    return [text for raw in _numbered(section) if (text := _text(raw, encoding))]


def _universal(section: Section | None, encoding: str) -> list[str]:
    """What of section 11 is text: codes of the universal vocabulary (1) and mnemonics (2) as they stand, and full text (3)."""
    return [text for raw in _numbered(section) for part in raw[1:].split(b"\0") if raw[0] in (1, 2, 3) and (text := _text(part, encoding))]


def _numbered(section: Section | None) -> list[bytes]:
    """Sections 8 and 11: whether confirmed, date, time, then so many times a number, a length, and what they are of."""
    out: list[bytes] = []
    if section is None or len(section.data) < 9:
        return out
    place = 9
    for _ in range(section.data[8]):
        if place + 3 > len(section.data):
            break
        (length,) = struct.unpack_from("<H", section.data, place + 1)
        out.append(section.data[place + 3 : place + 3 + length])
        place += 3 + length
    return [raw for raw in out if raw]


def _measurements(section: Section | None) -> dict[str, float]:
    """Section 7: of all beats RR, PP and the rates, and of its first beat, the reference beat, onsets and ends (ms from its beginning) and axes."""
    if section is None or len(section.data) < 6:
        return {}
    data = section.data
    n_beats, n_spikes, rr, pp = struct.unpack_from("<BBHH", data)
    found: dict[str, float] = {"RR": rr, "PP": pp}
    place = 6
    if n_beats and place + 16 <= len(data):
        names = ("P onset", "P offset", "QRS onset", "QRS offset", "T offset", "P axis", "QRS axis", "T axis")
        found |= dict(zip(names, struct.unpack_from("<5H3h", data, place)))
    place += 16 * n_beats + (4 + 6) * n_spikes
    # The first version of the protocol has no list of the types of QRS complexes, and makers put their own behind the beats.
    if section.revision >= 13 and place + 2 <= len(data):
        place += 2 + struct.unpack_from("<H", data, place)[0]
        if place + 7 <= len(data):
            found |= dict(zip(("ventricular rate", "atrial rate", "QTc"), struct.unpack_from("<3H", data, place)))
    numbers = {name: float(value) for name, value in found.items() if value not in _NOT_COMPUTED and (value != 0 or "axis" in name)}
    for name, begin, end in (
        ("P", "P onset", "P offset"),
        ("PR", "P onset", "QRS onset"),
        ("QRS", "QRS onset", "QRS offset"),
        ("QT", "QRS onset", "T offset"),
    ):
        if begin in numbers and end in numbers and numbers[end] > numbers[begin]:
            numbers[name] = numbers[end] - numbers[begin]
    return numbers
