"""Gaussian noise: white, small, the same amplitude always.

Source: Mehari and Strodthoff, "Self-supervised representation learning from 12-lead ECG data", Comput Biol Med 2022; there
each lead has noise of its own, which breaks the laws of the limb leads: that is ``limb_laws=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from einthoven.augment.augment import Augment
from einthoven.augment.sources import add_white_noise, mixing
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Augment):
    """White Gaussian noise on every lead.

    sd        : of the noise, in mV; 0.005 as published
    limb_laws : III, aVR, aVL and aVF get what their laws make of the noise of I and II, instead of noise of their own
    """

    sd: float = 0.005
    limb_laws: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.sd < 0:
            raise ValueError(f"expected sd, of the noise in mV, to be 0 or more; got {self.sd}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        amplitude = torch.full((1, 1), self.sd, device=ecg.device)
        return {"ecg": add_white_noise(batch, moment, "gaussian_noise", amplitude, mixing(self.leads, self.limb_laws, ecg))}
