"""One vector per record from its frames."""

from __future__ import annotations

from torch import Tensor


def pool(frames: Tensor, valid: Tensor | None = None) -> Tensor:
    """The mean over the valid frames: (batch, frame, dim), (batch, frame) bool or None -> (batch, dim).

    A row without any valid frame gives zeros. Where padding is, a frame's value does not matter, not even when it is NaN.

    fairseq-signals divides, per channel, by the number of frames that are not exactly 0 once the padded ones were zeroed.
    After a LayerNorm no frame is exactly 0, so in evaluation the two are equal (the parity cases hold it); in training
    theirs also leaves out what dropout zeroed, which makes the mean larger by 1 / (1 - p). Ours is the plain mean.
    """
    if valid is None:
        return frames.mean(dim=1)
    total = frames.masked_fill(~valid[:, :, None], 0.0).sum(dim=1)
    return total / valid.sum(dim=1).clamp(min=1)[:, None]
