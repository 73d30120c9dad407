"""Stretch: a part of the window read slowly, as by a recorder whose clock is fast or from a heart that beats slower.

Reading faster would need more signal than the window holds, and the end would have to be made up; hence one way only. The linear
counterpart of a random resized crop: time runs evenly, so intervals keep their ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.time_map import Places, n_real, read
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class Stretch(Augment):
    """A random part of the window takes its whole length, evenly.

    largest : by how many times at most, 1 or more; the factor's logarithm is uniform between 0 and its
    """

    largest: float = 1.1

    def __post_init__(self):
        super().__post_init__()
        if self.largest < 1:
            raise ValueError(f"expected largest, the factor by which time is stretched, to be 1 or more; got {self.largest}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        drawn = moment.uniform("stretch", ecg.shape[0], 2, device=ecg.device)
        return {"ecg": slowed(ecg, self.largest ** -drawn[:, 0], drawn[:, 1], n_real(batch))}


def slowed(ecg: Tensor, pace: Tensor, begin: Tensor, n: Tensor) -> Tensor:
    """Sample t is read at start + pace t: (batch, lead, time).

    pace  : (batch,) in (0, 1]; begin : (batch,) in [0, 1], how far from its first to its last possible place the start lies
    n     : (batch,) real samples
    """
    last, pace, time = (n - 1)[:, None], pace.double()[:, None], torch.arange(ecg.shape[-1], device=ecg.device)
    start = begin[:, None] * last * (1 - pace)

    def places(rows: slice) -> Places:
        position = torch.minimum(start[rows] + pace[rows] * time, last[rows].double())
        left = position.long()
        return left, torch.minimum(left + 1, last[rows]), position - left

    return read(ecg, ecg.shape[-1], places)
