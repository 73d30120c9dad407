"""Negation: the ECG upside down, as if every lead were connected the wrong way round.

Source: Mehari and Strodthoff, Comput Biol Med 2022. The laws of the leads hold; what it means for an objective is another matter:
an inverted P wave or T wave is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from einthoven.augment.augment import Augment
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class Negation(Augment):
    """Every sample times -1, of half of the rows unless ``share`` says otherwise; of all as published."""

    share: float = 0.5

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        return {"ecg": -batch["ecg"]}
