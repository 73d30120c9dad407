"""Noise of six levels, added before a model answers: how much of what it knows survives what electrodes and mains add.

Source: Mehari and Strodthoff, Comput Biol Med 2022, whose levels these are; applied to every window, in this order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from einthoven.augment import BaselineShift, BaselineWander, EMNoise, Pipeline, PowerlineNoise
from einthoven.infer.model import Model
from einthoven.objectives.step import Moment

LEVELS: dict[int, tuple[float, float, float, float]] = {
    1: (0.05, 0.25, 0.1, 0.5),
    2: (0.1, 0.5, 0.2, 1.0),
    3: (0.1, 1.0, 0.2, 2.0),
    4: (0.2, 1.0, 0.4, 2.0),
    5: (0.2, 1.5, 0.4, 2.5),
    6: (0.3, 2.0, 0.5, 3.0),
}
"""Largest amplitude in mV of baseline wander, electrode-motion noise, powerline noise and baseline shift."""


def noise_of_level(level: int, model: Model, seed: int) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    """A function of a batch and its number that adds the noise of a level; the same at every call with the same seed."""
    wander, motion, mains, shift = LEVELS[level]
    given: dict[str, Any] = {"leads": model.contract.leads, "fs": model.contract.fs}
    noise = Pipeline(
        [
            BaselineWander(largest=wander, **given),
            PowerlineNoise(largest=mains, **given),
            EMNoise(largest=motion, **given),
            BaselineShift(largest=shift, **given),
        ]
    )
    return lambda batch, number: noise(batch, Moment(seed, 0, number))
