"""Opening a store: a plain map-style data set that gives NumPy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record
from einthoven.store.layout import TABLE, open_shard, read_facts, shard_bytes, shard_path

if TYPE_CHECKING:
    import pyarrow as pa

ACCESS = ("mmap", "pread")


class Store:
    """A finished store: ``len(store)`` recordings, ``store[i]`` one of them.

    access : how shards are read: ``mmap``, or ``pread`` for network file systems on which memory maps stall

    Opening reads store.json and the table's footer; columns are read when they are first asked for. A pickled store opens its
    files again where it arrives. Raises StoreError when there is no store, it is damaged, or of another version.
    """

    def __init__(self, path: Path | str, access: str = "mmap"):
        if access not in ACCESS:
            raise StoreError(f"expected access as one of {', '.join(ACCESS)}; got {access!r}")
        self.path = Path(path)
        self.access = access
        self.facts: Mapping[str, Any] = read_facts(self.path)
        self.fs = float(self.facts["signal"]["fs"])
        footer = self._file().metadata
        if footer.num_rows != self.facts["counts"]["records"]:
            raise StoreError(
                f"{self.path / TABLE} has {footer.num_rows} rows where {self.facts['counts']['records']} were written; make the store again"
            )
        self.split_rule: Mapping[str, Any] = json.loads((footer.metadata or {}).get(b"split", b"{}"))
        self._n = footer.num_rows
        self._columns: dict[str, np.ndarray] = {}
        self._shards: dict[int, Any] = {}

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {self._n} recordings at {self.fs:g} Hz, {self.facts['source']['name']})"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_shards"], state["_columns"] = {}, {}
        for name in ("table", "patient_number"):
            state.pop(name, None)
        return state

    # ---------------------------------------------------------------------------------------------------------------- table

    def _file(self):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path / TABLE, memory_map=True)
        except pa.ArrowInvalid as error:
            raise StoreError(
                f"{self.path / TABLE} is damaged ({error}); copy the store again, or make it again with `einthoven ingest`"
            ) from error

    @cached_property
    def table(self) -> pa.Table:
        """The whole table, a row per recording (columns: einthoven.store.layout.schema)."""
        return self._file().read()

    def column(self, name: str) -> np.ndarray:
        """One column as NumPy, (row,): numbers with NaN, times with NaT, text as objects with None. Not for nested columns."""
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> np.ndarray:
        import pyarrow as pa

        file = self._file()
        if name not in file.schema_arrow.names:
            raise StoreError(f"{self.path} has no column {name!r}; it has {', '.join(file.schema_arrow.names)}")
        column = file.read(columns=[name])[name]
        if pa.types.is_dictionary(column.type):
            whole = column.unify_dictionaries()
            words = np.array([*(whole.chunk(0).dictionary.to_pylist() if whole.num_chunks else []), None], dtype=object)
            return words[
                np.concatenate([chunk.indices.fill_null(len(words) - 1).to_numpy() for chunk in whole.chunks] or [np.empty(0, np.int32)])
            ]
        if pa.types.is_nested(column.type):
            raise StoreError(
                f"column {name!r} holds a list for each recording; take it from store.table, or use store.statistics and store.labels"
            )
        return column.to_numpy()

    def statistics(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and SD in mV of every stored lead, one recording after the other, and where each recording begins: (n,), (n,), (row + 1,)."""
        table = self._file().read(columns=["mean", "sd"])
        flat = [
            np.concatenate([chunk.flatten().to_numpy() for chunk in table[name].chunks] or [np.empty(0, np.float32)])
            for name in ("mean", "sd")
        ]
        lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in table["mean"].chunks] or [np.empty(0, np.int64)])
        return flat[0], flat[1], np.concatenate([[0], np.cumsum(lengths)])

    def label_sets(self) -> tuple[np.ndarray, list[dict[str, float] | None]]:
        """The different sets of labels, and which of them each recording has: (row,) int64, list of code -> value (None: unlabelled)."""
        column = self._file().read(columns=["labels"])["labels"].combine_chunks()
        keys = column.keys.dictionary_encode()
        codes, values = keys.indices.to_numpy(), column.items.to_numpy(zero_copy_only=False)
        offsets, missing = column.offsets.to_numpy().tolist(), column.is_null().to_numpy(zero_copy_only=False).tolist()
        seen: dict[Any, int] = {}
        sets: list[dict[str, float] | None] = []
        which = np.empty(self._n, dtype=np.int64)
        for row, (first, last, none) in enumerate(zip(offsets[:-1], offsets[1:], missing)):
            # as bytes, since NaN (uncertain) is not equal to itself; ingest sorted the codes
            key = None if none else (codes[first:last].tobytes(), values[first:last].tobytes())
            if key not in seen:
                seen[key] = len(sets)
                names = (keys.dictionary[code].as_py() for code in codes[first:last].tolist())
                sets.append(None if none else dict(zip(names, values[first:last].tolist())))
            which[row] = seen[key]
        return which, sets

    def labels(self) -> list[dict[str, float] | None]:
        """Labels of each recording: code -> 1.0, 0.0 or NaN; None where nobody labelled it. Recordings may share a dict."""
        which, sets = self.label_sets()
        return [sets[number] for number in which.tolist()]

    @cached_property
    def patient_number(self) -> np.ndarray:
        """(row,) int64: equal for recordings of one patient of one source; a recording without patient has a number of its own."""
        patient, source = self.column("patient"), self.column("source")
        known = np.array([name is not None for name in patient], dtype=bool)
        number = np.empty(self._n, dtype=np.int64)
        keys: dict[tuple[str, str], int] = {}
        number[known] = [keys.setdefault(key, len(keys)) for key in zip(source[known], patient[known])]
        number[~known] = len(keys) + np.arange(np.count_nonzero(~known))
        return number

    def where(self, **values: Any) -> np.ndarray:
        """Row numbers of the recordings whose columns have these values (one, or any of several): ``store.where(split="train")``."""
        mask = np.ones(self._n, dtype=bool)
        for name, wanted in values.items():
            some = {wanted} if isinstance(wanted, str) or not isinstance(wanted, Sequence) else set(wanted)
            mask &= np.array([value in some for value in self.column(name).tolist()], dtype=bool)
        return np.flatnonzero(mask)

    # -------------------------------------------------------------------------------------------------------------- signals

    def shard(self, number: int) -> np.ndarray:
        """All counts of a shard, memory-mapped, read-only: (n,) int16."""
        counts = self._shards.get(number)
        if counts is None:
            counts = self._shards[number] = open_shard(self.path, number)
        return counts

    def counts(self, row: int) -> np.ndarray:
        """The stored leads of a recording: (lead, time) int16, read-only."""
        n_leads, n_samples = len(self.column("leads")[row].split()), int(self.column("n_samples")[row])
        shard, offset = int(self.column("shard")[row]), int(self.column("offset")[row])
        return self.read(shard, offset, n_leads * n_samples).reshape(n_leads, n_samples)

    def read(self, shard: int, offset: int, n: int) -> np.ndarray:
        """``n`` counts of a shard from ``offset`` on."""
        if self.access == "pread":
            return self._pread(shard, offset, n)
        counts = self._shards.get(shard)
        return (self.shard(shard) if counts is None else counts)[offset : offset + n]

    def _pread(self, shard: int, offset: int, n: int) -> np.ndarray:
        descriptor = self._shards.get(shard)
        if descriptor is None:
            descriptor = self._shards[shard] = _Descriptor(os.open(shard_path(self.path, shard), os.O_RDONLY))
        data = os.pread(descriptor.number, 2 * n, shard_bytes(offset))
        if len(data) != 2 * n:
            raise StoreError(f"{shard_path(self.path, shard)} ends before count {offset + n}; copy the store again")
        return np.frombuffer(data, dtype="<i2")

    def record(self, row: int) -> Record:
        """A recording with all that the store knows of it, every stored lead in mV."""
        if not -self._n <= row < self._n:
            raise IndexError(f"row {row} of a store with {self._n}")
        row %= self._n
        entry = self.table.slice(row, 1).to_pylist()[0]
        meta = json.loads(entry["meta"]) if entry["meta"] else {}
        meta |= {name: entry[name] for name in ("age", "sex", "time") if entry[name] is not None}
        return Record(
            self.counts(row) * np.float32(entry["microvolt_per_count"] / 1000),
            self.fs,
            tuple(entry["leads"].split()),
            entry["record"],
            entry["patient"],
            None if entry["labels"] is None else dict(entry["labels"]),
            entry["label_system"],
            meta,
        )

    def __getitem__(self, row: int) -> dict[str, Any]:
        """A recording in the standard twelve leads: ``ecg (lead=12, time)`` float32 mV, NaN for a lead that is not there; ``fs``,
        ``leads``, ``record``, ``patient``, ``labels``, ``label_system``, ``split``, ``meta``."""
        record = self.record(row)
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
            "split": self.column("split")[row],
            "meta": record.meta,
        }


class _Descriptor:
    """An open file that closes when nobody needs it any more."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self):
        os.close(self.number)
