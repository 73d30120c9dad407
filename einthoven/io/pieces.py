"""A recording that is stored in pieces (3 × 4 leads of 2.5 s and a rhythm strip; a Holter in blocks), put together in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError

MOST_GROWTH = 16
"""A recording may become this much larger by the gaps between its pieces; more is a damaged time. Four columns of three leads need four."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Some seconds of one lead: where they begin (s, from any common zero) and their samples (time,) in mV."""

    lead: str
    start: float
    signal: np.ndarray


def together(pieces: Sequence[Piece], fs: float, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """(signal (lead, time) float32, names): the leads in the order of their first piece, NaN where no piece lies.

    Where two pieces of one lead overlap, the longer one stands. Raises FormatError where the times cannot be true.
    """
    names = tuple(dict.fromkeys(piece.lead for piece in pieces))
    zero = min(piece.start for piece in pieces)
    n_stored = sum(piece.signal.size for piece in pieces)
    first = [round((piece.start - zero) * fs) for piece in pieces]
    n_samples = max(at + piece.signal.size for at, piece in zip(first, pieces))
    if n_samples * len(names) > MOST_GROWTH * max(n_stored, 1):
        raise FormatError(
            f"{path}: its pieces lie {n_samples / fs:g} s apart and hold {n_stored} samples in all: a damaged time offset; export the recording again."
        )
    if len(names) == len(pieces) and not any(first) and all(piece.signal.size == n_samples for piece in pieces):
        return np.stack([piece.signal for piece in pieces]).astype(np.float32, copy=False), names
    signal = np.full((len(names), n_samples), np.nan, dtype=np.float32)
    for at, piece in sorted(zip(first, pieces), key=lambda placed: placed[1].signal.size):
        row = signal[names.index(piece.lead), at : at + piece.signal.size]
        row[...] = np.where(np.isnan(piece.signal), row, piece.signal)
    return signal, names
