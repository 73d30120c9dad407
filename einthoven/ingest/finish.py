"""The last step of ingest: the parts of all shards become one store."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven import __version__, whole
from einthoven.errors import StoreError
from einthoven.ingest.counts import COARSEST, FINEST
from einthoven.ingest.shard import Made
from einthoven.leads import TWELVE
from einthoven.signal.gaps import LONGEST_GAP
from einthoven.store.layout import (
    FACTS,
    FORMAT,
    REJECTED,
    ROWS,
    SHARDS,
    SPLITS,
    TABLE,
    UNFINISHED,
    VERSION,
    schema,
    shard_path,
)
from einthoven.store.split import default_split

if TYPE_CHECKING:
    import pyarrow as pa

_PATIENCE = 60.0  # seconds: what another machine wrote may be that late to be seen on a network file system


def finish(path: Path, recipe: Mapping[str, Any], facts: Any, made: list[Made], n_listed: int) -> dict[str, Any]:
    """Join the parts into one table; store.json, which is returned, comes last, and with it the store is there.

    Raises StoreError when not one of the recordings could be used; their reasons stay in rejected.csv.
    """
    counts = counts_of(made, n_listed)
    parts = parts_of_shards(path, made)
    write_rejected(path / REJECTED, rejected_in(parts))
    if counts["records"] == 0:
        file, _, reason = next(rejected_in(parts))
        shutil.rmtree(path / SHARDS)
        shutil.rmtree(path / UNFINISHED)
        raise StoreError(
            f"none of the {counts['listed']} recordings under {recipe['root']} can be used; the first, {file}: {reason} (all: {path / REJECTED})"
        )

    ids = ids_of(parts)
    column, rule = default_split(ids)
    n_patients = count_patients(ids)
    columns = schema().with_metadata({"split": json.dumps(rule)})
    split = words(column)
    del ids, column

    write_table(path / TABLE, with_split(read_parts(parts), split), columns)
    remove_strays(path, len(made))
    facts_of_store = {
        "format": FORMAT,
        "version": VERSION,
        "signal": signal_facts(recipe["fs"], recipe["resampling"]),
        "source": asdict(facts),
        "recipe": recipe,
        "code": {"einthoven": __version__},
        "counts": {**counts, "patients": n_patients},
        "shards": [one.n_counts for one in made],
    }
    appear(path, facts_of_store)
    shutil.rmtree(path / UNFINISHED, ignore_errors=True)  # what a network file system holds on to goes with the next call
    return facts_of_store


def signal_facts(fs: float, resampling: str) -> dict[str, Any]:
    """What is the same of every recording of a store."""
    return {
        "fs": fs,
        "leads": list(TWELVE),
        "unit": "mV",
        "counts": "int16",
        "microvolt_per_count": {"finest": FINEST, "coarsest": COARSEST},
        "resampling": resampling,
        "longest_gap_filled": LONGEST_GAP,
    }


def counts_of(made: Sequence[Made], n_listed: int) -> dict[str, int]:
    counts = {"listed": n_listed, "records": sum(one.n_records for one in made), "rejected": sum(one.n_rejected for one in made)}
    assert counts["listed"] == counts["records"] + counts["rejected"], f"recordings were lost: {counts}"
    return counts


def appear(path: Path, facts: Mapping[str, Any]) -> None:
    """Everything that store.json speaks of is brought to the disk, and then store.json is."""
    whole.sync(path / SHARDS)
    whole.sync(path)
    whole.write_json(path / FACTS, facts)


def remove_strays(path: Path, n_shards: int) -> None:
    """Of a corpus that was longer when an earlier run began."""
    for stray in set((path / SHARDS).iterdir()) - {shard_path(path, shard) for shard in range(n_shards)}:
        stray.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------------------- parts


def parts_of_shards(path: Path, made: Sequence[Made]) -> list[Path]:
    """The parts of the table, all of which are there: the last of them may have been written by another machine a moment ago."""
    parts = [path / UNFINISHED / f"{one.shard:05d}.parquet" for one in made]
    waited, missing = 0.0, parts
    while missing := [part for part in missing if not part.exists()]:
        os.listdir(path / UNFINISHED)  # makes a network file system look again
        if waited >= _PATIENCE:
            raise StoreError(f"{missing[0]} was written and is not to be seen here; do all workers see the same {path}?")
        time.sleep(0.5)
        waited += 0.5
    return parts


def read_parts(parts: Iterable[Path]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    for part in parts:
        yield pq.read_table(part).replace_schema_metadata(None)


def ids_of(parts: Sequence[Path]) -> pa.Table:
    """What a split goes by. The moments of the signal, of which it knows copies, only where a patient is not known: they take most of the room."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def read(columns: list[str]) -> pa.Table:
        return pa.concat_tables(pq.read_table(part, columns=columns) for part in parts).replace_schema_metadata(None).unify_dictionaries()

    ids = read(["record", "source", "patient", "fold"])
    if ids["patient"].null_count:
        moments = read(["n_samples", "mean", "sd"])
        for name in moments.column_names:
            ids = ids.append_column(name, moments[name])
    return ids


