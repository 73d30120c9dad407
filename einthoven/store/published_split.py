"""A split that somebody published as a table, given to a store: ``meta_split_mimic_iv_ecg.csv`` and ``meta_split_physionet.csv`` of
ECG-FM, or anybody's.

ECG-FM drew its parts without a seed, so that these tables are the only way to the same ones. A row names a recording by ``save_file``,
``<source>_<record>.mat``, where ``<record>`` is the record's name or its path below the corpus's folder with ``_`` for ``/``; or by
``record``, which is the store's own name for it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.layout import SPLITS

ABSENT = ("none", "keep", *SPLITS)
SHARED = ("refuse", "allow")
_NAMES = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "test": "test"}


def split_from_table(
    store: Any, csv_file: Path | str, *, absent: str = "none", shared: str = "refuse"
) -> tuple[np.ndarray, dict[str, Any]]:
    """A "train", "valid", "test" or None for every row of a store, and the rule in words, for ``split.assign``: (row,) object, dict.

    csv_file : with a column ``split``, and ``save_file`` or ``record``
    absent   : recordings that the table does not name: "none" puts them in no part (ECG-FM's tables leave out recordings with missing or
               constant leads, and nothing was trained or tested on those), "keep" leaves them where they are (those of another corpus in
               the store), or a part takes them
    shared   : "refuse" a table that puts recordings of one patient on two sides (ECG-FM's table of PhysioNet 2021 was drawn by recording),
               or "allow" it: all recordings of such a patient go to the side on which most of them are, so that no patient stands on two

    Raises StoreError where the table cannot be understood, names a recording twice, names none of the store's, or shares patients.
    """
    path = Path(csv_file)
    if absent not in ABSENT or shared not in SHARED:
        raise StoreError(f"expected absent as one of {', '.join(ABSENT)} and shared as one of {', '.join(SHARED)}; got {absent}, {shared}")
    rows = _Rows(store)
    column = np.full(len(store), None, dtype=object)
    line_of: dict[int, int] = {}
    n_lines = n_unknown = 0
    for line, name, part in _read(path):
        n_lines += 1
        row = rows.find(name, path, line)
        if row is None:
            n_unknown += 1
            continue
        if row in line_of:
            raise StoreError(f"{path}, line {line}: {name} is the recording of line {line_of[row]} a second time")
        line_of[row], column[row] = line, part
    if not line_of:
        raise StoreError(f"{path}: none of its {n_lines} recordings is in {store.path}; is it the table of another corpus?")
    n_absent = len(store) - len(line_of)
    if absent != "none":
        rest = [row for row in range(len(store)) if row not in line_of]
        column[rest] = store.column("split")[rest] if absent == "keep" else absent
    n_moved = _keep_patients_together(store, column, shared, path)
    rule = {
        **{"strategy": "table", "table": path.name, "named": len(line_of), "absent": n_absent, "absent_are": absent},
        **{"not_in_the_store": n_unknown, "moved_to_keep_patients_together": n_moved},
    }
    return column, rule


class _Rows:
    """Finds the row of the store that a name in such a table means."""

    def __init__(self, store: Any):
        self.path = store.column("path").tolist()
        self.by_record: dict[str, list[int]] = {}
        self.by_file: dict[str, list[int]] = {}
        for row, (record, path) in enumerate(zip(store.column("record").tolist(), self.path)):
            self.by_record.setdefault(record.replace("/", "_"), []).append(row)
            self.by_file.setdefault(PurePosixPath(path).stem, []).append(row)

    def find(self, name: str, path: Path, line: int) -> int | None:
        """The row whose record, or else whose file, is the longest end of the name; what stands before it is the name of a source, and
        folders."""
        stem = name.removesuffix(".mat")
        words = stem.split("_")
        for known in (self.by_record, self.by_file):
            for at in range(len(words)):
                found = known.get("_".join(words[at:]), [])
                if len(found) > 1:  # of one name in several folders: the one whose folders stand in the name, too
                    depth = [self._depth(row, stem) for row in found]
                    found = [row for row, one in zip(found, depth) if one == max(depth)]
                if len(found) > 1:
                    raise StoreError(
                        f"{path}, line {line}: {name} may be any of {len(found)} recordings of the store; name them by a column record"
                    )
                if found:
                    return found[0]
        return None

    def _depth(self, row: int, stem: str) -> int:
        """How many parts of a row's path, from its end, a name ends with."""
        parts = PurePosixPath(self.path[row]).with_suffix("").parts
        return sum(stem.endswith("_".join(parts[at:])) for at in range(len(parts)))


def _read(path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or []
            key = next((name for name in ("save_file", "record") if name in columns), None)
            if key is None or "split" not in columns:
                raise StoreError(f"{path}: expected the columns split, and save_file or record; it has {', '.join(columns) or 'none'}")
            for row in table:
                name, part = (row[key] or "").strip(), (row["split"] or "").strip()
                if part.lower() not in _NAMES or not name:
                    raise StoreError(
                        f"{path}, line {table.line_num}: expected a recording and train, valid or test; got {name!r}, {part!r}"
                    )
                yield table.line_num, name, _NAMES[part.lower()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read as a table of a split ({error}); expected CSV in UTF-8") from error


def _keep_patients_together(store: Any, column: np.ndarray, shared: str, path: Path) -> int:
    """Recordings that changed sides so that no patient stands on two; changes ``column``. Raises StoreError where that is not allowed."""
    person, known = store.patient_number, np.array([name is not None for name in store.column("patient").tolist()], dtype=bool)
    sides: dict[int, Counter[str]] = {}
    for number, part in zip(person[known].tolist(), column[known].tolist()):
        if part is not None:
            sides.setdefault(number, Counter())[part] += 1
    torn = {number: parts for number, parts in sides.items() if len(parts) > 1}
    if torn and shared == "refuse":
        example = store.column("patient")[int(np.flatnonzero(known & (person == next(iter(torn))))[0])]
        raise StoreError(
            f"{path}: puts {len(torn)} patients on two sides, for one {example}, so that a test would meet people of the training; "
            "allow it (each such patient goes where most of the recordings are), or split by patient"
        )
    n_moved = 0
    for number, parts in torn.items():
        best = max(SPLITS, key=lambda name: parts[name])  # of equals the first: training
        rows = np.flatnonzero(known & (person == number))
        for row in rows.tolist():
            if column[row] is not None and column[row] != best:
                column[row] = best
                n_moved += 1
    return n_moved
