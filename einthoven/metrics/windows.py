"""From the answers to a record's windows to one answer for the record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HOW = ("mean", "max")
SPACES = ("probability", "logit")
_EDGE = 1e-12  # a probability of exactly 0 or 1 has no logit


def by_record(
    windows: np.ndarray, record: Sequence | np.ndarray, how: str | Sequence[str] = "mean", space: str = "probability"
) -> tuple[np.ndarray, np.ndarray]:
    """(window, class) probabilities and the record of each window -> the different records, sorted, and (record, class) float64.

    how   : "mean" (ecg-selfsupervised) or "max" (the PTB-XL benchmark), one for all classes or one per class
    space : "probability": of the probabilities; "logit": of their logits, and back. The maximum is the same in both

    A record's windows need not stand together. Raises ValueError where the parts do not fit.
    """
    windows, record = np.asarray(windows, dtype=np.float64), np.asarray(record)
    if windows.ndim != 2 or record.shape != windows.shape[:1]:
        raise ValueError(f"expected windows (window, class) and a record for each window; got {windows.shape} and {record.shape}")
    ways = [how] * windows.shape[1] if isinstance(how, str) else list(how)
    if len(ways) != windows.shape[1] or not set(ways) <= set(HOW):
        raise ValueError(f"expected {' or '.join(HOW)}, once or for each of {windows.shape[1]} classes; got {how!r}")
    if space not in SPACES:
        raise ValueError(f"expected a space of {', '.join(SPACES)}; got {space!r}")
    order = np.argsort(record, kind="stable")
    records, first, count = np.unique(record[order], return_index=True, return_counts=True)
    if not len(records):
        return records, windows
    values = windows[order]
    if space == "logit":
        inside = np.clip(values, _EDGE, 1 - _EDGE)
        values = np.log(inside) - np.log1p(-inside)
    mean, most = np.add.reduceat(values, first) / count[:, None], np.maximum.reduceat(values, first)
    out = np.where(np.array(ways) == "max", most, mean)
    return records, out if space == "probability" else 1 / (1 + np.exp(-out))


def labels_by_record(label: np.ndarray, record: Sequence | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(window, class) labels -> the different records, sorted, and the label of each: (record, class).

    Raises ValueError where two windows of a record are labelled differently: then a window's label is not the record's.
    """
    label, record = np.asarray(label), np.asarray(record)
    records, first, of_window = np.unique(record, return_index=True, return_inverse=True)
    expected = label[first][of_window]
    wrong = ~((label == expected) | (np.isnan(label) & np.isnan(expected))).all(axis=1)
    if wrong.any():
        raise ValueError(f"expected one label for all windows of a record; those of {record[np.flatnonzero(wrong)[0]]} differ")
    return records, label[first]
