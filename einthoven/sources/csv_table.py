"""The CSV tables that corpora come with: rows as text by the names of their columns, or one line that says what is wrong with the table.

A table of millions of rows, or one whose rows are looked up, is an ``indexed_table.IndexedTable``; the table of one's own labels is read by
``label_table``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from einthoven.errors import EinthovenError

_SHOWN = 12  # columns that an error names


def read_csv(table: Path, needed: Sequence[str], what: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a table in UTF-8 with commas and a header; a value that is not there is "".

    needed : columns that have to be there
    what   : what the table is, for who gave another: "PTB-XL's table"

    Raises EinthovenError where it cannot be read, or a column is missing.
    """
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            # Strict: a quotation mark that is never closed would swallow every row after it.
            rows = csv.reader(file, strict=True)
            names = [name.strip() for name in next(rows, [])]
            need_columns(table, names, needed, what)
            for row in rows:
                if row:
                    yield rows.line_num, dict(zip(names, row + [""] * (len(names) - len(row))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(table, error) from error


def need_columns(table: Path, there: Iterable[str], needed: Sequence[str], what: str) -> None:
    """Raises EinthovenError where a table lacks a column."""
    there = [name for name in there if name]
    if missing := [name for name in needed if name not in there]:
        has = ", ".join(there[:_SHOWN]) + (", …" if len(there) > _SHOWN else "")
        raise EinthovenError(f"{table}: lacks the column {', '.join(missing)}; expected {what}; it has {has or 'none'}.")


def unreadable(table: Path, error: Exception, where: str = "") -> EinthovenError:
    """The error for a table that cannot be read; ``where``: in which place of it."""
    reason = "it has bytes of another encoding" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
    return EinthovenError(f"{table}: cannot be read as a table in UTF-8{where}: {reason}; copy it again, or save it in UTF-8.")
