"""SwAV: predict, from one view of an ECG, to which prototypes another view of it was assigned, where a batch shares all prototypes evenly.

Sources: Caron et al., NeurIPS 2020 (Sinkhorn's assignment, queue, multi-crop: two views and several smaller ones); Mehari &
Strodthoff, Comput. Biol. Med. 2022 (on ECGs: six views of one length, ``crops=6, small=0``).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.layers.gather import gather_rows
from einthoven.layers.projection import projection as projection_head
from einthoven.layers.projection import unit
from einthoven.models.encoder import Encoder
from einthoven.objectives.objective import Augmentation, Objective, stack_views, views_of
from einthoven.objectives.step import Moment, Step

_LEAST = 1e-30
"""Of a sum that is divided by: a prototype that no row is near."""


def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3, counted: Tensor | None = None) -> Tensor:
    """Soft assignments that share the prototypes evenly among the rows, by Sinkhorn and Knopp's alternating normalisation.

    scores  : (row, prototype)
    epsilon : how soft: smaller is harder
    counted : (row,) bool; rows that are not True do not take part, and get zeros. None: all do
    returns : (row, prototype), each row of sum 1; each prototype's sum is about row / prototype, the nearer the more iterations

    A factor per row and one per prototype are all that changes from one iteration to the next. Rows are taken relative to their
    largest score, so that no small ``epsilon`` overflows.
    """
    logs = scores / epsilon
    if counted is not None:
        logs = logs.masked_fill(~counted[:, None], float("-inf"))
    largest = logs.amax(dim=1).clamp(min=torch.finfo(logs.dtype).min)  # a row that is not counted has none
    share = (logs - largest[:, None]).exp()
    there = torch.ones_like(largest) if counted is None else counted.to(largest.dtype)
    of_row, of_prototype = there * (largest - largest.amax()).exp(), torch.ones_like(share[0])
    rows_each = there.sum() / share.shape[1]
    for _ in range(iterations):
        of_prototype = rows_each / (share.T @ of_row).clamp(min=_LEAST)
        of_row = there / (share @ of_prototype).clamp(min=_LEAST)
    return share * of_prototype * of_row[:, None]


def swav_loss(scores: Tensor, codes: Tensor, temperature: float = 0.1, divisor: float | None = None) -> Tensor:
    """Cross-entropy of each assigned view's codes and every other view's softmax over prototypes.

    scores  : (view, row, prototype)      the assigned views first
    codes   : (assigned, row, prototype)
    divisor : of the sum over the other views; None: their number. The old ECG code has 6 for 5 views
    returns : ()                          mean over rows and assigned views
    """
    logs = (scores / temperature).log_softmax(dim=2)
    others = logs.sum(dim=0) - logs[: codes.shape[0]]
    return -(codes * others).sum(dim=2).mean() / (scores.shape[0] - 1 if divisor is None else divisor)


def cut(view: Mapping[str, Any], n_samples: int, moment: Moment) -> dict[str, Any]:
    """The same rows, a piece of ``n_samples`` of each, at a place drawn for each row within what is valid."""
    ecg, valid = view["ecg"], view.get("valid")
    n_rows, n_time = ecg.shape[0], ecg.shape[2]
    n_valid = torch.full((n_rows,), n_time, device=ecg.device) if valid is None else valid.sum(dim=1)
    room = (n_valid - n_samples).clamp(min=0)
    start = (moment.uniform("place", n_rows, device=ecg.device) * (room + 1)).long().minimum(room)
    at = start[:, None] + torch.arange(n_samples, device=ecg.device)
    piece = {**view, "ecg": ecg.gather(2, at[:, None].expand(-1, ecg.shape[1], -1))}
    return piece if valid is None else {**piece, "valid": valid.gather(1, at)}


class SwAV(Objective):
    """SwAV on the encoder's pooled vectors. Assignments are made over the rows of all processes; the loss has weight per row.

    crops         : views of full length
    small         : views of which only a piece is seen
    small_seconds : length of that piece; None: half of the view
    assigned      : how many of the full views are assigned to prototypes; the others only predict
    prototypes    : number of prototypes; not more than there are rows to share them, in a micro-batch and the queue
    projection    : widths of the head's layers, the last one's is the prototypes'
    temperature   : of the softmax over prototypes
    epsilon       : how soft the assignment is
    iterations    : of Sinkhorn's normalisation
    queue         : older vectors of each assigned view that share the prototypes with the batch once they are so many; 0: none
    queue_from    : updates after which there is a queue, to be filled; the paper's 15 epochs, counted in updates
    frozen_for    : updates in which the prototypes stay as they are; the paper's first epoch, counted in updates

    Views of one length go through the encoder together, and all of them through the head, as in the paper, so that batch norms
    see them together. Prototypes have length 1 in every forward pass: they are normalised after each update, and the gradient
    is that of the normalised ones, as in the published code, which normalises them before each pass. The queue is the same on all
    processes. The old ECG code divides by one view more than there is; ``swav_loss(…, divisor=…)`` can.
    """

    n_views = 2

    queue: Tensor
    filled: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        crops: int = 2,
        small: int = 4,
        small_seconds: float | None = None,
        assigned: int = 2,
        prototypes: int = 3000,
        projection: tuple[int, ...] = (2048, 128),
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        queue: int = 3840,
        queue_from: int = 0,
        frozen_for: int = 0,
        augment: Augmentation | None = None,
    ):
        super().__init__()
        if not 1 <= assigned <= crops or crops + small < 2:
            raise ValueError(f"expected 1 to crops={crops} assigned views and 2 views or more; got assigned={assigned}, small={small}")
        if min(small, queue, queue_from, frozen_for) < 0 or prototypes < 2 or iterations < 1:
            raise ValueError("expected small, queue, queue_from and frozen_for of 0 or more, 2 prototypes or more, 1 iteration or more")
        if not min(temperature, epsilon) > 0 or (small_seconds is not None and not small_seconds > 0):
            raise ValueError(f"expected temperature, epsilon and small_seconds above 0; got {temperature}, {epsilon} and {small_seconds}")
        self.encoder, self.augment = encoder, augment
        self.n_crops, self.n_small, self.small_seconds, self.n_assigned = crops, small, small_seconds, assigned
        self.n_views = crops + small  # type: ignore[misc]
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.n_queue, self.queue_from, self.frozen_for = queue, queue_from, frozen_for
        self.rests = {"prototypes": frozen_for}
        self.projection = projection_head(encoder.width, projection, norm=True)
        dim = projection[-1] if projection else encoder.width
        self.prototypes = nn.Parameter(F.normalize(torch.randn(prototypes, dim), dim=1))
        if queue:
            self.register_buffer("queue", torch.zeros(assigned, queue, dim))
            self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def embed(self, views: list[dict[str, Any]]) -> Tensor:
        """The unit vectors of views, neighbours of one length in one pass through the encoder: (view, row, dim), at least float32."""
        alike = [list(group) for _, group in groupby(views, key=lambda view: view["ecg"].shape[2])]
        pooled = torch.cat([self.encoder.embed(*stack_views(group)) for group in alike])
        projected = self.projection(pooled)
        with torch.autocast(projected.device.type, enabled=False):
            rows = unit(projected.to(torch.promote_types(projected.dtype, torch.float32)))
        return rows.unflatten(0, (len(views), -1))

    def views(self, batch: Mapping[str, Any], moment: Moment) -> list[dict[str, Any]]:
        """The full views, then the pieces."""
        views = views_of(batch, moment, self.augment, self.n_views)
        full, small = views[: self.n_crops], views[self.n_crops :]
        pieces = [cut(view, self.piece(view["ecg"].shape[2]), moment.within(f"piece{number}")) for number, view in enumerate(small)]
        return full + pieces

    def piece(self, n_time: int) -> int:
        """Samples of a piece of a view of ``n_time`` samples. Raises RecipeError where it is none, or too short for the encoder."""
        fs = self.encoder.fs
        n_samples = n_time // 2 if self.small_seconds is None else round(self.small_seconds * fs)
        if not n_samples < n_time or self.encoder.n_frames(n_samples) < 1:
            raise RecipeError(
                f"small_seconds: expected less than a view's {n_time / fs:g} s and at least {self.encoder.least_samples / fs:g} s, which gives the "
                f"encoder a frame; got {n_samples / fs:g} s: set small_seconds, or small=0"
            )
        return n_samples

    @torch.no_grad()
    def assign(self, vectors: Tensor, moment: Moment) -> Tensor:
        """Assignments of all processes' rows: (assigned, row, dim) -> (assigned, row, prototype). The queue takes part once it is full."""
        if not self.n_queue or moment.step < self.queue_from:
            return torch.stack([sinkhorn(rows @ self.prototypes.T, self.epsilon, self.iterations) for rows in vectors])
        n_rows = vectors.shape[1]
        counted = torch.cat(
            [torch.ones(n_rows, dtype=torch.bool, device=vectors.device), (self.filled >= self.n_queue).expand(self.n_queue)]
        )
        with_queue = torch.cat([vectors, self.queue.to(vectors.dtype)], dim=1)
        codes = [sinkhorn(rows @ self.prototypes.T, self.epsilon, self.iterations, counted)[:n_rows] for rows in with_queue]
        if self.training:
            self.queue.copy_(with_queue[:, : self.n_queue])  # the newest in front
            self.filled.add_(n_rows).clamp_(max=self.n_queue)
        return torch.stack(codes)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        vectors = self.embed(self.views(batch, moment))
        n_rows = vectors.shape[1]
        known = vectors[: self.n_assigned].detach()
        if moment.rows(n_rows) != n_rows:
            known = gather_rows(known.transpose(0, 1)).transpose(0, 1)
        with torch.autocast(vectors.device.type, enabled=False):
            codes = self.assign(known, moment)
            own = moment.own(codes.transpose(0, 1), n_rows).transpose(0, 1)
            prototypes = self.prototypes.detach() if moment.step < self.frozen_for else self.prototypes
            loss = swav_loss(vectors @ prototypes.T, own, self.temperature)
            share = codes.mean(dim=(0, 1))
        in_use = torch.special.entr(share).sum().exp()
        return Step(loss, {"swav": loss.detach(), "prototypes_in_use": in_use}, weight=float(n_rows))

    @torch.no_grad()
    def after_update(self, step: int, total: int) -> None:
        self.prototypes.copy_(F.normalize(self.prototypes, dim=1))

    def check(self, data: Any, n_items: int) -> None:
        n_prototypes = self.prototypes.shape[0]
        if n_prototypes > n_items + self.n_queue:
            raise RecipeError(
                f"swav shares prototypes={n_prototypes} among {n_items} ECGs of a micro-batch and queue={self.n_queue} older ones, and cannot give "
                f"one to each: set prototypes={n_items + self.n_queue} or less, or raise queue, or batch and micro_batch"
            )
        n_window = getattr(getattr(data, "segments", data), "n_window", None)  # None: whole recordings, seen when a batch comes
        if self.n_small and n_window is not None:
            self.piece(n_window)
