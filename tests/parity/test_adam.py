"""``adam_legacy`` makes the updates of fairseq-signals' Adam; torch's AdamW does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity_cases import cases
from torch import nn

from einthoven.train.optim import build_optimiser, set_rate
from einthoven.train.settings import Optim


class Vector(nn.Module):
    """A module that is one parameter."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.from_numpy(value).clone())


def trajectory(case, name: str) -> tuple[np.ndarray, torch.optim.Optimizer, Vector]:
    arrays = case.arrays
    module = Vector(arrays["in.p0"])
    settings = {key: case.config[key] for key in ("betas", "eps", "weight_decay")}
    optimiser = build_optimiser(module, Optim(name=name, lr=1.0, **settings))
    places = []
    for gradient, lr in zip(arrays["in.grads"], arrays["in.lrs"], strict=True):
        set_rate(optimiser, float(lr))
        module.value.grad = torch.from_numpy(gradient).clone()
        optimiser.step()
        places.append(module.value.detach().numpy().copy())
    return np.stack(places), optimiser, module


@pytest.mark.parametrize("case", cases("adam"))
def test_every_update_is_fairseqs(case):
    places, optimiser, module = trajectory(case, "adam_legacy")
    np.testing.assert_allclose(places, case.arrays["out.p"], rtol=0, atol=1e-6)
    state = optimiser.state[module.value]
    np.testing.assert_allclose(state["exp_avg"].numpy(), case.arrays["out.exp_avg"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(state["exp_avg_sq"].numpy(), case.arrays["out.exp_avg_sq"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", cases("adam"))
def test_adamw_is_another_optimiser_wherever_eps_counts(case):
    legacy, modern = (trajectory(case, name)[0] for name in ("adam_legacy", "adamw"))
    assert not np.array_equal(legacy, modern)
    np.testing.assert_allclose(legacy, modern, atol=20 * case.arrays["in.lrs"].max())
