"""3KG's views: the heart's dipole is turned and stretched in space, and each lead loses a stretch of time.

Source: Gopal et al., "3KG: Contrastive learning of 12-lead electrocardiograms using physiologically-inspired augmentations",
ML4H 2021; the arithmetic is that of fairseq-signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from einthoven.augment.augment import LIMB_LAWS, Augment
from einthoven.leads import INDEPENDENT, INVERSE_DOWER, TWELVE
from einthoven.objectives.step import Moment


@dataclass(frozen=True, kw_only=True)
class VCG(Augment):
    """The vectorcardiogram, turned about three axes and stretched along them, seen again by the leads; then masked in time.

    angle : largest turn about each axis, in degrees; each is drawn uniformly from [-angle, angle]
    scale : largest factor along each axis; each is drawn uniformly from [1, scale], or [scale, 1]
    mask  : share of the time that each lead loses: one stretch from a random start, which goes on at the beginning

    I, II and V1 to V6 are mapped to three dimensions and back, so a view is a dipole's ECG even where nothing is turned; III,
    aVR, aVL and aVF follow from I and II. The recording's offset, where it was taken away, stays away: the map is linear. A row
    that lacks one of the eight leads is masked in time alone. Zeros of the mask are 0 of the batch's unit, and begin inside
    the valid samples. fairseq-signals cuts off the last digits of the inverse Dower matrix (-0.009 for -0.010), ours is the
    published one. Raises ValueError where the leads lack one of the eight or hold another than the twelve.
    """

    angle: float = 45.0
    scale: float = 1.5
    mask: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if missing := [lead for lead in INDEPENDENT if lead not in self.leads]:
            raise ValueError(f"vcg needs the leads {' '.join(INDEPENDENT)}; missing: {' '.join(missing)}. Add them, or leave vcg away")
        if unknown := [lead for lead in self.leads if lead not in TWELVE]:
            raise ValueError(f"vcg knows how a dipole looks from {' '.join(TWELVE)} alone; got {' '.join(unknown)} too")
        if not 0 <= self.angle <= 180 or self.scale <= 0 or not 0 <= self.mask < 1:
            raise ValueError(
                f"expected an angle from 0 to 180 degrees, a scale above 0 and a mask from 0 to below 1; got {self.angle}, {self.scale}, {self.mask}"
            )

    def change(self, batch: dict[str, Any], moment: Moment) -> dict[str, Any]:
        ecg, present = batch["ecg"], batch.get("lead_present")
        n_rows, n_leads, n_time = ecg.shape
        angles = self.angle * (2 * moment.uniform("vcg/angles", n_rows, 3, device=ecg.device) - 1)
        scales = 1 + (self.scale - 1) * moment.uniform("vcg/scales", n_rows, 3, device=ecg.device)
        places = moment.uniform("vcg/starts", n_rows, n_leads, device=ecg.device)
        mix = see_again(angles, scales, self.leads)
        if (unit := batch.get("scale")) is not None:  # from the batch's units to mV and back
            mix = mix * unit[:, None, :] / unit[:, :, None]
        turned = torch.einsum("bij,bjt->bit", mix.to(ecg.dtype), ecg)
        if present is not None:
            eight = [self.leads.index(lead) for lead in INDEPENDENT]
            turned = torch.where(present[:, eight].all(dim=1)[:, None, None], turned, ecg)
        valid = batch.get("valid")
        n_valid = torch.full((n_rows,), n_time, device=ecg.device) if valid is None else valid.sum(dim=1)
        starts = (places * n_valid[:, None]).long()
        return {"ecg": mask_time(turned, starts, (self.mask * n_valid).long(), n_valid)}


def rotation(angles: Tensor) -> Tensor:
    """About the fixed axes z, then y, then x, by these degrees in this order: (batch, 3) -> (batch, 3, 3)."""
    (cz, cy, cx), (sz, sy, sx) = angles.deg2rad().cos().unbind(dim=1), angles.deg2rad().sin().unbind(dim=1)
    rows = [
        *(cy * cz, -cy * sz, sy),
        *(sx * sy * cz + cx * sz, cx * cz - sx * sy * sz, -sx * cy),
        *(sx * sz - cx * sy * cz, cx * sy * sz + sx * cz, cx * cy),
    ]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def see_again(angles: Tensor, scales: Tensor, leads: Sequence[str], inverse_dower: np.ndarray = INVERSE_DOWER) -> Tensor:
    """What each lead becomes, as a sum of the leads: to the vectorcardiogram, turned, then stretched, and back by the pseudo-inverse.

    angles, scales : (batch, 3) degrees about z, y, x; factors along x, y, z
    inverse_dower  : (3, 8) from I, II, V1 … V6 to x, y, z
    returns        : (batch, lead, lead), for a signal in mV
    """
    # Every lead is a sum of the eight independent ones; the eight are picked from whatever order the leads have.
    from_eight, to_eight = np.zeros((len(leads), 8)), np.zeros((8, len(leads)))
    for row, lead in enumerate(leads):
        if lead in LIMB_LAWS:
            from_eight[row, :2] = LIMB_LAWS[lead]
        else:
            from_eight[row, INDEPENDENT.index(lead)] = to_eight[INDEPENDENT.index(lead), row] = 1.0
    into = torch.as_tensor(inverse_dower @ to_eight, dtype=angles.dtype, device=angles.device)
    back = torch.as_tensor(from_eight @ np.linalg.pinv(inverse_dower.astype(np.float64)), dtype=angles.dtype, device=angles.device)
    return back @ (scales[:, :, None] * rotation(angles)) @ into


def mask_time(signal: Tensor, starts: Tensor, n_masked: Tensor, n_valid: Tensor) -> Tensor:
    """One stretch of each lead at 0, which goes on at the beginning where it reaches the end: (batch, lead, time) -> the same.

    starts            : (batch, lead) int64  first sample at 0, below ``n_valid``
    n_masked, n_valid : (batch,) int64       length of the stretch; samples before the padding
    """
    time = torch.arange(signal.shape[-1], device=signal.device)
    start, end = starts[:, :, None], (starts + n_masked[:, None])[:, :, None]
    length = n_valid[:, None, None]
    return signal.masked_fill(((time >= start) & (time < torch.minimum(end, length))) | (time < end - length), 0.0)
