"""Batch normalisation over the rows of all processes, on any device: n processes with a share each do what one does with all.

torch's SyncBatchNorm does this on GPUs alone. Parameters and buffers have the names of ``nn.BatchNorm1d``, which this is
in evaluation and in a single process.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from einthoven.layers.gather import n_processes, sum_over_processes


class BatchNorm(nn.BatchNorm1d):
    """(batch, channel) or (batch, channel, time) -> the same; mean and variance over batch and time of every process."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or n_processes() == 1:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        over = (0,) if x.ndim == 2 else (0, 2)
        count = sum_over_processes(torch.full((), x.numel() // x.shape[1], dtype=x.dtype, device=x.device))
        shape = (1, -1) if x.ndim == 2 else (1, -1, 1)
        mean = sum_over_processes(x.sum(dim=over)) / count
        centred = x - mean.view(shape)
        variance = sum_over_processes(centred.square().sum(dim=over)) / count
        self._remember(mean.detach(), variance.detach(), float(count))
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """The running statistics, as nn.BatchNorm1d keeps them: the variance with Bessel's correction."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / max(1.0, count - 1)).to(self.running_var.dtype), share)
