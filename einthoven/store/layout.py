"""What lies where in a store, and how it is written so that nothing half-made looks whole.

A store is a folder::

    store.json          version, signal facts, the source's facts, recipe, split, counts; written last: its presence means "finished"
    records.parquet     a row per record, see ``schema``
    shards/00000.npy    one-dimensional int16, records one after the other, each lead-major; any NumPy opens it
    rejected.csv        file, record, reason
    unfinished/         while ingest is at work: its plan and the tables of the shards that are done

Sample ``t`` of stored lead ``l`` of a record is ``shard[offset + l * n_samples + t] * microvolt_per_count`` µV.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "einthoven store"
VERSION = 1
FACTS, TABLE, REJECTED, SHARDS, UNFINISHED = "store.json", "records.parquet", "rejected.csv", "shards", "unfinished"
SPLITS = ("train", "valid", "test")
_HEADER_BYTES = 128  # of a shard: fixed, so that the length can be written when it is known


def schema() -> pa.Schema:
    """The columns of records.parquet.

    leads : names of the stored leads in order, separated by spaces
    mean, sd : mV per stored lead, over the whole record at the store's rate
    labels : code -> 1.0, 0.0 or NaN (uncertain); null where the recording is unlabelled
    flat, clipped : names of stored leads that never change, and that stay at their extreme
    derived : names of stored leads that were not recorded but follow from I and II
    interrupted : names of leads that are left out because they were recorded with gaps too long to fill
    n_filled : samples over all leads that were missing and interpolated
    limb_residual : largest RMS in mV by which III, aVR, aVL or aVF break their law; null where it cannot be told
    time : of the recording, as the corpus gives it (no zone)
    path : of the file, relative to the corpus's root where it lies under it
    meta : JSON text of what else is known
    """
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([
        ("record", pa.string()),
        ("source", name),
        ("patient", pa.string()),
        ("path", pa.string()),
        ("fs", pa.float64()),
        ("source_fs", pa.float64()),
        ("n_samples", pa.int64()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("leads", name),
        ("microvolt_per_count", pa.float32()),
        ("mean", pa.list_(pa.float32())),
        ("sd", pa.list_(pa.float32())),
        ("labels", pa.map_(pa.string(), pa.float32())),
        ("label_system", name),
        ("fold", name),
        ("split", name),
        ("age", pa.float32()),
        ("sex", name),
        ("time", pa.timestamp("us")),
        ("flat", name),
        ("clipped", name),
        ("derived", name),
        ("interrupted", name),
        ("n_filled", pa.int64()),
        ("limb_residual", pa.float32()),
        ("meta", pa.string()),
    ])  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- writing


def write_header(file: IO[bytes], n_counts: int) -> None:
    """The ``.npy`` header of a shard, always of the same length; leaves the file where the counts begin."""
    text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({n_counts},), }}"
    file.seek(0)
    file.write(b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little") + text.ljust(_HEADER_BYTES - 11).encode() + b"\n")


# ---------------------------------------------------------------------------------------------------------------- reading


def shard_path(store: Path, shard: int) -> Path:
    return store / SHARDS / f"{shard:05d}.npy"


def shard_bytes(n_counts: int) -> int:
    return _HEADER_BYTES + 2 * n_counts


def read_facts(store: Path) -> dict[str, Any]:
    """store.json of a finished store of this version, its parts found to be there in full length."""
    path = store / FACTS
    if not path.is_file():
        raise StoreError(_why_not_a_store(store))
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); make the store again with `einthoven ingest`") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise StoreError(f"{path} does not belong to a store of einthoven; name the folder that `einthoven ingest` wrote")
    if facts.get("version") != VERSION:
        raise StoreError(
            f"{store} is a store of version {facts.get('version')}; this einthoven reads version {VERSION}: "
            "make it again with `einthoven ingest`, or use the einthoven that wrote it"
        )
    for name in (TABLE, REJECTED):
        if not (store / name).is_file():
            raise StoreError(f"{store} lacks its {name}; copy the store again, or make it again with `einthoven ingest`")
    for shard, n_counts in enumerate(facts["shards"]):
        _check_shard(store, shard, n_counts)
    return facts


def _check_shard(store: Path, shard: int, n_counts: int) -> None:
    path, expected = shard_path(store, shard), shard_bytes(n_counts)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise StoreError(f"{store} lacks its shard {path.name}; copy the store again, or make it again with `einthoven ingest`") from None
    if size != expected:
        raise StoreError(
            f"{path} has {size} bytes where {expected} were written; copy the store again, or make it again with `einthoven ingest`"
        )


def _why_not_a_store(store: Path) -> str:
    if not store.exists():
        return f"there is no store at {store}; make one with `einthoven ingest SOURCE ROOT {store}`"
    if not store.is_dir():
        return f"{store} is a file; a store is a folder that `einthoven ingest` writes"
    if (store / UNFINISHED).is_dir():
        return f"the store at {store} is unfinished: run the same `einthoven ingest` again, it goes on where it was"
    return f"{store} is not a store (no {FACTS}); make one with `einthoven ingest SOURCE ROOT STORE`"


def open_shard(store: Path, shard: int) -> np.ndarray:
    """The counts of a shard as a read-only, memory-mapped, plain array (n,) int16."""
    path = shard_path(store, shard)
    try:
        # np.asarray: slicing an np.memmap costs a microsecond that a plain view does not; the view keeps the map alive.
        counts = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); copy the store again, or make it again with `einthoven ingest`") from error
    if counts.ndim != 1 or counts.dtype != np.int16:
        raise StoreError(
            f"{path} holds {counts.dtype} of shape {counts.shape} where int16 of one dimension was written; make the store again"
        )
    return counts