def count_patients(ids: pa.Table) -> int:
    """Different persons; one id in two sources is two."""
    known = ids.select(["source", "patient"])
    known = known.filter(known["patient"].is_valid())
    return known.group_by(["source", "patient"]).aggregate([]).num_rows


def words(column: np.ndarray) -> pa.Array:
    """A split, (row,) of text, as Arrow keeps few words."""
    import pyarrow as pa

    codes = np.zeros(len(column), dtype=np.int32)
    for number, name in enumerate(SPLITS):
        codes[column == name] = number
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(SPLITS, pa.string()))


def rejected_in(parts: Iterable[Path]) -> Iterator[tuple[str, str, str]]:
    import pyarrow.parquet as pq

    for part in parts:
        yield from json.loads((pq.read_schema(part).metadata or {})[b"rejected"])


def write_rejected(path: Path, lines: Iterable[Sequence[str]]) -> None:
    def write(file: Any) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "record", "reason"])
        writer.writerows(lines)
        text.detach()

    whole.write(path, write, lasting=False)


# ------------------------------------------------------------------------------------------------------------------- table


def with_split(pieces: Iterable[pa.Table], split: pa.Array) -> Iterator[pa.Table]:
    """The same rows with this split, (row,)."""
    first = 0
    for piece in pieces:
        own = split[first : first + len(piece)]
        yield piece.set_column(piece.column_names.index("split"), "split", own)
        first += len(piece)


def write_table(path: Path, pieces: Iterable[pa.Table], columns: pa.Schema) -> None:
    """Rows in whatever pieces they come; what is written depends on the rows alone. A column that a piece lacks is null there."""
    import pyarrow.parquet as pq

    def write(file: Any) -> None:
        with pq.ParquetWriter(file, columns) as writer:
            for group in _groups(pieces, columns):
                writer.write_table(group, row_group_size=ROWS)

    whole.write(path, write, lasting=False)


def _groups(pieces: Iterable[pa.Table], columns: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    waiting: list[pa.Table] = []
    n_waiting = 0
    for piece in pieces:
        waiting.append(_plain(piece, columns))
        n_waiting += len(piece)
        if n_waiting >= ROWS:
            rows = pa.concat_tables(waiting)
            n_whole = n_waiting // ROWS * ROWS
            for first in range(0, n_whole, ROWS):
                yield _encoded(rows.slice(first, ROWS), columns)
            waiting, n_waiting = [rows.slice(n_whole)], n_waiting - n_whole
    if n_waiting:
        yield _encoded(pa.concat_tables(waiting), columns)


def _plain(piece: pa.Table, columns: pa.Schema) -> pa.Table:
    """With all columns, and words as text: dictionaries remember where rows came from."""
    import pyarrow as pa

    arrays, fields = [], []
    for field in columns:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        fields.append(pa.field(field.name, kind))
        arrays.append(piece[field.name].cast(kind) if field.name in piece.column_names else pa.nulls(len(piece), kind))
    return pa.table(arrays, schema=pa.schema(fields))


def _encoded(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    import pyarrow as pa

    rows = rows.combine_chunks()
    for at, field in enumerate(columns):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(at, field, rows[field.name].dictionary_encode().cast(field.type))
    return rows.cast(columns)
