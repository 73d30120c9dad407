"""Rows and sums over all processes, with gradients: a contrastive loss sees the whole batch, wherever its rows live.

Outside ``torch.distributed`` all of this is the identity. The gradient that comes back is the sum over the processes of
what each asks for: when each of n processes computes the same loss from gathered rows, a loop that averages the losses
(Step, objectives/step.py) gets the gradient of that one loss, exactly.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def n_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of every process's ``x``, of one shape everywhere; differentiable."""
    return _SumOverProcesses.apply(x) if n_processes() > 1 else x


def gather_rows(x: Tensor) -> Tensor:
    """Every process's rows, in the order of the ranks: (n_own, ...) -> (n_all, ...); differentiable, the numbers of rows may differ.

    Each process puts its rows in its own place of a tensor of zeros, and the tensors are summed: exact in any floating type.
    """
    if n_processes() == 1:
        return x
    counts = torch.zeros(n_processes(), dtype=torch.int64, device=x.device)
    counts[dist.get_rank()] = x.shape[0]
    dist.all_reduce(counts)
    before = int(counts[: dist.get_rank()].sum())
    after = int(counts.sum()) - before - x.shape[0]
    return sum_over_processes(torch.cat([x.new_zeros(before, *x.shape[1:]), x, x.new_zeros(after, *x.shape[1:])]))
