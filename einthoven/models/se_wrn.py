"""SE-WRN: a wide residual network with pre-activation blocks whose channels are weighed by squeeze and excitation.

Parameters keep the names that fairseq-signals gave them (``groups.<i>.layers.<j>.conv1``, …), but for the last norm: ``last_bn``, which
stood in its classifier as ``bn``.

Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016; Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018;
for ECGs, https://doi.org/10.1088/1361-6579/acb30f.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import average, mean_over_time, normalise, odd, same_conv, shortened, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder


class SEWideBlock(nn.Module):
    """Norm, ReLU, convolution, norm, ReLU, dropout, convolution; each channel times a factor from all of them; plus the input.

    first : the first block of the network has no norm before its first convolution: one stands there already
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, ratio: int, dropout: float, first: bool):
        super().__init__()
        self.stride = stride
        self.bn1 = None if first else BatchNorm(n_in)
        self.conv1 = same_conv(n_in, n_out, kernel, stride)
        self.bn2 = BatchNorm(n_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = same_conv(n_out, n_out, kernel)
        self.fc1 = nn.Linear(n_out, n_out // ratio)
        self.fc2 = nn.Linear(n_out // ratio, n_out)
        self.idfunc_1 = nn.Conv1d(n_in, n_out, 1, bias=False) if stride > 1 else None

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """n : (batch,) real samples of ``x``, which is 0 behind them; None: all"""
        after = shortened(n, self.stride)
        y = x if self.bn1 is None else within(normalise(x, n, self.bn1).relu(), n)
        y = within(self.dropout(normalise(self.conv1(y), after, self.bn2).relu()), after)
        y = within(self.conv2(y), after)
        factor = self.fc2(self.fc1(mean_over_time(y, after)).relu()).sigmoid()
        y = y * factor[:, :, None]
        return y + (x if self.idfunc_1 is None else self.idfunc_1(average(x, n, self.stride)[0])), after


class SEWideGroup(nn.Module):
    """Blocks of one width; the first halves the time."""

    def __init__(self, n_in: int, n_out: int, n_blocks: int, first: bool, **options: Any):
        super().__init__()
        self.layers = nn.ModuleList(
            SEWideBlock(n_in if number == 0 else n_out, n_out, stride=2 if number == 0 else 1, first=first and number == 0, **options)
            for number in range(n_blocks)
        )

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for block in self.layers:
            x, n = block(x, n)
        return x, n


class SEWRN(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim); a record's vector is their maximum over time.

    filters  : width of the first convolution, then of each group; each group halves the time
    blocks   : how many a group has
    widening_factor : factor of the groups' widths
    kernel   : taps of every convolution, odd
    ratio    : of a group's width to the inner layer that weighs channels
    dropout  : between a block's convolutions
    bias     : whether the first convolution has one
    leadwise : the same network for each lead alone; a frame then holds the leads' features side by side, lead by lead

    The last norm and ReLU, which fairseq-signals has in its classifier, are part of the network here, as in the paper; ``features``
    gives what stands before them. There a widening factor above 1 does not run, a leadwise network needs twelve leads, and padding
    takes part; here a padded record gives the frames that it gives alone. Raises ValueError for sizes that do not fit.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        filters: tuple[int, ...] = (16, 16, 32, 64, 128),
        blocks: int = 3,
        widening_factor: int = 1,
        kernel: int = 11,
        ratio: int = 8,
        dropout: float = 0.3,
        bias: bool = False,
        leadwise: bool = False,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if len(filters) < 2 or blocks < 1 or widening_factor < 1:
            raise ValueError(f"expected two filters or more, a block and a factor of 1 or more; got {filters}, {blocks}, {widening_factor}")
        widths = [filters[0], *(width * widening_factor for width in filters[1:])]
        if any(width % ratio for width in widths[1:]):
            raise ValueError(f"expected every group's width to be a multiple of ratio={ratio}; got {widths[1:]}")
        dim = widths[-1] * (len(leads) if leadwise else 1)
        super().__init__(leads, fs, dim=dim, samples_per_frame=2 ** (len(filters) - 1), pooling="max")
        self._config = {**options, "leads": list(self.leads), "fs": self.fs, "filters": list(filters)}
        self.leadwise = leadwise

        self.conv = same_conv(1 if leadwise else len(self.leads), widths[0], odd(kernel, "kernel"), bias=bias)
        self.bn = BatchNorm(widths[0])
        self.groups = nn.ModuleList(
            SEWideGroup(n_in, n_out, blocks, first=number == 0, kernel=kernel, ratio=ratio, dropout=dropout)
            for number, (n_in, n_out) in enumerate(pairwise(widths))
        )
        self.last_bn = BatchNorm(widths[-1])

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        return shortened(n_samples, self.samples_per_frame)

    def stages(self) -> list[tuple[str, ...]]:
        return [("conv.", "bn."), *((f"groups.{number}.",) for number in range(len(self.groups))), ("last_bn.",)]

    def features(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the last group gives, before the last norm: (batch, frame, width), or (batch, frame, lead * width) where ``leadwise``."""
        return self._joined(self._groups(ecg, valid)[0])

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        x, n = self._groups(ecg, valid)
        return self._joined(normalise(x, n, self.last_bn).relu())

    def _groups(self, ecg: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, lead, time) -> (batch or batch * lead, width, frame), and how many frames are real"""
        self.check_signal(ecg, valid)
        n = None if valid is None else valid.sum(dim=1)
        x = within(ecg, n)
        if self.leadwise:
            x = x.flatten(0, 1)[:, None, :]
            n = None if n is None else n.repeat_interleave(len(self.leads))
        x = within(normalise(self.conv(x), n, self.bn).relu(), n)
        for group in self.groups:
            x, n = group(x, n)
        return x, n

    def _joined(self, x: Tensor) -> Tensor:
        return (torch.unflatten(x, 0, (-1, len(self.leads))).flatten(1, 2) if self.leadwise else x).mT


PRESETS: dict[str, dict[str, Any]] = {
    "se_wrn": {},
    "se_wrn_wide": {"widening_factor": 2},
    "se_wrn_small": {"filters": (16, 16, 32), "blocks": 2},
    "se_wrn_leadwise": {"leadwise": True},
}
"""``se_wrn`` is the published configuration: 1,350,794 parameters and 256 of the last norm."""
