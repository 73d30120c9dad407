"""A CSV table of any length, whose rows are read from the disk when they are asked for by their id: 16 bytes of memory a row."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.sources.csv_table import need_columns, unreadable


class IndexedTable:
    """A table with a column of whole numbers that finds its rows.

    path    : UTF-8, a header, commas; a value may hold line breaks in quotation marks
    key     : the column that finds rows; a number may stand in several
    columns : further columns that have to be there
    what    : what the table is, for who gave another

    Raises EinthovenError where the file cannot be read as that. Close it, or use it in ``with``.
    """

    def __init__(self, path: Path, key: str, columns: Sequence[str] = (), what: str = "another table"):
        self.path, self.key, self.what = path, key, what
        try:
            self._file = open(path, "rb")
        except OSError as error:
            raise unreadable(path, error) from error
        self._at = self._next = 0
        try:
            self.columns = self._header(columns)
            self._first = self._next
            keys, places = array("q"), array("q")
            place = self.columns.index(key)
            for row in self._rows():
                keys.append(self._number(row, place))
                places.append(self._at)
        except BaseException:
            self._file.close()
            raise
        order = np.argsort(np.asarray(keys, dtype=np.int64), kind="stable")
        self.keys = np.asarray(keys, dtype=np.int64)[order]
        """Every row's number, in ascending order."""
        self._places = np.asarray(places, dtype=np.int64)[order]

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        place = int(np.searchsorted(self.keys, key))
        return place < len(self.keys) and bool(self.keys[place] == key)

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Every row in the file's order; rows may be looked up meanwhile."""
        place = self._first
        while True:
            self._seek(place)
            row = next(self._rows(), None)
            if row is None:
                return
            place = self._next
            yield self._named(row)

    def rows(self, key: int) -> list[dict[str, str]]:
        """The rows with this number, in the file's order."""
        first, last = np.searchsorted(self.keys, [key, key + 1])
        found = []
        for place in self._places[first:last]:
            self._seek(int(place))
            found.append(self._named(next(self._rows())))
        return found

    def row(self, key: int) -> dict[str, str] | None:
        """The first row with this number; None where there is none."""
        return next(iter(self.rows(key)), None)

    def twice(self) -> set[int]:
        """The numbers that stand in several rows."""
        return set(self.keys[1:][self.keys[1:] == self.keys[:-1]].tolist())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> IndexedTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _header(self, columns: Iterable[str]) -> list[str]:
        names = [name.strip() for name in next(self._rows(), [])]
        if names:
            names[0] = names[0].removeprefix("\ufeff")
        need_columns(self.path, names, (self.key, *columns), self.what)
        return names

    def _seek(self, place: int) -> None:
        self._next = place
        self._file.seek(place)

    def _rows(self) -> Iterator[list[str]]:
        """Rows from where the file stands; ``_at`` is where the last one began, ``_next`` where it ended. Empty lines are passed over."""
        while True:
            self._at = self._next
            try:
                row = next(csv.reader(self._lines(), strict=True))
            except StopIteration:
                return
            except (csv.Error, UnicodeDecodeError) as error:
                raise unreadable(self.path, error, f" from byte {self._at} on") from error
            if row:
                yield row

    def _lines(self) -> Iterator[str]:
        while line := self._file.readline():
            self._next += len(line)
            yield line.decode("utf-8")

    def _number(self, row: list[str], place: int) -> int:
        try:
            return int(row[place])
        except (ValueError, IndexError):
            text = row[place] if place < len(row) else ""
            raise EinthovenError(
                f"{self.path}: expected a whole number in the column {self.key}; got {text[:40]!r} in the row at byte {self._at}."
            ) from None

    def _named(self, row: list[str]) -> dict[str, str]:
        return {name: value.strip() for name, value in zip(self.columns, row + [""] * (len(self.columns) - len(row)))}
