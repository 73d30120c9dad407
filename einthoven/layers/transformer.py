"""A transformer encoder over frames, post-norm or pre-norm, with the arithmetic and parameter names of fairseq-signals.

(batch, frame, dim) throughout. A mask is boolean and True where a frame may be attended to: the opposite of the old
code's padding masks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.dropout import dropout


class SelfAttention(nn.Module):
    """Multi-head self-attention with separate projections: (batch, frame, dim) -> (batch, frame, dim).

    dropout : of the attention weights
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if dim % heads:
            raise ValueError(f"expected the dimension to be a multiple of the heads; got dim={dim}, heads={heads}")
        self.heads, self.dropout = heads, dropout
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask : bool, broadcastable to (batch, head, query, key)"""
        q, k, v = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        p = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and (p > 0 or q.dtype == torch.bfloat16):
            # torch's fused attention on a CPU has no dropout, and in bf16 takes three times as long as the plain products.
            y = dropout(self._shares(q, k, mask), p, self.training) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        return self.out_proj(y.transpose(1, 2).flatten(-2))

    def _shares(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        score = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return (score if mask is None else score.masked_fill(~mask, float("-inf"))).softmax(dim=-1)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Who attends to whom, averaged over the heads: (batch, query, key); rows sum to 1."""
        return self._shares(self._split(self.q_proj(x)), self._split(self.k_proj(x)), mask).mean(dim=1)


class EncoderLayer(nn.Module):
    """Attention and a two-layer network, each with its residual; norms after the sums, or before the branches (``norm_first``)."""

    def __init__(
        self, dim: int, ffn: int, heads: int, *, dropout: float, attention_dropout: float, activation_dropout: float, norm_first: bool
    ):
        super().__init__()
        self.dropout, self.activation_dropout, self.norm_first = dropout, activation_dropout, norm_first
        self.self_attn = SelfAttention(dim, heads, attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ffn)
        self.fc2 = nn.Linear(ffn, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def _drop(self, x: Tensor, p: float) -> Tensor:
        return dropout(x, p, self.training)

    def _network(self, x: Tensor) -> Tensor:
        return self._drop(self.fc2(self._drop(F.gelu(self.fc1(x)), self.activation_dropout)), self.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.norm_first:
            x = x + self._drop(self.self_attn(self.self_attn_layer_norm(x), mask), self.dropout)
            return x + self._network(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self._drop(self.self_attn(x, mask), self.dropout))
        return self.final_layer_norm(x + self._network(x))

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.self_attn.weights(self.self_attn_layer_norm(x) if self.norm_first else x, mask)


class TransformerEncoder(nn.Module):
    """A stack of layers.

    layerdrop  : probability that a layer is left out of an update
    norm_first : pre-norm, with one more norm at the end. Post-norm has that norm at the *beginning*, before the first
                 layer: so the published weights were trained
    """

    def __init__(
        self,
        dim: int,
        ffn: int,
        heads: int,
        depth: int,
        *,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        layerdrop: float = 0.0,
        norm_first: bool = False,
    ):
        super().__init__()
        self.dropout, self.layerdrop, self.norm_first = dropout, layerdrop, norm_first
        self.layers = nn.ModuleList(
            EncoderLayer(
                dim,
                ffn,
                heads,
                dropout=dropout,
                attention_dropout=attention_dropout,
                activation_dropout=activation_dropout,
                norm_first=norm_first,
            )
            for _ in range(depth)
        )
        self.layer_norm = nn.LayerNorm(dim)
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def _begin(self, x: Tensor, valid: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The first layer's input and the mask of every layer: (batch or 1, 1, frame or 1, frame)."""
        if valid is not None:
            x = x.masked_fill(~valid[:, :, None], 0.0)
            # A row without a valid frame attends to its padding: its result is nobody's, but must not become NaN.
            keys = (valid | ~valid.any(dim=1, keepdim=True))[:, None, None, :]
            mask = keys if mask is None else keys & mask
        if not self.norm_first:
            x = self.layer_norm(x)
        return dropout(x, self.dropout, self.training), mask

    def forward(self, x: Tensor, valid: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """valid : (batch, frame) bool; padded frames are set to 0 and not attended to. mask : (query, key) bool"""
        x, mask = self._begin(x, valid, mask)
        for layer in self.layers:
            if not (self.training and self.layerdrop > 0 and torch.rand(()).item() < self.layerdrop):
                x = layer(x, mask)
        return self.layer_norm(x) if self.norm_first else x

    def attention(self, x: Tensor, valid: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Every layer's attention, averaged over its heads: (batch, layer, query, key)."""
        x, mask = self._begin(x, valid, mask)
        weights = []
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            weights.append(layer.weights(x, mask))
            x = layer(x, mask)
        return torch.stack(weights, dim=1)
