"""Sampling frequencies: which number can be one, and the one that rounded times mean."""

from __future__ import annotations

from typing import TypeGuard

MAX_FS = 1e6
"""Hz. Beyond it a header is damaged, not ambitious. What an *ECG* may have is narrower: ``signal/quality.py``."""


def is_rate(fs: float | None) -> TypeGuard[float]:
    """Whether a number is a sampling frequency in Hz at all."""
    return fs is not None and 0 < fs <= MAX_FS


def simplest(n_steps: float, seconds: float, error: float) -> float:
    """The rate (Hz) with the fewest digits at which so many steps take these seconds, give or take ``error``."""
    low, high = n_steps / (seconds + error), n_steps / max(seconds - error, seconds / 2)
    exact = n_steps / seconds
    for digits in range(-1, 10):
        fs = round(exact, digits)
        if fs > 0 and low <= fs <= high:
            return fs
    return exact
