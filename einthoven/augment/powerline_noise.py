"""Mains hum: 50 or 60 Hz and its harmonics, which unequal contacts turn from a common into a lead's own voltage.

Sources: fairseq-signals (50 or 60 Hz, no harmonics, the same in every lead) and Mehari and Strodthoff, Comput Biol Med 2022 (50 Hz
and two harmonics, a factor in [-1, 1] per lead). Differences: the latter multiplied by the amplitude twice; and at 100 Hz its
harmonics of 100 and 150 Hz became a constant and again 50 Hz: what a sampled signal cannot hold is left out, unless ``aliased``.
fairseq-signals' form is ``n_harmonics=1, unlike=False, largest=0.1``, the other's ``mains=[50]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from einthoven.augment.augment import Augment
from einthoven.augment.cosines import cosines
from einthoven.augment.sources import add_course, between, check_range, free_leads
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class PowerlineNoise(Augment):
    """Cosines at the mains' frequency and its multiples, of one phase, with a factor per lead.

    smallest, largest : amplitude in mV, uniform between the two
    mains             : frequencies in Hz, of which each row draws one; those above fs / 2 are not drawn
    n_harmonics       : cosines, the mains' own included; the amplitude of each is a random share of the row's. 1: the full amplitude
    unlike            : each lead has a factor of its own in [-1, 1); otherwise the hum of I, II and the chest leads is the same
    aliased           : what lies above fs / 2 is sampled all the same, as by a recorder without a filter before its converter
    limb_laws         : III, aVR, aVL and aVF get what their laws make of the hum of I and II

    Raises ValueError where no mains frequency is left that the signal can hold.
    """

    smallest: float = 0.0
    largest: float = 0.2
    mains: tuple[float, ...] = (50.0, 60.0)
    n_harmonics: int = 3
    unlike: bool = True
    aliased: bool = False
    limb_laws: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_range("the amplitude in mV", self.smallest, self.largest)
        if self.n_harmonics < 1:
            raise ValueError(f"expected n_harmonics of 1 or more; got {self.n_harmonics}")
        if not self.mains or min(self.mains) <= 0:
            raise ValueError(f"expected mains as frequencies above 0 Hz; got {self.mains}")
        if not self.held():
            raise ValueError(
                f"expected mains of up to {self.fs / 2:g} Hz, half the sampling frequency; got {self.mains}: set aliased to add them"
            )

    def held(self) -> tuple[float, ...]:
        """The mains frequencies that are drawn."""
        return tuple(hz for hz in self.mains if self.aliased or hz <= self.fs / 2)

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n_rows, n_free = batch["ecg"], batch["ecg"].shape[0], len(free_leads(self.leads, self.limb_laws))
        drawn = moment.uniform("powerline_noise", n_rows, 3 + self.n_harmonics + n_free, device=ecg.device)
        share, factor = drawn[:, 3 : 3 + self.n_harmonics], drawn[:, 3 + self.n_harmonics :]
        mains = torch.tensor(self.held(), dtype=torch.float64, device=ecg.device)
        hz = mains[(drawn[:, 1] * len(mains)).long()][:, None] * torch.arange(1, self.n_harmonics + 1, device=ecg.device)
        amplitude = between(drawn[:, :1], self.smallest, self.largest) * (share if self.n_harmonics > 1 else torch.ones_like(share))
        if not self.aliased:
            amplitude = torch.where(hz <= self.fs / 2, amplitude, 0.0)
        course = cosines(amplitude, hz, (2 * math.pi * drawn[:, 2:3]).expand_as(hz), ecg.shape[-1], self.fs)
        gain = 2 * factor - 1 if self.unlike else torch.ones_like(factor)
        return {"ecg": add_course(batch, course, gain, self.leads, limb_laws=self.limb_laws)}
