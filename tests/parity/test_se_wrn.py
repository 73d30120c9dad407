"""SE-WRN against the old one: same weights, same input; features before the last norm and logits."""

import ast

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.layers.pool import pool
from einthoven.leads import TWELVE
from einthoven.models.folder import load_weights
from einthoven.models.se_wrn import SEWRN

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def encoder_of(case) -> SEWRN:
    config, n_leads = case.config, case.arrays["in.source"].shape[1]
    leads = TWELVE if n_leads == len(TWELVE) else tuple(f"lead{i}" for i in range(n_leads))
    encoder = SEWRN(
        leads,
        filters=tuple(ast.literal_eval(config["num_filters"])),
        blocks=config["num_blocks"],
        widening_factor=config["widening_factor"],
        kernel=config["kernel_size"],
        ratio=config["ratio"],
        bias=config["conv_bias"],
        leadwise=config["leadwise"],
    )
    state = {}
    for name, tensor in case.state.items():
        if not name.startswith("proj."):
            state[name.removeprefix("encoder.") if name.startswith("encoder.") else name.replace("bn.", "last_bn.", 1)] = tensor
    own = encoder.state_dict()  # leadwise kernels have an axis of length 1 more: (out, in, 1, tap)
    return load_weights(encoder, {name: t.reshape(own[name].shape) if name in own else t for name, t in state.items()}, case.name).eval()


@pytest.mark.parametrize("case", cases("se_wrn"))
def test_features_and_logits_are_the_old_ones(case):
    encoder, source = encoder_of(case), torch.from_numpy(case.arrays["in.source"])
    with torch.no_grad():
        features = encoder.features(source)
        pooled = pool(encoder(source), how=encoder.pooling)
    expected = torch.from_numpy(case.arrays["out.encoder_out"])
    torch.testing.assert_close(features.mT, expected.flatten(1, -2), **CLOSE)  # leadwise: (batch, lead, width, frame)
    logits = torch.nn.functional.linear(pooled, case.state["proj.weight"], case.state["proj.bias"])
    np.testing.assert_allclose(logits.numpy(), case.arrays["out.logits"], **CLOSE)
