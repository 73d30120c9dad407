"""Our modules with the weights and the configuration of a golden case."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from parity_cases import Case
from torch import Tensor, nn

from einthoven.models.ecg_transformer import ECGTransformer, from_legacy_config
from einthoven.objectives.masked_prediction import Choices
from einthoven.objectives.w2v_cmsc import W2VCMSC
from einthoven.objectives.wav2vec2 import W2V, options_from_legacy_config, split_legacy_state

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
"""What the cases' READMEs ask of float32."""
LOGITS = {"atol": 1e-4, "rtol": 1e-4}


def tensors(case: Case) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in case.arrays.items()}


def encoder_for(case: Case) -> ECGTransformer:
    return ECGTransformer(**from_legacy_config(case.config)).eval()


def w2v_for(case: Case, state: dict[str, Tensor] | None = None) -> W2V:
    w2v = W2V(encoder_for(case), **options_from_legacy_config(case.config), **weights_for(case)).eval()
    w2v.load_state_dict(split_legacy_state(case.state if state is None else state))
    return w2v


def w2v_cmsc_for(case: Case, state: dict[str, Tensor] | None = None) -> W2VCMSC:
    criterion = case.config.get("criterion", {})
    cmsc = {
        "cmsc_weight": 1.0 if criterion.get("cmsc_weights") is None else criterion["cmsc_weights"],
        "cmsc_temperature": criterion.get("temp", 0.1),
        "cmsc_eps": criterion.get("eps", 1e-8),
    }
    model = W2VCMSC(encoder_for(case), **options_from_legacy_config(case.config), **weights_for(case), **cmsc).eval()
    model.load_state_dict(split_legacy_state(case.state if state is None else state))
    return model


def weights_for(case: Case) -> dict[str, float]:
    """The loss weights: diversity (where there is a quantiser) and energy."""
    weights = case.config.get("criterion", {}).get("loss_weights", [0.1, 10])
    return {"diversity_weight": weights[0] if case.config["quantize_targets"] else 0.0, "energy_weight": weights[-1]}


def batch_for(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our batch; the old padding mask is (batch, lead, time) and True where padded."""
    batch = {"ecg": arrays["in.source"]}
    if "in.padding_mask" in arrays:
        batch["valid"] = ~arrays["in.padding_mask"][:, 0]
    if "in.patient_id" in arrays:
        batch["patient"] = arrays["in.patient_id"].long()
    return batch


def choices_for(case: Case, arrays: dict[str, Tensor]) -> Choices:
    """The recorded random choices. The old negatives index the flattened (batch * candidate) axis."""
    mask = arrays["in.mask_indices"]
    n_rows, n_masked = mask.shape[0], int(mask[0].sum())
    index = arrays["in.neg_idxs"]
    index = index[index >= 0].view(n_rows, n_masked, -1)
    candidates = mask.shape[1] if case.config["negatives_from_everywhere"] else n_masked
    near, far = index - candidates * torch.arange(n_rows)[:, None, None], None
    if bool(((near < 0) | (near >= candidates)).any()):
        near, far = None, index
    codebook = None
    if "in.codebook_neg_idxs" in arrays:
        codebook = arrays["in.codebook_neg_idxs"].view(-1, n_rows, n_masked).permute(1, 2, 0)
    noise = None
    if "in.gumbels" in arrays:
        groups, codes = case.config["latent_groups"], case.config["latent_vars"]
        noise = arrays["in.gumbels"]
        noise = noise[~noise.isnan().any(dim=1)].view(n_rows, n_masked, groups, codes)
    return Choices(mask, arrays.get("in.mask_channel"), near, far, codebook, noise)


def segments_in_pairs(segment: Tensor, patient: Tensor) -> Tensor:
    """The order that puts first and second segments of one patient into rows 2i and 2i + 1."""
    first, second = (segment == 0).nonzero()[:, 0], (segment == 1).nonzero()[:, 0]
    first, second = first[patient[first].argsort(stable=True)], second[patient[second].argsort(stable=True)]
    return torch.stack([first, second], dim=1).flatten()


def recipe_state(module: nn.Module, legacy_name: dict[str, str], seed: int) -> dict[str, Tensor]:
    """The weights of the golden values' recipe (their top README): a function of the old name, the shape and the seed."""
    state = {}
    for name, value in module.state_dict().items():
        key, shape = legacy_name[name], tuple(value.shape)
        draw = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
        if len(shape) <= 1:
            array = 0.1 * draw.standard_normal(shape) + (1 if key.endswith("weight") else 0)
        elif key.endswith(("original0", "weight_g")):
            array = 1 + 0.1 * draw.standard_normal(shape)
        else:
            array = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        state[name] = torch.from_numpy(np.asarray(array, dtype=np.float32))
    return state
