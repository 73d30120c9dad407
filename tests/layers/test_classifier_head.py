"""The classifier head is the published one, layer by layer, and its options do what they say."""

import pytest
import torch
from torch.nn import functional as F

from einthoven.layers.head import ClassifierHead


def trained(**options):
    """A head whose norms have seen data."""
    torch.manual_seed(0)
    head = ClassifierHead(10, 3, **options)
    for name, value in head.state_dict().items():
        if value.is_floating_point() and ("norm" in name):
            value.copy_(torch.rand_like(value) + 0.5)
    return head.double()


def norm(x, part, training):
    return F.batch_norm(x, part.running_mean.clone(), part.running_var.clone(), part.weight, part.bias, training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_it_is_norm_and_linear_layer_with_an_activation_between(activation, training):
    head = trained(hidden=(8, 4), dropout=0.0, final_norm=True, activation=activation).train(training)
    x = torch.randn(6, 10, dtype=torch.float64)
    y = x
    for number in range(3):
        y = norm(y, head.norms[number], training) @ head.linears[number].weight.T + head.linears[number].bias
        if number < 2:
            y = getattr(F, activation)(y)
    torch.testing.assert_close(norm(y, head.final_norm, training), head(x))


def test_half_the_dropout_stands_before_hidden_layers_and_none_acts_in_evaluation():
    head = ClassifierHead(2000, 3, hidden=(2000,), dropout=0.6, batch_norm=False)
    seen = []
    for linear in head.linears:
        linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.ones(8, 2000)
    head.train()(x)
    assert 0.27 < (seen[0] == 0).float().mean() < 0.33
    hidden = head.linears[0](seen[0]).relu()
    assert (seen[1][hidden > 0] == 0).float().mean() == pytest.approx(0.6, abs=0.03)
    assert torch.equal(head.eval()(x), head.eval()(x))


def test_without_hidden_layers_norm_and_dropout_it_is_linear():
    head = ClassifierHead(10, 3, dropout=0.0, batch_norm=False).double().train()
    assert sum(p.numel() for p in head.parameters()) == 33
    a, b = torch.randn(2, 5, 10, dtype=torch.float64)
    torch.testing.assert_close(head(a + b), head(a) + head(b))


def test_it_begins_as_kaiming_says_and_the_last_norm_moves_slowly():
    torch.manual_seed(0)
    head = ClassifierHead(400, 300, hidden=(500,), final_norm=True)
    assert float(head.linears[0].weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not head.linears[0].bias.any() and not head.norms[0].bias.any() and bool((head.norms[1].weight == 1).all())
    assert head.final_norm.momentum == 0.01 and head.norms[0].momentum == 0.1


def test_its_options_build_it_again():
    head = ClassifierHead(10, 3, hidden=(8,), dropout=0.25, batch_norm=False, final_norm=True, activation="elu")
    again = ClassifierHead(10, 3, **head.config())
    again.load_state_dict(head.state_dict())
    x = torch.randn(4, 10)
    assert torch.equal(again.eval()(x), head.eval()(x)) and again.config() == head.config()


@pytest.mark.parametrize("options", [{"dropout": 1.0}, {"hidden": (0,)}, {"activation": "tanh"}])
def test_options_that_make_no_head_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        ClassifierHead(10, 3, **options)
