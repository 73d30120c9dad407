"""Large batches in pieces: on a CPU what is worked on at once should fit a core's cache, and its memory be used again.

Fresh memory for every intermediate of a whole batch costs more than the arithmetic. On other devices the whole batch is one piece.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

PIECE = 1 << 18
"""Numbers of a piece: 1 MB of float32."""


def pieces(n_rows: int, numbers_per_row: int, device: torch.device) -> Iterator[slice]:
    """Slices that together are all rows."""
    step = max(PIECE // max(numbers_per_row, 1), 1) if device.type == "cpu" else max(n_rows, 1)
    return (slice(first, first + step) for first in range(0, n_rows, step))


def pieces_of(ecg: Tensor) -> Iterator[slice]:
    """Rows of (batch, lead, time), a piece at a time."""
    return pieces(ecg.shape[0], ecg.shape[1] * ecg.shape[2], ecg.device)
