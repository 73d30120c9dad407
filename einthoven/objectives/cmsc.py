"""CMSC, contrastive multi-segment coding: two segments of one patient's recording attract, other patients' repel.

Source: CLOCS, Kiyasseh et al., ICML 2021; the form is that of fairseq-signals.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from einthoven.layers.gather import gather_rows
from einthoven.layers.pool import pool
from einthoven.models.ecg_transformer import ECGTransformer
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


def pair_loss(pooled: Tensor, person: Tensor, temperature: float, eps: float, *, over_processes: bool) -> Tensor:
    """``cmsc_loss`` of pairs that stand in rows 2i and 2i + 1, over the rows of all processes if so asked: (batch, dim), (batch,) -> ()."""
    if pooled.shape[0] % 2 or not bool((person[0::2] == person[1::2]).all()):
        raise ValueError(
            "expected pairs: rows 2i and 2i + 1 of a batch are two segments of one patient; give the objective a view of pairs"
        )
    if over_processes:
        pooled, person = gather_rows(pooled), gather_rows(person)
    with torch.autocast(pooled.device.type, enabled=False):
        pooled = pooled.to(torch.promote_types(pooled.dtype, torch.float32))
        return cmsc_loss(pooled[0::2], pooled[1::2], person[0::2], temperature=temperature, eps=eps)


class CMSC(Objective):
    """CMSC on the mean of the encoder's frames, without a projection. Negatives come from all processes; the loss has weight per row.

    fairseq-signals knows no patients, only records, and no negatives from other processes; here two records of one patient are positives.
    """

    view = "pairs"

    def __init__(self, encoder: ECGTransformer, *, temperature: float = 0.1, eps: float = 1e-8):
        super().__init__()
        self.encoder, self.temperature, self.eps = encoder, temperature, eps

    def forward(self, batch: Mapping[str, Tensor], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        ecg, valid = batch["ecg"], valid_of(batch)
        frames = self.encoder.frames(ecg, valid)
        pooled = pool(self.encoder.context(frames.tokens, frames.valid), frames.valid)
        n_rows = pooled.shape[0]
        loss = pair_loss(pooled, persons(batch), self.temperature, self.eps, over_processes=moment.rows(n_rows) != n_rows)
        return Step(loss, {"cmsc": loss.detach()}, weight=float(n_rows))
