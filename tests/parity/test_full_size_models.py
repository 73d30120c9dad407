"""Full-size models have the old parameters, by number, name and shape, and with weights made by the recipe the old outputs."""

import json
import re

import pytest
import torch
from legacy_models import batch_for, choices_for, options_from_legacy_config, recipe_state, tensors
from parity_cases import Case, cases
from torch import nn

from einthoven.layers.pool import pool
from einthoven.models.ecg_transformer import ECGTransformer, from_legacy_config
from einthoven.objectives.step import Moment
from einthoven.objectives.w2v_cmsc import W2VCMSC


class Classifier(nn.Module):
    """The encoder and a linear layer on the mean of its frames, by the old names."""

    def __init__(self, encoder, n_labels):
        super().__init__()
        self.encoder, self.proj = encoder, nn.Linear(encoder.dim, n_labels)


def build(config):
    """Our module, and the old name of each of its tensors."""
    encoder = ECGTransformer(**from_legacy_config(config))
    if "quantize_targets" in config:
        module = W2VCMSC(encoder, **options_from_legacy_config(config))
        return module, {name: name.split(".", 1)[1] for name in module.state_dict()}
    if "num_labels" in config:
        module = Classifier(encoder, config["num_labels"])
        return module, {name: name for name in module.state_dict()}
    return encoder, {name: name for name in encoder.state_dict()}


OURS = re.compile(
    r"(encoder\.)?(encoder\.layers\.\d+\.(self_attn|self_attn_layer_norm|fc1|fc2|final_layer_norm)|encoder\.layer_norm"
    r"|feature_extractor\.conv_layers|post_extract_proj|conv_pos|layer_norm)\.|(mask_emb$|quantizer\.|project_q\.|target_glu\.|final_proj\.|proj\.)"
)
"""Tensors of the encoder (of a classifier's, too), of W2V's heads and of the diagnosis head."""


def keys_of(case: Case) -> dict:
    """The old model's configuration and tensors; an expected failure where it has tensors that no module of ours has."""
    old = json.loads(case.path("keys.json").read_text())
    foreign = [name for name in old["keys"] if not OURS.match(name)]
    if foreign:
        pytest.xfail(f"{case.name}: this model is not part of Einthoven yet ({foreign[0]})")
    return old


WITH_KEYS = [param for param in cases("full_size_models") if param.values[0] is None or param.values[0].has("keys.json")]


@pytest.mark.parametrize("case", WITH_KEYS)
def test_every_parameter_has_its_old_name_and_shape(case: Case):
    old = keys_of(case)
    with torch.device("meta"):
        module, names = build(old["config"])
    assert {names[name]: list(value.shape) for name, value in module.state_dict().items()} == old["keys"]
    assert sum(p.numel() for p in module.parameters()) == old["num_parameters"]
    assert sum(value.numel() for value in module.state_dict().values()) == old["num_state_values"]


WITH_OUTPUTS = [param for param in cases("full_size_models") if param.values[0] is None or param.values[0].has("io.npz")]


@pytest.mark.slow
@pytest.mark.parametrize("case", WITH_OUTPUTS)
def test_recipe_weights_give_the_old_outputs(case: Case):
    if case.has("keys.json"):
        keys_of(case)
    arrays = tensors(case)
    with torch.device("meta"):
        module, names = build(case.config)
    seed = json.loads(case.path("recipe.json").read_text())["seed"]
    module.load_state_dict(recipe_state(module, names, seed), assign=True)
    module.eval().requires_grad_(False)
    batch = batch_for(arrays)
    if isinstance(module, W2VCMSC):
        prediction = module.masked(module.encoder, batch, Moment(), choices_for(case, arrays))
        torch.testing.assert_close(prediction.logits.transpose(0, 1).flatten(0, 1), arrays["out.logits"], atol=5e-3, rtol=0)
        torch.testing.assert_close(pool(prediction.context, prediction.valid), arrays["out.features_mean"], atol=1e-3, rtol=0)
        torch.testing.assert_close(prediction.step.parts["feature_penalty"] / 10, arrays["out.features_pen"], atol=1e-5, rtol=1e-4)
        for name in ("prob_perplexity", "code_perplexity"):
            torch.testing.assert_close(prediction.step.parts[name], arrays[f"out.{name}"], atol=1e-3, rtol=1e-4)
    elif isinstance(module, Classifier):
        mean = pool(module.encoder(batch["ecg"], batch.get("valid")))
        torch.testing.assert_close(mean, arrays["out.encoder_mean"], atol=1e-3, rtol=0)
        torch.testing.assert_close(module.proj(mean), arrays["out.logits"], atol=1e-3, rtol=0)
    else:
        pytest.fail(f"{case.name}: outputs that no comparison here knows: {sorted(arrays)}")
