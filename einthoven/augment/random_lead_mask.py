"""Random lead masking (RLM): whole leads are taken away, so that a model does not lean on any one of them.

Source: Oh et al., "Lead-agnostic self-supervised learning for local and global representations of electrocardiogram", CHIL 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class RandomLeadMask(Augment):
    """Each lead of each row is taken away with probability ``p``: zero in ``ecg``, False in ``lead_present``.

    p        : in [0, 1]; 0.5 as published
    at_least : leads that every row keeps, as long as it has so many. 0 as published, where one row in 4096 loses all twelve

    The two segments of a pair are two rows and lose leads independently. Raises ValueError for a ``p`` that is no probability.
    """

    p: float = 0.5
    at_least: int = 0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.p <= 1:
            raise ValueError(f"expected the probability p to lie in [0, 1]; got {self.p}")
        if self.at_least < 0:
            raise ValueError(f"expected at_least, the leads to keep, to be 0 or more; got {self.at_least}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        drawn = moment.uniform("random_lead_mask", *ecg.shape[:2], device=ecg.device)
        kept = keep_leads(drawn, batch.get("lead_present"), self.p, self.at_least)
        return {"ecg": ecg, "lead_present": kept}  # every augmentation's absent leads are set to 0


def keep_leads(drawn: Tensor, present: Tensor | None, p: float, at_least: int) -> Tensor:
    """Which leads stay: those present whose uniform draw is p or more, and the luckiest ones until ``at_least`` stay.

    drawn, present : (batch, lead) in [0, 1), and bool or None; returns (batch, lead) bool
    """
    present = torch.ones_like(drawn, dtype=torch.bool) if present is None else present
    luck = torch.where(present, drawn, -1.0)
    rank = luck.argsort(dim=1, descending=True).argsort(dim=1)
    return present & ((drawn >= p) | (rank < at_least))
