"""What lies where in a store, and how it is written so that nothing half-made looks whole.

A store is a folder::

    store.json          version, signal facts, the source's facts, recipe, counts; written last: its presence means "finished"
    records.parquet     a row per record, see ``schema``
    shards/00000.npy    one-dimensional int16, records one after the other, each lead-major; any NumPy opens it
    rejected.csv        file, record, reason
    unfinished/         while ingest is at work: its plan and the tables of the shards that are done

A store of several corpora (``ingest(append=True)``) is the same folder with more shards and more rows, and a list ``parts`` in
store.json that says of each corpus what else stands there once. The number of records in store.json is what the store has: while
a corpus is being appended the table may already hold more rows, behind those, and there may be more shards.

Sample ``t`` of stored lead ``l`` of a record is ``shard[offset + l * n_samples + t] * microvolt_per_count`` µV.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
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


COUNTED = b"records"
"""Of the table's metadata: a JSON list of the numbers of rows that a store with this table may have, the first so many of its rows."""

ROWS = 4096
"""Rows of the table that are read together: reading one record must not read the table of millions."""


def parts_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a store was made of, corpus by corpus in the order of its rows: ``source``, ``recipe``, ``code``, ``counts`` and ``n_shards`` of each."""
    if "parts" in facts:
        return list(facts["parts"])
    one = {key: facts[key] for key in ("source", "recipe", "code", "counts") if key in facts}
    return [{**one, "n_shards": len(facts["shards"])}]


# ---------------------------------------------------------------------------------------------------------------- writing


def write_header(file: IO[bytes], n_counts: int) -> None:
    """The ``.npy`` header of a shard, always of the same length; leaves the file where the counts begin."""
    text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({n_counts},), }}"
    file.seek(0)
    file.write(b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little") + text.ljust(_HEADER_BYTES - 11).encode() + b"\n")


# ---------------------------------------------------------------------------------------------------------------- reading


def shard_name(shard: int) -> str:
    return f"{shard:05d}.npy"


def shard_path(store: Path, shard: int) -> Path:
    return store / SHARDS / shard_name(shard)


def shard_bytes(n_counts: int) -> int:
    return _HEADER_BYTES + 2 * n_counts


def store_location(text: str | os.PathLike[str]) -> Path | str:
    """A store as somebody named it: a folder of this machine, or the text of a URL (``s3://bucket/store``) for fsspec.

    A URL that went through Path on its way lost a slash (``s3:/bucket/store``); it is put right.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)(.*)", os.fspath(text), flags=re.DOTALL)
    if found is None:
        return Path(text)
    protocol, slashes, rest = found.groups()
    if len(slashes) == 1:
        slashes = "///" if protocol in ("file", "local") else "//"
    return f"{protocol}:{slashes}{rest.rstrip('/')}"


def local_folder(text: str | os.PathLike[str], doing: str) -> Path:
    """The folder of a store that is to be written to. Raises StoreError for a URL."""
    place = store_location(text)
    if isinstance(place, str):
        raise StoreError(f"{place}: cannot be {doing} in an object store; do it in a local folder and copy that there")
    return place


def read_facts(store: Path, *, shards: bool = True) -> dict[str, Any]:
    """store.json of a finished store of this version, its parts found to be there in full length; ``shards``: these, too."""
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
    for shard, n_counts in enumerate(facts["shards"] if shards else ()):
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


def open_shard(path: Path) -> np.ndarray:
    """The counts of a shard's file as a read-only, memory-mapped, plain array (n,) int16."""
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
