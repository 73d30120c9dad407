"""Files that hold many recordings: what ``record=`` of ``io.read`` may be for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from einthoven.io import hdf5, matlab, numpy_file, parquet

RECORDS_IN: dict[str, Callable[[Path], Sequence[str | int]]] = {
    "HDF5": hdf5.records_in,
    "MATLAB": matlab.records_in,
    "NumPy array": numpy_file.records_in,
    "NumPy archive": numpy_file.records_in,
    "Parquet table": parquet.records_in,
}
"""Format, of those whose reader takes ``record``, -> the names of a file's recordings, in its order; none where it holds one. Raises FormatError."""
