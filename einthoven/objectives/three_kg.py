"""3KG: two views of an ECG, made by turning and stretching its vectorcardiogram, attract, and so do all ECGs of one person.

Source: Gopal et al., "3KG: Contrastive learning of 12-lead electrocardiograms using physiologically-inspired augmentations",
ML4H 2021; the loss is that of fairseq-signals. The views are ``augment/vcg.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.gather import gather_rows
from einthoven.layers.projection import unit
from einthoven.models.encoder import Encoder
from einthoven.objectives.cmsc import persons, refuse_one_item
from einthoven.objectives.objective import Augmentation, Objective, stack_views, views_of
from einthoven.objectives.step import Moment, Step


def three_kg_loss(
    embedding: Tensor, person: Tensor, temperature: float = 0.1, eps: float = 1e-8, *, constant_norm: bool = False
) -> tuple[Tensor, Tensor]:
    """For every two rows of one person: cross-entropy of the one as the other's positive among the rows of other persons.

    embedding     : (row, dim)
    person        : (row,)  a row's positives are all other rows of its person: its other view, and both views of other ECGs
    temperature   : float > 0
    eps           : least norm in a cosine
    constant_norm : see layers/projection.py: unit
    returns       : () sum of the terms, one per ordered pair; () how many there are

    A positive's rivals are the rows of other persons alone: the person's other rows stand in no denominator but their own.
    """
    embedding = unit(embedding, constant_norm=constant_norm, eps=eps)
    similarity = (embedding / temperature) @ embedding.T
    same = person[:, None] == person[None, :]
    rivals = similarity.masked_fill(same, torch.finfo(similarity.dtype).min).logsumexp(dim=1, keepdim=True)
    positive = same & ~torch.eye(len(person), dtype=torch.bool, device=person.device)
    # -log(e^s / (e^s + sum of e^rival)) = log(1 + e^(log-sum of rivals - s)), for all positives of a row at once
    terms = F.softplus(rivals - similarity).masked_fill(~positive, 0.0)
    return terms.sum(), positive.sum()


class ThreeKG(Objective):
    """3KG on the record's vector, without a projection, as in fairseq-signals; the mean over positive pairs, there their sum.

    temperature   : of the cosines
    eps           : least norm in a cosine
    constant_norm : vectors are divided by their length as by a constant, as in fairseq-signals: leaves a gradient along the vector

    Persons are patients, negatives come from all processes, and the loss has weight per row.
    """

    n_views = 2

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.1,
        eps: float = 1e-8,
        constant_norm: bool = False,
        augment: Augmentation | None = None,
    ):
        super().__init__()
        self.encoder, self.augment, self.temperature, self.eps = encoder, augment, temperature, eps
        self.constant_norm = constant_norm

    def check(self, data: Any, n_items: int) -> None:
        refuse_one_item("3kg", n_items)
        if self.augment is None:
            raise RecipeError("3kg compares two augmented views of an ECG and has no augmentation: set augment=[vcg]")

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        ecg, valid = stack_views(views_of(batch, moment, self.augment, self.n_views))
        n_rows, person = batch["ecg"].shape[0], persons(batch)
        views = self.encoder.embed(ecg, valid).unflatten(0, (self.n_views, n_rows)).transpose(0, 1)  # (row, view, width)
        if moment.rows(n_rows) != n_rows:
            views, person = gather_rows(views), gather_rows(person)
        with torch.autocast(views.device.type, enabled=False):
            views = views.to(torch.promote_types(views.dtype, torch.float32))
            total, n_terms = three_kg_loss(
                views.flatten(0, 1),
                person.repeat_interleave(self.n_views),
                self.temperature,
                self.eps,
                constant_norm=self.constant_norm,
            )
            loss = total / n_terms
        return Step(loss, {"3kg": loss.detach()}, weight=float(n_rows))
