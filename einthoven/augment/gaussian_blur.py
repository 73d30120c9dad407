"""Gaussian blur: each sample is averaged with its neighbours.

Source: Mehari and Strodthoff, Comput Biol Med 2022: weights 0.1, 0.2, 0.4, 0.2, 0.1 at 100 Hz, zeros beyond the ends. Difference: the
weights' shape is in seconds, and at another sampling frequency it is sampled there, so that a QRS is blurred alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from einthoven.augment.augment import Augment
from einthoven.augment.pieces import pieces_of
from einthoven.objectives.step import Moment

PUBLISHED = (0.0, 0.1, 0.2, 0.4, 0.2, 0.1, 0.0)


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Augment):
    """Each lead is smoothed with a short kernel.

    seconds : from one sample of the published kernel to the next: 0.01 at its 100 Hz; the kernel's standard deviation is 1.1 times that
    """

    seconds: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        if self.seconds <= 0:
            raise ValueError(f"expected seconds, between the kernel's samples, to be above 0; got {self.seconds}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        return {"ecg": blurred(batch["ecg"], kernel(self.seconds * self.fs))}


@lru_cache(maxsize=16)
def kernel(spacing: float) -> tuple[float, ...]:
    """The published weights, lines between them, at every sample, where ``spacing`` samples lie between two; their sum is 1."""
    reach = max(int(np.ceil(3 * spacing)) - 1, 0)
    weights = np.interp(np.arange(-reach, reach + 1), spacing * np.arange(-3, 4), PUBLISHED)
    return tuple((weights / weights.sum()).tolist())


def blurred(ecg: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Convolution with an odd number of symmetric weights, zeros beyond the ends: (batch, lead, time).

    As a sum of shifted signals: torch's convolutions take ten times as long where there is a single channel.
    """
    n_samples, reach = ecg.shape[-1], len(weights) // 2
    out = torch.zeros_like(ecg)
    for rows in pieces_of(ecg):
        padded, own = pad(ecg[rows], (reach, reach)), out[rows]
        for shift, weight in enumerate(weights):
            own.add_(padded[..., shift : shift + n_samples], alpha=weight)
    return out
