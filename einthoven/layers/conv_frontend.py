"""From samples to frames by strided convolutions, and the positions of frames by one wide convolution.

Features are (batch, frame, channel) between the convolutions, not (batch, channel, time): a convolution whose kernel is
its stride then is one matrix product over neighbouring frames, without a copy, and a norm over channels needs no transpose.
Parameter names are those of fairseq-signals: ``conv_layers.<i>.0`` a convolution, ``conv_layers.<i>.2`` its norm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from einthoven.layers.wide_convolution import convolve_by_spectra

WIDE = 32
"""Taps from which a CPU convolves faster by spectra."""

ConvLayers = Sequence[Sequence[int]]
"""(channels, kernel, stride) of each convolution"""


def frames_of(n_samples: Any, conv_layers: ConvLayers) -> Any:
    """Frames that come out for this many samples (a number, or a tensor of numbers), 0 where none does."""
    for _, kernel, stride in conv_layers:
        n_samples = (n_samples - kernel) // stride + 1
        n_samples = n_samples.clamp(min=0) if isinstance(n_samples, Tensor) else max(n_samples, 0)
    return n_samples


def convolve_frames(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """An unpadded strided convolution: (batch, frame, channel) -> (batch, frame', channel')."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    if kernel != stride:
        return conv(x.transpose(1, 2)).transpose(1, 2)
    n_frames = x.shape[1] // stride
    x = x[:, : n_frames * stride].unflatten(1, (n_frames, stride)).flatten(2)
    return F.linear(x, conv.weight.transpose(1, 2).flatten(1), conv.bias)


def norm_over_time(x: Tensor, norm: nn.GroupNorm, valid: Tensor | None = None) -> Tensor:
    """Each channel of each row to mean 0 and variance 1 over time, then the norm's weight and bias: (batch, frame, channel).

    valid : (batch, frame) bool, the frames that count for mean and variance; None: all of them, padding too
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(norm.weight.dtype)
        if valid is None:
            variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        else:
            counted = valid[:, :, None]
            n_valid = counted.sum(dim=1, keepdim=True).clamp(min=1)
            mean = x.masked_fill(~counted, 0.0).sum(dim=1, keepdim=True) / n_valid
            variance = (x - mean).masked_fill(~counted, 0.0).square().sum(dim=1, keepdim=True) / n_valid
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return torch.addcmul(norm.bias - mean * scale, x, scale)


class ConvFeatureExtractor(nn.Module):
    """Strided convolutions, each with GELU: (batch, lead, time) -> (batch, frame, channel).

    mode : "default": the first convolution's channels are normalised over time (GroupNorm with a group per channel);
           "layer_norm": every convolution's frames are normalised over channels
    bias : whether convolutions have one
    """

    def __init__(self, n_leads: int, conv_layers: ConvLayers, *, mode: str = "default", bias: bool = False):
        super().__init__()
        if mode not in ("default", "layer_norm"):
            raise ValueError(f"expected the extractor's mode to be default or layer_norm; got {mode!r}")
        self.conv_layers = nn.ModuleList()
        width = n_leads
        for i, (channels, kernel, stride) in enumerate(conv_layers):
            conv = nn.Conv1d(width, channels, kernel, stride, bias=bias)
            nn.init.kaiming_normal_(conv.weight)
            block: OrderedDict[str, nn.Module] = OrderedDict([("0", conv)])
            if mode == "layer_norm":
                block["2"] = nn.Sequential(OrderedDict([("1", nn.LayerNorm(channels))]))
            elif i == 0:
                block["2"] = nn.GroupNorm(channels, channels)
            self.conv_layers.append(nn.Sequential(block))
            width = channels

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """valid : (batch, time) bool; given, the norm over time leaves padding out; not given, padding counts"""
        x = ecg.transpose(1, 2)
        for block in self.conv_layers:
            conv, *norms = block.children()
            assert isinstance(conv, nn.Conv1d)
            x = convolve_frames(x, conv)
            for norm in norms:
                if isinstance(norm, nn.GroupNorm):
                    layer = ((conv.out_channels, conv.kernel_size[0], conv.stride[0]),)
                    x = norm_over_time(x, norm, None if valid is None else first_frames(frames_of(valid.sum(dim=1), layer), x.shape[1]))
                else:
                    x = norm(x)
            x = F.gelu(x)
        return x


def first_frames(n_valid: Tensor, n_frames: int) -> Tensor:
    """True for the first ``n_valid`` of ``n_frames`` frames: (batch,) -> (batch, frame)."""
    return torch.arange(n_frames, device=n_valid.device) < n_valid[:, None]


class ConvPositions(nn.Module):
    """What a frame's neighbourhood says of its position: a grouped convolution over time and GELU, (batch, frame, dim) -> the same.

    The caller adds it to its input. The convolution's weight is normalised per tap (weight normalisation over the last axis).
    """

    def __init__(self, dim: int, kernel: int = 128, groups: int = 16):
        super().__init__()
        conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(conv.weight, std=(4 / (kernel * dim)) ** 0.5)
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        self.pos_conv = nn.Sequential(weight_norm(conv, dim=2))

    def forward(self, x: Tensor) -> Tensor:
        conv = self.pos_conv[0]
        assert isinstance(conv, nn.Conv1d) and conv.bias is not None
        if x.device.type == "cpu" and conv.kernel_size[0] >= WIDE:
            with torch.autocast("cpu", enabled=False):
                weight = conv.weight
                return F.gelu(convolve_by_spectra(x.to(weight.dtype), weight, conv.groups) + conv.bias).to(x.dtype)
        # An even kernel makes one frame too many at the end.
        return F.gelu(conv(x.transpose(1, 2))[:, :, : x.shape[1]].transpose(1, 2))
