"""The positional convolution gives the values of the old code, with the newer and the older names of its weight."""

import pytest
import torch
from legacy_models import CLOSE, tensors
from parity_cases import cases

from einthoven.layers.conv_frontend import ConvPositions


@pytest.mark.parametrize("names", ["state.pt", "legacy_state.pt"])
@pytest.mark.parametrize("case", cases("conv_positional_encoding"))
def test_positions_are_those_of_the_old_code(case, names):
    config, arrays = case.config, tensors(case)
    positions = ConvPositions(config["encoder_embed_dim"], config["conv_pos"], config["conv_pos_groups"]).eval()
    positions.load_state_dict(case.tensors(names))
    torch.testing.assert_close(positions(arrays["in.x"]), arrays["out.y"], **CLOSE)
    torch.testing.assert_close(positions.pos_conv[0].weight, arrays["out.effective_weight"], **CLOSE)
