"""xresnet1d: the residual network with a deep stem that leads the PTB-XL benchmark and carries its contrastive methods.

Source: He et al., "Bag of tricks", CVPR 2019; Strodthoff et al., IEEE JBHI 2021; Mehari & Strodthoff, Comput. Biol. Med. 2022.
The stages keep one width (no doubling). Kernels count samples; they were chosen for 100 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.convolution import Convolution, average, initialise, max_pool, windows, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder


class Block(nn.Module):
    """A residual block: two convolutions, or three with a narrow middle (``expansion`` > 1); the first of a stage may halve the rate."""

    def __init__(self, n_in: int, width: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        n_out = expansion * width
        if expansion == 1:
            parts = [Convolution(n_in, width, kernel, stride), Convolution(width, n_out, kernel, active=False)]
        else:
            parts = [Convolution(n_in, width, 1), Convolution(width, width, kernel, stride), Convolution(width, n_out, 1, active=False)]
        self.convs = nn.ModuleList(parts)
        self.halves = stride > 1
        self.shortcut = Convolution(n_in, n_out, 1, active=False) if n_in != n_out else None

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        short, n_short = average(x, n) if self.halves else (x, n)
        if self.shortcut is not None:
            short, _ = self.shortcut(short, n_short)
        for conv in self.convs:
            x, n = conv(x, n)
        return F.relu(x + short, inplace=True), n


class XResNet1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim), dim = expansion * 64 * widen.

    leads, fs   : what the signals must be; one row of ``ecg`` per lead, samples per second
    layers      : blocks of each stage; each stage after the first halves the rate
    expansion   : 1: blocks of two convolutions; 4: of three, the middle one narrow
    widen       : factor of the blocks' widths, which are 64 in the first four stages and 32 in further ones
    kernel      : of the blocks, odd
    stem        : channels of the three convolutions before the first pool
    stem_kernel : their kernel
    stem_bias   : a bias in the first convolution, drawn as torch does: the contrastive methods' wrapper had it
    zero_last   : the last norm of each block begins with 0, so that the network begins as its shortcuts; the benchmark began with 1

    A padded record gives the frames that it gives alone; behind its end they are 0.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        layers: tuple[int, ...] = (3, 4, 6, 3),
        expansion: int = 4,
        widen: float = 1.0,
        kernel: int = 5,
        stem: tuple[int, ...] = (32, 32, 64),
        stem_kernel: int = 5,
        stem_bias: bool = False,
        zero_last: bool = True,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not layers or min(layers) < 1 or not stem or expansion < 1:
            raise ValueError(f"expected stages of one block or more, a stem and an expansion above 0; got {layers}, {stem} and {expansion}")
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel, so that a block's input and output have one length; got {kernel}")
        widths = [int((64 if stage < 4 else 32) * widen) for stage in range(len(layers))]
        if min(widths) < 1:
            raise ValueError(f"expected widen to leave a channel or more in each stage; got {widen}, which gives {widths}")
        super().__init__(leads, fs, dim=expansion * widths[-1], samples_per_frame=4 * 2 ** (len(layers) - 1), pooling="max_mean")
        self._config = {**options, "leads": list(self.leads), "fs": self.fs, "layers": list(layers), "stem": list(stem)}

        channels = [len(self.leads), *stem]
        self.stem = nn.ModuleList(
            Convolution(a, b, stem_kernel, 1 if number else 2, bias=stem_bias and number == 0)
            for number, (a, b) in enumerate(pairwise(channels))
        )
        self.blocks = nn.ModuleList()
        n_in = stem[-1]
        for stage, (n_blocks, width) in enumerate(zip(layers, widths)):
            first = Block(n_in, width, expansion, kernel, 2 if stage else 1)
            n_in = expansion * width
            self.blocks.append(nn.ModuleList([first, *(Block(n_in, width, expansion, kernel, 1) for _ in range(n_blocks - 1))]))

        initialise(self)
        if stem_bias:
            self.stem[0].conv.reset_parameters()  # type: ignore[union-attr, operator]
        if zero_last:
            for block in self.modules():
                if isinstance(block, Block):
                    nn.init.zeros_(block.convs[-1].norm.weight)  # type: ignore[union-attr, arg-type]

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        for conv in self.stem:
            n_samples = conv.n_after(n_samples)  # type: ignore[operator]
        for _ in self.blocks:  # the pool after the stem, and the first block of each stage but the first, which has stride 1
            n_samples = windows(n_samples, 3, 2, 1)
        return n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """First convolution, the rest of the stem, and the stages two by two: the groups of the contrastive methods' fine-tuning."""
        pairs = [tuple(f"blocks.{n}." for n in range(first, min(first + 2, len(self.blocks)))) for first in range(0, len(self.blocks), 2)]
        rest = tuple(f"stem.{n}." for n in range(1, len(self.stem)))
        return [("stem.0.",), *([rest] if rest else []), *pairs]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        x, n = ecg, None if valid is None else valid.sum(dim=1)
        for conv in self.stem:
            x, n = conv(x, n)
        x, n = max_pool(x, n, 3, 2, 1)
        for stage in self.blocks:
            for block in stage:  # type: ignore[attr-defined]
                x, n = block(x, n)
        return within(x, n).transpose(1, 2)


_DEPTHS: dict[str, tuple[tuple[int, ...], int]] = {
    "xresnet1d18": ((2, 2, 2, 2), 1),
    "xresnet1d34": ((3, 4, 6, 3), 1),
    "xresnet1d50": ((3, 4, 6, 3), 4),
    "xresnet1d101": ((3, 4, 23, 3), 4),
    "xresnet1d152": ((3, 8, 36, 3), 4),
    "xresnet1d18_deep": ((2, 2, 2, 2, 1, 1), 1),
    "xresnet1d34_deep": ((3, 4, 6, 3, 1, 1), 1),
    "xresnet1d50_deep": ((3, 4, 6, 3, 1, 1), 4),
    "xresnet1d18_deeper": ((2, 2, 1, 1, 1, 1, 1, 1), 1),
    "xresnet1d34_deeper": ((3, 4, 6, 3, 1, 1, 1, 1), 1),
    "xresnet1d50_deeper": ((3, 4, 6, 3, 1, 1, 1, 1), 4),
}
PRESETS: dict[str, dict[str, Any]] = {
    **{name: {"layers": layers, "expansion": expansion} for name, (layers, expansion) in _DEPTHS.items()},
    "xresnet1d18_small": {"layers": (2, 2, 2, 2), "expansion": 1, "widen": 0.25},
    "xresnet1d50_small": {"layers": (3, 4, 6, 3), "expansion": 4, "widen": 0.25},
}
"""Published depths; ``…_small`` are a quarter as wide, for a laptop."""
