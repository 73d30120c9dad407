"""The first sheet of an Excel workbook (.xlsx), as text: what a corpus's table needs, and nothing that a workbook could do.

An .xlsx is a zip of XML files (ECMA-376). Read are the values of cells; formulas, dates and formats are not. A workbook that is no honest
one (parts larger than ``LARGEST``, XML that declares entities) is refused before it is unfolded.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

from einthoven.errors import FormatError

LARGEST = 200_000_000  # bytes of one part, unfolded; the table of 45,000 recordings has 10 million
MOST_CELLS = 20_000_000
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, ElementTree.ParseError, EOFError),
    *(OSError, LookupError, ValueError, RuntimeError),  # no such file; a part or an encoding that is none; encrypted
)
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_WORKBOOK, _RELATIONS, _STRINGS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/sharedStrings.xml"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_sheet(path: Path) -> list[list[str]]:
    """The rows of the first sheet, each up to its last cell that has a value; "" for a cell without one. A whole number reads "81", not "81.0".

    Raises FormatError where the file is no such workbook, with the way out: its export as CSV.
    """
    try:
        with zipfile.ZipFile(path) as file:
            strings = [_text(entry) for entry in _part(file, path, _STRINGS).findall(f"{_MAIN}si")] if _STRINGS in file.namelist() else []
            sheet = _part(file, path, _first_sheet(file, path))
    except _DAMAGED as error:
        raise FormatError(f"{path}: cannot be read as an Excel workbook ({error}); save its first sheet as CSV beside it.") from error
    rows: list[list[str]] = []
    n_cells = 0
    for row in sheet.iter(f"{_MAIN}row"):
        values: list[str] = []
        for cell in row.findall(f"{_MAIN}c"):
            place = _column(cell.get("r"), len(values))
            n_cells += max(place + 1 - len(values), 0)
            if n_cells > MOST_CELLS:  # a few bytes can name a cell in the 18,000th column
                raise FormatError(f"{path}: its first sheet has more than {MOST_CELLS:,} cells; save it as CSV beside it.")
            values += [""] * (place + 1 - len(values))
            values[place] = _value(cell, strings, path)
        rows.append(values)
    return rows


def _part(file: zipfile.ZipFile, path: Path, name: str) -> ElementTree.Element:
    if file.getinfo(name).file_size > LARGEST:
        raise FormatError(f"{path}: its part {name} has more than {LARGEST // 1_000_000} MB; save its first sheet as CSV beside it.")
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(file.read(name), forbid_dtd=True)
    except DefusedXmlException as error:  # entities can unfold to gigabytes
        raise FormatError(
            f"{path}: its part {name} declares XML entities, which no workbook needs; save its first sheet as CSV beside it."
        ) from error


def _first_sheet(file: zipfile.ZipFile, path: Path) -> str:
    sheet = _part(file, path, _WORKBOOK).find(f"{_MAIN}sheets/{_MAIN}sheet")
    if sheet is None:
        raise FormatError(f"{path}: has no sheet; save its table as CSV beside it.")
    for relation in _part(file, path, _RELATIONS):
        if relation.get("Id") == sheet.get(_ID):
            target = relation.get("Target", "")
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    raise FormatError(f"{path}: names a first sheet that is not in it; save its table as CSV beside it.")


def _column(reference: str | None, following: int) -> int:
    """``AB12`` -> 27; a cell without a reference follows the one before."""
    letters = re.match(r"[A-Z]{1,3}", reference or "")
    if letters is None:
        return following
    number = 0
    for letter in letters[0]:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element, strings: list[str], path: Path) -> str:
    kind, value = cell.get("t", "n"), cell.findtext(f"{_MAIN}v") or ""
    if kind == "inlineStr":
        inline = cell.find(f"{_MAIN}is")
        return "" if inline is None else _text(inline)
    if kind == "s":
        try:
            return strings[int(value)]
        except (ValueError, IndexError):
            raise FormatError(
                f"{path}: cell {cell.get('r')} names a text that is not in it; save its first sheet as CSV beside it."
            ) from None
    return value[:-2] if kind == "n" and value.endswith(".0") else value


def _text(entry: ElementTree.Element) -> str:
    """Text of a string, its runs of different formats joined; phonetic hints (``rPh``) are not part of it."""
    plain = entry.findtext(f"{_MAIN}t")
    return (plain or "") + "".join(run.findtext(f"{_MAIN}t") or "" for run in entry.findall(f"{_MAIN}r"))
