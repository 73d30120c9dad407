"""The recordings of several stores numbered through, as an audit and its processes speak of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from einthoven.record import Record
from einthoven.store.read import Store


class Together:
    """Recordings of these stores by one number: those of the first store, then those of the second, …

    begins : (store + 1,) int64, the number of each store's first recording
    """

    def __init__(self, stores: Sequence[Store]):
        self.stores = tuple(stores)
        self.begins = np.concatenate([[0], np.cumsum([len(store) for store in stores])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.begins[-1])

    def place(self, number: int) -> tuple[int, int]:
        """Which store, and which row of it."""
        store = int(np.searchsorted(self.begins, number, side="right")) - 1
        return store, number - int(self.begins[store])

    def rows(self, store: int) -> slice:
        """The numbers of a store's recordings."""
        return slice(int(self.begins[store]), int(self.begins[store + 1]))

    def load(self, number: int) -> Record:
        """A recording with as much as looking at it needs: the signal, its leads and rate, and the rate at which it was recorded."""
        at, row = self.place(number)
        store = self.stores[at]
        codes, leads = store.codes("leads")
        signal = store.counts(row) * np.float32(store.column("microvolt_per_count")[row] / 1000)
        return Record(signal, store.fs, tuple(leads[codes[row]].split()), meta={"source_fs": float(store.column("source_fs")[row])})

    def texts(self, name: str, numbers: np.ndarray) -> list[str | None]:
        """A column of text for some recordings. The column of everybody is read, as Arrow, and let go of: as Python's strings it would stay, at some
        70 bytes a recording."""
        import pyarrow as pa

        found = np.empty(len(numbers), dtype=object)
        of_store = np.searchsorted(self.begins, numbers, side="right") - 1
        for at, store in enumerate(self.stores):
            mine = np.flatnonzero(of_store == at)
            if len(mine):
                column = store.take([name])[name]
                column = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
                found[mine] = column.take(pa.array(numbers[mine] - self.begins[at])).to_pylist()
        return found.tolist()
