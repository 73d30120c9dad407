"""What a store's table says of single recordings in words, without reading the table of millions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("record", "patient", "labels", "label_system", "age", "sex", "time", "split", "meta")
GROUPS_KEPT = 16  # pieces of the table that stay in memory
AT_RANDOM = 256  # pieces read, after which these columns are read as a whole,
BYTES_KEPT = 1_000_000_000  # unless they have more bytes than this


class Entries:
    """``entries[row]``: the COLUMNS of a row, column -> value.

    A row is read with its neighbours, which are kept for a while. Who keeps asking for rows that are far from each other gets those columns
    into memory, once, where they are not too large for that.

    file : the table, open; ``lock`` is held while it is read, since a Parquet file has one reader at a time
    """

    def __init__(self, file: Any, lock: threading.Lock):
        self.file, self.lock = file, lock
        footer = file.metadata
        self.ends = np.cumsum([footer.row_group(group).num_rows for group in range(footer.num_row_groups)])  # the row behind each piece
        self.groups: OrderedDict[int, pa.Table] = OrderedDict()
        self.all: pa.Table | None = None
        self.n_misses = 0

    def __getitem__(self, row: int) -> dict[str, Any]:
        if self.all is not None:
            return self.all.slice(row, 1).to_pylist()[0]
        group = int(np.searchsorted(self.ends, row, side="right"))
        with self.lock:
            rows = self.groups.get(group)
            if rows is None:
                self.n_misses += 1
                rows = self.groups[group] = self.file.read_row_group(group, columns=list(COLUMNS), use_threads=False)
                while len(self.groups) > GROUPS_KEPT:
                    self.groups.popitem(last=False)
                if self.n_misses == AT_RANDOM and _n_bytes(self.file.metadata, COLUMNS) <= BYTES_KEPT:
                    self.all = self.file.read(columns=list(COLUMNS)).combine_chunks()
                    self.groups.clear()
            else:
                self.groups.move_to_end(group)
        first = int(self.ends[group - 1]) if group else 0
        return rows.slice(row - first, 1).to_pylist()[0]


def _n_bytes(footer: Any, names: Sequence[str]) -> int:
    """Bytes of these columns in the table, about as many as they take in memory."""
    wanted = [at for at in range(footer.num_columns) if footer.schema.column(at).path.split(".")[0] in names]
    return sum(footer.row_group(group).column(at).total_uncompressed_size for group in range(footer.num_row_groups) for at in wanted)
