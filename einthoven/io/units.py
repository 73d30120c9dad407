"""Units of voltage, in the spellings of machines and people, and leads in them brought to mV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.cut import unique_names
from einthoven.leads import TWELVE, canonical

_MILLIVOLT = {
    **dict.fromkeys(("v", "volt", "volts"), 1e3),
    **dict.fromkeys(("mv", "mvolt", "millivolt", "millivolts"), 1.0),
    **dict.fromkeys(("uv", "uvolt", "microvolt", "microvolts", "\u00b5v", "\u03bcv"), 1e-3),
    **dict.fromkeys(("âµv", "î¼v"), 1e-3),  # a micro sign in UTF-8, taken for Latin-1
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), 1e-6),
}


def in_millivolt(unit: str | None) -> float | None:
    """How many mV one of this unit is; None where it is no unit of voltage that we know."""
    return _MILLIVOLT.get((unit or "").strip().lower())


def other_units(path: Path, names: Sequence[str], units: Sequence[str]) -> dict[str, str]:
    """Name -> unit of the signals that are in no unit of voltage: ``meta["units"]``. Raises FormatError where one of the twelve leads is."""
    others = {name: unit for name, unit in zip(names, units) if in_millivolt(unit) is None}
    if wrong := next((name for name in others if name in TWELVE), None):
        raise FormatError(
            f"{path}: lead {wrong} is in {others[wrong]!r}, expected mV, uV or V: its amplitude is not known; mend its unit and scale."
        )
    return others


def to_millivolt(
    path: Path, rows: np.ndarray, names: Sequence[str], units: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...], dict[str, str]]:
    """(lead, time) float32 in mV, unique names, and the units of those rows that are no voltage.

    What is infinite becomes NaN: no electrode measured it. Raises FormatError where one of the twelve leads is in another unit.
    """
    unique = unique_names([canonical(name) for name in names])
    others = other_units(path, unique, units)
    out = np.empty(rows.shape, dtype=np.float32)
    for row, values, unit in zip(out, rows, units):
        with np.errstate(over="ignore", invalid="ignore"):
            row[:] = np.asarray(values, dtype=np.float64) * (in_millivolt(unit) or 1.0)
    out[~np.isfinite(out)] = np.nan
    return out, tuple(unique), others
