"""WFDB records of the rare kinds, by the ``wfdb`` package: several segments, several rates, skew, and formats that no 12-lead corpus uses.

The package is asked only after the sizes that the headers promise were compared with those of the files: it allocates what it is told.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.wfdb_header import NOTHING, Header
from einthoven.io.wfdb_samples import MAX_BYTES, MILLIVOLT, check_files
from einthoven.leads import canonical


def read_with_package(
    path: Path, header: Header, read_header: Callable[[Path], Header]
) -> tuple[np.ndarray, float, list[str], list[str], dict[str, Any]]:
    """(lead, time) in mV, fs, lead names, units, and what there is to say about it. ``read_header`` gives the header of a segment."""
    if header.segments:
        _check_segments(path, header, read_header)
    else:
        check_files(path, header)
    import wfdb

    try:
        # Not smoothed: by default the package averages the fast (ECG) channels down to the slowest one's rate.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas' deprecations inside the package are not the reader's
            record: Any = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
        rows, per_frame = list(record.e_p_signal), list(record.samps_per_frame)
        names, units = [name or "" for name in record.sig_name], list(record.units)
    except Exception as error:  # the package raises whatever its parsing meets
        reason = re.sub(r"\s+", " ", str(error)) or type(error).__name__
        raise FormatError(f"{path}: the wfdb package cannot read this record: {reason[:200]}") from error
    most = max(per_frame)
    n_samples = max(len(row) * most // n for row, n in zip(rows, per_frame))
    signal = np.full((len(rows), n_samples), np.nan)
    interpolated = []
    for out, row, n, name in zip(signal, rows, per_frame, names):
        if n == most:
            out[: len(row)] = row
        elif len(row):
            out[:] = np.interp(np.arange(n_samples) * (n / most), np.arange(len(row)), row)
            interpolated.append(canonical(name))
    signal *= np.array([MILLIVOLT.get(unit.lower(), 1.0) for unit in units])[:, None]
    return signal, header.fs * most, names, units, {"interpolated": interpolated} if interpolated else {}


def _check_segments(path: Path, header: Header, read_header: Callable[[Path], Header]) -> None:
    """Every segment is there and as long as the master header says, so that no other library is asked for the absurd."""
    total = 0
    for name, n_samples in header.segments:
        total += n_samples
        if name == NOTHING:  # a gap
            continue
        where = path.parent / f"{name}.hea"
        if not where.is_file():
            raise FormatError(f"{path}: the header names the segment {name}, whose header is not there; restore it beside this one.")
        segment = read_header(where)
        if segment.segments:
            raise FormatError(f"{where}: a segment cannot have segments of its own.")
        if n_samples == 0:  # the layout of a variable-layout record: names and gains, no samples
            continue
        if segment.n_samples is not None and segment.n_samples != n_samples:
            raise FormatError(f"{path}: segment {name} has {segment.n_samples} samples; this header promises {n_samples}.")
        check_files(where, replace(segment, n_samples=n_samples))
    if header.n_samples is not None and header.n_samples != total:
        raise FormatError(f"{path}: the segments have {total} samples together; the record line promises {header.n_samples}.")
    if total > MAX_BYTES // 100:
        raise FormatError(f"{path}: {total} samples are more than is read at once.")
