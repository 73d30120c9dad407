"""Conditional lead masking: so many limb leads and so many chest leads are taken away, and one of either kind always stays.

Source: fairseq-signals' ``random_leads_masking`` with ``conditional``, which unpacked another option and could not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.leads import LIMB
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class ConditionalLeadMask(Augment):
    """Of each row's limb leads and of its other leads a fixed number is taken away: zero in ``ecg``, False in ``lead_present``.

    n_limb, n_chest : how many; 4 and 5 as published, which leave two limb leads and one chest lead of twelve

    Leads that a row does not have count as taken away; of those that it has, one of either kind stays. Leads that are no limb
    leads count as chest leads.
    """

    n_limb: int = 4
    n_chest: int = 5

    def __post_init__(self):
        super().__post_init__()
        if self.n_limb < 0 or self.n_chest < 0:
            raise ValueError(f"expected n_limb and n_chest, the leads to take away, to be 0 or more; got {self.n_limb} and {self.n_chest}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg = batch["ecg"]
        drawn = moment.uniform("conditional_lead_mask", *ecg.shape[:2], device=ecg.device)
        limb = torch.tensor([lead in LIMB for lead in self.leads], device=ecg.device)
        kept = lose_leads(drawn, batch.get("lead_present"), limb, self.n_limb, self.n_chest)
        return {"ecg": ecg, "lead_present": kept}  # every augmentation's absent leads are set to 0


def lose_leads(drawn: Tensor, present: Tensor | None, limb: Tensor, n_limb: int, n_chest: int) -> Tensor:
    """Which leads stay: all but the n_limb unluckiest limb leads and the n_chest unluckiest others; the luckiest of a kind always.

    drawn, present : (batch, lead) in [0, 1), and bool or None; limb : (lead,) bool; returns (batch, lead) bool
    """
    present = torch.ones_like(drawn, dtype=torch.bool) if present is None else present
    luck, stays = torch.where(present, drawn, -1.0), torch.zeros_like(present)
    for kind, n in ((limb, n_limb), (~limb, n_chest)):
        rank = torch.where(kind, luck, 2.0).argsort(dim=1).argsort(dim=1)  # the other kind's leads stand last
        stays = stays | (kind & (rank >= (kind.sum() - 1).clamp(max=n)))
    return present & stays
