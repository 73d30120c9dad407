"""LARS: every weight's gradient is scaled to the weight's own norm before the optimiser sees it, for very large batches.

Source: You et al., "Large batch training of convolutional networks", 2017; the form is that of the contrastive methods on
ECGs (Mehari and Strodthoff, 2022), where SwAV has a trust coefficient of 0.001 and no clipping.
"""

from __future__ import annotations

from typing import Any

import torch

EPS = 1e-8


def attach_lars(optimiser: torch.optim.Optimizer, trust: float, clip: bool) -> None:
    """From now on ``optimiser.step()`` scales the gradients first. What the optimiser remembers, saves and restores stays its own.

    trust : length of a gradient relative to its weight
    clip  : shorten gradients alone: no update is longer than the optimiser's own at its learning rate

    Weight decay becomes a part of the gradient that is scaled; the optimiser's own is set to 0, and stands as ``lars_decay``
    in its groups. Biases and norms are scaled like all weights; a weight, or a gradient, of nothing but zeros is left alone.
    """
    for group in optimiser.param_groups:
        group["lars_decay"], group["weight_decay"] = group["weight_decay"], 0.0

    def scale(optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        scale_gradients(optimiser.param_groups, trust, clip)

    optimiser.register_step_pre_hook(scale)


@torch.no_grad()
def scale_gradients(groups: list[dict[str, Any]], trust: float, clip: bool) -> None:
    """gradient <- (gradient + decay * weight) * trust * |weight| / (|gradient| + decay * |weight|), in place, for every weight.

    clip : the factor is divided by the learning rate, and at most 1
    """
    for group in groups:
        decay = group["lars_decay"]
        for weight in group["params"]:
            if weight.grad is None:
                continue
            length, slope = weight.norm(), weight.grad.norm()
            rate = trust * length / (slope + decay * length + EPS)
            if clip:
                rate = (rate / group["lr"]).clamp(max=1.0) if group["lr"] else torch.ones_like(rate)
            moves = (length > 0) & (slope > 0)
            factor = torch.where(moves, rate, 1.0)
            weight.grad.mul_(factor)
            if decay:
                weight.grad.add_(weight * torch.where(moves, decay * rate, 0.0))
