"""Disturbances in mV, from few sources onto all leads: one course of time with a gain per lead, or noise mixed over leads.

The electrodes are what is disturbed, so the limb leads are not free: with I and II, the disturbances of III, aVR, aVL and aVF
follow. Mixing gains and matrices instead of signals makes the laws cost nothing; the sum is that of ``add_millivolts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from einthoven.augment.augment import LIMB_LAWS
from einthoven.augment.pieces import pieces_of
from einthoven.augment.white_noise import normal, row_keys
from einthoven.objectives.step import Moment


@lru_cache(maxsize=64)
def free_leads(leads: tuple[str, ...], limb_laws: bool) -> tuple[int, ...]:
    """Rows of the leads that are disturbed for themselves: all, but those that follow from I and II where these are there."""
    bound = LIMB_LAWS if limb_laws and "I" in leads and "II" in leads else {}
    return tuple(row for row, lead in enumerate(leads) if lead not in bound)


def mixing(leads: Sequence[str], limb_laws: bool, like: Tensor) -> Tensor:
    """What each lead gets of the free ones: (lead, free lead), of ``like``'s type and on its device."""
    return _mixing(tuple(leads), limb_laws, like.dtype, like.device)


@lru_cache(maxsize=64)
def _mixing(leads: tuple[str, ...], limb_laws: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    free = free_leads(leads, limb_laws)
    mix = torch.zeros(len(leads), len(free), dtype=dtype)
    for row, lead in enumerate(leads):
        if row in free:
            mix[row, free.index(row)] = 1.0
        else:
            mix[row, free.index(leads.index("I"))], mix[row, free.index(leads.index("II"))] = LIMB_LAWS[lead]
    return mix.to(device)


def add_course(batch: Mapping[str, Any], course: Tensor, gain: Tensor, leads: Sequence[str], *, limb_laws: bool = True) -> Tensor:
    """The batch's ECG plus one course of time per row, in each lead with its gain: (batch, lead, time).

    course : (batch, time); gain : (batch, free lead), their product in mV. Free leads are those of ``free_leads``
    """
    ecg, scale = batch["ecg"], batch.get("scale")
    gain = (gain.to(ecg)[:, None, :] * mixing(leads, limb_laws, ecg)).sum(dim=2)
    if scale is not None:
        gain = gain / scale
    return torch.addcmul(ecg, gain[:, :, None], course.to(ecg)[:, None, :])


def add_noise(batch: Mapping[str, Any], noise: Tensor, amplitude: Tensor, mix: Tensor, out: Tensor | None = None) -> Tensor:
    """The batch's ECG plus sources of noise, mixed over the leads: (batch, lead, time).

    noise     : (batch, source, time) standard normal
    amplitude : (batch, source) or (batch, 1) in mV
    mix       : (lead, source) what each lead gets of each
    """
    ecg, scale = batch["ecg"], batch.get("scale")
    weight = amplitude.to(ecg)[:, None, :] * mix
    if scale is not None:
        weight = weight / scale[:, :, None]
    with torch.autocast(ecg.device.type, enabled=False):  # an objective that makes its views may run in half precision
        return torch.baddbmm(ecg, weight, noise.to(ecg), out=out)


def add_white_noise(batch: Mapping[str, Any], moment: Moment, name: str, amplitude: Tensor, mix: Tensor) -> Tensor:
    """``add_noise`` with white noise of the moment, by that name, from as many sources as ``mix`` has."""
    ecg, scale = batch["ecg"], batch.get("scale")
    keys, out, amplitude = row_keys(moment, name, ecg.shape[0], ecg.device), torch.empty_like(ecg), amplitude.expand(ecg.shape[0], -1)
    for rows in pieces_of(ecg):
        piece = {"ecg": ecg[rows], "scale": None if scale is None else scale[rows]}
        add_noise(piece, normal(keys[rows], mix.shape[1], ecg.shape[2]), amplitude[rows], mix, out=out[rows])
    return out


def between(drawn: Tensor, smallest: float, largest: float) -> Tensor:
    """Uniform numbers in [0, 1) as numbers in [smallest, largest)."""
    return smallest + (largest - smallest) * drawn


def check_range(what: str, smallest: float, largest: float, least: float = 0.0, most: float = float("inf")) -> None:
    """Raises ValueError unless least <= smallest <= largest <= most."""
    if not least <= smallest <= largest <= most:
        bound = "" if most == float("inf") else f" <= {most:g}"
        raise ValueError(f"expected {what} as {least:g} <= smallest <= largest{bound}; got {smallest:g} and {largest:g}")
