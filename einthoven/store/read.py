"""Opening a store: a plain map-style data set that gives NumPy."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record
from einthoven.store.columns import as_numpy, codes_and_words, moments_by_lead, patient_numbers, sets_of_labels
from einthoven.store.entries import Entries
from einthoven.store.layout import COUNTED, TABLE, read_facts, store_location
from einthoven.store.shards import Shards

if TYPE_CHECKING:
    import pyarrow as pa

    from einthoven.store.cache import Cache


class Store:
    """A finished store: ``len(store)`` recordings, ``store[i]`` one of them.

    path   : its folder, or the URL of one in an object store (``s3://bucket/store``; einthoven.store.remote)
    access : how shards are read: ``mmap``, ``pread``, or ``auto``, what suits their size (einthoven.store.shards)
    cache  : of a store at a URL: where and how much of it is kept on this machine (einthoven.store.cache.Cache)

    Opening reads store.json and the table's footer; columns are read when they are first asked for. The store that was opened
    stays as it is while a corpus is appended to it. A pickled store opens its files again where it arrives. Raises StoreError
    when there is no store, it is damaged, or of another version.
    """

    def __init__(self, path: Path | str, access: str = "auto", cache: Cache | None = None):
        place = store_location(path)
        self.remote: Any = None
        if isinstance(place, str):
            from einthoven.store.remote import Remote

            self.remote = Remote(place, cache)
            place = self.remote.folder
        elif cache is not None:
            raise StoreError(f"{place} is a folder of this machine and needs no cache")
        self.path = place
        self.facts: Mapping[str, Any] = read_facts(self.path, shards=self.remote is None)
        self.shards = Shards(self.path, self.facts["shards"], access, self.remote)
        self.fs = float(self.facts["signal"]["fs"])
        self._n = int(self.facts["counts"]["records"])
        self._forget()
        metadata = self._file.metadata.metadata or {}
        if self._file.metadata.num_rows != self._n and self._n not in json.loads(metadata.get(COUNTED, b"[]")):
            raise StoreError(
                f"{self.path / TABLE} has {self._file.metadata.num_rows} rows where {self._n} were written; make the store again"
            )
        self.split_rule: Mapping[str, Any] = json.loads(metadata.get(b"split", b"{}"))

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        where = self.remote.url if self.remote else str(self.path)
        return f"Store({where!r}: {self._n} recordings at {self.fs:g} Hz, {self.facts['source']['name']})"

    def _forget(self) -> None:
        """Nothing read yet: what a store begins with, and one that comes out of a pickle."""
        self._columns: dict[str, np.ndarray] = {}
        self._codes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._label_sets: tuple[np.ndarray, list[dict[str, float] | None]] | None = None
        self._lock = threading.Lock()  # one reader of a Parquet file at a time

    def __getstate__(self) -> dict[str, Any]:
        read = ("_columns", "_codes", "_label_sets", "_lock", "_file", "_entries", "table", "patient_number")
        return {name: value for name, value in self.__dict__.items() if name not in read}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    # ---------------------------------------------------------------------------------------------------------------- table

    @cached_property
    def _file(self) -> Any:
        """The table, open: rows and columns that are read later are those of the moment of opening, whoever puts another in its place."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path / TABLE, memory_map=True)
        except pa.ArrowInvalid as error:
            raise StoreError(
                f"{self.path / TABLE} is damaged ({error}); copy the store again, or make it again with `einthoven ingest`"
            ) from error

    @cached_property
    def _entries(self) -> Entries:
        return Entries(self._file, self._lock)

    @property
    def names(self) -> list[str]:
        """Names of the table's columns; no row is read."""
        return self._file.schema_arrow.names

    @cached_property
    def table(self) -> pa.Table:
        """The whole table, a row per recording (columns: einthoven.store.layout.schema). With millions of rows: gigabytes; see ``take``."""
        return self.take(None)

    def take(self, names: Sequence[str] | None) -> pa.Table:
        """These columns of the table, all rows; None: every column."""
        file = self._file
        for name in names or ():
            if name not in self.names:
                raise StoreError(f"{self.path} has no column {name!r}; it has {', '.join(self.names)}")
        with self._lock:
            table = file.read(columns=None if names is None else list(names))
        return table.slice(0, self._n)  # behind these: rows of a corpus that is just being appended

    def column(self, name: str) -> np.ndarray:
        """One column as NumPy, (row,): numbers with NaN, times with NaT, text as objects with None. Not for nested columns."""
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> np.ndarray:
        import pyarrow as pa

        if name not in self.names:
            raise StoreError(f"{self.path} has no column {name!r}; it has {', '.join(self.names)}")
        kind = self._file.schema_arrow.field(name).type
        if pa.types.is_dictionary(kind):
            codes, words = self.codes(name)
            return words[codes]
        if pa.types.is_nested(kind):
            raise StoreError(
                f"column {name!r} holds a list for each recording; take it from store.table, or use store.statistics and store.labels"
            )
        return as_numpy(self.take([name])[name])

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of text by numbers: (row,) int32, and the words that they mean, of which the last is None. Small and quick where
        millions of rows hold few words."""
        if name not in self._codes:
            self._codes[name] = codes_and_words(self.take([name])[name])
        return self._codes[name]

    def statistics(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and SD in mV of every stored lead, one recording after the other, and where each recording begins: (n,), (n,), (row + 1,)."""
        table = self.take(["mean", "sd"])
        return moments_by_lead(table["mean"], table["sd"])

    def label_sets(self) -> tuple[np.ndarray, list[dict[str, float] | None]]:
        """The different sets of labels, and which of them each recording has: (row,) int64, list of code -> value (None: unlabelled)."""
        if self._label_sets is None:
            self._label_sets = sets_of_labels(self.take(["labels"])["labels"])
        return self._label_sets

    def labels(self) -> list[dict[str, float] | None]:
        """Labels of each recording: code -> 1.0, 0.0 or NaN; None where nobody labelled it. Recordings may share a dict."""
        which, sets = self.label_sets()
        return [sets[number] for number in which.tolist()]

    @cached_property
    def patient_number(self) -> np.ndarray:
        """(row,) int64: equal for recordings of one patient of one source; a recording without patient has a number of its own."""
        import pyarrow.parquet as pq

        # By dictionaries, as they lie in the file: a person's name is met once for each piece of the table, not once for each row.
        file = pq.ParquetFile(self.path / TABLE, memory_map=True, read_dictionary=["patient"])
        source, words = self.codes("source")
        return patient_numbers(file.read(columns=["patient"])["patient"].slice(0, self._n), source, len(words) - 1)

    def where(self, **values: Any) -> np.ndarray:
        """Row numbers of the recordings whose columns have these values (one, or any of several): ``store.where(split="train")``."""
        import pyarrow as pa

        mask = np.ones(self._n, dtype=bool)
        for name, wanted in values.items():
            some = {wanted} if isinstance(wanted, str) or not isinstance(wanted, Sequence) else set(wanted)
            if name in self.names and pa.types.is_dictionary(self._file.schema_arrow.field(name).type):
                codes, words = self.codes(name)
                mask &= np.array([word in some for word in words.tolist()], dtype=bool)[codes]
            else:
                mask &= np.array([value in some for value in self.column(name).tolist()], dtype=bool)
        return np.flatnonzero(mask)

    # -------------------------------------------------------------------------------------------------------------- signals

    def counts(self, row: int) -> np.ndarray:
        """The stored leads of a recording: (lead, time) int16, read-only."""
        codes, words = self.codes("leads")
        n_leads, n_samples = len(words[codes[row]].split()), int(self.column("n_samples")[row])
        shard, offset = int(self.column("shard")[row]), int(self.column("offset")[row])
        return self.shards.alone(shard, offset, n_leads * n_samples).reshape(n_leads, n_samples)

    def shard(self, number: int) -> np.ndarray:
        """All counts of a shard, read-only: (n,) int16; memory-mapped, or where they are read with ``pread`` a copy."""
        return self.shards.whole(number)

    def read(self, shard: int, offset: int, n: int) -> np.ndarray:
        """``n`` counts of a shard from ``offset`` on."""
        return self.shards.read(shard, offset, n)

    def record(self, row: int) -> Record:
        """A recording with all that the store knows of it, every stored lead in mV."""
        row = self._counted(row)
        return self._record(row, self._entries[row])

    def _counted(self, row: int) -> int:
        """A row counted from the first one, as from the last one where it is negative."""
        if not -self._n <= row < self._n:
            raise IndexError(f"row {row} of a store with {self._n}")
        return row % self._n

    def _record(self, row: int, entry: Mapping[str, Any]) -> Record:
        meta = json.loads(entry["meta"]) if entry["meta"] else {}
        meta |= {name: entry[name] for name in ("age", "sex", "time") if entry[name] is not None}
        codes, words = self.codes("leads")
        return Record(
            self.counts(row) * np.float32(float(self.column("microvolt_per_count")[row]) / 1000),
            self.fs,
            tuple(words[codes[row]].split()),
            entry["record"],
            entry["patient"],
            None if entry["labels"] is None else dict(entry["labels"]),
            entry["label_system"],
            meta,
        )

    def __getitem__(self, row: int) -> dict[str, Any]:
        """A recording in the standard twelve leads: ``ecg (lead=12, time)`` float32 mV, NaN for a lead that is not there; ``fs``,
        ``leads``, ``record``, ``patient``, ``labels``, ``label_system``, ``split``, ``meta``."""
        row = self._counted(row)
        entry = self._entries[row]
        record = self._record(row, entry)
        ecg = np.full((len(TWELVE), record.signal.shape[1]), np.nan, dtype=np.float32)
        for name, lead in zip(record.leads, record.signal):
            if canonical(name) in TWELVE:
                ecg[TWELVE.index(canonical(name))] = lead
        return {
            "ecg": ecg,
            "fs": self.fs,
            "leads": TWELVE,
            "record": record.record,
            "patient": record.patient,
            "labels": record.labels,
            "label_system": record.label_system,
            "split": entry["split"],
            "meta": record.meta,
        }
