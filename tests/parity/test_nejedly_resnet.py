"""Nejedly's network against the old one: same weights, same input; features and logits."""

import ast

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.layers.pool import pool
from einthoven.leads import TWELVE
from einthoven.models.folder import load_weights
from einthoven.models.nejedly2021 import Nejedly2021, leads_there

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def encoder_of(case) -> Nejedly2021:
    config, n_leads = case.config, case.arrays["in.source"].shape[1]
    first, kernel = ast.literal_eval(config["kernel_size"])
    leads = TWELVE if n_leads == len(TWELVE) else tuple(f"lead{i}" for i in range(n_leads))
    encoder = Nejedly2021(
        leads,
        filters=config["num_filters"],
        depth=config["num_blocks"],
        first_kernel=first,
        kernel=kernel,
        stride=config["stride"],
        bias=config["conv_bias"],
        leadwise=config["leadwise"],
        heads=8 if config["use_mha"] and not config["leadwise"] else 0,
        attention_dropout=config["final_dropout"],
        indicate_leads=config["indicate_leads"],
    )
    unused = ("proj.", "mha.") if config["leadwise"] else ("proj.",)  # leadwise, the old attention has weights and is never asked
    state = {name.removeprefix("encoder."): tensor for name, tensor in case.state.items() if not name.startswith(unused)}
    own = encoder.state_dict()  # leadwise kernels have an axis of length 1 more: (out, in, 1, tap)
    return load_weights(encoder, {name: t.reshape(own[name].shape) if name in own else t for name, t in state.items()}, case.name).eval()


@pytest.mark.parametrize("case", cases("nejedly_resnet"))
def test_features_and_logits_are_the_old_ones(case):
    encoder, source = encoder_of(case), torch.from_numpy(case.arrays["in.source"])
    with torch.no_grad():
        features = encoder.features(source)
        pooled = pool(encoder(source, there=leads_there(source, every_sample=True)), how=encoder.pooling)
    weight, n_leads = case.state["proj.weight"], source.shape[1]
    expected = torch.from_numpy(case.arrays["out.encoder_out"])
    if case.config["leadwise"]:
        # Theirs is (batch, filter, lead, frame) under another shape: here lead by lead.
        swapped = expected.flatten(1, 2).unflatten(1, (-1, n_leads)).transpose(1, 2).flatten(1, 2)
        torch.testing.assert_close(features.mT, swapped, **CLOSE)
        by_lead = weight[:, : features.shape[2]].unflatten(1, (-1, n_leads)).transpose(1, 2).flatten(1, 2)
        weight = torch.cat([by_lead, weight[:, features.shape[2] :]], dim=1)
    else:
        torch.testing.assert_close(features.mT, expected, **CLOSE)
    logits = torch.nn.functional.linear(pooled, weight, case.state["proj.bias"])
    np.testing.assert_allclose(logits.numpy(), case.arrays["out.logits"], **CLOSE)
