"""An exponential moving average of the weights: often the better model, and steadier between validations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Average:
    """avg <- decay * avg + (1 - decay) * weight after every update; begins at the weights; buffers are copied.

    Source: Polyak & Juditsky, 1992, as commonly used with a constant decay.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.values: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        learned = {name for name, _ in module.named_parameters()}
        for name, value in module.state_dict().items():
            if name in learned:
                self.values[name].lerp_(value, 1 - self.decay)
            else:
                self.values[name].copy_(value)

    @torch.no_grad()
    def load(self, values: dict[str, Tensor]) -> None:
        for name, value in self.values.items():
            value.copy_(values[name])


@contextlib.contextmanager
@torch.no_grad()
def averaged(module: nn.Module, average: Average | None) -> Iterator[None]:
    """The module with the averaged weights, for a validation or an export; then its own again."""
    if average is None:
        yield
        return
    own = {name: value.detach().clone() for name, value in module.state_dict().items()}
    module.load_state_dict(average.values)
    try:
        yield
    finally:
        module.load_state_dict(own)
