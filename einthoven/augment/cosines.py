"""Sums of cosines over a window, many rows at once, without a cosine per sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 128


def cosines(amplitude: Tensor, hz: Tensor, phase: Tensor, n_samples: int, fs: float) -> Tensor:
    """sum over k of amplitude_k cos(2 pi hz_k t / fs + phase_k), t = 0, 1, …: (batch, n_samples) float32.

    amplitude, phase : (batch, k), in mV and rad
    hz               : (k,), the same for all rows, or (batch, k)

    A sample is a block's start plus a place in the block, so that by the addition theorem two small tables of cosines and a
    matrix product make the sum. Angles are counted in turns, in float64, and only their fraction is kept: at 60 Hz a
    float32 angle is off by a ten-thousandth after five seconds.
    """
    hz = hz.to(torch.float64)
    start = torch.arange(0, n_samples, BLOCK, device=hz.device, dtype=torch.float64) / fs
    place = torch.arange(BLOCK, device=hz.device, dtype=torch.float64) / fs
    coarse = _angle(hz[..., None] * start + phase.to(torch.float64)[..., None] / (2 * math.pi))  # (batch, k, block)
    fine = _angle(hz[..., None] * place)  # (k, place) or (batch, k, place)
    amplitude = amplitude.to(torch.float32)[..., None]
    left = torch.cat([amplitude * coarse.cos(), -amplitude * coarse.sin()], dim=1).mT  # (batch, block, 2 k)
    right = torch.cat([fine.cos(), fine.sin()], dim=-2)
    with torch.autocast(hz.device.type, enabled=False):  # an objective that makes its views may run in half precision
        return (left @ right).flatten(1)[:, :n_samples]


def _angle(turns: Tensor) -> Tensor:
    return (turns - turns.floor()).float() * (2 * math.pi)
