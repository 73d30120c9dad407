"""From a table's column of times to a sampling frequency, and to the places of samples that are missing."""

from __future__ import annotations

import numpy as np

from einthoven.io.rates import simplest

MOST_STRETCH = 50
"""A table with gaps may grow to this many times its rows, not more."""


def rate_of(time: np.ndarray, unit: str | None) -> tuple[float, np.ndarray]:
    """(fs in Hz, the place of each row among the samples) from times in ``unit``: "s", "ms", "us", or None where nobody says.

    Without a unit a step that would be below 20 Hz in s is taken as ms: both cannot be an ECG. Of all rates that the printed digits allow,
    the one with the fewest digits is taken: 0.003, 0.006, 0.008 … are 360 Hz. Raises ValueError, with what is wrong, where times are missing,
    go back, or are not those of one rate.
    """
    n = len(time)
    if n < 2:
        raise ValueError("its time column has fewer than two rows, which tell no rate")
    if not np.isfinite(time).all():
        raise ValueError("its time column has cells without a number")
    steps = np.diff(time)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 2
        raise ValueError(f"its time does not go on in row {row}: {time[row - 1]:g} after {time[row - 2]:g}")
    step = float(np.median(steps))
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6}.get(unit or "")
    if per_second is None:
        per_second = 1.0 if step <= 0.05 else 1e3 if 0.05 < step <= 50 else 0.0
        if not per_second:
            raise ValueError(f"its time goes on by {step:g}, which is neither s nor ms of an ECG; name its unit in the header")
    since = (time - time[0]) / per_second
    digit = _last_digit(time) / per_second
    place = np.arange(n)
    if np.abs(since * ((n - 1) / since[-1]) - place).max() >= 0.5:  # rows are missing
        place = np.rint(since * per_second / step).astype(np.int64)
        if place[-1] >= MOST_STRETCH * n:
            raise ValueError(
                f"its {n} rows are spread over {since[-1]:g} s in steps of {step / per_second:g} s: not the times of one recording"
            )
        fs = place[-1] / since[-1]
        if (np.diff(place) < 1).any() or np.abs(since * fs - place).max() > 0.4:
            raise ValueError(f"its times are not regular: steps from {steps.min():g} to {steps.max():g}; resample it to one rate first")
    exact = place[-1] / since[-1]
    if np.abs(since - place / exact).max() < digit / 100:  # nothing was rounded
        digit = 1e-12 * since[-1]
    return simplest(float(place[-1]), float(since[-1]), digit), place


def _last_digit(time: np.ndarray) -> float:
    """One unit of the last decimal place that is used."""
    for digits in range(10):
        scaled = time * 10**digits
        if np.abs(scaled - np.rint(scaled)).max() < 1e-4:
            return 10.0**-digits
    return 1e-9
