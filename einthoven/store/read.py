"""Opening a store: a plain map-style data set that gives NumPy."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record
from einthoven.store.distinct import distinct
from einthoven.store.layout import COUNTED, TABLE, read_facts, store_location
from einthoven.store.shards import Shards

if TYPE_CHECKING:
    import pyarrow as pa

_OF_A_RECORD = ["record", "patient", "labels", "label_system", "age", "sex", "time", "split", "meta"]
_GROUPS_KEPT = 16  # pieces of the table that stay in memory for reading records one by one
_AT_RANDOM = 256  # pieces read for single records, after which these columns are read as a whole,
_WORDS_KEPT = 1_000_000_000  # unless they have more bytes than this


class Store:
    """A finished store: ``len(store)`` recordings, ``store[i]`` one of them.

    path   : its folder, or the URL of one in an object store (``s3://bucket/store``; einthoven.store.remote)
    access : how shards are read: ``mmap``, or ``pread`` for network file systems on which memory maps stall
    cache  : of a store at a URL: where and how much of it is kept on this machine (einthoven.store.remote.Cache)

    Opening reads store.json and the table's footer; columns are read when they are first asked for. The store that was opened
    stays as it is while a corpus is appended to it. A pickled store opens its files again where it arrives. Raises StoreError
    when there is no store, it is damaged, or of another version.
    """

    def __init__(self, path: Path | str, access: str = "mmap", cache: Any = None):
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
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        self._words: pa.Table | None = None
        self._n_misses = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        read = (
            "_columns",
            "_codes",
            "_groups",
            "_words",
            "_n_misses",
            "_lock",
            "_file",
            "_group_ends",
            "table",
            "patient_number",
        )
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
        with self._lock:  # one reader of a Parquet file at a time
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
        return _numbers(self.take([name])[name])

    def codes(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of text by numbers: (row,) int32, and the words that they mean, of which the last is None. Small and quick where
        millions of rows hold few words."""
        import pyarrow as pa

        if name not in self._codes:
            column = self.take([name])[name]
            if not pa.types.is_dictionary(column.type):
                column = column.combine_chunks().dictionary_encode()
            column = column.unify_dictionaries() if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
            words = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
            codes = np.concatenate([_indices(chunk, len(words)) for chunk in column.chunks] or [np.empty(0, np.int32)])
            self._codes[name] = codes, np.array([*words, None], dtype=object)
        return self._codes[name]

    def statistics(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and SD in mV of every stored lead, one recording after the other, and where each recording begins: (n,), (n,), (row + 1,)."""
        table = self.take(["mean", "sd"])
        flat = [
            np.concatenate([chunk.flatten().to_numpy() for chunk in table[name].chunks] or [np.empty(0, np.float32)])
            for name in ("mean", "sd")
        ]
        lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in table["mean"].chunks] or [np.empty(0, np.int64)])
        return flat[0], flat[1], np.concatenate([[0], np.cumsum(lengths)])

    def label_sets(self) -> tuple[np.ndarray, list[dict[str, float] | None]]:
        """The different sets of labels, and which of them each recording has: (row,) int64, list of code -> value (None: unlabelled)."""
        column = self.take(["labels"])["labels"].combine_chunks()
        keys = column.keys.dictionary_encode()
        codes, values = keys.indices.to_numpy(), column.items.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        offsets, missing = column.offsets.to_numpy(), column.is_null().to_numpy(zero_copy_only=False)
        # bit by bit, since NaN (uncertain) is not equal to itself; ingest sorted the codes
        which, first = distinct(offsets, codes.astype(np.int32, copy=False), values, apart=missing)
        names = keys.dictionary.to_pylist()
        sets: list[dict[str, float] | None] = []
        for row in first.tolist():
            there = slice(offsets[row], offsets[row + 1])
            sets.append(
                None if missing[row] else {names[code]: value for code, value in zip(codes[there].tolist(), values[there].tolist())}
            )
        return which, sets

    def labels(self) -> list[dict[str, float] | None]:
        """Labels of each recording: code -> 1.0, 0.0 or NaN; None where nobody labelled it. Recordings may share a dict."""
        which, sets = self.label_sets()
        return [sets[number] for number in which.tolist()]

    @cached_property
    def patient_number(self) -> np.ndarray:
        """(row,) int64: equal for recordings of one patient of one source; a recording without patient has a number of its own."""
        patient = self._patients().unify_dictionaries()
        n_patients = len(patient.chunk(0).dictionary) if patient.num_chunks else 0
        of_row = np.concatenate([_indices(chunk, n_patients) for chunk in patient.chunks] or [np.empty(0, np.int32)]).astype(np.int64)
        source, words = self.codes("source")
        several = len(words) > 2  # sources, and a None
        if not several and of_row.max(initial=-1) < n_patients:
            return of_row
        known = of_row < n_patients
        key = of_row[known]
        if several:  # one number names a person of each
            key = key * len(words) + source[known]
            _, first, of_key = np.unique(key, return_index=True, return_inverse=True)
            place = np.empty(len(first), dtype=np.int64)
            place[np.argsort(first, kind="stable")] = np.arange(len(first))
            key = place[of_key]
        number = np.empty(self._n, dtype=np.int64)
        number[known] = key
        number[~known] = key.max(initial=-1) + 1 + np.arange(np.count_nonzero(~known))
        return number

    def _patients(self) -> pa.ChunkedArray:
        """The column by dictionaries as they lie in the file: a person's name is met once for each piece of the table, not once for each row."""
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self.path / TABLE, memory_map=True, read_dictionary=["patient"])
        return file.read(columns=["patient"])["patient"].slice(0, self._n)

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
        """All counts of a shard, memory-mapped, read-only: (n,) int16."""
        return self.shards.whole(number)

    def read(self, shard: int, offset: int, n: int) -> np.ndarray:
        """``n`` counts of a shard from ``offset`` on."""
        return self.shards.read(shard, offset, n)

    def _entry(self, row: int) -> dict[str, Any]:
        """What the table says of one recording in words: read with its neighbours, which are kept for a while; who keeps asking for
        recordings that are far from each other gets those columns into memory, once, where they are not too large for that."""
        if self._words is not None:
            return self._words.slice(row, 1).to_pylist()[0]
        group = int(np.searchsorted(self._group_ends, row, side="right"))
        with self._lock:
            rows = self._groups.get(group)
            if rows is None:
                self._n_misses += 1
                rows = self._groups[group] = self._file.read_row_group(group, columns=_OF_A_RECORD, use_threads=False)
                while len(self._groups) > _GROUPS_KEPT:
                    self._groups.popitem(last=False)
            else:
                self._groups.move_to_end(group)
        if self._n_misses == _AT_RANDOM and self._size_of(_OF_A_RECORD) <= _WORDS_KEPT:
            self._words = self.take(_OF_A_RECORD).combine_chunks()
            self._groups.clear()
        first = int(self._group_ends[group - 1]) if group else 0
        return rows.slice(row - first, 1).to_pylist()[0]

    def _size_of(self, names: Sequence[str]) -> int:
        """Bytes of these columns in the table, about as many as they take in memory."""
        footer = self._file.metadata
        wanted = [at for at in range(footer.num_columns) if footer.schema.column(at).path.split(".")[0] in names]
        return sum(footer.row_group(group).column(at).total_uncompressed_size for group in range(footer.num_row_groups) for at in wanted)

    @cached_property
    def _group_ends(self) -> np.ndarray:
        """(group,) the row behind the last one of each piece of the table."""
        footer = self._file.metadata
        return np.cumsum([footer.row_group(group).num_rows for group in range(footer.num_row_groups)])

    def record(self, row: int) -> Record:
        """A recording with all that the store knows of it, every stored lead in mV."""
        if not -self._n <= row < self._n:
            raise IndexError(f"row {row} of a store with {self._n}")
        return self._record(row % self._n, self._entry(row % self._n))

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
        if not -self._n <= row < self._n:
            raise IndexError(f"row {row} of a store with {self._n}")
        row %= self._n
        entry = self._entry(row)
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


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as NumPy. Numbers that are all there by hand: Arrow's to_numpy imports pandas where it is installed, which takes longer than the rest."""
    import pyarrow as pa

    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column.to_numpy()
    dtype = np.dtype(column.type.to_pandas_dtype())
    parts = [np.frombuffer(chunk.buffers()[1], dtype=dtype)[chunk.offset : chunk.offset + len(chunk)] for chunk in column.chunks]
    return np.concatenate(parts or [np.empty(0, dtype)])


def _indices(chunk: Any, missing: int) -> np.ndarray:
    """Indices of a dictionary array, (row,) int32, ``missing`` where there is none. By hand, since Arrow's fill_null imports pandas where it is installed."""
    indices = chunk.indices
    codes = np.frombuffer(indices.buffers()[1], dtype=np.int32)[indices.offset : indices.offset + len(indices)]
    return np.where(indices.is_valid().to_numpy(zero_copy_only=False), codes, np.int32(missing)) if indices.null_count else codes
