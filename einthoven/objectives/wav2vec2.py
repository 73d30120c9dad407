"""W2V: tell the hidden frame's own target from those of other hidden frames (wav2vec 2.0 on ECGs).

Frames are made, spans of them are hidden behind one learned vector, the transformer says what stands there, and its
answer must be more like the frame's own quantised local features than like those of ``n_negatives`` other hidden frames
of the same ECG.

Source: Baevski et al., "wav2vec 2.0", NeurIPS 2020; the form for ECGs is that of fairseq-signals.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from einthoven.models.ecg_transformer import ECGTransformer
from einthoven.objectives.masked_prediction import Choices, MaskedPrediction
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step


class W2V(Objective):
    """Masked contrastive pretraining around an encoder that has ``frames`` and ``context``.

    The loss, a mean over masked frames: cross-entropy of the positive among its negatives
    + ``diversity_weight`` * (share of the codes that is not used) + ``energy_weight`` * (mean square of the raw features).
    Parts: those three terms as they enter the loss, ``accuracy``, both perplexities and the quantiser's temperature.

    Options: see MaskedPrediction.

    Right here and wrong in fairseq-signals: cross-sample negatives, and negatives from everywhere, never are the positive's
    own frame, and the latter never are padding. Raises ValueError for options that contradict each other, RecipeError for
    ECGs too short to be masked.
    """

    needs_context = True
    options_from = MaskedPrediction

    def __init__(self, encoder: ECGTransformer, **options: Any):
        super().__init__()
        self.options = options
        self.encoder = encoder
        self.masked = MaskedPrediction(encoder.dim, encoder.local_dim, **options)

    def forward(self, batch: Mapping[str, Tensor], moment: Moment = Moment(), choices: Choices | None = None) -> Step:  # noqa: B008 - frozen
        return self.masked(self.encoder, batch, moment, choices).step


def split_legacy_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A fairseq-signals wav2vec2 or wav2vec2_cmsc state in our names: its heads under ``masked.``, the rest under ``encoder.``."""
    heads = ("mask_emb", "quantizer.", "project_q.", "target_glu.", "final_proj.")
    return {("masked." if name.startswith(heads) else "encoder.") + name: value for name, value in state.items()}


def options_from_legacy_config(legacy: Mapping[str, Any]) -> dict[str, Any]:
    """A fairseq-signals wav2vec2(_cmsc) model configuration in our words: ``W2V(encoder, **options_from_legacy_config(cfg["model"]))``."""

    def spans(prefix: str, overlap_key: str) -> dict[str, Any]:
        return {
            "prob": float(legacy.get(f"{prefix}_prob", 0.0)),
            "length": int(legacy.get(f"{prefix}_length", 10)),
            "kind": legacy.get(f"{prefix}_selection", "static"),
            "other": float(legacy.get(f"{prefix}_other", 0.0)),
            "overlap": not legacy.get(overlap_key, False),
            "min_space": int(legacy.get(f"{prefix}_min_space", 1)),
        }

    names = {
        "quantize_targets": "quantise_targets",
        "latent_vars": "latent_vars",
        "latent_groups": "latent_groups",
        "latent_dim": "latent_dim",
        "final_dim": "final_dim",
        "target_glu": "target_glu",
        "num_negatives": "n_negatives",
        "cross_sample_negatives": "cross_sample_negatives",
        "codebook_negatives": "codebook_negatives",
        "negatives_from_everywhere": "negatives_from_everywhere",
        "logit_temp": "temperature",
        "dropout_features": "dropout_features",
    }
    options: dict[str, Any] = {ours: legacy[theirs] for theirs, ours in names.items() if legacy.get(theirs) is not None}
    if legacy.get("latent_temp") is not None:
        schedule = legacy["latent_temp"]
        options["latent_temperature"] = list(ast.literal_eval(schedule) if isinstance(schedule, str) else schedule)
    options["mask"] = spans("mask", "no_mask_overlap")
    if legacy.get("mask_channel_prob"):
        options["channel_mask"] = spans("mask_channel", "no_mask_channel_overlap")
    return options
