"""Residual networks of the PTB-XL benchmark that are not xresnets: those of Wang, of He, and a wide one.

Source: Wang et al., IJCNN 2017; He et al., CVPR 2016; Zagoruyko & Komodakis, BMVC 2016 (in fastai's form, with its residual
branch scaled down); as in Strodthoff et al., IEEE JBHI 2021. Every stage keeps the stem's width. Kernels count samples; they
were chosen for 100 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import Convolution, initialise, max_pool, normalise, same, windows, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder


class Block(nn.Module):
    """Two convolutions, or with ``expansion`` above 1 three, of which the first and last are over channels alone."""

    def __init__(self, n_in: int, width: int, expansion: int, kernels: tuple[int, int], stride: int):
        super().__init__()
        n_out, (first, second) = expansion * width, kernels
        if expansion == 1:
            parts = [Convolution(n_in, width, first, stride), Convolution(width, n_out, second, active=False)]
        else:
            parts = [Convolution(n_in, width, 1), Convolution(width, width, first, stride), Convolution(width, n_out, 1, active=False)]
        self.convs = nn.ModuleList(parts)
        self.shortcut = Convolution(n_in, n_out, 1, stride, active=False) if stride > 1 or n_in != n_out else None

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        short = x if self.shortcut is None else self.shortcut(x, n)[0]
        for conv in self.convs:
            x, n = conv(x, n)
        return F.relu(x + short, inplace=True), n


class ResNet1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim), dim = expansion * width.

    leads, fs   : what the signals must be; one row of ``ecg`` per lead, samples per second
    layers      : blocks of each stage; each stage after the first halves the rate
    expansion   : 1: blocks of two convolutions; 4: of three
    width       : channels of the stem and of every stage
    kernels     : of the first block of each stage; the others have 3. A block of three convolutions has the first of them alone
    stem_kernel : of the first convolution
    stem_halves : the first convolution halves the rate, and a max pool behind it again

    A padded record gives the frames that it gives alone; behind its end they are 0.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        layers: tuple[int, ...] = (1, 1, 1),
        expansion: int = 1,
        width: int = 128,
        kernels: tuple[int, int] = (5, 3),
        stem_kernel: int = 7,
        stem_halves: bool = False,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not layers or min(*layers, expansion, width) < 1:
            raise ValueError(
                f"expected stages of one block or more, an expansion and a width above 0; got {layers}, {expansion} and {width}"
            )
        if len(kernels) != 2 or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"expected two odd kernels, so that a block's input and output have one length; got {tuple(kernels)}")
        step = (4 if stem_halves else 1) * 2 ** (len(layers) - 1)
        super().__init__(leads, fs, dim=expansion * width, samples_per_frame=step, pooling="max_mean")
        self._config = {**options, "leads": list(self.leads), "fs": self.fs, "layers": list(layers), "kernels": list(kernels)}
        self.stem = Convolution(len(self.leads), width, stem_kernel, 2 if stem_halves else 1)
        self.stem_halves = stem_halves
        self.blocks = nn.ModuleList()
        n_in, first = width, (kernels[0], kernels[1])
        for stage, n_blocks in enumerate(layers):
            blocks = [Block(n_in, width, expansion, first, 2 if stage else 1)]
            n_in = expansion * width
            self.blocks.append(nn.ModuleList([*blocks, *(Block(n_in, width, expansion, (3, 3), 1) for _ in range(n_blocks - 1))]))
        initialise(self)

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        n_samples = self.stem.n_after(n_samples)
        for _ in range(len(self.blocks) - (0 if self.stem_halves else 1)):
            n_samples = windows(n_samples, 3, 2, 1)
        return n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """The stem, and each stage."""
        return [("stem.",), *((f"blocks.{stage}.",) for stage in range(len(self.blocks)))]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        x, n = self.stem(ecg, None if valid is None else valid.sum(dim=1))
        if self.stem_halves:
            x, n = max_pool(x, n, 3, 2, 1)
        for stage in self.blocks:
            for block in stage:  # type: ignore[attr-defined]
                x, n = block(x, n)
        return within(x, n).transpose(1, 2)


class WideBlock(nn.Module):
    """Norm and activation stand before each of two convolutions; a fifth of what these give is added to their (activated) input."""

    def __init__(self, width: int, n_out: int, kernel: int, stride: int):
        super().__init__()
        self.norms = nn.ModuleList([BatchNorm(width), BatchNorm(n_out)])
        self.convs = nn.ModuleList(
            [
                nn.Conv1d(width, n_out, kernel, stride, same(kernel), bias=False),
                nn.Conv1d(n_out, n_out, kernel, 1, same(kernel), bias=False),
            ]
        )
        self.stride = stride
        self.shortcut = nn.Conv1d(width, n_out, 3, stride, 1, bias=False) if stride > 1 or width != n_out else None

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        first, second = self.norms
        x = within(F.relu(normalise(x, n, first)), n)  # type: ignore[arg-type]
        short = x if self.shortcut is None else self.shortcut(x)
        n = None if n is None else windows(n, 3, self.stride, 1)
        inner = within(F.relu(normalise(self.convs[0](x), n, second)), n)  # type: ignore[arg-type]
        return short + 0.2 * self.convs[1](inner), n


class WideResNet1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim), dim = width.

    leads, fs : what the signals must be; one row of ``ecg`` per lead, samples per second
    layers    : blocks of each stage; each stage after the first halves the rate
    width     : channels of the stem and of every stage
    kernel    : of the blocks, odd

    A padded record gives the frames that it gives alone; behind its end they are 0. Published with 16 channels throughout: the
    widening factor of the name was never applied.
    """

    def __init__(
        self, leads: Sequence[str] = TWELVE, fs: float = 500.0, *, layers: tuple[int, ...] = (3, 3, 3), width: int = 16, kernel: int = 5
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not layers or min(*layers, width) < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"expected stages of one block or more, a width above 0 and an odd kernel; got {layers}, {width} and {kernel}")
        super().__init__(leads, fs, dim=width, samples_per_frame=2 ** (len(layers) - 1), pooling="max_mean")
        self._config = {**options, "leads": list(self.leads), "fs": self.fs, "layers": list(layers)}
        self.stem = nn.Conv1d(len(self.leads), width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            nn.ModuleList(WideBlock(width, width, kernel, 2 if stage and not number else 1) for number in range(n_blocks))
            for stage, n_blocks in enumerate(layers)
        )
        initialise(self)

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        for _ in range(len(self.blocks) - 1):
            n_samples = windows(n_samples, 3, 2, 1)
        return n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """The stem, and each stage."""
        return [("stem.",), *((f"blocks.{stage}.",) for stage in range(len(self.blocks)))]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        n = None if valid is None else valid.sum(dim=1)
        x = self.stem(within(ecg, n))
        for stage in self.blocks:
            for block in stage:  # type: ignore[attr-defined]
                x, n = block(x, n)
        return within(x, n).transpose(1, 2)


_BENCHMARK: dict[str, Any] = {"width": 128, "stem_kernel": 5, "stem_halves": True}
PRESETS: dict[str, dict[str, Any]] = {
    "resnet1d_wang": {},
    "resnet1d18": {"layers": (2, 2, 2, 2), **_BENCHMARK},
    "resnet1d34": {"layers": (3, 4, 6, 3), **_BENCHMARK},
    "resnet1d50": {"layers": (3, 4, 6, 3), "expansion": 4, **_BENCHMARK},
    "resnet1d101": {"layers": (3, 4, 23, 3), "expansion": 4, **_BENCHMARK},
    "resnet1d152": {"layers": (3, 8, 36, 3), "expansion": 4, **_BENCHMARK},
    "resnet1d_wang_small": {"width": 32},
}
"""As in the PTB-XL benchmark, and one for a laptop."""
WIDE_PRESETS: dict[str, dict[str, Any]] = {"wrn1d_22": {}}
