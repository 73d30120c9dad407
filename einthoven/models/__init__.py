"""Encoders: an ECG becomes frames. They know no loss. The contract is in docs/architecture.md."""

from __future__ import annotations

from einthoven.models.ecg_transformer import SIZES, ECGTransformer, Frames

ENCODERS = {"ecg_transformer": ECGTransformer}
"""By the name that recipes and model folders use."""

__all__ = ["ENCODERS", "SIZES", "ECGTransformer", "Frames"]
