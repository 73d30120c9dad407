"""Muscle noise: white, of an amplitude that every row, or every lead of it, draws for itself.

Sources: fairseq-signals (``emg_noise``: an amplitude per lead) and Mehari and Strodthoff, Comput Biol Med 2022 (``EMNoise``: one
per ECG). There the second one's leads broke the laws of the limb leads: ``limb_laws=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from einthoven.augment.augment import Augment
from einthoven.augment.sources import add_white_noise, between, check_range, free_leads, mixing
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class EMGNoise(Augment):
    """White noise, each lead's of its own amplitude.

    smallest, largest : amplitude (standard deviation) in mV, uniform between the two
    limb_laws         : III, aVR, aVL and aVF get what their laws make of the noise of I and II
    """

    smallest: float = 0.0
    largest: float = 0.1
    limb_laws: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_range("the amplitude in mV", self.smallest, self.largest)

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        return {"ecg": _with_noise(self, batch, moment, len(free_leads(self.leads, self.limb_laws)))}


@dataclass(frozen=True, kw_only=True)
class EMNoise(Augment):
    """White noise of one amplitude for all leads of a row.

    smallest, largest : amplitude (standard deviation) in mV, uniform between the two; 0.5 is a very noisy ECG
    limb_laws         : III, aVR, aVL and aVF get what their laws make of the noise of I and II
    """

    smallest: float = 0.0
    largest: float = 0.5
    limb_laws: bool = True

    def __post_init__(self):
        super().__post_init__()
        check_range("the amplitude in mV", self.smallest, self.largest)

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        return {"ecg": _with_noise(self, batch, moment, 1)}


def _with_noise(options: EMGNoise | EMNoise, batch: dict[str, Any], moment: Moment, n_amplitudes: int) -> Any:
    ecg = batch["ecg"]
    drawn = moment.uniform("emg_noise/amplitude", ecg.shape[0], n_amplitudes, device=ecg.device)
    amplitude = between(drawn, options.smallest, options.largest)
    return add_white_noise(batch, moment, "emg_noise", amplitude, mixing(options.leads, options.limb_laws, ecg))
