"""Time-out: a stretch of the window is silent in all leads.

Source: Mehari and Strodthoff, Comput Biol Med 2022. Difference: there the last place where a stretch could begin was never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.sources import between, check_range
from einthoven.augment.time_map import n_real
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class TimeOut(Augment):
    """All leads are 0 for some part of the window.

    smallest, largest : share of the window that is silent, uniform between the two; 0.2 and 0.4 as published
    """

    smallest: float = 0.2
    largest: float = 0.4

    def __post_init__(self):
        super().__post_init__()
        check_range("the share of the window", self.smallest, self.largest, most=1.0)

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n = batch["ecg"], n_real(batch)
        drawn = moment.uniform("time_out", ecg.shape[0], 2, device=ecg.device)
        length = (between(drawn[:, 0], self.smallest, self.largest) * n).long()
        start = (drawn[:, 1] * (n - length + 1)).long()
        return {"ecg": silenced(ecg, start, length)}


def silenced(ecg: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """0 in all leads from start, for length samples: (batch, lead, time), (batch,) twice."""
    time = torch.arange(ecg.shape[-1], device=ecg.device)
    heard = (time < start[:, None]) | (time >= (start + length)[:, None])
    return ecg * heard.to(ecg)[:, None, :]
