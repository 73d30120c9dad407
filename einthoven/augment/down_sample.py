"""Down-sampling: samples here and there are lost, and interpolated from those left and right.

Source: Mehari and Strodthoff, Comput Biol Med 2022, where a slip in a slice lost four of five samples at any setting (and the NumPy version
half of them). Here the share that is asked for is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.time_map import Places, around, choose, n_real, read
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class DownSample(Augment):
    """Samples are lost at random and interpolated, in all leads at once; the first and the last one stay.

    lost : share of the samples; 0.2 as published
    """

    lost: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.lost <= 1:
            raise ValueError(f"expected lost, the share of samples, to lie in [0, 1]; got {self.lost}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n = batch["ecg"], n_real(batch)
        time, last = torch.arange(ecg.shape[-1], device=ecg.device), n[:, None] - 1
        lost = choose(moment, "down_sample", (time > 0) & (time < last), torch.minimum((self.lost * n).long(), n - 2))
        return {"ecg": interpolated(ecg, ~lost & (time <= last))}


def interpolated(ecg: Tensor, kept: Tensor) -> Tensor:
    """Places that are not ``kept`` (batch, time) lie on a line between those that are; the first one must be: (batch, lead, time)."""

    def places(rows: slice) -> Places:
        near = around(kept[rows])
        return near.before, near.after, near.weight

    return read(ecg, kept.shape[1], places)
