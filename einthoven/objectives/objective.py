"""What every objective is: a loss with its own heads around an encoder; what is kept afterwards is the encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from einthoven.models.encoder import Encoder
from einthoven.objectives.step import Moment, Step

Augmentation = Callable[[dict[str, Any], Moment], dict[str, Any]]


class Objective(nn.Module):
    """``objective(batch, moment) -> Step``. The keyword arguments of ``__init__`` are its options in a recipe.

    view          : what its batches must be: "segments" (any rows) or "pairs" (rows 2i and 2i + 1 are two segments of one person)
    n_views       : how many augmented views it makes of each row itself, with the recipe's augmentations; 1: it takes the batch
                    as it is (the loop has augmented it)
    needs_context : whether its encoder must have the halves ``frames`` and ``context``
    loss_judges   : whether a lower loss on held-out ECGs means a better encoder. Not where the target itself moves: then the last
                    weights are kept, not those of the lowest loss
    rests         : parameters that do not learn at first, by name, and for how many updates
    """

    view: ClassVar[str] = "segments"
    n_views: ClassVar[int] = 1
    needs_context: ClassVar[bool] = False
    loss_judges: ClassVar[bool] = True
    rests: Mapping[str, int] = MappingProxyType({})
    encoder: Encoder

    @property
    def kept(self) -> Encoder:
        """The encoder that is saved: the one that learns, unless the method's paper keeps its moving average."""
        return self.encoder

    def forward(self, batch: Mapping[str, Any], moment: Moment) -> Step:
        raise NotImplementedError

    def check(self, data: Any, n_items: int) -> None:
        """Refuse, before training, data or a batch that the method can make nothing of. Raises RecipeError.

        data    : the view that it will be trained on, with ``store`` where it is one of a store
        n_items : items of the smallest micro-batch, over all processes
        """

    def after_update(self, step: int, total: int) -> None:
        """Called by the loop after each update: ``step`` finished ones (from 1) of ``total``. Momentum copies follow here."""


def views_of(batch: Mapping[str, Any], moment: Moment, augment: Augmentation | None, n_views: int) -> list[dict[str, Any]]:
    """Augmented views of a batch, each with draws of its own; the batch itself is left as it is."""
    return [dict(batch) if augment is None else augment(dict(batch), moment.within(f"view{number}")) for number in range(n_views)]


def stack_views(views: list[dict[str, Any]]) -> tuple[Tensor, Tensor | None]:
    """The views' signals one under the other, for one pass through an encoder: (view * batch, lead, time), valid or None."""
    valid = None
    if any(view.get("padded", True) and view.get("valid") is not None for view in views):
        valid = torch.cat([view["valid"] for view in views])
    return torch.cat([view["ecg"] for view in views]), valid
