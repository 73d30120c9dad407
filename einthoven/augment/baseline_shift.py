"""Baseline shift: for some seconds the baseline stands elsewhere, as when an electrode is pulled.

Sources: Mehari and Strodthoff, Comput Biol Med 2022 (up to 0.3 shifts per second, of 3 s) and fairseq-signals (one shift of a fifth of
the window, up or down in each lead). Differences: the first one's factor per lead was 2b - z by a slip of precedence, here
(2b - 1) z, a random sign times a number around 1; the second one shifted by ±1 - a instead of ±a, that is by about 1 mV always.
fairseq-signals' form is ``n_shifts=1, graded=False, unlike=0, largest=0.1`` and ``seconds`` a fifth of the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import Augment
from einthoven.augment.sources import add_course, between, check_range, free_leads
from einthoven.augment.time_map import n_real
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class BaselineShift(Augment):
    """Steps of the baseline, up and down again, at the same times in all leads.

    smallest, largest : amplitude in mV, uniform between the two, of all shifts of a row
    seconds           : mean duration of a shift; its standard deviation is a fifth of it
    per_second        : as many shifts as this times the window's seconds, rounded, or any number down to none
    n_shifts          : exactly so many shifts instead, each wholly within the window
    graded            : each shift is a share in [-1, 1) of the row's amplitude; otherwise the whole of it
    unlike            : standard deviation of the leads' factors, whose mean is 1; their sign is random
    limb_laws         : III, aVR, aVL and aVF get what their laws make of the shift of I and II

    Where shifts overlap, the later one stands.
    """

    smallest: float = 0.0
    largest: float = 1.0
    seconds: float = 3.0
    per_second: float = 0.3
    n_shifts: int | None = None
    graded: bool = True
    unlike: float = 1.0
    limb_laws: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_range("the amplitude in mV", self.smallest, self.largest)
        if min(self.seconds, self.per_second, self.unlike, self.n_shifts or 0) < 0:
            raise ValueError(
                "expected seconds, per_second, unlike and n_shifts of 0 or more; "
                f"got {self.seconds}, {self.per_second}, {self.unlike} and {self.n_shifts}"
            )

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, n_free, n = batch["ecg"], len(free_leads(self.leads, self.limb_laws)), n_real(batch)[:, None]
        n_rows, n_samples = ecg.shape[0], ecg.shape[-1]
        most = self.n_shifts if self.n_shifts is not None else int(self.per_second * n_samples / self.fs + 0.5)
        drawn = moment.uniform("baseline_shift", n_rows, 2 + 2 * most + n_free, device=ecg.device)
        normal = moment.normal("baseline_shift/normal", n_rows, most + n_free, device=ecg.device)
        place, share, sign = drawn[:, 2 : 2 + most], drawn[:, 2 + most : 2 + 2 * most], drawn[:, 2 + 2 * most :]
        length = (self.fs * self.seconds * (1 + 0.2 * normal[:, :most])).clamp(min=0)
        if self.n_shifts is None:
            middle, half = (place * n).floor(), 0.5 * length
            start, end = (middle - half).int(), (middle + half).int() + 1
            # A row with padding has its own real seconds, and as many shifts as suit them.
            allowed = ((self.per_second * n / self.fs + 0.5).int() + 1) * drawn[:, 1:2]
            end = torch.where(torch.arange(most, device=ecg.device) < allowed.int(), end, start)
        else:
            length = torch.minimum(length.int(), n)
            start = (place * (n - length + 1)).int()
            end = start + length
        level = between(drawn[:, :1], self.smallest, self.largest) * (2 * share - 1 if self.graded else torch.ones_like(share))
        gain = torch.where(sign < 0.5, -1.0, 1.0) * (1 + self.unlike * normal[:, most:])
        return {"ecg": add_course(batch, shifted(start, end, level, n_samples), gain, self.leads, limb_laws=self.limb_laws)}


def shifted(start: Tensor, end: Tensor, level: Tensor, n_samples: int) -> Tensor:
    """A line that is 0, and ``level`` from ``start`` up to but without ``end``: (batch, shift) three times -> (batch, n_samples)."""
    time = torch.arange(n_samples, device=level.device)
    course = torch.zeros(level.shape[0], n_samples, dtype=level.dtype, device=level.device)
    for shift in range(level.shape[1]):
        inside = (time >= start[:, shift, None]) & (time < end[:, shift, None])
        course = torch.where(inside, level[:, shift, None], course)
    return course
