"""White noise in great amounts: each number a function of the moment, the row and its place, and of nothing else.

A counter is hashed, and each half of the 32 bits looks up one of 65,536 quantiles of the normal distribution. So rows need no
generator of their own and no loop, a process draws for none but its rows, the numbers are the same bits on every device, and
they come two to three times as fast as torch's normal numbers on a CPU. What is given up: nothing is beyond 4.3
standard deviations (a normal number is, once in 60,000), which no noise on an ECG needs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from einthoven.objectives.step import Moment

N_QUANTILES = 1 << 16


def white_noise(moment: Moment, name: str, n_own: int, n_sources: int, n_samples: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers for this process's rows: (n_own, n_sources, n_samples) float32 on the device."""
    return normal(row_keys(moment, name, n_own, device), n_sources, n_samples)


def row_keys(moment: Moment, name: str, n_own: int, device: torch.device | str = "cpu") -> Tensor:
    """64 well mixed bits for each of this process's rows: (n_own, 2) int32. SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    rows = np.arange(moment.first_row + 1, moment.first_row + 1 + n_own, dtype=np.uint64)
    bits = np.uint64(moment.key(name)) + rows * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy((bits ^ (bits >> np.uint64(31))).view(np.int32).reshape(n_own, 2)).to(device)


def normal(keys: Tensor, n_sources: int, n_samples: int) -> Tensor:
    """Standard normal numbers of the rows that have these keys: (row, n_sources, n_samples) float32."""
    n = n_sources * n_samples
    bits = hashed(keys, (n + 1) // 2).view(torch.uint16)[:, :n]
    drawn = _quantiles(keys.device).index_select(0, bits.reshape(-1).int())
    return drawn.view(len(keys), n_sources, n_samples)


def hashed(keys: Tensor, n: int) -> Tensor:
    """Hashes of the numbers from 0 to n - 1 under each row's two keys: (row, 2) int32 -> (row, n) int32.

    Shifts and multiplications of Wellons' and Degski's 32-bit mixers; the second key goes in half way, so that two rows whose first
    keys meet part again.
    """
    counter = torch.arange(n, device=keys.device) * 0x9E3779B1  # odd: a permutation of the 32-bit numbers
    bits = (((counter + 2**31) & 0xFFFFFFFF) - 2**31).int() ^ keys[:, :1]
    room = torch.empty_like(bits)
    _fold(bits, 16, room)
    _fold(bits.mul_(0x21F0AAAD).add_(keys[:, 1:]), 15, room)
    _fold(bits.mul_(0x735A2D97), 15, room)
    return bits


def _fold(bits: Tensor, shift: int, room: Tensor) -> None:
    # The shift of a signed number draws its sign along: the mask takes that off.
    torch.bitwise_right_shift(bits, shift, out=room)
    bits.bitwise_xor_(room.bitwise_and_((1 << (32 - shift)) - 1))


@lru_cache(maxsize=8)
def _quantiles(device: torch.device) -> Tensor:
    """The middles of 65,536 equally likely pieces of the normal distribution, of variance 1."""
    middles = torch.special.ndtri((torch.arange(N_QUANTILES, dtype=torch.float64) + 0.5) / N_QUANTILES)
    return (middles / middles.square().mean().sqrt()).float().to(device)
