"""Self-attention gives the values and the weights of the old code."""

import pytest
import torch
from legacy_models import CLOSE, tensors
from parity_cases import cases

from einthoven.layers.transformer import SelfAttention


@pytest.mark.parametrize("case", cases("multi_head_attention"))
def test_attention_is_that_of_the_old_code(case):
    config, arrays = case.config, tensors(case)
    attention = SelfAttention(config["embed_dim"], config["n_heads"], config["dropout"]).eval()
    attention.load_state_dict(case.state)
    x, mask = arrays["in.x"].transpose(0, 1), None
    if "in.key_padding_mask" in arrays:
        mask = ~arrays["in.key_padding_mask"][:, None, None, :]
    if "in.attn_mask" in arrays:
        mask = ~arrays["in.attn_mask"] if mask is None else mask & ~arrays["in.attn_mask"]
    torch.testing.assert_close(attention(x, mask).transpose(0, 1), arrays["out.y"], **CLOSE)
    assert ("out.attn" in arrays) == config["need_weights"]
    if config["need_weights"]:
        torch.testing.assert_close(attention.weights(x, mask), arrays["out.attn"], **CLOSE)
