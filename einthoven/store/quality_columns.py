"""What an audit found of each recording, as a column ``quality`` of records.parquet: a struct, so that a condition says ``quality.ok``.

The column is optional: a store that was never audited has none, and rows that were appended after an audit have null in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.store.layout import COUNTED, TABLE, local_folder, read_facts

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "quality"

HARMLESS: Mapping[str, str] = {
    "baseline": "a filter takes it",
    "mains": "a filter takes it",
    "line": "a filter takes it, and the rate is doubted only where many recordings of a corpus show it",
    "missing": "the leads that are there are sound",
    "electrodes": "a suspicion that may as well be a rare heart",
    "chest": "a suspicion that may as well be a rare heart",
    "copy": "the signal is sound; quality.is_copy leaves it out",
}
"""Flags that leave a recording ``ok``, and why: warnings. Any other flag makes it not ok. This is the rule; the page of an audit prints it."""


def fields() -> pa.StructType:
    """ok         : no flag but those in HARMLESS
    flags      : kinds of einthoven.signal.suspicion and ``copy``, sorted, separated by spaces; "" for none
    noise_uv, baseline_uv, mains_uv : µV RMS in the middle lead: muscle and amplifier, slow drift, mains
    snr_db     : signal over noise of the worst lead
    heart_rate : beats a minute; null where there are none
    is_copy    : the same signal stands in an earlier row, or in a store that was named before
    copy_of    : the record id of that, after the store's name and a colon where it is another store; else null
    """
    import pyarrow as pa

    number = pa.float32()
    return pa.struct([
        ("ok", pa.bool_()), ("flags", pa.string()), ("noise_uv", number), ("baseline_uv", number), ("mains_uv", number),
        ("snr_db", number), ("heart_rate", number), ("is_copy", pa.bool_()), ("copy_of", pa.string()),
    ])  # fmt: skip


def is_ok(flags: Collection[str]) -> bool:
    return HARMLESS.keys() >= set(flags)


def assign_quality(path: Path | str, values: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """Write the column into a store's table, in the place of one that is there; the table is replaced in one instant.

    values : name of a field -> (row,) values; NaN and None are null
    about  : kept in the table's metadata under ``audit``
    Raises StoreError when it does not fit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = local_folder(path, "audited")
    n_rows = read_facts(path)["counts"]["records"]
    kind = fields()
    names = [kind.field(at).name for at in range(kind.num_fields)]
    if set(values) != set(names):
        raise StoreError(f"expected the fields {', '.join(names)} for the column {COLUMN}; got {', '.join(values)}")
    wrong = [name for name in names if len(values[name]) != n_rows]
    if wrong:
        raise StoreError(f"expected {n_rows} values of {wrong[0]} for {path}; got {len(values[wrong[0]])}")
    arrays = [pa.array(_plain(values[name]), type=kind.field(name).type, from_pandas=True) for name in names]
    column = pa.StructArray.from_arrays(arrays, fields=[kind.field(name) for name in names])

    file = pq.ParquetFile(path / TABLE)
    old = file.schema_arrow
    metadata = {name: value for name, value in (old.metadata or {}).items() if name != COUNTED}
    columns = [field for field in old if field.name != COLUMN]
    schema = pa.schema([*columns, pa.field(COLUMN, kind)], metadata={**metadata, b"audit": json.dumps(dict(about or {})).encode()})

    def write(out: Any) -> None:
        with pq.ParquetWriter(out, schema) as writer:
            first = 0
            for group in range(file.metadata.num_row_groups):
                rows = file.read_row_group(group, columns=[field.name for field in columns]).slice(0, n_rows - first)
                if not len(rows):  # of a corpus whose appending was interrupted; it is made again when it goes on
                    break
                rows = rows.append_column(schema.field(COLUMN), column.slice(first, len(rows)))
                writer.write_table(rows.select(schema.names).cast(schema), row_group_size=len(rows))
                first += len(rows)

    whole.write(path / TABLE, write)


def _plain(values: Any) -> Any:
    return values if isinstance(values, np.ndarray) and values.dtype != object else list(values)
