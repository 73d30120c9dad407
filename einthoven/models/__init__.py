"""Encoders: an ECG becomes frames. They know no loss. The contract is in docs/architecture.md."""

from __future__ import annotations

from einthoven.models.ecg_transformer import SIZES, ECGTransformer
from einthoven.models.encoder import Encoder, Frames

ENCODERS: dict[str, type[Encoder]] = {"ecg_transformer": ECGTransformer}
"""By the name that recipes and model folders use."""

__all__ = ["ENCODERS", "SIZES", "ECGTransformer", "Encoder", "Frames"]
