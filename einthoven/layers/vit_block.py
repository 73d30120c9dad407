"""The block of a vision transformer: pre-norm attention and a two-layer network, with biases everywhere, in part, or nowhere.

``layers/transformer.py`` is the block of wav2vec 2.0, with the names and biases of its published weights; this one is what
masked autoencoders and JEPA are made of.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Bias = Literal["none", "all", "all_but_qkv"]
Init = Literal["normal", "xavier"]


class Attention(nn.Module):
    """Multi-head self-attention: (batch, token, dim) -> (batch, token, dim)."""

    def __init__(self, dim: int, heads: int, bias: Bias = "all"):
        super().__init__()
        if dim % heads:
            raise ValueError(f"expected the dimension to be a multiple of the heads; got dim={dim}, heads={heads}")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias == "all")
        self.project = nn.Linear(dim, dim, bias=bias != "none")

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask : bool, True where a token may be attended to, broadcastable to (batch, head, query, key)"""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if x.device.type == "cpu" and q.dtype == torch.bfloat16:
            # torch's fused attention on a CPU takes three times as long in bf16 as the plain products.
            score = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            y = (score if mask is None else score.masked_fill(~mask, float("-inf"))).softmax(dim=-1).to(v.dtype) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.project(y.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)); the network has four times the width and GELU.

    bias : of linear layers and norms: all have one, all but queries, keys and values, or none
    drop : probability, in training, that a row's branch is left out (stochastic depth; the others are scaled up to match)
    """

    def __init__(self, dim: int, heads: int, *, bias: Bias = "all", norm_eps: float = 1e-6, drop: float = 0.0):
        super().__init__()
        some = bias != "none"
        self.drop = drop
        self.norm1 = nn.LayerNorm(dim, norm_eps, bias=some)
        self.attention = Attention(dim, heads, bias)
        self.norm2 = nn.LayerNorm(dim, norm_eps, bias=some)
        self.network = nn.Sequential(nn.Linear(dim, 4 * dim, bias=some), nn.GELU(), nn.Linear(4 * dim, dim, bias=some))

    def _kept(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop == 0.0:
            return branch
        rows = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.drop
        return branch * rows / (1 - self.drop)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self._kept(self.attention(self.norm1(x), mask))
        return x + self._kept(self.network(self.norm2(x)))


def initialise(module: nn.Module, how: Init, depth: int) -> None:
    """Weights of every linear layer in ``module``; biases become 0.

    how   : "normal": truncated normal of sd 0.02, and 0.02 / sqrt(2 depth) where a block's branch ends, so that the sum of
            all branches does not grow with the depth; "xavier": uniform, by Glorot & Bengio
    depth : blocks of the encoder
    """
    ends = {id(end) for block in module.modules() if isinstance(block, Block) for end in (block.attention.project, block.network[2])}
    for part in module.modules():
        if isinstance(part, nn.Linear):
            if how == "xavier":
                nn.init.xavier_uniform_(part.weight)
            else:
                sd = 0.02 / (2 * depth) ** 0.5 if id(part) in ends else 0.02
                nn.init.trunc_normal_(part.weight, std=sd)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def keys_of(valid: Tensor | None) -> Tensor | None:
    """The attention mask of padded rows: (batch, token) bool -> (batch, 1, 1, token).

    A row without any valid token attends to its padding: its result is nobody's, but must not become NaN.
    """
    return None if valid is None else (valid | ~valid.any(dim=1, keepdim=True))[:, None, None, :]
