"""The plain convolutional network: the ECG transformer's strided convolutions, and nothing after them.

Parameters keep the names that fairseq-signals gave them (``feature_extractor.conv_layers.<i>.0``), where this was `convnet`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from einthoven.layers.conv_frontend import ConvFeatureExtractor, frames_of
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder


class ConvNet(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim).

    conv_layers    : (channels, kernel, stride) of each convolution; by default a frame is 16 samples, 32 ms at 500 Hz
    extractor_mode : "default" (the first convolution's channels are normalised over time) or "layer_norm", see ConvFeatureExtractor
    bias           : whether convolutions have one

    Padding stays out of the norm over time, so a padded record gives the frames that it gives alone; in fairseq-signals it took part.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        conv_layers: tuple[tuple[int, int, int], ...] = ((256, 2, 2),) * 4,
        extractor_mode: Literal["default", "layer_norm"] = "default",
        bias: bool = True,
    ):
        convolutions = tuple((int(channels), int(kernel), int(stride)) for channels, kernel, stride in conv_layers)
        if not convolutions:
            raise ValueError("expected one convolution or more in conv_layers; got none")
        super().__init__(leads, fs, dim=convolutions[-1][0], samples_per_frame=math.prod(stride for _, _, stride in convolutions))
        self.conv_layers, self.extractor_mode, self.bias = convolutions, extractor_mode, bias
        self.feature_extractor = ConvFeatureExtractor(len(self.leads), convolutions, mode=extractor_mode, bias=bias)

    def config(self) -> dict[str, Any]:
        layers = [list(layer) for layer in self.conv_layers]
        return {
            "leads": list(self.leads),
            "fs": self.fs,
            "conv_layers": layers,
            "extractor_mode": self.extractor_mode,
            "bias": self.bias,
        }

    def n_frames(self, n_samples: Any) -> Any:
        return frames_of(n_samples, self.conv_layers)

    def stages(self) -> list[tuple[str, ...]]:
        return [(f"feature_extractor.conv_layers.{number}.",) for number in range(len(self.conv_layers))]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        return self.feature_extractor(ecg, valid)


PRESETS: dict[str, dict[str, Any]] = {
    "convnet": {},
    "convnet_tiny": {"conv_layers": ((32, 2, 2),) * 4},
}
"""``convnet`` is the published configuration."""
