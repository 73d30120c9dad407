"""Augmentations: batched, on the batch's device, one file each. Each is called as ``augment(batch, moment) -> batch``."""

from __future__ import annotations

from einthoven.augment.augment import Augment, Pipeline
from einthoven.augment.baseline_shift import BaselineShift
from einthoven.augment.baseline_wander import BaselineWander
from einthoven.augment.channel_resize import ChannelResize
from einthoven.augment.conditional_lead_mask import ConditionalLeadMask
from einthoven.augment.down_sample import DownSample
from einthoven.augment.dynamic_time_warp import DynamicTimeWarp
from einthoven.augment.electrode_noise import ElectrodeNoise
from einthoven.augment.emg_noise import EMGNoise, EMNoise
from einthoven.augment.gaussian_blur import GaussianBlur
from einthoven.augment.gaussian_noise import GaussianNoise
from einthoven.augment.negation import Negation
from einthoven.augment.powerline_noise import PowerlineNoise
from einthoven.augment.random_lead_mask import RandomLeadMask
from einthoven.augment.random_resized_crop import RandomResizedCrop
from einthoven.augment.stretch import Stretch
from einthoven.augment.time_out import TimeOut
from einthoven.augment.time_warp import TimeWarp
from einthoven.augment.vcg import VCG

AUGMENTS: dict[str, type[Augment]] = {
    "baseline_shift": BaselineShift,
    "baseline_wander": BaselineWander,
    "channel_resize": ChannelResize,
    "conditional_lead_mask": ConditionalLeadMask,
    "down_sample": DownSample,
    "dynamic_time_warp": DynamicTimeWarp,
    "electrode_noise": ElectrodeNoise,
    "em_noise": EMNoise,
    "emg_noise": EMGNoise,
    "gaussian_blur": GaussianBlur,
    "gaussian_noise": GaussianNoise,
    "negation": Negation,
    "powerline_noise": PowerlineNoise,
    "random_lead_mask": RandomLeadMask,
    "random_resized_crop": RandomResizedCrop,
    "stretch": Stretch,
    "time_out": TimeOut,
    "time_warp": TimeWarp,
    "vcg": VCG,
}
"""By the name that recipes use."""

__all__ = [
    "AUGMENTS",
    "VCG",
    "Augment",
    "BaselineShift",
    "BaselineWander",
    "ChannelResize",
    "ConditionalLeadMask",
    "DownSample",
    "DynamicTimeWarp",
    "EMGNoise",
    "EMNoise",
    "ElectrodeNoise",
    "GaussianBlur",
    "GaussianNoise",
    "Negation",
    "Pipeline",
    "PowerlineNoise",
    "RandomLeadMask",
    "RandomResizedCrop",
    "Stretch",
    "TimeOut",
    "TimeWarp",
]
