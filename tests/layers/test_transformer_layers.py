"""Attention by its definition, masks, layer drop, and gradients."""

import math

import pytest
import torch

from einthoven.layers.transformer import SelfAttention, TransformerEncoder


def test_attention_is_its_definition():
    torch.manual_seed(0)
    attention = SelfAttention(6, 2).double().eval()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    valid = torch.arange(5) < torch.tensor([5, 3])[:, None]
    q, k, v = attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)
    expected, weights = torch.zeros_like(x), torch.zeros(2, 5, 5, dtype=torch.float64)
    for row in range(2):
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            for query in range(5):
                score = torch.stack([q[row, query, part] @ k[row, key, part] / math.sqrt(3) for key in range(5)])
                score[~valid[row]] = -math.inf
                share = score.softmax(dim=0)
                weights[row, query] += share / 2
                expected[row, query, part] = (share[:, None] * v[row, :, part]).sum(dim=0)
    mask = valid[:, None, None, :]
    torch.testing.assert_close(attention(x, mask), attention.out_proj(expected))
    torch.testing.assert_close(attention.weights(x, mask), weights)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_stack_agrees_with_torch_s_own_layers(norm_first):
    torch.manual_seed(0)
    ours = TransformerEncoder(8, 16, 2, depth=2, norm_first=norm_first).double().eval()
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    valid = torch.arange(6) < torch.tensor([6, 4, 1])[:, None]
    y = x.masked_fill(~valid[:, :, None], 0.0)
    y = y if norm_first else ours.layer_norm(y)
    for layer in ours.layers:
        other = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=norm_first).double().eval()
        attention = layer.self_attn
        names = ("q_proj", "k_proj", "v_proj")
        other.load_state_dict({
            "self_attn.in_proj_weight": torch.cat([getattr(attention, name).weight for name in names]),
            "self_attn.in_proj_bias": torch.cat([getattr(attention, name).bias for name in names]),
            "self_attn.out_proj.weight": attention.out_proj.weight,
            "self_attn.out_proj.bias": attention.out_proj.bias,
            "linear1.weight": layer.fc1.weight,
            "linear1.bias": layer.fc1.bias,
            "linear2.weight": layer.fc2.weight,
            "linear2.bias": layer.fc2.bias,
            "norm1.weight": layer.self_attn_layer_norm.weight,
            "norm1.bias": layer.self_attn_layer_norm.bias,
            "norm2.weight": layer.final_layer_norm.weight,
            "norm2.bias": layer.final_layer_norm.bias,
        })  # fmt: skip
        y = other(y, src_key_padding_mask=~valid)
    y = ours.layer_norm(y) if norm_first else y
    torch.testing.assert_close(ours(x, valid)[valid], y[valid])


def test_a_row_that_is_all_padding_leaves_no_nan():
    encoder = TransformerEncoder(8, 16, 2, depth=2).eval()
    valid = torch.tensor([[True] * 4, [False] * 4])
    x = torch.randn(2, 4, 8, requires_grad=True)
    encoder(x, valid)[0].sum().backward()
    assert x.grad.isfinite().all() and encoder(x, valid).isfinite().all()


def test_layers_are_left_out_in_training_at_their_rate_and_never_in_evaluation():
    torch.manual_seed(0)
    encoder = TransformerEncoder(4, 4, 1, depth=40, dropout=0.0, attention_dropout=0.0, layerdrop=0.25)
    ran = []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda *_: ran.append(1))
    x = torch.randn(1, 2, 4)
    encoder.train()
    for _ in range(20):
        encoder(x)
    assert len(ran) / 800 == pytest.approx(0.75, abs=0.05)
    ran.clear()
    encoder.eval()(x)
    assert len(ran) == 40


@pytest.mark.parametrize("norm_first", [False, True])
def test_its_gradient_is_right(norm_first):
    torch.manual_seed(0)
    encoder = TransformerEncoder(4, 6, 2, depth=1, norm_first=norm_first).double().eval()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True] * 3, [True, True, False]])
    assert torch.autograd.gradcheck(lambda x: encoder(x, valid)[valid], (x,))


@pytest.mark.parametrize("where", ["dropout", "attention_dropout", "activation_dropout"])
def test_each_dropout_acts_in_training_alone(where):
    torch.manual_seed(0)
    options = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0} | {where: 0.5}
    encoder = TransformerEncoder(8, 16, 2, depth=1, **options)
    x = torch.randn(1, 6, 8)
    assert not torch.allclose(encoder.train()(x), encoder(x))
    assert torch.equal(encoder.eval()(x), encoder(x))


def test_a_dimension_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of the heads"):
        SelfAttention(10, 3)
