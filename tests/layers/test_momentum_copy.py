"""The copy does not learn, follows every parameter, and keeps the statistics of its own batches."""

import pytest
import torch
from torch import nn

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.momentum_copy import follow, frozen_copy


def module():
    return nn.Sequential(nn.Linear(3, 4), BatchNorm(4), nn.Linear(4, 2))


def test_a_copy_takes_no_gradient_and_shares_nothing():
    leader = module()
    copy = frozen_copy(leader)
    assert not any(weight.requires_grad for weight in copy.parameters())
    assert all(weight.requires_grad for weight in leader.parameters())
    with torch.no_grad():
        leader[0].weight += 1
    assert not torch.equal(leader[0].weight, copy[0].weight)


def test_every_parameter_moves_by_its_share_and_no_buffer_does():
    torch.manual_seed(0)
    leader, copy = module(), frozen_copy(module())
    leader.train()(torch.randn(5, 3))
    before = {name: value.clone() for name, value in copy.state_dict().items()}
    follow(copy, leader, 0.75)
    for name, value in copy.named_parameters():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * dict(leader.named_parameters())[name])
    assert all(torch.equal(value, before[name]) for name, value in copy.named_buffers())


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_at_the_ends_it_becomes_its_leader_or_stays(decay):
    torch.manual_seed(0)
    leader, copy = module(), frozen_copy(module())
    expected = {name: value.clone() for name, value in (copy if decay else leader).named_parameters()}
    follow(copy, leader, decay)
    assert all(torch.equal(value, expected[name]) for name, value in copy.named_parameters())


def test_only_some_move_where_that_is_asked_for():
    torch.manual_seed(0)
    leader, copy = module(), frozen_copy(module())
    before = {name: value.clone() for name, value in copy.named_parameters()}
    follow(copy, leader, 0.5, only=lambda name: "bias" in name and name.startswith("2"))
    moved = [name for name, value in copy.named_parameters() if not torch.equal(value, before[name])]
    assert moved == ["2.bias"]


def test_modules_that_are_not_alike_are_refused():
    with pytest.raises(ValueError, match=r"2\.bias"):
        follow(frozen_copy(module()), module()[:2], 0.5)
