"""Noise of the electrodes themselves: a bad contact disturbs every lead that its electrode is part of, and only those.

A noisy left arm is in I, III, the three augmented leads and, by a third through Wilson's terminal, in all chest leads; a noisy
V3 is in V3 alone. Noise drawn per lead never looks like that. All laws of the leads hold for the sum as they did before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.sources import add_white_noise, between, check_range
from einthoven.leads import CHEST, TWELVE
from einthoven.objectives.step import Moment

ELECTRODES = ("RA", "LA", "LL", *CHEST)
_LIMB_LEADS = {
    "I": (-1.0, 1.0, 0.0),
    "II": (-1.0, 0.0, 1.0),
    "III": (0.0, -1.0, 1.0),
    "aVR": (1.0, -0.5, -0.5),
    "aVL": (-0.5, 1.0, -0.5),
    "aVF": (-0.5, -0.5, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class ElectrodeNoise(Augment):
    """White noise on the nine measuring electrodes, each of its own amplitude, seen by the leads as they are made of them.

    smallest, largest : amplitude (standard deviation) in mV, uniform between the two

    Raises ValueError for leads that are not made of these electrodes (X, Y, Z).
    """

    smallest: float = 0.0
    largest: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        check_range("the amplitude in mV", self.smallest, self.largest)
        if unknown := [lead for lead in self.leads if lead not in TWELVE]:
            raise ValueError(f"expected leads of {' '.join(TWELVE)}, which are made of nine electrodes; got {' '.join(unknown)}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        mix = leads_of_electrodes(tuple(self.leads), ecg.device).to(ecg)
        drawn = moment.uniform("electrode_noise/amplitude", ecg.shape[0], mix.shape[1], device=ecg.device)
        amplitude = between(drawn, self.smallest, self.largest)
        return {"ecg": add_white_noise(batch, moment, "electrode_noise", amplitude, mix)}


@lru_cache(maxsize=16)
def leads_of_electrodes(leads: tuple[str, ...], device: torch.device) -> Tensor:
    """What each lead is made of: (lead, electrode=9), for RA, LA, LL, V1 … V6."""
    mix = torch.zeros(len(leads), len(ELECTRODES))
    for row, lead in enumerate(leads):
        if lead in CHEST:
            mix[row, :3] = -1.0 / 3.0
            mix[row, ELECTRODES.index(lead)] = 1.0
        else:
            mix[row, :3] = torch.tensor(_LIMB_LEADS[lead])
    return mix.to(device)
