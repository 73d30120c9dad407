"""A projection is its layers in a row; a bias in front of a norm can be taken up by the norm."""

import pytest
import torch
from torch import nn

from einthoven.layers.projection import bias_into_norm, projection, unit


def test_a_projection_is_its_matrices_with_relu_between_them():
    torch.manual_seed(0)
    head, x = projection(5, (7, 4, 3)), torch.randn(6, 5)
    (a, b, c) = (layer for layer in head if isinstance(layer, nn.Linear))
    expected = torch.relu(torch.relu(x @ a.weight.T + a.bias) @ b.weight.T + b.bias) @ c.weight.T + c.bias
    torch.testing.assert_close(head(x), expected)


def test_with_a_norm_each_hidden_unit_is_standardised_and_has_no_bias_before_it():
    torch.manual_seed(0)
    head, x = projection(5, (7, 3), norm=True), torch.randn(6, 5)
    linear, _, _, last = head
    hidden = x @ linear.weight.T
    hidden = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, correction=0) + 1e-5).sqrt()
    assert linear.bias is None and last.bias is not None
    torch.testing.assert_close(head(x), torch.relu(hidden) @ last.weight.T + last.bias)


def test_no_widths_are_no_layer():
    x = torch.randn(2, 3)
    assert torch.equal(projection(3, ())(x), x)


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        projection(3, (4, 0))


def test_a_bias_moves_into_the_norm_behind_it():
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
    theirs.train()(torch.randn(9, 4))
    state = theirs.state_dict()
    ours = projection(4, (5, 2), norm=True)
    ours.load_state_dict(bias_into_norm(state, "0", "1"))
    x = torch.randn(7, 4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    torch.testing.assert_close(ours.train()(x), theirs.train()(x))
    assert "0.bias" in state


def test_rows_get_length_one_and_a_constant_norm_lets_the_gradient_go_along_the_row():
    torch.manual_seed(0)
    x, pull = torch.randn(2, 4, 3, dtype=torch.float64)
    x.requires_grad_()
    gradients = []
    for constant in (False, True):
        rows = unit(x, constant_norm=constant)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(4, dtype=torch.float64))
        gradients.append(torch.autograd.grad((rows * pull).sum(), x)[0])
    length = x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(gradients[1], (pull / length).detach())
    along = (gradients[1] * x).sum(dim=1, keepdim=True) * x / length**2
    torch.testing.assert_close(gradients[0], (gradients[1] - along).detach())
    assert torch.equal(unit(torch.zeros(1, 3)), torch.zeros(1, 3))
