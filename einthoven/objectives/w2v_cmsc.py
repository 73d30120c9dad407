"""W2V + CMSC: hidden frames are told apart within an ECG, and patients between ECGs. With random lead masking, the method of ECG-FM.

Source: Oh et al., CHIL 2022; McKeen et al., "ECG-FM", 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from einthoven.layers.pool import pool
from einthoven.models.ecg_transformer import ECGTransformer
from einthoven.objectives.cmsc import pair_loss, persons, refuse_one_item
from einthoven.objectives.masked_prediction import Choices, MaskedPrediction
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step


class W2VCMSC(Objective):
    """The sum of W2V's loss and ``cmsc_weight`` times CMSC's, taken on the mean context of the *masked* ECG, as published.

    cmsc_weight      : of CMSC's loss beside that of the masked prediction
    cmsc_temperature : of CMSC's cosines
    cmsc_eps         : least norm in them

    The other options are those of MaskedPrediction.
    """

    view = "pairs"
    needs_context = True
    options_from = MaskedPrediction

    def __init__(
        self, encoder: ECGTransformer, *, cmsc_weight: float = 1.0, cmsc_temperature: float = 0.1, cmsc_eps: float = 1e-8, **options: Any
    ):
        super().__init__()
        self.options = {**options, "cmsc_weight": cmsc_weight, "cmsc_temperature": cmsc_temperature, "cmsc_eps": cmsc_eps}
        self.encoder = encoder
        self.masked = MaskedPrediction(encoder.dim, encoder.local_dim, **options)
        self.cmsc_weight, self.cmsc_temperature, self.cmsc_eps = cmsc_weight, cmsc_temperature, cmsc_eps

    def check(self, data: Any, n_items: int) -> None:
        refuse_one_item("w2v_cmsc", n_items)

    def forward(self, batch: Mapping[str, Tensor], moment: Moment = Moment(), choices: Choices | None = None) -> Step:  # noqa: B008 - frozen
        prediction = self.masked(self.encoder, batch, moment, choices)
        n_rows = prediction.context.shape[0]
        pooled = pool(prediction.context, prediction.valid)
        cmsc = self.cmsc_weight * pair_loss(
            pooled, persons(batch), self.cmsc_temperature, self.cmsc_eps, over_processes=moment.rows(n_rows) != n_rows
        )
        step = prediction.step
        return Step(step.loss + cmsc, {**step.parts, "cmsc": cmsc.detach()}, step.weight)
