"""SimCLR: two augmented views of one ECG attract, all other views in the batch repel.

Sources: Chen et al., ICML 2020 (the method and its loss, NT-Xent); Mehari & Strodthoff, Comput. Biol. Med. 2022 (on ECGs:
temperature 0.5, a head of 512 without batch norm). fairseq-signals' SimCLR is ``projection=(), temperature=0.1,
constant_norm=True``; it sums over rows where this is the mean, which the loop's weighting makes the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.gather import gather_rows
from einthoven.layers.projection import projection as projection_head
from einthoven.layers.projection import unit
from einthoven.models.encoder import Encoder
from einthoven.objectives.cmsc import persons
from einthoven.objectives.objective import Augmentation, Objective, views_of
from einthoven.objectives.step import Moment, Step, valid_of


def candidates(first: Tensor, second: Tensor, temperature: float, person: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What each view is compared with, and which of it is the other view of the same ECG.

    first, second : (row, dim)  two views, row by row
    person        : (row,)      given: views of the same person that are not of the same row are no candidates
    returns       : (2 * row, 2 * row) similarities over temperature, -inf where no candidate (first the first views, then the second), and
                    (2 * row,) the column of the positive
    """
    views, n_rows = torch.cat([first, second]), first.shape[0]
    logits = views @ views.T / temperature
    positive = (torch.arange(2 * n_rows, device=views.device) + n_rows) % (2 * n_rows)
    left_out = torch.eye(2 * n_rows, dtype=torch.bool, device=views.device)
    if person is not None:
        twice = torch.cat([person, person])
        left_out = twice[:, None] == twice[None, :]
        left_out[torch.arange(2 * n_rows, device=views.device), positive] = False
    return logits.masked_fill(left_out, float("-inf")), positive


def nt_xent(
    first: Tensor,
    second: Tensor,
    temperature: float = 0.5,
    self_term: Literal["exact", "published"] = "exact",
    person: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Normalised temperature-scaled cross-entropy: of each view's positive among all other views, mean over the 2 * row views.

    first, second : (row, dim)  two views of unit length, row by row
    self_term     : exact: a view is not compared with itself. published: the old ECG code subtracts the constant e from the sum over all
                    views instead, which is a view's similarity to itself at temperature 1 alone: at 0.5 most of exp(2) stays
    person        : (row,)      given: other rows of the same person are left out (exact only)
    eps           : least sum, and added to it (published only)
    returns       : ()
    """
    if self_term == "exact":
        return F.cross_entropy(*candidates(first, second, temperature, person))
    if self_term != "published" or person is not None:
        raise ValueError(f"expected self_term exact, or published without persons; got {self_term!r}")
    views = torch.cat([first, second])
    total = (views @ views.T / temperature).exp().sum(dim=1) - math.e
    positive = (first * second).sum(dim=1).repeat(2) / temperature
    return (torch.log(total.clamp(min=eps) + eps) - positive).mean()


class SimCLR(Objective):
    """SimCLR on the encoder's pooled vectors. Negatives come from all processes; the loss has weight per row.

    temperature   : divides similarities; 0.5 in the ECG system, 0.1 in fairseq-signals
    projection    : widths of the head's layers, the last one's is the output's; () compares the encoder's vectors themselves.
                    The ECG system has (512, 16)
    same_person   : what other rows of the same person in a batch are: negatives, as published, or left_out
    constant_norm : vectors are divided by their length as by a constant, as in fairseq-signals: leaves a gradient along the vector

    Each view has its own pass through the encoder, so that batch norms see one view at a time, as in the ECG system; the
    paper's code stacks the two.
    """

    n_views = 2

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.5,
        projection: tuple[int, ...] = (512, 128),
        same_person: Literal["negatives", "left_out"] = "negatives",
        constant_norm: bool = False,
        augment: Augmentation | None = None,
    ):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"expected temperature above 0; got {temperature}")
        if same_person not in ("negatives", "left_out"):
            raise ValueError(f"expected same_person to be negatives or left_out; got {same_person!r}")
        self.encoder, self.temperature, self.augment = encoder, temperature, augment
        self.same_person, self.constant_norm = same_person, constant_norm
        self.projection = projection_head(encoder.width, projection)

    def embed(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """The unit vectors that are compared: (batch, lead, time) -> (batch, projection[-1]), at least float32."""
        projected = self.projection(self.encoder.embed(ecg, valid))
        with torch.autocast(projected.device.type, enabled=False):
            return unit(projected.to(torch.promote_types(projected.dtype, torch.float32)), constant_norm=self.constant_norm)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        first, second = (self.embed(view["ecg"], valid_of(view)) for view in views_of(batch, moment, self.augment, 2))
        n_rows = first.shape[0]
        person = persons(batch) if self.same_person == "left_out" else None
        if moment.rows(n_rows) != n_rows:
            first, second = gather_rows(first), gather_rows(second)
            person = None if person is None else gather_rows(person)
        with torch.autocast(first.device.type, enabled=False):
            logits, positive = candidates(first, second, self.temperature, person)
            loss = F.cross_entropy(logits, positive)
        accuracy = (logits.detach().argmax(dim=1) == positive).to(loss.dtype).mean()
        return Step(loss, {"simclr": loss.detach(), "accuracy": accuracy}, weight=float(n_rows))

    def check(self, data: Any, n_items: int) -> None:
        if n_items < 2:
            raise RecipeError(
                f"simclr tells an ECG from the others of its batch: expected at least 2 in a micro-batch, got {n_items}; "
                "raise batch or micro_batch"
            )
