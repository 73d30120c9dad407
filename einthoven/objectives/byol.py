"""BYOL: from one view of an ECG, predict what a slowly moving copy of the network makes of another; nothing repels.

Sources: Grill et al., NeurIPS 2020; Mehari & Strodthoff, Comput. Biol. Med. 2022 (on ECGs: both heads have 512 hidden units).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.momentum_copy import follow, frozen_copy
from einthoven.layers.projection import projection
from einthoven.models.encoder import Encoder
from einthoven.objectives.objective import Augmentation, Objective, views_of
from einthoven.objectives.step import Moment, Step, valid_of


def byol_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the two directions, 2 - 2 cos, mean over rows: (row, dim), (row, dim) -> () in [0, 4].

    The old ECG code has -2 cos: 2 less, and 4 less in the sum of both ways.
    """
    return 2 - 2 * F.cosine_similarity(predicted, target.detach(), dim=1).mean()


def target_decay(step: int, total: int, base: float = 0.996) -> float:
    """How much of the target stays after ``step`` updates of ``total``: from ``base`` at 0 to 1 at the end, along a cosine."""
    return 1 - (1 - base) * (math.cos(math.pi * min(step, total) / total) + 1) / 2


class BYOL(Objective):
    """BYOL on the encoder's pooled vectors: encoder, projector and predictor learn; a copy of encoder and projector follows.

    hidden : width of the hidden layer of projector and predictor; 4096 in the paper, 512 in the ECG system
    dim    : width of what is predicted; 256 in the paper
    decay  : of the copy at the beginning; it rises to 1 along a cosine over the run

    The loss is the sum of both ways, in [0, 8], 4 where directions are independent; it has weight per row.

    The copy is in training mode, as in the paper's and the ECG system's code: its batch norms normalise by its own batches, over all
    processes. Every parameter of it follows; the old ECG code moves only those whose name has ``weight`` in it, so that its
    biases stay what they were at the beginning (``move(…, only=…)`` does that). There the decay lags one update behind.
    """

    n_views = 2
    loss_judges = False

    def __init__(self, encoder: Encoder, *, hidden: int = 512, dim: int = 128, decay: float = 0.996, augment: Augmentation | None = None):
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"expected decay, the share of the copy that stays, to lie in [0, 1]; got {decay}")
        self.encoder, self.decay, self.augment = encoder, decay, augment
        self.projector = projection(encoder.width, (hidden, dim), norm=True)
        self.predictor = projection(dim, (hidden, dim), norm=True)
        self.target_encoder, self.target_projector = frozen_copy(encoder), frozen_copy(self.projector)

    def predict(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the network that learns expects of the other view: (batch, lead, time) -> (batch, dim)."""
        return self.predictor(self.projector(self.encoder.embed(ecg, valid)))

    @torch.no_grad()
    def target(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the copy makes of a view: (batch, lead, time) -> (batch, dim)."""
        return self.target_projector(self.target_encoder.embed(ecg, valid))

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        first, second = ((view["ecg"], valid_of(view)) for view in views_of(batch, moment, self.augment, 2))
        ways = ((self.predict(*first), self.target(*second)), (self.predict(*second), self.target(*first)))
        with torch.autocast(first[0].device.type, enabled=False):
            dtype = torch.promote_types(ways[0][0].dtype, torch.float32)
            loss = torch.stack([byol_loss(predicted.to(dtype), target.to(dtype)) for predicted, target in ways]).sum()
        return Step(loss, {"byol": loss.detach(), "cosine": 1 - loss.detach() / 4}, weight=float(first[0].shape[0]))

    def after_update(self, step: int, total: int) -> None:
        self.move(target_decay(step - 1, total, self.decay))

    def move(self, decay: float, only: Callable[[str], bool] | None = None) -> None:
        """The copy follows: copy = decay * copy + (1 - decay) * network, for all parameters or for those whose name ``only`` is true of."""
        follow(self.target_encoder, self.encoder, decay, only)
        follow(self.target_projector, self.projector, decay, only)

    def check(self, data: Any, n_items: int) -> None:
        if n_items < 2:
            raise RecipeError(
                f"byol normalises over its batch: expected at least 2 in a micro-batch, got {n_items}; raise batch or micro_batch"
            )
