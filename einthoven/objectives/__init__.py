"""Objectives of pretraining: a loss with its own heads around an encoder; what is kept afterwards is ``objective.encoder``.

Each says in ``view`` what its batches must be: "segments" (any rows) or "pairs" (rows 2i and 2i + 1 are two segments of
one recording).
"""

from __future__ import annotations

from einthoven.objectives.byol import BYOL
from einthoven.objectives.clocs import CMLC, CMSMLC
from einthoven.objectives.cmsc import CMSC
from einthoven.objectives.cpc import CPC
from einthoven.objectives.jepa import JEPA
from einthoven.objectives.mae import MAE
from einthoven.objectives.moco import MoCo
from einthoven.objectives.objective import Objective
from einthoven.objectives.simclr import SimCLR
from einthoven.objectives.step import Moment, Step
from einthoven.objectives.swav import SwAV
from einthoven.objectives.three_kg import ThreeKG
from einthoven.objectives.w2v_cmsc import W2VCMSC
from einthoven.objectives.wav2vec2 import W2V

OBJECTIVES: dict[str, type[Objective]] = {
    "w2v": W2V,
    "cmsc": CMSC,
    "cmlc": CMLC,
    "cmsmlc": CMSMLC,
    "3kg": ThreeKG,
    "w2v_cmsc": W2VCMSC,
    "simclr": SimCLR,
    "byol": BYOL,
    "swav": SwAV,
    "moco": MoCo,
    "cpc": CPC,
    "mae": MAE,
    "jepa": JEPA,
}
"""By the name that recipes and model folders use."""

__all__ = [
    "BYOL",
    "CMLC",
    "CMSC",
    "CMSMLC",
    "CPC",
    "JEPA",
    "MAE",
    "OBJECTIVES",
    "W2V",
    "W2VCMSC",
    "MoCo",
    "Moment",
    "Objective",
    "SimCLR",
    "Step",
    "SwAV",
    "ThreeKG",
]
