"""A recording from an array of bare numbers: what the readers of NumPy, MATLAB, Parquet and HDF5 files have in common.

Rate, unit and lead names stand in the file under one of several names, or are told (``sidecar.py``). Which axis is which is seen by the number of lead
names; where both axes have it, leads stand first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import cut, with_limb_leads
from einthoven.io.sidecar import Told, agreed, ask_for, described
from einthoven.io.texts import one_line
from einthoven.io.units import to_millivolt
from einthoven.record import Record

RATES = ("fs", "sampling_rate", "sample_rate", "sampling_frequency", "frequency", "sfreq", "curr_sample_rate")
LEADS = ("leads", "lead_names", "lead", "sig_name", "channels", "ch_names", "names")
UNITS = ("unit", "units")
"""Under what names files say the three, in small letters; the first that is there counts."""


def settled(path: Path, said: Told, given: Told) -> Told:
    """What the file says and what was told, together. Raises FormatError where the two contradict one another."""
    return Told(
        agreed(path, "rate is", said.fs, given.fs),
        agreed(path, "unit is", said.unit, given.unit),
        agreed(path, "leads are", said.leads, given.leads),
    )


def place_of(path: Path, which: str | int | None, names: Sequence[str]) -> int:
    """Which of a file's recordings, that have these names, is asked for. Raises FormatError where none is, or where it is not one of them."""
    n = len(names)
    shown = one_line(", ".join(names) if n <= 3 else f"{names[0]} … {names[-1]}")
    if which is None:
        raise FormatError(f"{path}: holds {n} recordings; name one: record={shown}.")
    if (times := names.count(str(which))) != 1:
        what = f"{which} is the id of {times} of its recordings; give each its own" if times else f"asked for {which}; name one of these"
        raise FormatError(f"{path}: holds {n} recordings ({shown}); {what}.")
    return names.index(str(which))


def finished(path: Path, made: Record, leads: Sequence[str] | None, start: float | None, stop: float | None) -> Record:
    """What a reader of bare numbers does last: what a sidecar says of the recording, the leads, the part."""
    return cut(described(made, path), path, leads=leads, start=start, stop=stop)


def as_record(path: Path, array: np.ndarray, given: Told, which: str | int | None = None) -> Record:
    """A recording in mV from an array of one, two or three axes, of three the one numbered ``which``.

    Raises FormatError for what is no signal, and for anything that must be known and is not.
    """
    stem = path.stem
    if array.ndim == 3:
        place = place_of(path, which, [str(k) for k in range(len(array))])
        array, stem = array[place], f"{path.stem}/{place}"
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: expected numbers of shape (lead, time); it holds an array of shape {array.shape} and type {array.dtype}; mend it, or write it again."
        )
    if given.fs is None or given.unit is None or given.leads is None:
        known = {"rate": given.fs, "unit": given.unit, "lead names": given.leads}
        raise ask_for(path, [name for name, value in known.items() if value is None])
    rows = array[None] if array.ndim == 1 else array
    n = len(given.leads)
    if n not in rows.shape:
        raise FormatError(
            f"{path}: expected {n} leads ({' '.join(given.leads)}); its array has the shape {array.shape}; give a name for each lead."
        )
    rows = rows if rows.shape[0] == n else rows.T
    signal, names, others = to_millivolt(path, rows, given.leads, [given.unit] * n)
    return with_limb_leads(Record(signal, given.fs, names, record=stem, meta={"units": others} if others else {}))
