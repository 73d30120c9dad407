"""Convolutions and pools over time for records of different lengths: what stands behind a record's end does not reach its frames.

Everything here takes ``x (batch, channel, time)`` and ``n (batch,)``, the number of samples of each row that are real, or
None where all are. Before a window slides over them, samples behind the end become what the window's own padding is. So a
padded record gives the frames that it gives alone, and takes part in the batch's statistics with its own samples only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm


def windows(n: Any, kernel: int, stride: int = 1, padding: int = 0) -> Any:
    """How many places a window has over ``n`` samples (a number, or a tensor of numbers); 0 where it does not fit."""
    count = (n + 2 * padding - kernel) // stride + 1
    return count.clamp(min=0) if isinstance(count, Tensor) else max(0, count)


def same(kernel: int) -> int:
    """The padding that keeps the length under an odd kernel of stride 1; under an even one, a sample is lost."""
    return (kernel - 1) // 2


def within(x: Tensor, n: Tensor | None, fill: float = 0.0) -> Tensor:
    """``x`` with ``fill`` behind each row's end."""
    if n is None:
        return x
    return x.masked_fill(torch.arange(x.shape[2], device=x.device) >= n[:, None, None], fill)


def max_pool(x: Tensor, n: Tensor | None, kernel: int, stride: int, padding: int) -> tuple[Tensor, Tensor | None]:
    """The largest in each window."""
    x = F.max_pool1d(within(x, n, float("-inf")), kernel, stride, padding)
    n = None if n is None else windows(n, kernel, stride, padding)
    return within(x, n), n


def shortened(n: Any, stride: int) -> Any:
    """Samples behind a convolution that is padded to its own length, or behind ``average``: ⌈n / stride⌉ (of a number, a tensor, or None)."""
    return None if n is None else (n + stride - 1) // stride


def average(x: Tensor, n: Tensor | None, stride: int = 2) -> tuple[Tensor, Tensor | None]:
    """Means over neighbouring ``stride`` samples, the last over as many as are left."""
    if n is None:
        return F.avg_pool1d(x, stride, ceil_mode=True), None
    real = within(torch.ones_like(x[:, :1]), n)
    share = F.avg_pool1d(real, stride, ceil_mode=True).clamp(min=1 / stride)
    return F.avg_pool1d(within(x, n), stride, ceil_mode=True) / share, shortened(n, stride)


def mean_over_time(x: Tensor, n: Tensor | None) -> Tensor:
    """(batch, channel, time) -> (batch, channel), over real samples."""
    return x.mean(dim=2) if n is None else within(x, n).sum(dim=2) / n.clamp(min=1)[:, None]


def odd(kernel: int, what: str) -> int:
    """A kernel that can be centred on a sample. Raises ValueError for another."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"expected {what} to be an odd number of samples, so that it can be centred on one; got {kernel}")
    return kernel


def same_conv(n_in: int, n_out: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv1d:
    """A plain convolution with zeros at both ends, whose output has ⌈time / stride⌉ samples."""
    return nn.Conv1d(n_in, n_out, kernel, stride, padding=same(kernel), bias=bias)


def normalise(x: Tensor, n: Tensor | None, norm: BatchNorm) -> Tensor:
    """Batch norm; in training its mean and variance are those of real samples alone."""
    if n is None or not norm.training:
        return norm(x)
    samples = x.transpose(1, 2)
    real = torch.arange(x.shape[2], device=x.device) < n[:, None]
    normed = norm(samples[real])
    return normed.new_zeros(samples.shape).masked_scatter(real[:, :, None], normed).transpose(1, 2)


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU; the norm and the activation can be left out.

    A convolution has a bias where it has no norm, unless ``bias`` says otherwise. Padding is ``same(kernel)`` unless given.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int = 1, *, norm: bool = True, active: bool = True, bias: bool | None = None
    ):
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride, same(kernel), bias=not norm if bias is None else bias)
        self.norm = BatchNorm(n_out) if norm else None
        self.active = active

    def n_after(self, n: Any) -> Any:
        """Samples after it (a number, or a tensor of numbers)."""
        return windows(n, self.conv.kernel_size[0], self.conv.stride[0], int(self.conv.padding[0]))

    def forward(self, x: Tensor, n: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.conv(within(x, n))
        n = None if n is None else self.n_after(n)
        if self.norm is not None:
            x = normalise(x, n, self.norm)
        # In place: neither the norm nor the convolution needs its output again; it saves a tenth of the time and a copy.
        return F.relu(x, inplace=True) if self.active else x, n


def initialise(module: nn.Module) -> None:
    """As fastai does: Kaiming's normal distribution (fan in, for ReLU) for convolutions and linear layers, biases 0, norms 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, BatchNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
