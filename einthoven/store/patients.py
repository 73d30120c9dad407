"""Who is who in a store's table: whole patients, and copies of one recording, for everything that must not be parted.

A patient is (source, patient); a recording whose patient is not known is a patient of its own, and its copies are the same. Ranks depend on the
seed and these names alone, never on the order of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.distinct import distinct

if TYPE_CHECKING:
    import pyarrow as pa

OF_A_PATIENT, OF_A_SIGNAL = ("record", "source", "patient"), ("n_samples", "mean", "sd", "quality")
"""Columns that tell persons apart, and copies; the last is there once somebody audited the store."""


class Patients:
    """Patients in the order that their hash gives: ``of_row (row,)`` their numbers, ``n_records (patient,)``."""

    def __init__(self, of_row: np.ndarray):
        self.of_row = of_row
        self.n_records = np.bincount(of_row)


def columns_of(store: Any, names: Sequence[str]) -> Any:
    """Those columns of a store, or of a table, that are there."""
    if hasattr(store, "column_names"):
        return store.select([name for name in names if name in store.column_names])
    return store.take([name for name in names if name in store.names])


def numbered(table: Any) -> tuple[pa.Array, np.ndarray]:
    """Texts, one for each patient of the table and, where the patient is not known, for each recording; and which is each row's: (row,) int64.

    All of it in Arrow's memory: as text of Python's, a million names are a hundred megabytes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    zero = pa.scalar("\0", pa.large_string())
    record, source, patient = (pc.cast(table[name], pa.large_string()) for name in OF_A_PATIENT)
    of_patient = pc.binary_join_element_wise(source, patient, zero)
    of_record = pc.binary_join_element_wise(source, pa.scalar("", pa.large_string()), record, zero)
    keys = pc.coalesce(of_patient, of_record).combine_chunks().dictionary_encode()
    return keys.dictionary, keys.indices.to_numpy().astype(np.int64)


def signals_of(table: Any) -> np.ndarray:
    """(row,) int64: equal for recordings that are copies. Equal length and equal mean and SD of every lead, to the last bit, are equal samples."""
    columns = [table[name].combine_chunks() for name in ("mean", "sd")]
    ends = np.cumsum(columns[0].value_lengths().to_numpy(zero_copy_only=False))
    moments = [column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False) for column in columns]
    return distinct(np.concatenate([[0], ends]), *moments, apart=table["n_samples"].to_numpy())[0]


def numbered_with_copies(table: Any) -> tuple[pa.Array, np.ndarray]:
    """As ``numbered``, but copies belong together: what is trained on must not be tested, whatever it is called.

    A recording of an unknown patient belongs to the one whose exact copy it is; and, once audited, every copy to its original, the patients of
    both becoming one.
    """
    keys, of_row = numbered(table)
    if "quality" in table.column_names:
        of_row = _with_audited_copies(table, keys, of_row)
    if not {"n_samples", "mean", "sd"} <= set(table.column_names):
        return keys, of_row
    unknown = table["patient"].is_null().to_numpy()
    if not unknown.any():
        return keys, of_row
    signal = signals_of(table)
    repeated = np.flatnonzero((np.bincount(signal) > 1)[signal])
    copies: dict[int, list[int]] = {}
    for row in repeated.tolist():
        copies.setdefault(int(signal[row]), []).append(row)
    of_row = of_row.copy()
    for rows in copies.values():
        lost = [row for row in rows if unknown[row]]
        if lost:
            named = [row for row in rows if not unknown[row]] or rows
            of_row[lost] = min((keys[int(of_row[row])].as_py(), int(of_row[row])) for row in named)[1]
    return keys, of_row


def _with_audited_copies(table: Any, keys: pa.Array, of_row: np.ndarray) -> np.ndarray:
    """Joins the patients of recordings that an audit found to be copies of one another in this store."""
    import pyarrow as pa
    import pyarrow.compute as pc

    original = pc.struct_field(table["quality"], "copy_of").combine_chunks()
    rows = np.flatnonzero(original.is_valid().to_numpy(zero_copy_only=False))
    wanted = original.take(pa.array(rows)).to_pylist()
    named = np.flatnonzero(pc.is_in(table["record"], value_set=pa.array(sorted(set(wanted)), pa.string())).to_numpy(zero_copy_only=False))
    place: dict[str, list[int]] = {}
    for row, name in zip(named.tolist(), table["record"].take(pa.array(named)).to_pylist()):
        place.setdefault(name, []).append(row)
    joined: dict[int, int] = {}

    def root(key: int) -> int:
        while key in joined:
            key = joined[key]
        return key

    for row, name in zip(rows.tolist(), wanted):
        found = place.get(name, [])
        if len(found) == 1:  # a name that two corpora of the store use names neither, and one of another store nobody here
            one, other = sorted((root(int(of_row[row])), root(int(of_row[found[0]]))), key=lambda key: keys[key].as_py())
            if one != other:
                joined[other] = one
    roots = np.arange(len(keys))
    for key in joined:
        roots[key] = root(key)
    return roots[of_row]


def places_by_hash(keys: pa.Array, seed: int) -> np.ndarray:
    """(key,) float64 in [0, 1): where the hash of (seed, key) puts each."""
    return _hashes(keys, seed) / 2.0**64


def _hashes(keys: pa.Array, seed: int) -> np.ndarray:
    begin = f"{seed}\0".encode()
    digests = (hashlib.blake2b(begin + keys[at].as_buffer(), digest_size=8).digest() for at in range(len(keys)))
    return np.fromiter((int.from_bytes(one, "big") for one in digests), dtype=np.uint64, count=len(keys))


def patients_of(table: Any, seed: int) -> Patients:
    """Whole patients with their copies, in the order that the seed gives them."""
    keys, of_row = numbered_with_copies(table)
    there, of_row = np.unique(of_row, return_inverse=True)
    rank = np.empty(len(there), dtype=np.int64)
    rank[np.argsort(_hashes(keys.take(there), seed), kind="stable")] = np.arange(len(there))
    return Patients(rank[of_row])


def refuse_shared_patients(table: Any, part: np.ndarray) -> None:
    """StoreError where a patient has recordings in several parts of a split; ``part (row,)`` is each row's, 0 to 2."""
    keys, of_row = numbered(table)
    low, high = np.full(len(keys), 3), np.full(len(keys), -1)
    np.minimum.at(low, of_row, part)
    np.maximum.at(high, of_row, part)
    shared = np.flatnonzero(low != high)
    if len(shared):
        raise StoreError(
            f"{len(shared)} patients would stand on two sides of the split, for one {keys[int(shared[0])].as_py().split(chr(0))[1]}; split by patient"
        )
