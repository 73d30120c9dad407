"""Channel resize: each lead larger or smaller by a factor of its own, as by amplifiers that are not calibrated alike.

Source: Mehari and Strodthoff, Comput Biol Med 2022. An error of a lead's amplifier comes after the leads have been formed of the
electrodes, so it does not obey the laws of the limb leads, and neither does this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.sources import between, check_range
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class ChannelResize(Augment):
    """Each lead times a factor.

    smallest, largest : factor, its logarithm uniform between those of the two; 0.5 and 2 as published
    """

    smallest: float = 0.5
    largest: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        check_range("the factor", self.smallest, self.largest, least=1e-6)

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        drawn = moment.uniform("channel_resize", *ecg.shape[:2], device=ecg.device)
        return {"ecg": resized(ecg, between(drawn, math.log(self.smallest), math.log(self.largest)))}


def resized(ecg: Tensor, log_factor: Tensor) -> Tensor:
    """(batch, lead, time) times exp of (batch, lead)."""
    return ecg * log_factor.exp().to(ecg)[:, :, None]
