"""The strided convolutions give the features of the old code."""

import pytest
import torch
from legacy_models import CLOSE, tensors
from parity_cases import cases

from einthoven.layers.conv_frontend import ConvFeatureExtractor


@pytest.mark.parametrize("case", cases("conv_feature_extraction"))
def test_the_convolutional_features_are_those_of_the_old_code(case):
    if "conv_layers" not in case.config:
        pytest.xfail(f"{case.name}: transposed convolutions; no model that we take over has them")
    config, arrays = case.config, tensors(case)
    extractor = ConvFeatureExtractor(config["in_d"], config["conv_layers"], mode=config["mode"], bias=config["conv_bias"]).eval()
    extractor.load_state_dict(case.state)
    x = arrays["in.x"]
    # The old code takes (batch, time) for one lead; ours wants the lead said.
    features = extractor(x[:, None, :] if x.dim() == 2 else x)
    torch.testing.assert_close(features.transpose(1, 2), arrays["out.features"], **CLOSE)
