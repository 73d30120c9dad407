"""Random resized crop: a part of the window, stretched over all of it, here a little more and there a little less.

Source: Mehari and Strodthoff, Comput Biol Med 2022. The crop's samples are put in order at random places of the window, its first
and last ones at the ends, and the places between are interpolated. Differences: there the last place where a crop could begin
was never drawn. A window keeps its length, whatever ``output_size`` said there (it was ignored).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.sources import between, check_range
from einthoven.augment.time_map import Places, around, choose, n_real, read
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Augment):
    """A random part of the window takes its whole length.

    smallest, largest : share of the window that is the crop, uniform between the two; 0.5 and 1 as published
    """

    smallest: float = 0.5
    largest: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_range("the share of the window", self.smallest, self.largest, most=1.0)

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n = batch["ecg"], n_real(batch)
        drawn = moment.uniform("random_resized_crop", ecg.shape[0], 2, device=ecg.device)
        # No fewer than two samples: the first and the last one have a place already.
        length = torch.minimum((between(drawn[:, 0], self.smallest, self.largest) * n).long().clamp(min=2), n)
        start = (drawn[:, 1] * (n - length + 1)).long()
        time, last = torch.arange(ecg.shape[-1], device=ecg.device), n[:, None] - 1
        inner = choose(moment, "random_resized_crop/places", (time > 0) & (time < last), length - 2)
        return {"ecg": stretched(ecg, start, inner | (time == 0) | (time == last))}


def stretched(ecg: Tensor, start: Tensor, kept: Tensor) -> Tensor:
    """Consecutive samples from ``start`` on stand at the ``kept`` places, in order; the places between are interpolated.

    ecg : (batch, lead, time); start : (batch,) int64; kept : (batch, n) bool, the first place among them. Returns (batch, lead, n)
    """

    def places(rows: slice) -> Places:
        near = around(kept[rows])
        return start[rows, None] + near.left, start[rows, None] + near.right, near.weight

    return read(ecg, kept.shape[1], places)
