"""Quantisation for the formats that keep 16-bit integers: how large one step is, per lead."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from einthoven.errors import FormatError

TOP = 2**15 - 1
"""Counts run from -TOP to TOP: the lowest of 16 bits stands for "not recorded", or is left free."""

FINEST = 1e-4
"""Smallest step, in the lead's unit: 0.1 µV of a signal in mV. No electrocardiograph measures finer, and whole µV stay exact."""


def step_of(values: np.ndarray) -> float:
    """The finest of 0.0001, 0.0002, 0.0005, 0.001, … in which 16 bits hold a lead's largest amplitude. NaN is passed over.

    Raises ValueError for infinite values.
    """
    finite = values[~np.isnan(values)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    if not np.isfinite(largest):
        raise ValueError("infinite values")
    for exponent in range(-4, 39):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{exponent}")
            if largest / step <= TOP + 0.5 - 1e-6:
                return step
    raise ValueError(f"values of {largest:g}")


def step_of_lead(path: Path, name: str, values: np.ndarray) -> float:
    """The same for a writer. Raises FormatError that names the file and the lead."""
    try:
        return step_of(values)
    except ValueError as error:
        raise FormatError(f"{path}: lead {name} has {error}, which 16 bits do not hold; mend it first.") from None


def counts_of(values: np.ndarray, step: float, missing: int) -> np.ndarray:
    """(time,) in the lead's unit -> (time,) int16 in steps, ``missing`` where NaN."""
    counts = np.rint(np.asarray(values, dtype=np.float64) / step)
    return np.where(np.isnan(counts), missing, counts).astype(np.int16)
