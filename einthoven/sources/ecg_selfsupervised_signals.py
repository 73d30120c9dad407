"""The signals that ecg-selfsupervised prepared: an array, ``memmap.npy``, and its index, ``memmap_meta.npz``.

The array has no header of NumPy in spite of its name. Values are float32, (time, lead) of all recordings one after the other; the index gives the first row and the number of rows of each, and
the shape of the array, or of several.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from einthoven.errors import EinthovenError, FormatError
from einthoven.sources.ecg_selfsupervised_names import ORDER

SIGNALS, META = "memmap.npy", "memmap_meta.npz"
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, KeyError, TypeError, OverflowError, SyntaxError),
)
"""What NumPy raises for an array or archive that is none."""
_MAX_META = 2**30


@dataclass(frozen=True, eq=False)
class Prepared:
    """Where the recordings of a folder lie: each in ``files[file]``, ``length`` rows from ``start`` on."""

    folder: Path
    files: tuple[str, ...]
    shape: tuple[tuple[int, int], ...]
    file: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def rows(self, place: int) -> np.ndarray:
        """(time, lead) float32 as it was stored. Raises FormatError where the array ends before, or is gone."""
        number = int(self.file[place])
        path, (_, n_channels) = self.folder / self.files[number], self.shape[number]
        begin, n = int(self.start[place]), int(self.length[place])
        try:
            values = np.fromfile(path, dtype="<f4", count=n * n_channels, offset=4 * begin * n_channels)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read: {error.strerror or error}; copy it again.") from error
        if len(values) != n * n_channels:
            raise FormatError(f"{path}: ends before recording {place}; copy it again.")
        return values.reshape(n, n_channels)

    def signal(self, place: int) -> np.ndarray:
        """(lead, time) mV; NaN for a lead that was not recorded."""
        signal = self.rows(place).T.copy()
        signal[~signal.any(axis=1)] = np.nan
        return signal


def prepared_signals(folder: Path) -> Prepared:
    """What ``memmap_meta.npz`` says, compared with the files. Raises EinthovenError where they do not fit one another."""
    path = folder / META
    try:
        return _prepared(folder, path.stat().st_mtime_ns)
    except OSError as error:
        raise EinthovenError(f"{path}: cannot be read ({error.strerror or error}); copy it again.") from error


@lru_cache(maxsize=16)
def _prepared(folder: Path, _changed: int) -> Prepared:
    path = folder / META
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_META:
                raise EinthovenError(f"{path}: unfolds to more than {_MAX_META} bytes; refused.")
        with np.load(path, allow_pickle=False) as file:  # its "dtype" is a pickled object, which is not touched: it is float32
            start, length, number = (np.asarray(file[name], dtype=np.int64) for name in ("start", "length", "file_idx"))
            shape = np.asarray(file["shape"], dtype=np.int64)
            try:
                names = [PurePosixPath(str(name)).name for name in file["filenames"].tolist()]
            except ValueError:  # objects
                names = []
    except DAMAGED as error:
        raise EinthovenError(f"{path}: expected start, length, shape and file_idx of ecg-selfsupervised's signals ({error}).") from None
    shape = shape.reshape(1, 2) if shape.shape == (2,) else shape
    if shape.ndim != 2 or shape.shape[1] != 2 or not (start.shape == length.shape == number.shape) or start.ndim != 1:
        raise EinthovenError(
            f"{path}: start {start.shape}, length {length.shape}, file_idx {number.shape} and shape {shape.shape} do not fit one another."
        )
    if len(names) != len(shape):
        names = [SIGNALS] if len(shape) == 1 else [f"memmap_{at}.npy" for at in range(len(shape))]
    for name, (n_rows, n_channels) in zip(names, shape.tolist()):
        there = (folder / name).stat().st_size if (folder / name).is_file() else -1
        if not 1 <= n_channels <= len(ORDER) or n_rows < 0 or there != 4 * n_rows * n_channels:
            has = f"has {there} bytes" if there >= 0 else "is not there"
            raise EinthovenError(
                f"{folder / name}: {has} where {META} gives {n_rows} rows of {n_channels} leads in float32; copy the folder again."
            )
    bad = (number < 0) | (number >= len(shape)) | (start < 0) | (length < 1)
    bad |= start + length > shape[np.where(bad, 0, number), 0]
    if bad.any():
        raise EinthovenError(f"{path}: puts recording {int(np.argmax(bad))} outside of its file; copy the folder again.")
    return Prepared(folder, tuple(names), tuple((int(a), int(b)) for a, b in shape), number, start, length)
