"""Objectives of pretraining: a loss with its own heads around an encoder; what is kept afterwards is ``objective.encoder``.

Each says in ``view`` what its batches must be: "segments" (any rows) or "pairs" (rows 2i and 2i + 1 are two segments of
one recording).
"""

from __future__ import annotations

from einthoven.objectives.cmsc import CMSC
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step
from einthoven.objectives.w2v_cmsc import W2VCMSC
from einthoven.objectives.wav2vec2 import W2V

OBJECTIVES: dict[str, type[Objective]] = {
    "w2v": W2V,
    "cmsc": CMSC,
    "w2v_cmsc": W2VCMSC,
}
"""By the name that recipes and model folders use."""

__all__ = ["CMSC", "OBJECTIVES", "W2V", "W2VCMSC", "Moment", "Objective", "Step"]
