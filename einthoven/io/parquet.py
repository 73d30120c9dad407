"""Parquet tables of signals: a column for each lead, or a row for each lead with its samples as a list.

The rate, the unit and lead names stand in the schema's metadata (``fs``, ``unit``, ``leads``; ``unit`` also with a column), in a column's name
(``II (mV)``) or in a time column; what is not there is asked for (``sidecar.py``). With the package pyarrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import SEEK_END
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bare_array import as_record, finished, place_of, settled
from einthoven.io.bounds import most_bytes
from einthoven.io.sidecar import Told, told
from einthoven.io.table import record_of
from einthoven.io.table_layout import Column, column_of, is_generic, is_lead
from einthoven.io.texts import one_line
from einthoven.record import Record


def read(
    path: Path | str,
    *,
    leads: Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    fs: float | None = None,
    unit: str | None = None,
    names: Sequence[str] | None = None,
    record: int | None = None,
) -> Record:
    """A table in mV.

    fs, unit, names : what the file does not say itself, else they come from a JSON file beside it
    record          : which row, counted from 0, where a row is a recording (a list of leads, each a list of samples)

    Raises FormatError for a table that is no signal, and where something is neither said nor told.
    """
    path = Path(path)
    with _opened(path) as file:
        meta = file.metadata
        promised = sum(meta.row_group(k).total_byte_size for k in range(meta.num_row_groups))
        if meta.num_rows < 0 or max(8 * meta.num_rows * meta.num_columns, promised) > most_bytes(path):
            raise FormatError(f"{path}: {meta.num_rows} rows of {meta.num_columns} columns are more than is read at once; split the table.")
        schema = file.schema_arrow
        given = _told(path, schema, told(path, fs, unit, names))
        lists, numbers, texts = _kinds(schema)
        if len(lists) == 1:
            made = _from_lists(path, file.read(columns=lists + texts), lists[0], texts, given, record)
        else:
            columns = _columns(schema, numbers)
            named = [column.name for column in columns if column.kind == "lead"]
            if not any(map(is_lead, named)) and not (named and all(map(is_generic, named))):
                raise FormatError(
                    f"{path}: expected a column of numbers for each lead, or one column of lists; it has {one_line(', '.join(schema.names))[:200]}; mend it, or write it again."
                )
            values = np.array([file.read(columns=[name]).column(0).to_numpy() for name in numbers], dtype=np.float64)
            made = record_of(path, columns, values, given)
    return finished(path, made, leads, start, stop)


def records_in(path: Path | str) -> list[int]:
    """What ``record=`` may be for a table whose rows are recordings; empty for any other. Raises FormatError."""
    path = Path(path)
    with _opened(path) as file:
        schema, n_rows = file.schema_arrow, file.metadata.num_rows
        lists, _, _ = _kinds(schema)
        is_nested = len(lists) == 1 and _is_list(schema.field(lists[0]).type.value_type)
    return list(range(n_rows)) if is_nested and n_rows > 1 else []


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file; what goes wrong with it is a FormatError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:
            file.seek(-4, SEEK_END)
            if file.read() != b"PAR1":
                raise FormatError(
                    f"{path}: cannot be read as Parquet: truncated: the description that ends a table is not there; copy it again."
                )
        yield pq.ParquetFile(path, thrift_string_size_limit=10**7, thrift_container_size_limit=10**6)
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        raise FormatError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}; copy it again.") from None


def _kinds(schema: Any) -> tuple[list[str], list[str], list[str]]:
    """The columns of lists, of numbers and of texts."""
    import pyarrow as pa

    lists = [field.name for field in schema if _is_list(field.type)]
    numbers = [field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)]
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return lists, numbers, texts


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _told(path: Path, schema: Any, given: Told) -> Told:
    """What the metadata says and what was told."""
    said = {key.decode("latin-1").lower(): value.decode("utf-8", "replace") for key, value in (schema.metadata or {}).items()}
    try:
        rate = float(said["fs"]) if "fs" in said else None
        names = (
            tuple(json.loads(said["leads"]) if said["leads"].startswith("[") else said["leads"].replace(",", " ").split())
            if "leads" in said
            else None
        )
    except ValueError:
        raise FormatError(
            f"{path}: expected fs as a number and leads as names in its metadata; got {said.get('fs')!r}, {said.get('leads')!r}; mend it, or write it again."
        ) from None
    own = told(path, rate, said.get("unit"), names)  # checked in the same way; what a sidecar adds comes twice and is the same
    stated = Told(own.fs if rate is not None else None, own.unit if "unit" in said else None, own.leads if names is not None else None)
    return settled(path, stated, given)


def _columns(schema: Any, names: Sequence[str]) -> list[Column]:
    columns = []
    for name in names:
        column, own = column_of(name), (schema.field(name).metadata or {}).get(b"unit")
        columns.append(Column(column.name, own.decode("utf-8", "replace") if own else column.unit, column.kind))
    return columns


def _from_lists(path: Path, table: Any, name: str, texts: Sequence[str], given: Told, which: int | None) -> Record:
    """Rows are leads, named by a column of texts or from outside; or rows are recordings, lists of lists."""
    import pyarrow as pa

    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of no rows, or of several chunks that stay apart
        raise FormatError(f"{path}: expected a list of samples in each row of {name}; there is none; mend it, or write it again.")
    stem = path.stem
    if _is_list(column.type.value_type):
        place = 0 if which is None and len(column) == 1 else place_of(path, which, [str(k) for k in range(len(column))])
        column, stem = column[place].values, path.stem if which is None else f"{path.stem}/{which}"
    elif len(texts) == 1 and given.leads is None:
        given = Told(given.fs, given.unit, tuple(str(text) for text in table.column(texts[0]).to_pylist()))
    lengths = set() if column is None else set(column.value_lengths().to_pylist())
    if len(lengths) != 1 or None in lengths:
        raise FormatError(
            f"{path}: expected lists of one length in {name}, a lead's samples each; they differ, or one is missing; mend it, or write it again."
        )
    array = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    made = as_record(path, array, given)
    return Record(made.signal, made.fs, made.leads, record=stem, meta=made.meta)
