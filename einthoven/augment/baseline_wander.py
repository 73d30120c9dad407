"""Baseline wander: breathing and sweat move the baseline slowly, in all leads at once.

Two published forms. Mehari and Strodthoff, Comput Biol Med 2022 (``comb``): cosines at all multiples of 0.01 Hz up to 0.49 Hz, the
same in every lead. fairseq-signals (``tones``): three cosines at random frequencies of 0.01–0.2 Hz, with a factor per lead around 1
(``form=tones, highest=0.2, unlike=0.5``, and as there configured ``largest=0.1``).

Differences: the first form's cosine of 0 Hz, a constant, is left out, and its batch is not changed in place; frequencies are in
Hz of the signal's own fs, which fairseq-signals' examples did not pass on. The same wander in every lead would break the
laws of the limb leads, as the original did: it is taken as that of I and II, and the others follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.cosines import cosines
from einthoven.augment.sources import add_course, between, check_range, free_leads
from einthoven.objectives.step import Moment

SPACING = 0.01
"""Hz between the cosines of the comb."""


@dataclass(frozen=True, kw_only=True)
class BaselineWander(Augment):
    """Slow cosines added to every lead.

    form              : comb: cosines at every multiple of 0.01 Hz from lowest on and below highest, each of up to the row's
                        amplitude; tones: n_tones cosines at frequencies drawn between lowest and highest, each of its own amplitude
    smallest, largest : amplitude in mV, uniform between the two. 49 cosines of the comb add up: an amplitude of 0.1 is 0.3 mV root mean square
    lowest, highest   : frequencies in Hz; 0.01 and 0.5 for the comb, 0.01 and 0.2 for the tones as published
    n_tones           : cosines of the form tones
    unlike            : standard deviation of the leads' factors, whose mean is 1: 0 for the comb, 0.5 for the tones as published
    limb_laws         : III, aVR, aVL and aVF get what their laws make of the wander of I and II
    """

    form: Literal["comb", "tones"] = "comb"
    smallest: float = 0.0
    largest: float = 0.1
    lowest: float = 0.01
    highest: float = 0.5
    n_tones: int = 3
    unlike: float = 0.0
    limb_laws: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_range("the amplitude in mV", self.smallest, self.largest)
        check_range("the frequency in Hz, lowest and highest,", self.lowest, self.highest, most=self.fs / 2)
        if self.form not in ("comb", "tones"):
            raise ValueError(f"expected form as comb or tones; got {self.form!r}")
        if self.n_tones < 1 or self.unlike < 0:
            raise ValueError(f"expected n_tones of 1 or more and unlike of 0 or more; got {self.n_tones} and {self.unlike}")
        if self.form == "comb" and not comb(self.lowest, self.highest):
            raise ValueError(
                f"expected a multiple of {SPACING} Hz from lowest on and below highest; got {self.lowest:g} and {self.highest:g} Hz"
            )

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n_rows = batch["ecg"], batch["ecg"].shape[0]
        n_cosines = len(comb(self.lowest, self.highest)) if self.form == "comb" else self.n_tones
        drawn = moment.uniform("baseline_wander", n_rows, 3 * n_cosines + 1, device=ecg.device)
        phase, share, place = (drawn[:, 1 + i * n_cosines : 1 + (i + 1) * n_cosines] for i in range(3))
        if self.form == "comb":
            hz = torch.tensor(comb(self.lowest, self.highest), device=ecg.device, dtype=torch.float64)
            amplitude = share * between(drawn[:, :1], self.smallest, self.largest)
        else:
            hz, amplitude = between(place.double(), self.lowest, self.highest), between(share, self.smallest, self.largest)
        course = cosines(amplitude, hz, phase * (2 * math.pi), ecg.shape[-1], self.fs)
        return {"ecg": add_course(batch, course, self._gain(moment, n_rows, ecg), self.leads, limb_laws=self.limb_laws)}

    def _gain(self, moment: Moment, n_rows: int, ecg: Tensor) -> Tensor:
        n_free = len(free_leads(self.leads, self.limb_laws))
        if self.unlike == 0:
            return torch.ones(n_rows, n_free, device=ecg.device)
        return 1 + self.unlike * moment.normal("baseline_wander/gain", n_rows, n_free, device=ecg.device)


def comb(lowest: float, highest: float) -> list[float]:
    """The multiples of 0.01 Hz in [lowest, highest), but 0: a constant is no wander."""
    first, end = math.ceil(lowest / SPACING - 1e-6), math.ceil(highest / SPACING - 1e-6)
    return [SPACING * k for k in range(max(first, 1), end)]
