"""Time warp: time runs faster and slower along the window, as a random walk has it.

Source: Mehari and Strodthoff, Comput Biol Med 2022 (where the command line could not use it). Difference: the walk's steps are those of
100 Hz whatever the sampling frequency, so that a second is warped as much at 500 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.time_map import Places, n_real, read
from einthoven.augment.white_noise import white_noise
from einthoven.objectives.step import Moment

WALK_FS = 100.0
"""Hz at which a step of the walk has a standard deviation of 1."""


@dataclass(frozen=True, kw_only=True)
class TimeWarp(Augment):
    """The window's samples are spread by a pace that is a random walk, and read at equal steps again.

    epsilon : the slowest pace, above 0, in units of a step of the walk per 10 ms: the larger, the evener. 10 as published
    """

    epsilon: float = 10.0

    def __post_init__(self):
        super().__post_init__()
        if self.epsilon <= 0:
            raise ValueError(f"expected epsilon, the slowest pace, to be above 0; got {self.epsilon}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        step = white_noise(moment, "time_warp", ecg.shape[0], 1, ecg.shape[-1], device=ecg.device)[:, 0]
        return {"ecg": paced(ecg, step * (WALK_FS / self.fs) ** 0.5, n_real(batch), self.epsilon)}


def paced(ecg: Tensor, step: Tensor, n: Tensor, epsilon: float) -> Tensor:
    """Sample i goes to a time that advances by the walk's height above its lowest point, plus epsilon; read at whole times.

    ecg : (batch, lead, time); step : (batch, time) of the walk; n : (batch,) real samples. Returns (batch, lead, time)
    """
    return read(ecg, ecg.shape[-1], lambda rows: _places(step[rows], n[rows], epsilon))


def _places(step: Tensor, n: Tensor, epsilon: float) -> Places:
    n_samples = step.shape[1]
    time, last = torch.arange(n_samples, device=step.device), n[:, None] - 1
    walk = step.double().cumsum(dim=1)
    lowest = walk.masked_fill(time > last, torch.inf).amin(dim=1, keepdim=True)
    spread = (walk - lowest + epsilon).cumsum(dim=1)
    spread = (spread - spread[:, :1]) * (last / (spread.gather(1, last) - spread[:, :1]).clamp(min=1e-12))
    # How many samples have gone to this time or before: a histogram, summed, where a search would take a logarithm more.
    came = torch.zeros(len(n), n_samples, dtype=torch.int64, device=step.device)
    came.scatter_add_(1, spread.clamp(max=n_samples - 1).ceil().long(), torch.ones_like(came))
    left = torch.minimum(came.cumsum(dim=1) - 1, (last - 1).clamp(min=0))
    right = torch.minimum(left + 1, last)
    here, there = spread.gather(1, left), spread.gather(1, right)
    return left, right, ((time - here) / (there - here).clamp(min=1e-12)).clamp(0, 1)
