"""A copy that does not learn but follows the module that does, slowly: the teacher, target or key network of BYOL, MoCo and JEPA."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def frozen_copy(module: AnyModule) -> AnyModule:
    """A deep copy whose parameters take no gradient. Kept as a submodule it lives in the checkpoint."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(follower: nn.Module, leader: nn.Module, decay: float, only: Callable[[str], bool] | None = None) -> None:
    """follower = decay * follower + (1 - decay) * leader, for every parameter, in place.

    decay : 1: the follower stays; 0: it becomes the leader
    only  : of the parameter's name: whether this one moves; None: all do

    Buffers stay as they are: a follower in train mode keeps the statistics of its own batches. Parameters are taken in the
    modules' order and must be the same ones. Raises ValueError where the two modules are not alike.
    """
    theirs = dict(leader.named_parameters())
    ours = dict(follower.named_parameters())
    if theirs.keys() != ours.keys():
        raise ValueError(f"expected a copy to have its module's parameters; they differ in {sorted(theirs.keys() ^ ours.keys())[:5]}")
    names = [name for name in ours if only is None or only(name)]
    if names:
        mine: list[Tensor] = [ours[name] for name in names]
        torch._foreach_mul_(mine, decay)
        torch._foreach_add_(mine, [theirs[name] for name in names], alpha=1 - decay)
