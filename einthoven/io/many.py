"""Files that hold many recordings: what ``record=`` of ``io.read`` may be for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from einthoven.io.on_use import OnUse

RECORDS_IN: dict[str, Callable[[Path], Sequence[str | int]]] = {
    "HDF5": OnUse("hdf5", "records_in"),
    "MATLAB": OnUse("matlab", "records_in"),
    "NumPy array": OnUse("numpy_file", "records_in"),
    "NumPy archive": OnUse("numpy_file", "records_in"),
    "Parquet table": OnUse("parquet", "records_in"),
}
"""Format, of those whose reader takes ``record``, -> the names of a file's recordings, in its order; none where it holds one."""


def records_in(path: Path, kind: str) -> Sequence[str | int]:
    """The names of the recordings in a file of this format; none where it holds one. Raises FormatError."""
    return RECORDS_IN[kind](path) if kind in RECORDS_IN else ()
