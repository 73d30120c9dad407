"""Augmentations: batched, on the batch's device, one file each. Each is called as ``augment(batch, moment) -> batch``."""

from __future__ import annotations

from einthoven.augment.augment import Augment, Pipeline
from einthoven.augment.random_lead_mask import RandomLeadMask

AUGMENTS: dict[str, type[Augment]] = {
    "random_lead_mask": RandomLeadMask,
}
"""By the name that recipes use."""

__all__ = ["AUGMENTS", "Augment", "Pipeline", "RandomLeadMask"]
