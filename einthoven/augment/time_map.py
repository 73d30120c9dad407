"""Operations on time: every lead of a row is read at the same places, so that whatever law binds the leads still binds them.

They act on a row's real part, its first samples; behind it is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from einthoven.augment.pieces import pieces_of
from einthoven.augment.white_noise import hashed, row_keys
from einthoven.objectives.step import Moment, valid_of


def n_real(batch: Mapping[str, Any]) -> Tensor:
    """Samples of each row before the padding, at least 1: (batch,) int64."""
    ecg, valid = batch["ecg"], valid_of(batch)
    if valid is None:
        return torch.full((ecg.shape[0],), ecg.shape[-1], device=ecg.device)
    return valid.sum(dim=1).clamp(min=1)


Places = tuple[Tensor, Tensor, Tensor]
"""Two samples for every place, and the weight of the second: (row, n) int64 twice, (row, n)."""


def read(ecg: Tensor, n: int, places: Callable[[slice], Places]) -> Tensor:
    """At each of ``n`` places (1 - weight) of one sample and weight of another: (batch, lead, time) -> (batch, lead, n).

    places : of these rows, all leads alike; it is asked for a piece of the batch at a time
    """
    out = ecg.new_empty(ecg.shape[0], ecg.shape[1], n)
    for rows in pieces_of(out):
        piece, own = ecg[rows], out[rows]
        first, second, weight = (it[:, None, :].expand(own.shape) for it in places(rows))
        torch.gather(piece, 2, first, out=own)
        own.lerp_(piece.gather(2, second), weight.to(ecg))
    return out


class Around(NamedTuple):
    """For every place, the kept places around it; (batch, n) each.

    left, right   : the kept place at it or before, and the next one (where there is none, the same), counted among the kept ones
    before, after : where these two are
    weight        : how far it lies from the first to the second, in [0, 1)
    """

    left: Tensor
    right: Tensor
    before: Tensor
    after: Tensor
    weight: Tensor


def around(kept: Tensor) -> Around:
    """The kept places between which every place lies: (batch, n) bool, of which the first is kept."""
    n = kept.shape[1]
    time = torch.arange(n, device=kept.device).expand_as(kept)
    left = kept.cumsum(dim=1) - 1
    right = torch.minimum(left + 1, left[:, -1:])
    places = torch.zeros(kept.shape[0], n + 1, dtype=torch.int64, device=kept.device)
    places.scatter_(1, torch.where(kept, left, n), time)  # column n takes what is not kept
    before, after = places.gather(1, left), places.gather(1, right)
    return Around(left, right, before, after, (time - before) / (after - before).clamp(min=1))


def choose(moment: Moment, name: str, among: Tensor, count: Tensor) -> Tensor:
    """``count`` of the places ``among`` of each row, every choice being as likely as another: (batch, n) bool.

    among : (batch, n) bool; count : (batch,) int64, no more than there are
    """
    n_rows, n = among.shape
    # The place in the last 30 bits makes all keys of a row different: exactly ``count`` of them are among the smallest.
    key = hashed(row_keys(moment, name, n_rows, among.device), n).long() << 30 | torch.arange(n, device=among.device)
    key = torch.where(among, key, 2**62)
    # On a CPU torch needs six times NumPy's time for this.
    ranked = torch.from_numpy(np.sort(key.numpy(), axis=1)) if key.device.type == "cpu" else key.sort(dim=1).values
    highest = ranked.gather(1, (count - 1).clamp(min=0)[:, None])
    return (key <= highest) & (count > 0)[:, None]
