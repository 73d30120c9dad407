"""What every augmentation is: it changes a batch of ECGs on the batch's device, and every number it draws comes from the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einthoven.leads import TWELVE
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class Augment:
    """``augment(batch, moment) -> batch``; the batch that came in is left as it is.

    share : of the rows that it is applied to; the others stay as they are
    leads : the batch's leads, in order; fs : its sampling frequency in Hz. A recipe sets both

    A subclass says what it does in ``change``. Around it, always: leads that are not there and padding stay 0. Amplitudes
    are in mV whatever the signal's scaling: ``batch["scale"]`` (batch, lead) is the mV of one unit of ``ecg`` (1 where absent).
    """

    share: float = 1.0
    leads: tuple[str, ...] = TWELVE
    fs: float = 500.0

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise ValueError(f"expected share, of the rows that are changed, to lie in [0, 1]; got {self.share}")

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        """What becomes new: ``{"ecg": (batch, lead, time)}``, and ``lead_present`` where leads go away."""
        raise NotImplementedError

    def __call__(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        old = batch["ecg"]
        with torch.autocast(old.device.type, enabled=False):  # views are made inside an objective's forward pass, too
            new = self.change(batch, moment)
        ecg, present = new["ecg"], new.get("lead_present", batch.get("lead_present"))
        if self.share < 1:
            chosen = moment.uniform(f"{type(self).__name__}/rows", old.shape[0], device=old.device) < self.share
            ecg = torch.where(chosen[:, None, None], ecg, old)
            if "lead_present" in new and present is not None:
                before = batch.get("lead_present")
                before = torch.ones_like(present) if before is None else before
                present = torch.where(chosen[:, None], present, before)
        if present is not None and _may_be_needed(~present):
            ecg = ecg.masked_fill(~present[:, :, None], 0.0)
        if batch.get("padded", True) and batch.get("valid") is not None:
            ecg = ecg.masked_fill(~batch["valid"][:, None, :], 0.0)
        return {**batch, "ecg": ecg, **({} if present is None else {"lead_present": present})}


def _may_be_needed(mask: Tensor) -> bool:
    """Whether any is True; on a device one does not wait for the answer and says yes. A pass over the signal costs as much as an augmentation."""
    return mask.device.type != "cpu" or bool(mask.any())


@dataclass(frozen=True)
class Pipeline:
    """Augmentations one after the other; each draws for itself, also where one stands twice."""

    steps: Sequence[Augment]

    def __call__(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        for number, step in enumerate(self.steps):
            batch = step(batch, moment.within(f"augment{number}"))
        return batch


def add_millivolts(batch: dict[str, Any], noise: Tensor, leads: Sequence[str], *, limb_laws: bool = True) -> Tensor:
    """The batch's ECG plus noise in mV: (batch, lead, time) -> (batch, lead, time).

    limb_laws : electrodes are disturbed, not leads: where I and II are among the leads, the noise of III, aVR, aVL and aVF is
                what Einthoven's and Goldberger's laws make of that of I and II, so that the laws hold for the sum as they did before
    """
    if limb_laws:
        noise = obey_limb_laws(noise, leads)
    scale = batch.get("scale")
    return batch["ecg"] + (noise if scale is None else noise / scale[:, :, None])


LIMB_LAWS = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
"""Each as a sum of I and II."""


def obey_limb_laws(signal: Tensor, leads: Sequence[str]) -> Tensor:
    """III, aVR, aVL and aVF as I and II say, where both are there; other leads as they are: (batch, lead, time) in mV."""
    if "I" not in leads or "II" not in leads:
        return signal
    mix = torch.eye(len(leads), dtype=signal.dtype, device=signal.device)
    for row, lead in enumerate(leads):
        if lead in LIMB_LAWS:
            mix[row] = 0.0
            mix[row, leads.index("I")], mix[row, leads.index("II")] = LIMB_LAWS[lead]
    return torch.einsum("ij,bjt->bit", mix, signal)
