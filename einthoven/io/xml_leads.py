"""What the leads of XML files have in common: numbers as text, one length."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.xml_tree import shown

MAX_LEADS = 256


def numbers_in(text: str, separator: str = ",") -> np.ndarray:
    """Numbers with a separator between them (" " is any white space) as float64. Raises ValueError where something else stands among them."""
    text = text.strip()
    if separator != " ":
        text = text.rstrip(separator + " \t\r\n")
    if not text:
        return np.empty(0)
    n_expected = len(text.split()) if separator == " " else text.count(separator) + 1
    values = _parsed(text, np.int64, separator)  # as it nearly always is, and five times as fast
    if values is None or len(values) != n_expected or np.abs(values.astype(np.float64)).max() > 2**53:
        values = _parsed(text, np.float64, separator)
    if values is None or len(values) != n_expected or not np.isfinite(values).all():
        raise ValueError(f"expected {n_expected} numbers; other text stands among them")
    return values.astype(np.float64)


def _parsed(text: str, kind: type[np.number], separator: str) -> np.ndarray | None:
    """The numbers of a text, None where it holds anything else."""
    with warnings.catch_warnings():  # NumPy before 2.3 only warns of it
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, dtype=kind, sep=separator)
        except (ValueError, DeprecationWarning):
            return None


def stacked(names: Sequence[str], lines: Sequence[np.ndarray], path: Path) -> np.ndarray:
    """Leads, each (time,) in mV, as (lead, time) float32. Raises FormatError where there are none, too many, or of different lengths."""
    if not 0 < len(lines) <= MAX_LEADS:
        raise FormatError(f"{path}: expected 1 to {MAX_LEADS} leads; it has {len(lines)}; export the ECG again.")
    if odd := [(name, line) for name, line in zip(names, lines) if len(line) != len(lines[0])]:
        raise FormatError(
            f"{path}: expected leads of one length; {shown(names[0])} has {len(lines[0])} samples, {shown(odd[0][0])} {len(odd[0][1])}: truncated? Export the ECG again."
        )
    if len(lines[0]) == 0:
        raise FormatError(f"{path}: its leads have no samples; export the ECG again.")
    with np.errstate(over="ignore", invalid="ignore"):
        signal = np.stack(lines).astype(np.float32)
    signal[np.isinf(signal)] = np.nan
    return signal
