"""Columns of a store's table as NumPy: texts by number, moments by lead, sets of labels, patients. Each for millions of rows at once.

What Arrow gives through pandas is taken from its buffers by hand: where pandas is installed, importing it takes longer than all the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.store.distinct import distinct, in_order_of_coming

if TYPE_CHECKING:
    import pyarrow as pa


def as_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """(row,): numbers with NaN, times with NaT, text as objects with None. Not for nested columns."""
    import pyarrow as pa

    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column.to_numpy()
    dtype = np.dtype(column.type.to_pandas_dtype())
    parts = [np.frombuffer(chunk.buffers()[1], dtype=dtype)[chunk.offset : chunk.offset + len(chunk)] for chunk in column.chunks]
    return np.concatenate(parts or [np.empty(0, dtype)])


def codes_and_words(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A column of text by numbers: (row,) int32, and the words that they mean, of which the last is None."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.combine_chunks().dictionary_encode()
    column = column.unify_dictionaries() if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    words = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    return _codes(column, len(words)), np.array([*words, None], dtype=object)


def moments_by_lead(mean: pa.ChunkedArray, sd: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lists of two columns, one row's after the other, and where each row's begin: (n,), (n,) float32, (row + 1,) int64."""
    flat = [np.concatenate([chunk.flatten().to_numpy() for chunk in one.chunks] or [np.empty(0, np.float32)]) for one in (mean, sd)]
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in mean.chunks] or [np.empty(0, np.int64)])
    return flat[0], flat[1], np.concatenate([[0], np.cumsum(lengths)])


def sets_of_labels(column: pa.ChunkedArray) -> tuple[np.ndarray, list[dict[str, float] | None]]:
    """The different contents of a column of maps, and which of them each row has: (row,) int64, list of code -> value (None: no map)."""
    labels = column.combine_chunks()
    keys = labels.keys.dictionary_encode()
    codes, values = keys.indices.to_numpy(), labels.items.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    offsets, missing = labels.offsets.to_numpy(), labels.is_null().to_numpy(zero_copy_only=False)
    # bit by bit, since NaN (uncertain) is not equal to itself; ingest sorted the codes
    which, first = distinct(offsets, codes.astype(np.int32, copy=False), values, apart=missing)
    names = keys.dictionary.to_pylist()
    sets: list[dict[str, float] | None] = []
    for row in first.tolist():
        there = slice(offsets[row], offsets[row + 1])
        sets.append(None if missing[row] else {names[code]: value for code, value in zip(codes[there].tolist(), values[there].tolist())})
    return which, sets


def patient_numbers(patient: pa.ChunkedArray, source: np.ndarray, n_sources: int) -> np.ndarray:
    """(row,) int64: equal for rows of one patient of one source, in the order in which they first come; a row without patient has a number of its
    own, behind those.

    patient : by dictionaries
    source  : (row,) number of each row's source, of ``n_sources``
    """
    patient = patient.unify_dictionaries()
    n_names = len(patient.chunk(0).dictionary) if patient.num_chunks else 0
    of_row = _codes(patient, n_names).astype(np.int64)
    if n_sources == 1 and of_row.max(initial=-1) < n_names:
        return of_row
    known = of_row < n_names
    key = of_row[known]
    if n_sources > 1:  # one name names a person of each
        key, _ = in_order_of_coming(key * n_sources + source[known])
    number = np.empty(len(of_row), dtype=np.int64)
    number[known] = key
    number[~known] = key.max(initial=-1) + 1 + np.arange(np.count_nonzero(~known))
    return number


def _codes(column: pa.ChunkedArray, missing: int) -> np.ndarray:
    """Numbers of a column by one dictionary, (row,) int32; ``missing`` where there is none."""
    return np.concatenate([_codes_of_chunk(chunk, missing) for chunk in column.chunks] or [np.empty(0, np.int32)])


def _codes_of_chunk(chunk: Any, missing: int) -> np.ndarray:
    indices = chunk.indices
    codes = np.frombuffer(indices.buffers()[1], dtype=np.int32)[indices.offset : indices.offset + len(indices)]
    return np.where(indices.is_valid().to_numpy(zero_copy_only=False), codes, np.int32(missing)) if indices.null_count else codes
