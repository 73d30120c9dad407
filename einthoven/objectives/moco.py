"""MoCo: a view of an ECG is told from many older ECGs, whose vectors wait in a queue and come from a slowly moving encoder.

Sources: He et al., CVPR 2020 (momentum 0.999, temperature 0.07, a queue of 65 536); Chen et al., 2020 (v2: a head of two
layers); Mehari & Strodthoff, Comput. Biol. Med. 2022 (on ECGs: as many keys as training recordings).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from einthoven.layers.gather import gather_rows
from einthoven.layers.momentum_copy import follow, frozen_copy
from einthoven.layers.projection import projection as projection_head
from einthoven.layers.projection import unit
from einthoven.models.encoder import Encoder
from einthoven.objectives.objective import Augmentation, Objective, views_of
from einthoven.objectives.step import Moment, Step, valid_of


def moco_logits(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.07) -> Tensor:
    """Similarities over temperature, the positive first: (row, dim), (row, dim), (place, dim) of unit length -> (row, 1 + place)."""
    positive = (query * key).sum(dim=1, keepdim=True)
    return torch.cat([positive, query @ queue.T], dim=1) / temperature


def written(queue: Tensor, place: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The queue with ``keys`` in it from ``place`` on, round and round, and the place behind them.

    queue : (place, dim);  place : () int64;  keys : (row, dim), of which the last ones stay where there are more than places
    """
    size, n_rows = queue.shape[0], keys.shape[0]
    kept = keys[-size:]
    at = (place + (n_rows - kept.shape[0]) + torch.arange(kept.shape[0], device=queue.device)) % size
    return queue.index_copy(0, at, kept.to(queue.dtype)), (place + n_rows) % size


class MoCo(Objective):
    """MoCo on the encoder's pooled vectors. The queue holds the keys of all processes, in the order of their rows, on each of them.

    temperature : divides similarities
    projection  : widths of the head's layers, the last one's is the keys'
    queue       : keys that are kept as negatives; full of random directions at the beginning. One that is longer than the corpus has
                  older keys of the same ECG among its negatives
    momentum    : of the copy that makes the keys: how much of it stays in an update

    The loss has weight per row; there are no negatives from the batch itself. Every parameter of the copy follows after each
    update, as in the paper's algorithm; the published code moves it before each pass instead, which differs by nothing but the
    first move, and that one changes nothing because the copy still is what it follows.

    The paper shuffles rows between GPUs, so that a key is not recognised by the batch statistics that it shares with its query and
    the queue does not. Batch norms here take their statistics over all processes, which no shuffling changes: what stays
    shared is the statistics of the whole micro-batch, the weaker the larger it is. Encoders without batch norm share nothing.

    The old ECG code took its learning rate for the temperature (0.00229); here they are two numbers.
    """

    n_views = 2

    keys: Tensor
    place: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: float = 0.07,
        projection: tuple[int, ...] = (512, 128),
        queue: int = 16_384,
        momentum: float = 0.999,
        augment: Augmentation | None = None,
    ):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"expected temperature above 0; got {temperature}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"expected momentum, the share of the copy that stays, to lie in [0, 1]; got {momentum}")
        if queue < 1:
            raise ValueError(f"expected queue, the number of negatives, to be 1 or more; got {queue}")
        self.encoder, self.temperature, self.momentum, self.augment = encoder, temperature, momentum, augment
        self.projection = projection_head(encoder.width, projection)
        self.key_encoder, self.key_projection = frozen_copy(encoder), frozen_copy(self.projection)
        self.register_buffer("keys", F.normalize(torch.randn(queue, projection[-1] if projection else encoder.width), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def query(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """The unit vector of a view, from the network that learns: (batch, lead, time) -> (batch, dim)."""
        return _float_unit(self.projection(self.encoder.embed(ecg, valid)))

    @torch.no_grad()
    def key(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """The unit vector of a view, from the copy: (batch, lead, time) -> (batch, dim)."""
        return _float_unit(self.key_projection(self.key_encoder.embed(ecg, valid)))

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        first, second = views_of(batch, moment, self.augment, 2)
        query, key = self.query(first["ecg"], valid_of(first)), self.key(second["ecg"], valid_of(second))
        n_rows = query.shape[0]
        with torch.autocast(query.device.type, enabled=False):
            # A copy of the queue: backward still needs these keys when the new ones are written over them.
            logits = moco_logits(query, key, self.keys.clone(), self.temperature)
            loss = F.cross_entropy(logits, torch.zeros(n_rows, dtype=torch.int64, device=logits.device))
        if self.training:
            keys, place = written(self.keys, self.place, gather_rows(key) if moment.rows(n_rows) != n_rows else key)
            self.keys.copy_(keys)
            self.place.copy_(place)
        accuracy = (logits.detach().argmax(dim=1) == 0).to(loss.dtype).mean()
        return Step(loss, {"moco": loss.detach(), "accuracy": accuracy}, weight=float(n_rows))

    def after_update(self, step: int, total: int) -> None:
        follow(self.key_encoder, self.encoder, self.momentum)
        follow(self.key_projection, self.projection, self.momentum)


def _float_unit(rows: Tensor) -> Tensor:
    with torch.autocast(rows.device.type, enabled=False):
        return unit(rows.to(torch.promote_types(rows.dtype, torch.float32)))
