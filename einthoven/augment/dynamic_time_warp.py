"""Dynamic time warp: at a few places a short piece of the ECG is squeezed, and what stands beside it stretched.

Source: Mehari and Strodthoff, Comput Biol Med 2022, which wrote into its input. Difference: the radius is in seconds, as at 100 Hz there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.time_map import n_real
from einthoven.objectives.step import Moment, valid_of


@dataclass(frozen=True, kw_only=True)
class DynamicTimeWarp(Augment):
    """Around a random centre, what lies within step times the radius is squeezed to the radius, and its neighbours fill the rest.

    warps  : how many, one after the other
    radius : s on either side of the centre after squeezing; 0.1 as published (10 samples of 100 Hz)
    step   : how many times a piece is squeezed and its neighbours stretched

    Rows whose real part is shorter than one warp stay as they are. Raises ValueError where windows are.
    """

    warps: int = 3
    radius: float = 0.1
    step: int = 2

    def __post_init__(self):
        super().__post_init__()
        if self.warps < 0 or self.step < 1:
            raise ValueError(f"expected warps of 0 or more and step of 1 or more; got {self.warps} and {self.step}")
        if self.radius * self.fs < 1:
            raise ValueError(f"expected a radius of a sample or more, {1 / self.fs:g} s; got {self.radius:g} s")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n, radius = batch["ecg"], n_real(batch), round(self.radius * self.fs)
        span = radius * (self.step + 1)
        shortest = 2 * span + self.step + 1
        if ecg.shape[-1] < shortest:
            raise ValueError(
                f"dynamic_time_warp: expected windows of at least {shortest / self.fs:g} s ({shortest} samples) for a radius of "
                f"{self.radius:g} s; got {ecg.shape[-1] / self.fs:g} s; choose a smaller radius or longer windows"
            )
        drawn = moment.uniform("dynamic_time_warp", ecg.shape[0], self.warps, device=ecg.device)
        centre = span + (drawn * (n[:, None] - shortest + 1).clamp(min=1)).long()
        warped = squeezed(ecg, centre, radius, self.step)
        if valid_of(batch) is not None:
            warped = torch.where((n >= shortest)[:, None, None], warped, ecg)
        return {"ecg": warped}


@lru_cache(maxsize=16)
def _places(radius: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """For every place of a warp, from -span to span: the two samples around it, counted from -span, and the weight of the second."""
    span, near, far = radius * (step + 1), np.arange(2 * radius + 1), np.arange(radius)
    place = np.concatenate([-span + step * far, near - radius, radius + step + step * far])
    sample = np.concatenate([far - span, step * (near - radius), step * radius + 1 + far])
    at = np.arange(-span, span + 1)
    right = np.searchsorted(place, at)
    left = np.where(place[right] == at, right, right - 1)
    weight = (at - place[left]) / np.maximum(place[right] - place[left], 1)
    first, second = sample[left] + span, sample[right] + span
    return torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(weight.astype(np.float32))


def squeezed(ecg: Tensor, centre: Tensor, radius: int, step: int) -> Tensor:
    """Warps around the centres, one after the other: (batch, lead, time), (batch, warp) int64, samples."""
    out = ecg.clone()
    span = radius * (step + 1)
    first, second, weight = (part.to(ecg.device) for part in _places(radius, step))
    shape = (*ecg.shape[:2], len(first))
    for start in (centre - span).unbind(dim=1):
        left = out.gather(2, (start[:, None] + first)[:, None, :].expand(shape))
        right = out.gather(2, (start[:, None] + second)[:, None, :].expand(shape))
        at = (start[:, None] + torch.arange(len(first), device=ecg.device))[:, None, :].expand(shape)
        out.scatter_(2, at, left.lerp_(right, weight.to(ecg).expand(shape)))
    return out
