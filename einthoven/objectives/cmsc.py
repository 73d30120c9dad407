"""CMSC, contrastive multi-segment coding: two segments of one patient's recording attract, other patients' repel.

Source: CLOCS, Kiyasseh et al., ICML 2021; the form is that of fairseq-signals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from einthoven.errors import RecipeError
from einthoven.layers.gather import gather_rows
from einthoven.models.encoder import Encoder
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step, valid_of


def cmsc_loss(
    first: Tensor, second: Tensor, patient: Tensor, patient_second: Tensor | None = None, temperature: float = 0.1, eps: float = 1e-8
) -> Tensor:
    """Cross-entropy of the positives among all second segments, and the other way round, averaged.

    first, second  : (pair, dim)  embeddings of two segments of one recording, row by row
    patient        : (pair,)      equal ids are positives wherever they stand; ``patient_second`` where the rows of ``second`` are others
    temperature    : float > 0
    eps            : least norm
    returns        : ()           mean over the positive pairs of each direction, half and half

    The norm is taken as a constant: its gradient is left out, as in the published training code, so that the gradient
    has a part along the embedding too.
    """
    patient_second = patient if patient_second is None else patient_second
    first = first / first.detach().norm(dim=1, keepdim=True).clamp(min=eps)
    second = second / second.detach().norm(dim=1, keepdim=True).clamp(min=eps)
    similarity = first @ second.T / temperature
    positive = (patient[:, None] == patient_second[None, :]).to(similarity.dtype)
    to_second = (similarity.log_softmax(dim=1) * positive).sum() / positive.sum()
    to_first = (similarity.log_softmax(dim=0) * positive).sum() / positive.sum()
    return -(to_second + to_first) / 2


def persons(batch: Mapping[str, Tensor]) -> Tensor:
    """Who each row is from: the patient, or the record (as a number below 0) where the patient is not known (below 0): (batch,) int64."""
    patient = batch["patient"]
    return torch.where(patient < 0, -1 - batch["record"], patient) if "record" in batch else patient


def refuse_strangers(person: Tensor) -> None:
    """Raise ValueError unless rows 2i and 2i + 1 are of one person: (row,)."""
    if person.shape[0] % 2 or not bool((person[0::2] == person[1::2]).all()):
        raise ValueError(
            "expected pairs: rows 2i and 2i + 1 of a batch are two segments of one patient; give the objective a view of pairs"
        )


def refuse_one_item(name: str, n_items: int) -> None:
    """Raise RecipeError where a micro-batch is one item: it holds no negative, and the loss is 0 whatever the encoder does."""
    if n_items < 2:
        raise RecipeError(
            f"{name} tells items of a batch apart: expected batch / accumulate of 2 or more; got {n_items}; set a larger batch"
        )


def pair_loss(pooled: Tensor, person: Tensor, temperature: float, eps: float, *, over_processes: bool) -> Tensor:
    """``cmsc_loss`` of pairs that stand in rows 2i and 2i + 1, over the rows of all processes if so asked: (batch, dim), (batch,) -> ()."""
    refuse_strangers(person)
    if over_processes:
        pooled, person = gather_rows(pooled), gather_rows(person)
    with torch.autocast(pooled.device.type, enabled=False):
        pooled = pooled.to(torch.promote_types(pooled.dtype, torch.float32))
        return cmsc_loss(pooled[0::2], pooled[1::2], person[0::2], temperature=temperature, eps=eps)


class CMSC(Objective):
    """CMSC on the record's vector, without a projection. Negatives come from all processes; the loss has weight per row.

    temperature : of the cosines
    eps         : least norm in a cosine

    fairseq-signals knows no patients, only records, and no negatives from other processes; here two records of one patient are positives.
    """

    view = "pairs"

    def __init__(self, encoder: Encoder, *, temperature: float = 0.1, eps: float = 1e-8):
        super().__init__()
        self.encoder, self.temperature, self.eps = encoder, temperature, eps

    def check(self, data: Any, n_items: int) -> None:
        refuse_one_item("cmsc", n_items)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        pooled = self.encoder.embed(batch["ecg"], valid_of(batch))
        n_rows = pooled.shape[0]
        loss = pair_loss(pooled, persons(batch), self.temperature, self.eps, over_processes=moment.rows(n_rows) != n_rows)
        return Step(loss, {"cmsc": loss.detach()}, weight=float(n_rows))
