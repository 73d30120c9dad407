"""Identification: whose ECG is it? The encoder learns vectors in which the recordings of one person stand together (ArcFace).

In training every person is a class. Afterwards the classes are not needed any more: persons whom the model has never seen are found
again by the cosine between vectors (``metrics/identification.py``; who is enrolled and who is asked: ``store/gallery.py``).

Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019; on ECGs, Oh et al., CHIL 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.pool import pool
from einthoven.metrics.identification import match
from einthoven.models.encoder import Encoder
from einthoven.objectives.step import Moment, Step, valid_of

LEAST_SIN2 = 1e-6
"""At a cosine of ±1 the derivative of the sine is infinite; where its square is below this, a straight line stands for the root."""


def arcface_loss(cosine: Tensor, label: Tensor, margin: float, scale: float) -> Tensor:
    """Cross-entropy in which the true class's angle is made wider by a margin first.

    cosine  : (row, class) between a row's vector and each class's
    label   : (row,) int64, the true class
    margin  : radians, from 0 on; 0: softmax of scaled cosines
    scale   : factor of the cosines
    returns : (row,)

    Where angle and margin would pass π, cos(angle + margin) would rise again; there cos(angle) - margin·sin(margin) stands instead,
    as published. fairseq-signals has an infinite gradient where a cosine is ±1.
    """
    true = cosine.gather(1, label[:, None])
    sin2 = 1 - true.square()
    sine = torch.where(sin2 > LEAST_SIN2, sin2.clamp(min=LEAST_SIN2).sqrt(), sin2 / math.sqrt(LEAST_SIN2))
    wider = torch.where(
        true > math.cos(math.pi - margin), true * math.cos(margin) - sine * math.sin(margin), true - margin * math.sin(margin)
    )
    return F.cross_entropy(scale * cosine.scatter(1, label[:, None], wider), label, reduction="none")


class Identification(nn.Module):
    """The encoder's pooled frames at length 1, and one such vector per person of the training set.

    patients : the numbers that ``batch["patient"]`` has for the persons to learn, each once; or only how many they are, where weights
               are loaded afterwards: the numbers are among them
    margin   : of the angle to the own person's vector, in radians (published default 0.5; the published examples use 1.0)
    scale    : factor of the cosines in the loss (published default 32; the published examples use 192)
    dim      : width of the vector, by a linear layer; None: the encoder's own, as published
    dropout  : of the pooled vector

    ``forward`` leaves out rows of persons whom it does not learn, and says so by its weight. The names ``encoder.…`` and ``kernel``
    are those of fairseq-signals, where padding took part in the mean over frames.
    Raises ValueError for fewer than two persons, and for settings without meaning.
    """

    patients: Tensor

    def __init__(
        self,
        encoder: Encoder,
        patients: Sequence[int] | np.ndarray | int,
        *,
        margin: float = 0.5,
        scale: float = 32.0,
        dim: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        numbers = np.arange(patients) if isinstance(patients, int) else np.unique(np.asarray(patients, dtype=np.int64))
        if len(numbers) < 2 or (not isinstance(patients, int) and len(numbers) != len(patients)):
            raise ValueError(f"expected the numbers of two persons or more, each once; got {patients}")
        if not 0 <= margin < math.pi or not 0 < scale < math.inf:
            raise ValueError(f"expected a margin from 0 to π and a scale above 0; got {margin} and {scale}")
        if dim is not None and dim < 1:
            raise ValueError(f"expected dim of 1 or more, or None; got {dim}")
        self.encoder, self.margin, self.scale, self.dim = encoder, float(margin), float(scale), dim
        self.dropout = nn.Dropout(dropout)
        self.project = None if dim is None else nn.Linear(encoder.width, dim, bias=False)
        self.kernel = nn.Parameter(F.normalize(torch.randn(len(numbers), dim or encoder.width), dim=1))
        self.register_buffer("patients", torch.from_numpy(numbers))

    def config(self) -> dict[str, Any]:
        """What builds the task again around its encoder; the persons' numbers are among the weights."""
        return {"patients": len(self.patients), "margin": self.margin, "scale": self.scale, "dim": self.dim, "dropout": self.dropout.p}

    def classes_of(self, patient: Tensor) -> tuple[Tensor, Tensor]:
        """The class of each row, and whether its person is one: (row,) -> (row,) int64 (0 where there is none), (row,) bool."""
        place = torch.searchsorted(self.patients, patient).clamp(max=len(self.patients) - 1)
        known = self.patients[place] == patient
        return place.masked_fill(~known, 0), known

    def embed(self, batch: Mapping[str, Any]) -> Tensor:
        """One vector of length 1 per row: (batch, dim) float32."""
        valid = valid_of(batch)
        frames = self.encoder(batch["ecg"], valid)
        x = self.dropout(pool(frames, None if valid is None else self.encoder.frame_valid(valid), self.encoder.pooling))
        x = x if self.project is None else self.project(x)
        return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)

    def cosines(self, embedding: Tensor) -> Tensor:
        """To each person of the training set: (batch, dim) -> (batch, class)."""
        with torch.autocast(embedding.device.type, enabled=False):
            return (embedding @ F.normalize(self.kernel, dim=1).T).clamp(-1, 1)

    def predict(self, batch: Mapping[str, Any]) -> Tensor:
        """``embed`` without gradients; call it in evaluation mode."""
        with torch.no_grad():
            return self.embed(batch)

    def forward(self, batch: Mapping[str, Any], moment: Moment) -> Step:
        label, known = self.classes_of(batch["patient"])
        cosine = self.cosines(self.embed(batch))
        n_known = known.sum()
        loss = arcface_loss(cosine, label, self.margin, self.scale).masked_fill(~known, 0.0).sum() / n_known.clamp(min=1)
        right = ((cosine.argmax(dim=1) == label) & known).sum() / n_known.clamp(min=1)
        return Step(loss, {"loss": loss.detach(), "accuracy": right}, float(n_known))

    def metrics(self, embedding: np.ndarray, patient: np.ndarray, gallery: np.ndarray | None = None) -> dict[str, float]:
        """Scores of a validation set, (record, dim) and (record,): what early stopping may follow (``rank_1``, ``auroc``, ``eer``, …).

        gallery : (record,) bool, which rows are enrolled, the others are asked; None: each person's first row is enrolled
        Raises ValueError where no person has rows on both sides.
        """
        if gallery is None:
            gallery = np.zeros(len(patient), dtype=bool)
            gallery[np.unique(patient, return_index=True)[1]] = True
        return match(embedding[gallery], patient[gallery], embedding[~gallery], patient[~gallery])
