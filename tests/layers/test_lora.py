"""A low-rank addition: nothing changes at first, only it learns, and merged it is a plain layer that computes the same bits."""

import copy

import pytest
import torch
from torch import nn

from einthoven.layers.lora import LoRALinear, add_lora, has_lora, merge_lora
from einthoven.models import SIZES, ECGTransformer


def encoder(**options):
    torch.manual_seed(0)
    return ECGTransformer(**{**SIZES["tiny"], "dim": 32, "ffn": 48, **options})


def ecg():
    return torch.randn(2, 12, 320, generator=torch.Generator().manual_seed(1))


def learned(module, steps=3, lr=0.05):
    optimiser = torch.optim.SGD([weight for weight in module.parameters() if weight.requires_grad], lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        (module(ecg()) - 1).square().mean().backward()
        optimiser.step()
    return module


def test_at_first_nothing_changes_and_the_names_of_the_weights_stay():
    plain = encoder().eval()
    changed = copy.deepcopy(plain)
    names = add_lora(changed, rank=3)
    assert len(names) == 2 * 6 and has_lora(changed) and not has_lora(plain)
    torch.testing.assert_close(changed(ecg()), plain(ecg()), rtol=0, atol=0)
    torch.testing.assert_close(changed.train()(ecg()), plain.train()(ecg()))
    assert set(plain.state_dict()) == {name for name in changed.state_dict() if "lora_" not in name}


def test_only_the_additions_learn_and_all_of_them_do():
    before = encoder().state_dict()
    module = encoder()
    add_lora(module, rank=2)
    after = learned(module.train()).state_dict()
    learning = {name for name, weight in module.named_parameters() if weight.requires_grad}
    assert learning == {name for name in after if "lora_" in name} and all((after[name] != 0).any() for name in learning)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_merging_changes_no_bit_and_leaves_the_original_keys(dropout):
    keys = list(encoder().state_dict())
    module = encoder()
    add_lora(module, rank=2, alpha=8, dropout=dropout)
    learned(module.train()).eval()
    before = module(ecg())
    assert not torch.equal(before, encoder().eval()(ecg()))
    merge_lora(module)
    assert torch.equal(module(ecg()), before)
    assert list(module.state_dict()) == keys and not has_lora(module)
    fresh = encoder().eval()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(ecg()), before)
    assert {type(part) for name, part in module.named_modules() if name.endswith("fc1")} == {nn.Linear}


def test_the_arithmetic_is_the_paper_s_in_training_and_in_evaluation():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 4)).double()
    weight, bias = plain[0].weight.detach().clone(), plain[0].bias.detach().clone()
    add_lora(plain, rank=2, alpha=6)
    layer = plain[0]
    nn.init.normal_(layer.lora_b)
    x = torch.randn(7, 5, dtype=torch.float64)
    expected = x @ weight.T + bias + 3 * (x @ layer.lora_a.T) @ layer.lora_b.T
    torch.testing.assert_close(plain.train()(x), expected)
    torch.testing.assert_close(plain.eval()(x), expected)
    assert torch.linalg.matrix_rank(layer.whole_weight() - weight) == 2


def test_dropout_takes_from_the_addition_alone_and_in_training_alone():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4))
    x, plain = torch.randn(7, 5), copy.deepcopy(module)
    add_lora(module, rank=2, dropout=0.5)
    torch.testing.assert_close(module.train()(x), plain(x))
    nn.init.normal_(module[0].lora_b)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


def test_targets_choose_layers_by_name():
    module = encoder()
    names = add_lora(module, targets=("q_proj", "encoder.layers.1.fc1"))
    assert names == ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.q_proj", "encoder.layers.1.fc1"]
    assert [name for name, part in module.named_modules() if isinstance(part, LoRALinear)] == names


def test_what_cannot_have_an_addition_is_refused_by_name():
    with pytest.raises(ValueError, match="no linear layer is called query; there are fc1, fc2, k_proj"):
        add_lora(encoder(), targets=("q_proj", "query"))
    with pytest.raises(ValueError, match="Sequential has no linear layer"):
        add_lora(nn.Sequential(nn.Conv1d(3, 3, 1)))
    with pytest.raises(ValueError, match="rank above 0"):
        add_lora(encoder(), rank=0)
    once = encoder()
    add_lora(once)
    with pytest.raises(ValueError, match="no linear layer"):
        add_lora(once)
