"""Regression: numbers that an ECG tells, such as the age or the intervals that somebody measured.

The batch's ``target (batch, target)`` float32 holds them in their own units, NaN where nobody measured; the loss, its weight and every
score leave those out. The model learns them in SDs from the training records' mean, and answers in the units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import StoreError
from einthoven.layers.pool import pool
from einthoven.metrics.multilabel import mean_over_classes
from einthoven.metrics.regression import DIMENSIONLESS, agreement
from einthoven.models.encoder import Encoder
from einthoven.objectives.step import Moment, Step, valid_of

LOSSES: dict[str, Callable[..., Tensor]] = {"l1": F.l1_loss, "huber": F.huber_loss, "mse": F.mse_loss}


def masked_error(predicted: Tensor, target: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """The loss over what is known.

    predicted, target : (batch, target) in SDs; a target is NaN where unknown
    loss              : "l1", "huber" (squared within one SD, straight beyond), "mse"
    returns           : () the sum of the terms (0, with a gradient of 0, where nothing is known), () how many there are
    """
    known = ~target.isnan()
    # NaN times 0 is NaN, in the gradient too: unknown targets become 0 before the loss, not only after it.
    terms = LOSSES[loss](predicted.float(), target.nan_to_num(0.0).float(), reduction="none")
    return terms.masked_fill(~known, 0.0).sum(), known.sum()


class Regression(nn.Module):
    """The encoder's pooled frames and one linear layer: a number per target.

    targets, units : names, in the order of ``batch["target"]``, and what they are measured in ("years", "ms")
    mean, std      : of each target over the training records (``target_statistics``)
    loss           : "l1", "huber" or "mse", of differences in SDs; published age models use the first or the last
    dropout        : of the record's vector, before the linear layer

    ``forward`` gives the mean loss over known targets, weighted by their number. Raises ValueError where the settings contradict
    one another.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        targets: Sequence[str],
        units: Sequence[str],
        mean: Sequence[float] | np.ndarray,
        std: Sequence[float] | np.ndarray,
        *,
        loss: Literal["l1", "huber", "mse"] = "l1",
        dropout: float = 0.0,
    ):
        super().__init__()
        if not targets or len(set(targets)) != len(targets):
            raise ValueError(f"expected the names of one target or more, each once; got {list(targets)}")
        if not len(targets) == len(units) == len(mean) == len(std):
            raise ValueError(
                f"expected a unit, a mean and an SD for each of {len(targets)} targets; got {len(units)}, {len(mean)} and {len(std)}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all()) or not (np.asarray(std) > 0).all():
            raise ValueError(f"expected finite means, and SDs above 0; got {list(mean)} and {list(std)}")
        if loss not in LOSSES:
            raise ValueError(f"expected the loss to be one of {', '.join(LOSSES)}; got {loss!r}")
        self.encoder, self.targets, self.units, self.loss = encoder, tuple(targets), tuple(units), loss
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(encoder.width, len(targets))
        nn.init.xavier_uniform_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)  # at the start the answer is the mean
        self.register_buffer("mean", torch.as_tensor(np.asarray(mean), dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(np.asarray(std), dtype=torch.float32))

    def config(self) -> dict[str, Any]:
        """What builds the task again around its encoder."""
        return {
            "targets": list(self.targets),
            "units": list(self.units),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "loss": self.loss,
            "dropout": self.dropout.p,
        }

    def embed(self, batch: Mapping[str, Any]) -> Tensor:
        """One vector per row: (batch, width)."""
        valid = valid_of(batch)
        frames = self.encoder(batch["ecg"], valid)
        return pool(frames, None if valid is None else self.encoder.frame_valid(valid), self.encoder.pooling)

    def standardised(self, batch: Mapping[str, Any]) -> Tensor:
        """(batch, target) in SDs from the training mean"""
        return self.proj(self.dropout(self.embed(batch)))

    def predict(self, batch: Mapping[str, Any]) -> Tensor:
        """(batch, target) float32 in the targets' units; call it in evaluation mode."""
        with torch.no_grad():
            return self.standardised(batch).float() * self.std + self.mean

    def judge(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """The answers, (batch, target) in the targets' units; the sum of the loss over known targets, (); and how many are known, ().

        From one forward pass, without gradients; call it in evaluation mode.
        """
        with torch.no_grad():
            answer = self.standardised(batch)
            return answer.float() * self.std + self.mean, *masked_error(answer, (batch["target"] - self.mean) / self.std, self.loss)

    def forward(self, batch: Mapping[str, Any], moment: Moment) -> Step:
        target = (batch["target"] - self.mean) / self.std
        answer = self.standardised(batch)
        total, n_known = masked_error(answer, target, self.loss)
        loss = total / n_known.clamp(min=1)
        distance = (answer.detach().float() - target).abs().nan_to_num(0.0).sum() / n_known.clamp(min=1)
        return Step(loss, {"loss": loss.detach(), "error_sd": distance}, float(n_known))

    def metrics(self, predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
        """Scores of a validation set, (record, target) each: ``mae_age``, …, and ``macro_r2``, ``macro_pearson`` over the targets."""
        scores = agreement(predicted, measured)
        out = {f"{name}_{target}": float(one) for name, values in scores.items() for target, one in zip(self.targets, values, strict=True)}
        return out | {f"macro_{name}": float(mean_over_classes(scores[name])) for name in DIMENSIONLESS}


def target_statistics(target: np.ndarray, targets: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of each target over the training records: (record, target) with NaN -> (target,), (target,).

    Raises StoreError for a target that cannot be learned: fewer than two values are known, or all are equal.
    """
    if target.ndim != 2 or target.shape[1] != len(targets):
        raise ValueError(f"expected targets of shape (record, target={len(targets)}); got {target.shape}")
    known = [column[~np.isnan(column)].astype(np.float64) for column in target.T]
    if wrong := [f"{name} ({len(values)} known)" for name, values in zip(targets, known) if len(values) < 2 or np.ptp(values) == 0]:
        raise StoreError(
            f"{', '.join(wrong)}: fewer than two different values in {len(target)} training records, which is nothing to learn from; "
            f"leave the target out, or train on records of which it is known"
        )
    return np.array([values.mean() for values in known]), np.array([values.std() for values in known])
