"""SimCLR's head gives what the old ECG code's gave: two linear layers with ReLU between them, then length 1."""

import pytest
import torch
from parity_cases import ssl_cases

from einthoven.layers.projection import projection, unit


@pytest.mark.parametrize("case", ssl_cases("simclr_projection"))
def test_the_head_gives_what_the_old_one_gave(case):
    config = case.config
    head = projection(config["input_dim"], (config["hidden_dim"], config["output_dim"]))
    names = {"model.1": "0", "model.3": "2"}
    head.load_state_dict(
        {names[key.rpartition(".")[0]] + "." + key.rpartition(".")[2]: torch.from_numpy(v) for key, v in case.state.items()}
    )
    given = unit(head(torch.from_numpy(case.arrays["x"])))
    torch.testing.assert_close(given, torch.from_numpy(case.arrays["y"]), rtol=config["rtol"], atol=config["atol"])
