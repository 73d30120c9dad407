"""NT-Xent with the old ECG code's self term gives its loss, gradient and accuracy."""

import numpy as np
import pytest
import torch
from parity_cases import ssl_cases

from einthoven.objectives.simclr import candidates, nt_xent


@pytest.mark.parametrize("case", ssl_cases("nt_xent"))
def test_the_loss_and_its_gradient_are_those_of_the_old_code(case):
    config, arrays = case.config, case.arrays
    tolerance = {"rtol": config["rtol"], "atol": config["atol"]}
    first, second = (torch.from_numpy(arrays[name]).requires_grad_() for name in ("z1", "z2"))
    loss = nt_xent(first, second, config["temperature"], "published", eps=config["eps"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.from_numpy(arrays["loss"]), **tolerance)
    torch.testing.assert_close(first.grad, torch.from_numpy(arrays["grad_z1"]), **tolerance)
    torch.testing.assert_close(second.grad, torch.from_numpy(arrays["grad_z2"]), **tolerance)


@pytest.mark.parametrize("case", ssl_cases("nt_xent"))
def test_the_old_accuracy_is_ours_for_the_second_views(case):
    """The old one asks only for which second view the first is nearest, and compares a view with itself less 1: nothing for a unit vector."""
    arrays, n_rows = case.arrays, len(case.arrays["z1"])
    first, second = torch.from_numpy(arrays["z1"]), torch.from_numpy(arrays["z2"])
    logits, positive = candidates(first, second, 1.0)
    own = torch.arange(2 * n_rows)
    logits[own, own] = torch.cat([first, second]).square().sum(dim=1) - 1
    accuracy = (logits.argmax(dim=1) == positive)[n_rows:].double().mean()
    assert accuracy.item() == pytest.approx(case.config["acc"])


@pytest.mark.parametrize("case", ssl_cases("nt_xent"))
def test_the_exact_self_term_is_another_loss(case):
    """By as much as the self similarity that the constant e leaves in the sum, or takes too much from it."""
    first, second = (torch.from_numpy(case.arrays[name]).double() for name in ("z1", "z2"))
    temperature, views = case.config["temperature"], torch.cat([first, second])
    own = views.square().sum(dim=1).div(temperature).exp()
    total = (views @ views.T / temperature).exp().sum(dim=1)
    published = (total - np.e).clamp(min=1e-6) + 1e-6
    difference = (published.log() - (total - own).log()).mean()
    ours, theirs = nt_xent(first, second, temperature), nt_xent(first, second, temperature, "published")
    torch.testing.assert_close(theirs - ours, difference, rtol=1e-9, atol=1e-9)
    assert difference > 0.01
