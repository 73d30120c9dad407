"""The S4 encoder: a convolution makes frames, state-space layers put them into context, looking back or both ways.

Published twice: with 1x1 convolution and bidirectional layers, trained with labels (Mehari and Strodthoff, "Towards
quantitative precision for ECG analysis", 2023; 100 Hz), and as ECG-CPC, with a strided stem and causal layers, pretrained by
CPC (Al-Masud, Lopez Alcaraz, Strodthoff, 2025; 240 Hz).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.convolution import windows
from einthoven.layers.s4 import Dynamics, S4Layer, tied_dropout
from einthoven.leads import TWELVE
from einthoven.models.cpc import ConvBlocks
from einthoven.models.encoder import Encoder, Frames


class S4Block(nn.Module):
    """A layer around which its input goes, then a norm over features: (batch, frame, dim) -> the same."""

    def __init__(self, dim: int, state: int, *, dropout: float, tie_dropout: bool, **ssm: Any):
        super().__init__()
        self.dropout, self.tie_dropout = dropout, tie_dropout
        self.layer = S4Layer(dim, state, dropout=dropout, tie_dropout=tie_dropout, **ssm)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + tied_dropout(self.layer(x), self.dropout, self.training, tied=self.tie_dropout))


class S4Encoder(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim).

    leads, fs       : what the signals must be; one row of ``ecg`` per lead, samples per second
    dim, depth      : of the state-space layers
    state           : state variables of each feature, even
    kernels, strides : of the stem's convolutions, each with batch norm and ReLU; none: one convolution of kernel 1 with a bias
    bidirectional   : whether frames also know what comes after them; such an encoder can neither stream nor be taught by CPC
    dynamics        : "s4", or without its low-rank part "s4d_lin", "s4d_legs"
    train_dynamics  : whether the systems' own constants are learnt; as published only what is read from them is
    dropout, tie_dropout : inside and after each layer; tied: a channel is dropped in all frames or in none

    A padded record gives the frames that it gives alone (up to the transforms' rounding), in both directions: padding is 0 before
    the stem's convolutions and before every bidirectional layer. Any leads and any length will do.
    """

    has_context = True

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        dim: int = 512,
        depth: int = 4,
        state: int = 8,
        kernels: tuple[int, ...] = (3, 1, 1, 1),
        strides: tuple[int, ...] = (2, 1, 1, 1),
        bidirectional: bool = False,
        dynamics: Dynamics = "s4",
        train_dynamics: bool = False,
        dropout: float = 0.2,
        tie_dropout: bool = True,
    ):
        if len(kernels) != len(strides):
            raise ValueError(
                f"expected a kernel and a stride for each convolution of the stem; got kernels {kernels} and strides {strides}"
            )
        super().__init__(leads, fs, dim=dim, samples_per_frame=math.prod(strides))
        self.causal = not bidirectional
        self._config = {
            **{"leads": list(self.leads), "fs": self.fs, "dim": dim, "depth": depth, "state": state, "kernels": list(kernels)},
            **{"strides": list(strides), "bidirectional": bidirectional, "dynamics": dynamics, "train_dynamics": train_dynamics},
            **{"dropout": dropout, "tie_dropout": tie_dropout},
        }
        n_leads = len(self.leads)
        self.stem = ConvBlocks(n_leads, (dim,) * len(kernels), kernels, strides) if kernels else nn.Conv1d(n_leads, dim, 1)
        ssm = {"bidirectional": bidirectional, "dynamics": dynamics, "train_dynamics": train_dynamics}
        self.layers = nn.ModuleList(S4Block(dim, state, dropout=dropout, tie_dropout=tie_dropout, **ssm) for _ in range(depth))

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, in JSON's types: ``S4Encoder(**config)``."""
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        """Frames of a record of this length (a number, or a tensor of numbers)."""
        return self.stem.n_frames(n_samples) if isinstance(self.stem, ConvBlocks) else n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """The stem, then all layers: the groups of the published fine-tuning."""
        return [("stem.",), ("layers.",)]

    def frames(self, ecg: Tensor, valid: Tensor | None = None) -> Frames:
        self.check_signal(ecg, valid)
        if isinstance(self.stem, ConvBlocks):
            tokens = self.stem(ecg, valid).transpose(1, 2)
        else:
            tokens = self.stem(ecg).transpose(1, 2)
        frame_valid = None if valid is None else self.frame_valid(valid)
        if frame_valid is not None:
            tokens = tokens.masked_fill(~frame_valid[:, :, None], 0.0)
        energy = tokens.to(torch.promote_types(tokens.dtype, torch.float32)).square().mean()
        return Frames(tokens, tokens, energy, frame_valid)

    def context(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """(batch, frame, dim), (batch, frame) bool or None -> (batch, frame, dim); what stands at padding has no meaning."""
        for layer in self.layers:
            if valid is not None and not self.causal:
                tokens = tokens.masked_fill(~valid[:, :, None], 0.0)
            tokens = layer(tokens)
        return tokens

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        frames = self.frames(ecg, valid)
        return self.context(frames.tokens, frames.valid)

    def blocks(self) -> list[S4Block]:
        """The layers, from the stem to the top."""
        return [layer for layer in self.layers if isinstance(layer, S4Block)]

    def stream(self, batch: int = 1) -> S4Stream:
        """Frames while samples come in; in evaluation mode, and not of a bidirectional encoder (ValueError)."""
        return S4Stream(self, batch)


class S4Stream:
    """A causal S4 encoder that goes with the signal: ``push`` samples, get the frames that they complete.

    All frames of a stream, with those of ``finish``, are those of the whole signal at once. What is remembered does not grow: the
    stem's last samples and N numbers per feature and layer. A frame waits for the stem's look-ahead, (kernel - 1) // 2 samples.
    ``reset`` where the signal was interrupted (a lead was off): what comes next knows nothing of what was before.
    """

    def __init__(self, encoder: S4Encoder, batch: int = 1):
        if not encoder.causal:
            raise ValueError("expected an encoder that does not look ahead; this one is bidirectional: build it with bidirectional=False")
        if encoder.training:
            raise ValueError("expected an encoder in evaluation mode; call encoder.eval() before streaming")
        self.encoder, self.batch = encoder, batch
        with torch.no_grad():
            self._steppers = [layer.layer.ssm.stepper() for layer in encoder.blocks()]
        self._convolutions = encoder.stem.parts() if isinstance(encoder.stem, ConvBlocks) else [(encoder.stem, None)]
        self.reset()

    def reset(self) -> None:
        """Forget all samples that came in."""
        weight = next(self.encoder.parameters())
        self.states = [weight.new_zeros(self.batch, a.shape[0], a.shape[1]) for a, _, _ in self._steppers]
        self.tails = [weight.new_zeros(self.batch, conv.in_channels, int(conv.padding[0])) for conv, _ in self._convolutions]
        self.skips = [0] * len(self._convolutions)

    @torch.no_grad()
    def push(self, ecg: Tensor) -> Tensor:
        """The next samples, any number of them: (batch, lead, time) -> (batch, frame, dim), with 0 frames where none is complete."""
        if ecg.dim() != 3 or ecg.shape[:2] != (self.batch, len(self.encoder.leads)):
            raise ValueError(
                f"expected samples of shape (batch={self.batch}, lead={len(self.encoder.leads)}, time); got {tuple(ecg.shape)}"
            )
        return self._context(self._stem(ecg, last=False))

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The frames that waited for samples after the end, which are 0: (batch, frame, dim). Then the stream begins anew."""
        empty = self.tails[0].new_zeros(self.batch, len(self.encoder.leads), 0)
        frames = self._context(self._stem(empty, last=True))
        self.reset()
        return frames

    def _stem(self, x: Tensor, *, last: bool) -> Tensor:
        for i, (conv, norm) in enumerate(self._convolutions):
            after = x.new_zeros(x.shape[0], x.shape[1], int(conv.padding[0]) if last else 0)
            x = torch.cat([self.tails[i], x, after], dim=2)
            skipped = self.skips[i]
            done = skipped + conv.stride[0] * windows(x.shape[2] - skipped, conv.kernel_size[0], conv.stride[0])
            # A stride longer than its kernel leaves samples out, some of which may be still to come. A copy: a view would hold all samples.
            self.skips[i], self.tails[i] = max(0, done - x.shape[2]), x[:, :, done:].clone()
            x = x[:, :, skipped:]
            if done == skipped:
                x = x.new_zeros(x.shape[0], conv.out_channels, 0)
                continue
            x = F.conv1d(x, conv.weight, conv.bias, conv.stride)
            x = x if norm is None else norm(x)
            x = torch.relu(x) if isinstance(self.encoder.stem, ConvBlocks) else x
        return x.transpose(1, 2)

    def _context(self, tokens: Tensor) -> Tensor:
        """Each frame through all layers before the next."""
        out = tokens.new_empty(tokens.shape[0], tokens.shape[1], self.encoder.dim)
        blocks = self.encoder.blocks()
        for t in range(tokens.shape[1]):
            x = tokens[:, t]
            for i, layer in enumerate(blocks):
                y, self.states[i] = layer.layer.step(x, self.states[i], self._steppers[i])
                x = layer.norm(x + y)
            out[:, t] = x
        return out


PRESETS: dict[str, dict[str, Any]] = {
    "s4": {"kernels": (), "strides": (), "bidirectional": True},
    "s4_tiny": {"dim": 64, "depth": 2, "kernels": (5, 3), "strides": (4, 2), "bidirectional": True, "dropout": 0.0},
    "ecg_cpc": {},
    "ecg_cpc_tiny": {"dim": 64, "depth": 2, "kernels": (5, 3), "strides": (4, 2), "dropout": 0.0},
}
"""``S4Encoder(**PRESETS["ecg_cpc"])``: 2,932,736 parameters; "s4" is the encoder of the supervised baseline: 2,146,816. The tiny ones
learn on a laptop; without dropout, so that any number of processes gives one curve."""
