"""Convolutional networks in which padding stays zero, so that a padded record gives the frames that it gives alone.

A convolution pads its input with zeros at the end of a record. Behind the end of a short record in a batch stand, after the first
norm, numbers that are not zero; these functions put the zeros back wherever the next layer would look at them.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def blank(x: Tensor, valid: Tensor | None) -> Tensor:
    """Zeros where nothing real stands: (batch, channel, time), (batch, time) bool or None -> (batch, channel, time)."""
    return x if valid is None else x.masked_fill(~valid[:, None, :], 0.0)


def thin(valid: Tensor | None, stride: int) -> Tensor | None:
    """Which outputs of a convolution that is padded to its own length stand for real samples: (batch, time) -> (batch, ⌈time / stride⌉)."""
    return None if valid is None else valid[:, ::stride]


def mean_over_time(x: Tensor, valid: Tensor | None) -> Tensor:
    """(batch, channel, time), 0 where not valid -> (batch, channel)."""
    return x.mean(dim=2) if valid is None else x.sum(dim=2) / valid.sum(dim=1).clamp(min=1)[:, None]


def average_pool(x: Tensor, stride: int, valid: Tensor | None) -> Tensor:
    """Means over neighbouring ``stride`` samples, the last over as many as are left: (batch, channel, time) -> (batch, channel, ⌈time / stride⌉)."""
    pooled = F.avg_pool1d(x, stride, stride, ceil_mode=True)
    if valid is None:
        return pooled
    share = F.avg_pool1d(valid[:, None, :].to(x.dtype), stride, stride, ceil_mode=True)
    return pooled / share.clamp(min=1 / (2 * stride))


def odd(kernel: int, what: str) -> int:
    """A kernel that can be centred on a sample. Raises ValueError for another."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"expected {what} to be an odd number of samples, so that it can be centred on one; got {kernel}")
    return kernel


def same_conv(n_in: int, n_out: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv1d:
    """A convolution with zeros at both ends, whose output has ⌈time / stride⌉ samples."""
    return nn.Conv1d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=bias)
