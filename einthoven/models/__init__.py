"""Encoders: an ECG becomes frames. They know no loss. The contract is in docs/architecture.md."""

from __future__ import annotations

from typing import Any

from einthoven.models.ecg_transformer import SIZES, ECGTransformer
from einthoven.models.encoder import Encoder, Frames

ENCODERS: dict[str, type[Encoder]] = {
    "ecg_transformer": ECGTransformer,
}
"""By the name that recipes and model folders use."""

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("ecg_transformer", options) for name, options in SIZES.items()},
}
"""Published and small variants: name -> the encoder's name and its options. ``encoder=xresnet1d50`` in a recipe."""

__all__ = ["ENCODERS", "PRESETS", "SIZES", "ECGTransformer", "Encoder", "Frames"]
