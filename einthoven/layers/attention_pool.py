"""Attention pooling: one learned query looks at all frames, and what it sees is the record's vector.

Source: the head of the "ECG foundation models: a reality check" benchmark, 2025, and of ECG-JEPA's evaluation, which differ
in the number of heads alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionPool(nn.Module):
    """(batch, frame, dim), (batch, frame) bool or None -> (batch, dim): each head's mean of its values, side by side.

    heads : each has its own weights over the frames; the published one has 16

    Query, keys and values have projections without bias; a linear layer without bias from the result to the classes makes it
    the published head. A row without any valid frame gives zeros. Raises ValueError where dim is no multiple of the heads.
    """

    def __init__(self, dim: int, heads: int = 16):
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"expected the width of a frame to be a multiple of the attention pool's heads; got dim={dim}, heads={heads}")
        self.heads = heads
        self.query = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, frames: Tensor, valid: Tensor | None = None) -> Tensor:
        mask = None
        if valid is not None:
            frames = frames.masked_fill(~valid[:, :, None], 0.0)
            # Of a row without a valid frame all are attended to: its values are 0, where an empty softmax would be NaN.
            mask = (valid | ~valid.any(dim=1, keepdim=True))[:, None, None, :]
        k, v = (proj(frames).unflatten(-1, (self.heads, -1)).transpose(1, 2) for proj in (self.k_proj, self.v_proj))
        q = self.q_proj(self.query).view(1, self.heads, 1, -1).expand(len(frames), -1, -1, -1).to(k.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).flatten(1)
