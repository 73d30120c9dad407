"""How a text table is laid out: separator, decimal sign, header, units, first row of numbers; and whether a text is such a table at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from einthoven.io.channels import ecg_leads
from einthoven.io.units import in_millivolt
from einthoven.leads import canonical
from einthoven.record import Record

MISSING = ("", "nan", "NaN", "NAN", "na", "NA", "N/A", "null", "NULL", "None", "none", "-", "--", "?", "#N/A")
_NUMBER = r"\s*[-+]?(?:\d+{0}?\d*|{0}\d+)(?:[eE][-+]?\d{{1,3}})?\s*"
_CELLS = {sign: re.compile(_NUMBER.format(re.escape(sign))) for sign in ".,"}
CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d\d(?:[.,]\d+)?)")
_TIMES = re.compile(r"(?:(?:elapsed|relative)[ _]?)?(?:time|zeit|tijd|temps|tiempo|tempo|timestamp|t)(?:[ _](?P<unit>s|sec|seconds|ms|us))?|(?P<alone>s|sec|seconds?|ms|milliseconds?)")  # fmt: skip
_INDICES = re.compile(r"(?:unnamed: 0|index|idx|n|nr|no|#|samples?(?:[ _]?(?:number|index|no|nr|#))?|)")
_GENERIC = re.compile(r"(?:ch|chan|channel|lead|signal|sig|ecg|ekg|col|column|value|voltage|amplitude|x|y|f|v)?[ _.-]*\d*")
_UNIT = re.compile(r"(?P<name>.*?)\s*[\[({]\s*(?P<unit>[^\])}]*?)\s*[\])}]\s*")
_SUFFIX = re.compile(r"(?P<name>.+?)[ _./](?P<unit>[numµμ]?V|(?:micro|milli)?volts?)", re.IGNORECASE)
_SECONDS = dict.fromkeys(("s", "sec", "second", "seconds", "hh:mm:ss.mmm", "h:mm:ss.mmm", "mm:ss.mmm"), "s")
_SECONDS |= dict.fromkeys(("ms", "millisecond", "milliseconds"), "ms") | dict.fromkeys(("us", "µs"), "us")
LEAST_ROWS, LEAST_WIDE, MOST_PREAMBLE = 5, 50, 60


@dataclass(frozen=True)
class Column:
    """What a header says of a column. ``kind`` is "lead", "time" or "index"; ``unit`` is None where it says none."""

    name: str
    unit: str | None
    kind: str


@dataclass(frozen=True)
class Layout:
    """``separator`` is None for blanks; ``columns`` is None without a header; ``first`` is the first line of numbers.

    is_wide  : a row is a lead (its name may stand first), not an instant
    is_clock : the first column has times such as 0:00.004, as PhysioNet's rdsamp writes them
    """

    separator: str | None
    decimal: str
    columns: tuple[Column, ...] | None
    first: int
    is_wide: bool = False
    is_clock: bool = False


def is_table(text: str) -> bool:
    """Whether a text that begins so (4 kB) is a table of signals: rows of numbers, with a header that names leads or none that names anything.

    Tables of labels, lists of records, JSON and prose are not.
    """
    return layout_of(text, is_cut=True) is not None


def layout_of(text: str, is_cut: bool) -> Layout | None:
    """The layout of a text of which at most the beginning is given; None where it is no table of signals."""
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[", "<")):
        return None
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff").removeprefix("ï»¿"))
    if (wide := _wide(lines, is_cut)) is not None:
        return wide
    if is_cut and len(lines) > LEAST_ROWS + 1:
        lines.pop()
    for separator, decimal in (
        ("\t", "."),
        (";", "."),
        ("\t", ","),
        (";", ","),
        (",", "."),
        (None, "."),
        (None, ","),
        ("", "."),
        ("", ","),
    ):
        if (found := _long(lines, separator, decimal)) is not None:
            return found
    return None


def split(line: str, separator: str | None) -> list[str]:
    """The cells of a line; a separator "" is none at all."""
    cells = line.split() if separator is None else line.split(separator) if separator else [line]
    return [cell.strip().strip('"').strip("'").strip() for cell in cells]


def _long(lines: list[str], separator: str | None, decimal: str) -> Layout | None:
    """A row is an instant. The numbers begin after the last line that has something else in it."""
    first, width = len(lines), 0
    rows: list[list[str]] = []
    is_clock = False
    for at in range(len(lines) - 1, -1, -1):
        if not lines[at].strip() and (rows or at > 0):
            if rows and len(rows) < LEAST_ROWS:
                return None
            continue
        cells = split(lines[at], separator)
        if len(cells) > 1 and (not rows or is_clock) and CLOCK.fullmatch(cells[0]):
            cells, is_clock = ["0", *cells[1:]], True
        if (width and len(cells) != width) or not _all_numbers(cells, decimal):
            break
        width, first = len(cells), at
        rows.append(cells)
    if len(rows) < LEAST_ROWS or (width == 1) != (separator == "") or first > MOST_PREAMBLE:
        return None
    above = [at for at in range(first) if lines[at].strip()]
    if separator == "," and width == 2 and above and len(split(lines[above[-1]], separator)) == 1:
        return None  # one column under its name: the comma is the decimal sign
    columns = _header(lines, above, separator, width)
    if columns is None and rows[-1] == [str(k) for k in range(width)] and width > 1:  # column numbers of a data frame without names
        first += 1
        rows.pop()
    if columns is None and decimal == "," and separator == "":
        return None  # "0,5" alone may be one number or two
    if separator in (None, "") and columns is None and above and any("," in lines[at] for at in above[-1:]):
        return None
    if not _is_signal(rows, columns, decimal):
        return None
    if is_clock and (columns is None or columns[0].kind != "time"):
        return None
    return Layout(separator, decimal, columns, first, is_clock=is_clock)


def _wide(lines: list[str], is_cut: bool) -> Layout | None:
    """A row is a lead. One line of it may be longer than what is seen of the file."""
    at = next((at for at, line in enumerate(lines) if line.strip()), None)
    if at is None:
        return None
    for separator, decimal in (("\t", "."), (";", "."), (";", ","), ("\t", ","), (",", "."), (None, ".")):
        cells = split(lines[at], separator)
        seen = cells[1:-1] if is_cut and len(lines) == at + 1 else cells[1:]
        named = not _all_numbers(cells[:1], decimal)
        if len(cells) >= LEAST_WIDE and _all_numbers(seen, decimal) and (not named or is_lead(column_of(cells[0]).name)):
            if seen != [str(k) for k in range(1, len(seen) + 1)] and not set(seen) <= {"0", "1", "0.0", "1.0", *MISSING}:
                return Layout(separator, decimal, None, at, is_wide=True)
    return None


def _header(lines: list[str], above: list[int], separator: str | None, width: int) -> tuple[Column, ...] | None:
    """The line above the numbers, and a line of units between the two where there is one."""
    rows = [split(lines[at].lstrip("# "), separator) for at in above[-2:]]
    if not rows or len(rows[-1]) != width:
        return None
    units = None
    if len(rows) == 2 and len(rows[0]) == width and all(_is_unit(cell) for cell in rows[1]):
        units, rows = [cell.strip("()[] ") for cell in rows[1]], rows[:1]
    columns = [column_of(cell) for cell in rows[-1]]
    if units is not None:
        columns = [
            Column(c.name, c.unit or (_SECONDS.get(unit, unit) if c.kind == "time" else unit) or None, c.kind)
            for c, unit in zip(columns, units)
        ]
    return tuple(columns)


def column_of(cell: str) -> Column:
    """What a header's cell says: ``II (mV)``, ``II [uV]``, ``II_uV``, ``time (s)``, ``ms``, an index without a name."""
    text = cell.strip().strip("\"'# ")
    name, unit = text, None
    if (found := _UNIT.fullmatch(text)) is not None and not found["unit"].isdigit():
        name, unit = found["name"], found["unit"]
    elif (found := _SUFFIX.fullmatch(text)) is not None and in_millivolt(found["unit"]) is not None:
        name, unit = found["name"], found["unit"]
    if (time := _TIMES.fullmatch(name.lower())) is not None:
        unit = unit or time["unit"] or time["alone"]
        return Column(name, _SECONDS.get(unit.lower(), unit) if unit else None, "time")
    name = "ECG" if name.lower() in ("ecg", "ekg") else name
    return Column(name, unit or None, "index" if _INDICES.fullmatch(name.lower()) and unit is None else "lead")


