"""SwAV's head and prototypes give what the old ECG code's gave, in evaluation and in training."""

import pytest
import torch
from parity_cases import ssl_cases

from einthoven.layers.projection import bias_into_norm, projection, unit


@pytest.mark.parametrize("case", ssl_cases("swav_head"))
def test_the_head_gives_what_the_old_one_gave(case):
    config, arrays = case.config, {name: torch.from_numpy(array) for name, array in case.arrays.items()}
    tolerance = {"rtol": config["rtol"], "atol": config["atol"]}
    state = {key: torch.from_numpy(value) for key, value in case.state.items()}
    prototypes = state.pop("prototypes.weight")
    head = projection(arrays["x"].shape[1], (config["hidden_mlp"], config["output_dim"]), norm=True)
    own = {key.removeprefix("projection_head."): value for key, value in state.items()}
    head.load_state_dict(bias_into_norm(own, "0", "1"))
    for mode in ("eval", "train"):
        given = unit(head.train(mode == "train")(arrays["x"]))
        torch.testing.assert_close(given, arrays[f"{mode}_embedding"], **tolerance)
        torch.testing.assert_close(given @ prototypes.T, arrays[f"{mode}_scores"], **tolerance)
