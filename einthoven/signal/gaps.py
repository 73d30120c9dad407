"""Samples that were not recorded: one rule for the store and for a model that answers, so that it sees what it was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from einthoven.errors import ContractError
from einthoven.record import Record

LONGEST_GAP = 0.2
"""Seconds that may be missing from a lead and be interpolated; a longer gap could hide a beat."""


def fill_gaps(signal: np.ndarray, names: tuple[str, ...], fs: float) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], int]:
    """Without what was not recorded: (signal, names, interrupted leads, number of interpolated samples).

    Time at either end in which no lead was recorded is cut off.
    """
    recorded = np.isfinite(signal)
    instants = np.flatnonzero(recorded.any(axis=0))
    if instants.size == 0:
        raise ContractError("nothing was recorded: every sample of every lead is missing")
    signal, recorded = signal[:, instants[0] : instants[-1] + 1], recorded[:, instants[0] : instants[-1] + 1]
    time = np.arange(signal.shape[1])
    filled, kept, interrupted, n_filled = [], [], [], 0
    for lead, there, name in zip(signal, recorded, names):
        if not there.any():
            continue
        edges = np.diff(np.concatenate([[1], there, [1]]).astype(np.int8))
        longest = np.max(np.flatnonzero(edges == 1) - np.flatnonzero(edges == -1), initial=0)
        if longest > LONGEST_GAP * fs:
            interrupted.append(name)
            continue
        n_filled += int((~there).sum())
        filled.append(lead if there.all() else np.interp(time, time[there], lead[there]).astype(np.float32))
        kept.append(name)
    if not filled:
        raise ContractError(f"no lead without a gap longer than {LONGEST_GAP:g} s ({' '.join(interrupted)})")
    return np.stack(filled), tuple(kept), tuple(interrupted), n_filled


def without_gaps(record: Record) -> tuple[Record, tuple[str, ...]]:
    """The record as a store would keep it, and what was done: leads with a gap of more than LONGEST_GAP s left out, shorter gaps interpolated,
    time at either end in which no lead was recorded cut off. A lead of which nothing was recorded is left out.

    Raises ContractError where no lead is left.
    """
    if np.isfinite(record.signal).all():
        return record, ()
    signal, leads, interrupted, n_filled = fill_gaps(record.signal, record.leads, record.fs)
    steps = []
    if n_cut := record.signal.shape[1] - signal.shape[1]:
        steps.append(f"cut off {n_cut / record.fs:.3g} s at the ends in which nothing was recorded")
    if interrupted:
        steps.append(f"left out {' '.join(interrupted)}: a gap longer than {LONGEST_GAP:g} s")
    if n_filled:
        steps.append(f"interpolated {n_filled} missing samples in gaps of at most {LONGEST_GAP:g} s")
    return replace(record, signal=signal, leads=leads), tuple(steps)