def is_lead(name: str) -> bool:
    """Whether a name is one that a lead of an ECG has, in any spelling."""
    known = canonical(name)
    # A second name that no lead has: alone, any name would pass for an ECG.
    return ecg_leads(Record(np.empty((2, 0)), 1.0, (known, f"{known}?"))) == (known,)


def is_generic(name: str) -> bool:
    """Whether a column's name says nothing (``ch1``, ``signal 3``), so that lead names may be told from outside."""
    return _GENERIC.fullmatch(name.lower()) is not None and not is_lead(name)


def _is_unit(cell: str) -> bool:
    cell = cell.strip("()[]'\" ")
    return not cell or in_millivolt(cell) is not None or cell.lower() in _SECONDS or cell in ("NU", "mmHg", "%", "a.u.")


def _all_numbers(cells: list[str], decimal: str) -> bool:
    return (
        bool(cells) and all(cell in MISSING or _CELLS[decimal].fullmatch(cell) for cell in cells) and any(c not in MISSING for c in cells)
    )


def _is_signal(rows: list[list[str]], columns: tuple[Column, ...] | None, decimal: str) -> bool:
    """Not a table of labels: a lead is named, or no column has a name that says anything and the numbers are more than yes and no."""
    if columns is not None and any(column.kind == "lead" and is_lead(column.name) for column in columns):
        return True
    if columns is not None and not all(column.kind != "lead" or is_generic(column.name) for column in columns):
        return False
    if columns is not None and all(column.kind != "lead" for column in columns):
        return False
    values = [float(cell.replace(decimal, ".")) for cells in rows for cell in cells if cell not in MISSING]
    if set(values) <= {0.0, 1.0}:
        return False
    # One column of whole numbers that only grow: R peaks, or names of records.
    is_list = len(rows[0]) == 1 and all(value.is_integer() for value in values)
    return not (is_list and (values == sorted(values) or values == sorted(values, reverse=True)))
