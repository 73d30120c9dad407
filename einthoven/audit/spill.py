"""Rows that are too many for memory: on disk by ranges of one of their numbers, and back again range after range.

A range that has more than LIMIT bytes when its turn comes is divided again, as often as is needed. What is in memory at once therefore depends neither
on how many rows there are nor on how they are spread, only on how many share one number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from einthoven.errors import StoreError

LIMIT = 16_000_000
"""Bytes of the rows that ``parts`` gives at once; who sorts them takes some six times as much."""

BUFFER = 8_000_000
"""Bytes that wait in memory until they are written, so that a file gets more than a few rows at a time."""

FAN, MOST = 64, 1024
"""Files into which rows are divided, at least and at most."""


class Spill:
    """Filled with ``add``, read once with ``parts``, which takes the files away behind it.

    folder     : is made; what lies there belongs to the spill alone
    dtype      : of the rows, a structure
    field      : the unsigned field by whose ranges they are kept apart; it lies in [low, end)
    n_expected : bytes that will come, about: in so many files that none need be divided again

    Raises StoreError where the disk is full.
    """

    def __init__(self, folder: Path, dtype: np.dtype, field: str, end: int, *, low: int = 0, n_expected: int = 0):
        self.folder, self.dtype, self.field, self.low = folder, dtype, field, low
        self.width = max(1, -(-(end - low) // min(max(FAN, 2 * n_expected // LIMIT), MOST)))
        self.n_bytes = 0
        """Bytes of all rows so far."""
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0
        folder.mkdir(exist_ok=True)

    def add(self, rows: np.ndarray) -> None:
        self._waiting.append(rows)
        self._n_waiting += rows.nbytes
        self.n_bytes += rows.nbytes
        if self._n_waiting >= BUFFER:
            self._write()

    def _write(self) -> None:
        if not self._n_waiting:
            return
        rows = np.concatenate(self._waiting)
        part = ((rows[self.field].astype(np.uint64) - np.uint64(self.low)) // np.uint64(self.width)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        rows, part = rows[order], part[order]
        begins = np.flatnonzero(np.diff(part, prepend=-1))
        try:
            for begin, stop in zip(begins.tolist(), [*begins[1:].tolist(), len(rows)]):
                with open(self._file(int(part[begin])), "ab") as file:
                    file.write(rows[begin:stop].tobytes())
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot be written ({error.strerror or error}); make room, or choose another folder for it"
            ) from error
        self._waiting, self._n_waiting = [], 0

    def _file(self, part: int) -> Path:
        return self.folder / f"{part:04d}.rows"

    def parts(self) -> Iterator[np.ndarray]:
        """All rows, those of one range at a time, ranges in rising order; within a range in the order in which they came."""
        self._write()
        for path in sorted(self.folder.glob("*.rows")):
            if path.stat().st_size <= LIMIT or self.width == 1:
                rows = np.fromfile(path, dtype=self.dtype)
                path.unlink()
                yield rows
                continue
            low = self.low + int(path.stem) * self.width
            finer = Spill(path.with_suffix(""), self.dtype, self.field, low + self.width, low=low)
            with open(path, "rb") as file:
                while len(rows := np.fromfile(file, dtype=self.dtype, count=LIMIT // self.dtype.itemsize)):
                    finer.add(rows)
            path.unlink()
            yield from finer.parts()
