"""Diagnosis: which of several findings an ECG shows, each with its own probability (multi-label classification).

Labels that nobody stated are NaN; the loss, its weight and every score leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import StoreError
from einthoven.layers.attention_pool import AttentionPool
from einthoven.layers.head import ClassifierHead
from einthoven.layers.pool import POOLINGS, pool, pooled_dim
from einthoven.metrics.multilabel import scores
from einthoven.models.encoder import Encoder
from einthoven.objectives.step import Moment, Step, valid_of

HEADS = ("pooled", "query", "attention", "mean")


def masked_bce(logits: Tensor, label: Tensor, pos_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy over the labels that are known.

    logits, label : (batch, class); a label is 1, 0 or NaN (unknown)
    pos_weight    : (class,) factor of the term of a positive
    returns       : () the sum of the terms (0, with a gradient of 0, where nothing is known), () how many there are
    """
    known = ~label.isnan()
    # NaN times 0 is NaN, in the gradient too: unknown labels become 0 before the loss, not only after it.
    terms = F.binary_cross_entropy_with_logits(logits.float(), label.nan_to_num(0.0).float(), pos_weight=pos_weight, reduction="none")
    return terms.masked_fill(~known, 0.0).sum(), known.sum()


class Diagnosis(nn.Module):
    """The encoder's frames, one vector from them, one linear layer: a logit per class.

    encoder    : see docs/architecture.md; one that was frozen (``encoder.freeze()``) stays as it is
    classes    : the findings' names, in the order of ``batch["label"]``
    pos_weight : (class,) factor of a positive's loss, see ``pos_weight``; it shifts probabilities up, so thresholds
                 must be chosen on a validation set
    dropout    : of the record's vector, before the last layer; with hidden layers half of it before each of them
    head       : how frames become one vector. "pooled"; "query": attention of one learned query, whose last layer has no bias
                 (``layers/attention_pool.py``); "attention": a learned weighting of the frames as they are; "mean": pooled by
                 their mean, the name in older model folders
    pooling    : of head="pooled", a name of ``layers/pool.py``; None: the encoder's own, as published
    hidden     : widths of hidden layers between the vector and the classes (``layers/head.py``); (128,) as published for xresnet1d
    heads      : of head="query"; None: the published 16, or the largest power of 2 below that divides the width of a frame

    ``forward`` gives the mean loss over known labels, weighted by their number. Source: the `ecg_transformer_classifier`
    of fairseq-signals, whose keys ``encoder.…`` and ``proj.…`` are ours. There dropout stands before the mean over frames.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: Sequence[str],
        *,
        pos_weight: Sequence[float] | np.ndarray | Tensor | None = None,
        dropout: float = 0.0,
        head: str = "pooled",
        pooling: str | None = None,
        hidden: Sequence[int] = (),
        heads: int | None = None,
    ):
        super().__init__()
        if not classes or len(set(classes)) != len(classes):
            raise ValueError(f"expected the names of one class or more, each once; got {list(classes)}")
        if head not in HEADS:
            raise ValueError(f"expected the head to be one of {', '.join(HEADS)}; got {head!r}")
        if pooling is not None and (head != "pooled" or pooling not in POOLINGS):
            raise ValueError(f"expected pooling, with head=pooled, to be one of {', '.join(POOLINGS)}; got {pooling!r} with head={head}")
        if heads is not None and head != "query":
            raise ValueError(f"heads belong to head=query; got heads={heads} with head={head}")
        self.encoder, self.classes = encoder, tuple(classes)
        self.head, self.hidden = "pooled" if head == "mean" else head, tuple(hidden)
        self.pooling = "mean" if head == "mean" else pooling or encoder.pooling
        self.dropout = nn.Dropout(dropout)
        self.attend = nn.Linear(encoder.dim, 1, bias=False) if head == "attention" else None
        self.query = AttentionPool(encoder.dim, math.gcd(encoder.dim, 16) if heads is None else heads) if head == "query" else None
        width = pooled_dim(encoder.dim, self.pooling) if self.head == "pooled" else encoder.dim
        self.proj: nn.Module
        if self.hidden:
            self.proj = ClassifierHead(width, len(classes), hidden=self.hidden, dropout=dropout)
        else:
            self.proj = nn.Linear(width, len(classes), bias=head != "query")
            nn.init.xavier_uniform_(self.proj.weight)
            if self.proj.bias is not None:
                nn.init.zeros_(self.proj.bias)
        self.pos_weight: Tensor | None
        weights = None if pos_weight is None else torch.as_tensor(np.asarray(pos_weight), dtype=torch.float32)
        if weights is not None and (weights.shape != (len(classes),) or not (weights > 0).all() or not weights.isfinite().all()):
            raise ValueError(f"expected a pos_weight above 0 for each of {len(classes)} classes; got {weights.tolist()}")
        self.register_buffer("pos_weight", weights, persistent=False)

    def config(self) -> dict[str, Any]:
        """What builds the task again around its encoder and classes, as far as answering needs it."""
        return {
            "head": self.head,
            "dropout": self.dropout.p,
            "hidden": list(self.hidden),
            **({"pooling": self.pooling} if self.head == "pooled" else {}),
            **({"heads": self.query.heads} if self.query is not None else {}),
        }

    def frames(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """(batch, frame, dim), and (batch, frame) bool where a frame is real; None: all are."""
        # ``padded`` spares the question whether any sample is padding, which would have to wait for the device.
        valid = valid_of(batch)
        frames = self.encoder(batch["ecg"], valid)
        return frames, None if valid is None else self.encoder.frame_valid(valid)

    def summary(self, frames: Tensor, valid: Tensor | None) -> Tensor:
        """One vector per row from its valid frames: (batch, frame, dim) -> (batch, width)."""
        if self.query is not None:
            return self.query(frames, valid)
        if self.attend is None:
            return pool(frames, valid, self.pooling)
        score = self.attend(frames).squeeze(-1)
        if valid is not None:
            score = score.masked_fill(~valid, torch.finfo(score.dtype).min)
            frames = frames.masked_fill(~valid[:, :, None], 0.0)
        return torch.einsum("bf,bfd->bd", score.softmax(dim=1), frames)

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """One vector per row: (batch, width)."""
        return self.summary(*self.frames(batch))

    def logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(batch, class)"""
        vector = self.embed(batch)
        return self.proj(vector if self.hidden else self.dropout(vector))

    def judge(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, (batch, class) float32; the sum of the loss over known labels, (); and how many are known, ().

        From one forward pass, without gradients; call it in evaluation mode.
        """
        with torch.no_grad():
            logits = self.logits(batch)
            return logits.float().sigmoid(), *masked_bce(logits, batch["label"], self.pos_weight)

    def predict(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Probabilities, (batch, class) float32; call it in evaluation mode."""
        with torch.no_grad():
            return self.logits(batch).float().sigmoid()

    def forward(self, batch: Mapping[str, Tensor], moment: Moment) -> Step:
        logits, label = self.logits(batch), batch["label"]
        total, n_known = masked_bce(logits, label, self.pos_weight)
        loss = total / n_known.clamp(min=1)
        right = ((logits > 0) == (label == 1)) & ~label.isnan()
        parts = {"loss": loss.detach(), "accuracy": right.sum() / n_known.clamp(min=1)}
        return Step(loss, parts, float(n_known))

    def metrics(self, probability: np.ndarray, label: np.ndarray) -> dict[str, float]:
        """Scores of a validation set, (record, class) each, at threshold 0.5: what early stopping may follow."""
        return {name: float(value) for name, value in scores(probability, label).items() if value.ndim == 0}


def constant_classes(label: np.ndarray) -> np.ndarray:
    """(record, class) -> (class,) bool: classes whose known labels are all one value, or of which nothing is known."""
    return ~((label == 1).any(axis=0) & (label == 0).any(axis=0))


def check_labels(label: np.ndarray, classes: Sequence[str]) -> None:
    """Before training: every class needs both kinds of label. Raises StoreError naming those that have only one."""
    if label.ndim != 2 or label.shape[1] != len(classes):
        raise ValueError(f"expected labels of shape (record, class={len(classes)}); got {label.shape}")
    wrong = [
        f"{name} ({'no label is known' if np.isnan(column).all() else 'always present' if (column == 1).any() else 'never present'})"
        for name, column, constant in zip(classes, label.T, constant_classes(label))
        if constant
    ]
    if wrong:
        raise StoreError(
            f"{len(wrong)} of {len(classes)} classes have one label value in all {len(label)} training records and cannot be learned: "
            f"{', '.join(wrong[:6])}{', …' if len(wrong) > 6 else ''}; leave them out, or train on records that have both"
        )


def pos_weight(label: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(1 - p) / p per class, p the share of positives among known labels: (record, class) -> (class,) float32.

    So each class's positives weigh as much as its negatives. Raises StoreError for a class that has only one kind.
    """
    check_labels(label, classes)
    return ((label == 0).sum(axis=0) / (label == 1).sum(axis=0)).astype(np.float32)
