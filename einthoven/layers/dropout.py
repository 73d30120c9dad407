"""Dropout that does not hold up a CPU.

torch draws a CPU's dropout masks one number after the other, in one thread: 5 ms for the 958,464 values of a layer's
output that a matrix product makes in 20. Here four values share one 64-bit draw.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 1 << 16


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, level: int) -> Tensor:
        bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= level - LEVELS // 2
        ctx.save_for_backward(kept)
        ctx.scale = LEVELS / (LEVELS - level)
        return x.mul(kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return grads[0].mul(kept).mul_(ctx.scale), None


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Each value is 0 with probability ``p``, and otherwise divided by 1 - p; in training alone.

    Drawn from torch's global generator of the device. On a CPU ``p`` is a multiple of 1/65536, with the matching division.
    """
    level = round(p * LEVELS)
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or not 0 < level < LEVELS:
        return F.dropout(x, p, True)
    return _Drop.apply(x, level)
