"""The residual network of Nejedly et al.: strided residual blocks, then, if wanted, attention over frames and flags of the leads.

It was among the winners of the PhysioNet/CinC challenge 2021. Parameters keep the names that fairseq-signals gave them (``conv``,
``bn``, ``blocks.<i>.conv1``, …; ``mha`` stood in its classifier); its leadwise weights have one axis of length 1 more.

Source: Nejedly et al., "Classification of ECG using ensemble of residual CNNs with attention mechanism", Computing in Cardiology 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import average, normalise, odd, same_conv, shortened, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder


def leads_there(ecg: Tensor, *, every_sample: bool = False) -> Tensor:
    """Which leads were recorded, by their not being 0: (batch, lead, time) -> (batch, lead) bool.

    every_sample : the rule of fairseq-signals, by which a single sample of exactly 0 makes a lead absent
    """
    there = ecg != 0
    return there.all(dim=2) if every_sample else there.any(dim=2)


class NejedlyBlock(nn.Module):
    """Two convolutions, each with norm and leaky ReLU; beside them an average and a 1x1 convolution. No activation after the sum."""

    def __init__(self, filters: int, kernel: int, stride: int, bias: bool):
        super().__init__()
        self.stride = stride
        self.conv1 = same_conv(filters, filters, kernel, stride, bias=bias)
        self.bn1 = BatchNorm(filters)
        self.conv2 = same_conv(filters, filters, kernel, bias=bias)
        self.bn2 = BatchNorm(filters)
        self.idfunc_1 = nn.Conv1d(filters, filters, 1, bias=bias)

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """n : (batch,) real samples of ``x``, which is 0 behind them; None: all"""
        beside, after = average(x, n, self.stride)
        y = within(F.leaky_relu(normalise(self.conv1(x), after, self.bn1)), after)
        y = F.leaky_relu(normalise(self.conv2(y), after, self.bn2))
        return within(y + self.idfunc_1(beside), after), after


class Nejedly2021(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim).

    filters        : width of every layer
    depth          : residual blocks; each makes the signal ``stride`` times shorter, the first convolution too
    first_kernel   : of the first convolution, in samples, odd
    kernel         : of the blocks' convolutions, in samples, odd
    stride         : of the first convolution and of each block
    bias           : whether convolutions have one
    leadwise       : the same network for each lead alone; a frame then holds the leads' features side by side, lead by lead
    heads          : of the attention over frames that stands after the blocks and takes the place of its input; 0: none
    attention_dropout : of the features before that attention (published: 0.5)
    indicate_leads : each frame ends with a 1 or 0 per lead: whether it was recorded. Their mean over frames is the same 1 or 0

    A padded record gives the frames that it gives alone. In fairseq-signals padding takes part, the axes of a leadwise frame are
    reshaped and not swapped (channel by channel under the name of leads), and a single sample of 0 clears a lead's flag.
    Raises ValueError for sizes that do not fit, and for attention over a leadwise network, which nobody has defined.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        filters: int = 256,
        depth: int = 5,
        first_kernel: int = 15,
        kernel: int = 9,
        stride: int = 2,
        bias: bool = False,
        leadwise: bool = False,
        heads: int = 0,
        attention_dropout: float = 0.0,
        indicate_leads: bool = False,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if heads and (leadwise or filters % heads):
            raise ValueError(
                "expected heads=0 together with leadwise"
                if leadwise
                else f"expected filters to be a multiple of heads; got {filters} and {heads}"
            )
        if stride < 1 or depth < 1:
            raise ValueError(f"expected a stride and a depth of 1 or more; got {stride} and {depth}")
        width = filters * len(leads) if leadwise else filters
        super().__init__(leads, fs, dim=width + (len(leads) if indicate_leads else 0), samples_per_frame=stride ** (depth + 1))
        self._config = {**options, "leads": list(self.leads), "fs": self.fs}
        self.stride, self.leadwise, self.indicate_leads = stride, leadwise, indicate_leads

        self.conv = same_conv(1 if leadwise else len(self.leads), filters, odd(first_kernel, "first_kernel"), stride, bias=bias)
        self.bn = BatchNorm(filters)
        self.blocks = nn.ModuleList(NejedlyBlock(filters, odd(kernel, "kernel"), stride, bias) for _ in range(depth))
        self.dropout = nn.Dropout(attention_dropout)
        self.mha = nn.MultiheadAttention(filters, heads, batch_first=True) if heads else None

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        return shortened(n_samples, self.samples_per_frame)

    def stages(self) -> list[tuple[str, ...]]:
        blocks: list[tuple[str, ...]] = [(f"blocks.{number}.",) for number in range(len(self.blocks))]
        return [("conv.", "bn."), *blocks, *([("mha.",)] if self.mha is not None else [])]

    def features(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the residual blocks give: (batch, frame, filters), or (batch, frame, lead * filters) where ``leadwise``."""
        self.check_signal(ecg, valid)
        n_leads = len(self.leads)
        n = None if valid is None else valid.sum(dim=1)
        x = within(ecg, n)
        if self.leadwise:
            x = x.flatten(0, 1)[:, None, :]
            n = None if n is None else n.repeat_interleave(n_leads)
        n = shortened(n, self.stride)
        x = within(F.leaky_relu(normalise(self.conv(x), n, self.bn)), n)
        for block in self.blocks:
            x, n = block(x, n)
        return (x.unflatten(0, (-1, n_leads)).flatten(1, 2) if self.leadwise else x).mT

    def forward(self, ecg: Tensor, valid: Tensor | None = None, there: Tensor | None = None) -> Tensor:
        """there : (batch, lead) bool, which leads were recorded, for ``indicate_leads``; None: those that are not 0 throughout"""
        x = self.features(ecg, valid)
        if self.mha is not None:
            x = self.dropout(x)
            x = self.mha(x, x, x, key_padding_mask=None if valid is None else ~self.frame_valid(valid), need_weights=False)[0]
        if self.indicate_leads:
            flags = (leads_there(ecg) if there is None else there).to(x.dtype)
            x = torch.cat([x, flags[:, None, :].expand(-1, x.shape[1], -1)], dim=2)
        return x


PRESETS: dict[str, dict[str, Any]] = {
    "nejedly2021": {"heads": 8, "attention_dropout": 0.5, "indicate_leads": True},
    "nejedly2021_plain": {},
    "nejedly2021_leadwise": {"leadwise": True},
    "nejedly2021_tiny": {"filters": 16, "depth": 3, "heads": 4, "indicate_leads": True},
}
"""``nejedly2021`` is what the published configuration trains: 6,277,632 parameters and 263,168 of the attention."""
