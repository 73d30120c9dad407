"""Augmentations: batched, on the batch's device, one file each. Each is called as ``augment(batch, moment) -> batch``."""

from __future__ import annotations

from einthoven.augment.random_lead_mask import RandomLeadMask

AUGMENTS = {"random_lead_mask": RandomLeadMask}
"""By the name that recipes use."""
