"""ResNet-18 to -152 with one-dimensional convolutions, without a head: the vision networks as they are, on ECGs.

Parameters keep torchvision's names; fairseq-signals put ``featuare_extractor.`` before them.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import max_pool, normalise, same_conv, shortened, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder

Layout = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
LAYOUTS: dict[str, tuple[bool, tuple[int, int, int, int]]] = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
"""Whether blocks are bottlenecks (three convolutions, the outer ones with one tap, four times as wide at the end), and blocks per layer."""


class ResidualBlock(nn.Module):
    """Two convolutions of three taps, or one, three and one where ``bottleneck``; plus the input, brought to the same shape."""

    def __init__(self, n_in: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        n_out = 4 * width if bottleneck else width
        self.stride = stride
        # The stride stands at the convolution with three taps, as in torchvision (the paper has it at the first).
        self.conv1 = same_conv(n_in, width, 1 if bottleneck else 3, 1 if bottleneck else stride)
        self.bn1 = BatchNorm(width)
        self.conv2 = same_conv(width, width, 3, stride if bottleneck else 1)
        self.bn2 = BatchNorm(width)
        self.conv3 = same_conv(width, n_out, 1) if bottleneck else None
        self.bn3 = BatchNorm(n_out) if bottleneck else None
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv1d(n_in, n_out, 1, stride, bias=False), BatchNorm(n_out))

    def forward(self, x: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """n : (batch,) real samples of ``x``, which is 0 behind them; None: all"""
        between, after = shortened(n, self.conv1.stride[0]), shortened(n, self.stride)
        y = within(normalise(self.conv1(x), between, self.bn1).relu(), between)
        y = normalise(self.conv2(y), after, self.bn2)
        if self.conv3 is not None and self.bn3 is not None:
            y = normalise(self.conv3(y.relu()), after, self.bn3)  # one tap: what stands at padding reaches nobody
        if self.downsample is not None:
            convolution, norm = self.downsample
            assert isinstance(norm, BatchNorm)
            x = normalise(convolution(x), after, norm)
        return within((y + x).relu(), after), after


class VanillaResNet1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim), a frame every 32 samples.

    layout : which of the five networks
    filters : width of the first layer; the others have 2, 4 and 8 times as many (published: 64)

    A padded record gives the frames that it gives alone; in fairseq-signals padding took part.
    """

    def __init__(self, leads: Sequence[str] = TWELVE, fs: float = 500.0, *, layout: Layout = "resnet50", filters: int = 64):
        if layout not in LAYOUTS:
            raise ValueError(f"expected layout as one of {', '.join(LAYOUTS)}; got {layout!r}")
        bottleneck, depths = LAYOUTS[layout]
        expansion = 4 if bottleneck else 1
        super().__init__(leads, fs, dim=8 * filters * expansion, samples_per_frame=32)
        self.layout, self.filters = layout, filters

        self.conv1 = same_conv(len(self.leads), filters, 7, 2)
        self.bn1 = BatchNorm(filters)
        layers, n_in = [], filters
        for number, depth in enumerate(depths):
            width, blocks = filters * 2**number, nn.ModuleList()
            for place in range(depth):
                blocks.append(ResidualBlock(n_in, width, 2 if number and place == 0 else 1, bottleneck))
                n_in = width * expansion
            layers.append(blocks)
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def config(self) -> dict[str, Any]:
        return {"leads": list(self.leads), "fs": self.fs, "layout": self.layout, "filters": self.filters}

    def n_frames(self, n_samples: Any) -> Any:
        return shortened(n_samples, self.samples_per_frame)

    def stages(self) -> list[tuple[str, ...]]:
        return [("conv1.", "bn1."), *((f"layer{number}.",) for number in range(1, 5))]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        n = None if valid is None else valid.sum(dim=1)
        x, n = within(ecg, n), shortened(n, 2)
        x = normalise(self.conv1(x), n, self.bn1).relu()
        x, n = max_pool(x, n, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                x, n = block(x, n)
        return x.mT


PRESETS: dict[str, dict[str, Any]] = {
    **{f"vanilla_{layout}": {"layout": layout} for layout in LAYOUTS},
    "vanilla_resnet18_tiny": {"layout": "resnet18", "filters": 8},
}
"""The five layouts by torchvision's names with ``vanilla_`` before them, since ``resnet1d`` names other networks too."""
