"""The plain convolutional network against the old one: same weights, same input; logits."""

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.layers.pool import pool
from einthoven.leads import TWELVE
from einthoven.models.convnet import ConvNet
from einthoven.models.ecg_transformer import from_legacy_config
from einthoven.models.folder import load_weights


@pytest.mark.parametrize("case", cases("convnet"))
def test_logits_are_the_old_ones(case):
    source, n_leads = torch.from_numpy(case.arrays["in.source"]), case.config["input_dim"]
    ours = from_legacy_config(case.config)
    encoder = ConvNet(
        TWELVE if n_leads == len(TWELVE) else tuple(f"lead{i}" for i in range(n_leads)),
        conv_layers=tuple(ours["conv_layers"]),
        extractor_mode=ours["extractor_mode"],
        bias=ours["conv_bias"],
    )
    load_weights(encoder, {name: t for name, t in case.state.items() if not name.startswith("final_proj.")}, case.name).eval()
    with torch.no_grad():
        pooled = pool(encoder(source), how=encoder.pooling)
        logits = torch.nn.functional.linear(pooled, case.state["final_proj.weight"], case.state["final_proj.bias"])
    np.testing.assert_allclose(logits.numpy(), case.arrays["out.logits"], atol=1e-5, rtol=1e-4)
