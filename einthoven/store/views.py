"""Windows of stored recordings, cut when they are read: what a training loop draws its batches from.

``view.__getitems__(indices)`` gives a whole raw batch, a dict of arrays (docs/architecture.md)::

    counts       (row, lead, time) int16    0 in leads that are not there and behind the end of a short recording
    gain, offset (row, lead) float32        ecg = counts * gain + offset; both 0 for a lead that is not there
    scale        (row, lead) float32        mV of one unit of ecg: the SD where it was divided by it, else 1
    n_valid      (row,) int64               samples before the padding; the affine step does not hold behind them
    lead_present (row, lead) bool
    patient, record, segment (row,) int64   number of the person in the store, row of the table, number of the window
    label        (row, class) float32       NaN where not known; only when classes are asked for
"""

from __future__ import annotations

from typing import Any

import numpy as np

from einthoven.store.crops import Crops
from einthoven.store.pairs import Pairs, adjacent_pairs
from einthoven.store.segments import Segments
from einthoven.store.targets import targets_of

__all__ = ["Crops", "Pairs", "Segments", "adjacent_pairs", "collate", "ecg", "targets_of"]


def ecg(batch: dict[str, np.ndarray]) -> np.ndarray:
    """The signal of a raw batch, (row, lead, time) float32: counts * gain + offset, 0 in leads that are not there and in padding.

    On a device this is one fused step; here it goes row by row, while the row is in the cache.
    """
    counts, gain, offset, n_valid = batch["counts"], batch["gain"], batch["offset"], batch["n_valid"]
    out = np.empty(counts.shape, dtype=np.float32)
    moved = (np.abs(offset).max(axis=1, initial=0) > 0).tolist()
    for row, scale in enumerate(gain[..., None]):
        line = out[row]
        line[...] = counts[row]
        line *= scale
        if moved[row]:
            line += offset[row][:, None]
    for row in np.flatnonzero(n_valid < counts.shape[-1]).tolist():
        out[row, :, n_valid[row] :] = 0
    return out


def collate(batch: Any) -> dict[str, np.ndarray]:
    """``collate_fn`` for a DataLoader over a view: what ``__getitems__`` gave is a batch already; items one by one are joined."""
    if isinstance(batch, dict):
        return batch
    return {name: np.concatenate([item[name] for item in batch]) for name in batch[0]}
