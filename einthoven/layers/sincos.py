"""Positions as fixed sines and cosines: nothing is learned, and any length or place has its vector.

Source: Vaswani et al., "Attention is all you need", NeurIPS 2017.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

BASE = 10_000.0


def sincos(place: Tensor, dim: int, layout: Literal["interleaved", "halves"] = "interleaved") -> Tensor:
    """Each place as ``dim`` numbers: (...) -> (..., dim) float32, sin and cos of place / BASE^(2i / dim), i = 0 … dim/2 - 1.

    layout : "interleaved": sin, cos, sin, cos, …; "halves": all sines, then all cosines
    """
    if dim % 2:
        raise ValueError(f"expected an even width for sines and cosines; got dim={dim}")
    rate = BASE ** (-torch.arange(0, dim, 2, device=place.device, dtype=torch.float64) / dim)
    angle = place[..., None].to(torch.float64) * rate
    both = torch.stack([angle.sin(), angle.cos()], dim=-1 if layout == "interleaved" else -2)
    return both.flatten(-2).float()


def sincos_grid(row: Tensor, column: Tensor, dim: int) -> Tensor:
    """Places of a grid: half of the width says the row, half the column, each as halves: (...), (...) -> (..., dim) float32."""
    if dim % 4:
        raise ValueError(f"expected a width that four divides, for the sines and cosines of rows and columns; got dim={dim}")
    return torch.cat([sincos(row, dim // 2, "halves"), sincos(column, dim // 2, "halves")], dim=-1)
