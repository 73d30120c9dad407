"""The last step of ingest: the parts of all shards become one store."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from einthoven import __version__, whole
from einthoven.errors import StoreError
from einthoven.leads import TWELVE
from einthoven.signal.gaps import LONGEST_GAP
from einthoven.store.counts import COARSEST, FINEST
from einthoven.store.layout import (
    FACTS,
    FORMAT,
    REJECTED,
    SHARDS,
    TABLE,
    UNFINISHED,
    VERSION,
    schema,
    shard_path,
)
from einthoven.store.shard import Made
from einthoven.store.split import default_split

_ROWS = 32_768  # per row group of the table


def finish(path: Path, recipe: Mapping[str, Any], facts: Any, made: list[Made], n_listed: int) -> dict[str, Any]:
    """Join the parts into one table; store.json, which is returned, comes last, and with it the store is there.

    Raises StoreError when not one of the recordings could be used; their reasons stay in rejected.csv.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = {"listed": n_listed, "records": sum(one.n_records for one in made), "rejected": sum(one.n_rejected for one in made)}
    assert counts["listed"] == counts["records"] + counts["rejected"], f"recordings were lost: {counts}"
    parts = [path / UNFINISHED / f"{one.shard:05d}.parquet" for one in made]
    _write_rejected(path, parts)
    if counts["records"] == 0:
        file, _, reason = next(_rejected(parts))
        shutil.rmtree(path / SHARDS)
        shutil.rmtree(path / UNFINISHED)
        raise StoreError(
            f"none of the {counts['listed']} recordings under {recipe['root']} can be used; the first, {file}: {reason} (all: {path / REJECTED})"
        )

    needed = ["record", "source", "patient", "fold", "n_samples", "mean", "sd"]
    ids = pa.concat_tables(pq.read_table(part, columns=needed) for part in parts).unify_dictionaries()
    column, rule = default_split(ids)
    n_patients = len(ids["patient"].unique()) - (1 if ids["patient"].null_count else 0)
    columns = schema().with_metadata({"split": json.dumps(rule)})
    split = pa.array(column).cast(columns.field("split").type)
    del ids

    def write(file: Any) -> None:
        place = columns.names.index("split")
        with pq.ParquetWriter(file, columns) as writer:
            first, waiting, n_waiting = 0, [], 0
            for part in [*parts, None]:
                if part is not None:
                    table = pq.read_table(part).replace_schema_metadata(None)
                    waiting.append(table.set_column(place, columns.field(place), split[first : first + len(table)]))
                    first, n_waiting = first + len(table), n_waiting + len(table)
                if n_waiting >= _ROWS or (part is None and n_waiting):
                    writer.write_table(
                        pa.concat_tables(waiting).unify_dictionaries().combine_chunks().cast(columns), row_group_size=2 * _ROWS
                    )
                    waiting, n_waiting = [], 0

    whole.write(path / TABLE, write, lasting=False)
    for stray in set((path / SHARDS).iterdir()) - {shard_path(path, one.shard) for one in made}:
        stray.unlink()  # of a corpus that was longer when an earlier run began
    facts_of_store = {
        "format": FORMAT,
        "version": VERSION,
        "signal": {
            "fs": recipe["fs"],
            "leads": list(TWELVE),
            "unit": "mV",
            "counts": "int16",
            "microvolt_per_count": {"finest": FINEST, "coarsest": COARSEST},
            "resampling": recipe["resampling"],
            "longest_gap_filled": LONGEST_GAP,
        },
        "source": asdict(facts),
        "recipe": recipe,
        "code": {"einthoven": __version__},
        "counts": {**counts, "patients": n_patients},
        "shards": [one.n_counts for one in made],
    }
    whole.sync(path / SHARDS)
    whole.sync(path)
    whole.write_json(path / FACTS, facts_of_store)
    shutil.rmtree(path / UNFINISHED)
    return facts_of_store


def _rejected(parts: list[Path]) -> Iterator[tuple[str, str, str]]:
    import pyarrow.parquet as pq

    for part in parts:
        yield from json.loads((pq.read_schema(part).metadata or {})[b"rejected"])


def _write_rejected(path: Path, parts: list[Path]) -> None:
    def write(file: Any) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "record", "reason"])
        writer.writerows(_rejected(parts))
        text.detach()

    whole.write(path / REJECTED, write, lasting=False)
