"""What is written on a tracing: whose it is, when it was recorded, and how it is drawn. Plain text, from the record alone."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any

from einthoven.plot.sheet import Sheet
from einthoven.record import Record


def person(record: Record) -> str:
    """``patient 17 · 63 years · female``: only what is known."""
    parts = [f"patient {record.patient}"] if record.patient is not None else []
    age = number(record.meta.get("age"))
    parts += [f"{age:g} years"] if age is not None else []
    parts += [str(record.meta["sex"])] if record.meta.get("sex") else []
    return " · ".join(parts)


def when(meta: Mapping[str, Any]) -> str:
    """Date and time of the recording to the second, "" where the file names none."""
    time = meta.get("time")
    if time is None:
        return ""
    return str(time.isoformat(sep=" ", timespec="seconds")) if hasattr(time, "isoformat") else str(time).replace("T", " ")


def scale(record: Record, sheet: Sheet) -> str:
    """``25 mm/s   10 mm/mV   500 Hz   no filter   0–10 s of 30 s``"""
    shown = f"{sheet.stop - sheet.start:.4g} s"
    if sheet.start > 0 or sheet.stop < sheet.seconds - 0.5 / record.fs:
        shown = f"{sheet.start:.4g}–{sheet.stop:.4g} s of {sheet.seconds:.5g} s"
    return f"{sheet.speed:g} mm/s   {sheet.gain:g} mm/mV   {record.fs:g} Hz   no filter applied   {shown}"


def number(value: Any) -> float | None:
    """A finite number, or None for what is missing or is no number."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def printable(value: Any) -> str:
    """A value as text without control characters: neither XML nor a terminal should meet those of a file."""
    return "".join(c for c in str(value) if c in "\t\n" or unicodedata.category(c) not in ("Cc", "Cs"))


def one_line(value: Any, most: int) -> str:
    """Printable text on one line, cut off with an ellipsis after ``most`` characters."""
    words = printable(" ".join(str(value).split()))
    return words if len(words) <= most else words[: most - 1] + "…"


def markup(value: Any) -> str:
    """Any value as text inside HTML or SVG, or inside an attribute's quotes."""
    return escape(printable(value), quote=True)
