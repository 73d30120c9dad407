"""LARS around SGD and Adam makes the updates of the old code, parameter by parameter."""

import numpy as np
import pytest
import torch
from parity_cases import ssl_cases
from torch import nn

from einthoven.train.lars import attach_lars


@pytest.mark.parametrize("case", ssl_cases("lars"))
def test_every_update_is_that_of_the_old_code(case):
    config, arrays, state = case.config, case.arrays, case.state
    layers = [nn.Linear(*reversed(state[f"{place}.weight"].shape)) for place in (0, 2)]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1])
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    groups = [
        {"params": [weight], "weight_decay": config["weight_decay_bias" if name.endswith("bias") else "weight_decay_weights"]}
        for name, weight in model.named_parameters()
    ]
    optimiser = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config["inner"]](groups, **config["inner_kwargs"])
    attach_lars(optimiser, config["eta"], config["clip"])
    for number, (x, y) in enumerate(zip(torch.from_numpy(arrays["X"]), torch.from_numpy(arrays["Y"]), strict=True)):
        loss = nn.functional.mse_loss(model(x), y)
        np.testing.assert_allclose(loss.item(), config["losses"][number], rtol=config["rtol"], atol=config["atol"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for name, weight in model.named_parameters():
            expected = arrays[f"step{number}_{name}"]
            np.testing.assert_allclose(
                weight.detach().numpy(), expected, rtol=config["rtol"], atol=config["atol"], err_msg=f"{number} {name}"
            )
