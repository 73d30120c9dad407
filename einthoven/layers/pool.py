"""One vector per record from its frames."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS: dict[str, tuple[str, ...]] = {
    "mean": ("mean",),
    "max": ("max",),
    "max_mean": ("max", "mean"),
    "mean_max_last": ("mean", "max", "last"),
    "last": ("last",),
}
"""What is put side by side. ``max_mean`` is fastai's concat pooling (xresnet1d), ``mean_max_last`` that of recurrent networks (CPC)."""


def pool(frames: Tensor, valid: Tensor | None = None, how: str = "mean") -> Tensor:
    """One vector from the valid frames: (batch, frame, dim), (batch, frame) bool or None -> (batch, pooled_dim(dim, how)).

    A row without any valid frame gives zeros. Where padding is, a frame's value does not matter, not even when it is NaN.

    fairseq-signals divides, per channel, by the number of frames that are not exactly 0 once the padded ones were zeroed.
    After a LayerNorm no frame is exactly 0, so in evaluation the two are equal (the parity cases hold it); in training
    theirs also leaves out what dropout zeroed, which makes the mean larger by 1 / (1 - p). Ours is the plain mean.
    """
    parts = [_ONE[part](frames, valid) for part in POOLINGS[how]]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def pooled_dim(dim: int, how: str = "mean") -> int:
    """Width of a pooled vector."""
    return dim * len(POOLINGS[how])


def _mean(frames: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return frames.mean(dim=1)
    total = frames.masked_fill(~valid[:, :, None], 0.0).sum(dim=1)
    return total / valid.sum(dim=1).clamp(min=1)[:, None]


def _max(frames: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return frames.amax(dim=1)
    largest = frames.masked_fill(~valid[:, :, None], float("-inf")).amax(dim=1)
    return largest.masked_fill(~valid.any(dim=1)[:, None], 0.0)


def _last(frames: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return frames[:, -1]
    last = (valid.sum(dim=1) - 1).clamp(min=0)
    taken = frames.gather(1, last[:, None, None].expand(-1, 1, frames.shape[2])).squeeze(1)
    return taken.masked_fill(~valid.any(dim=1)[:, None], 0.0)


_ONE = {"mean": _mean, "max": _max, "last": _last}
