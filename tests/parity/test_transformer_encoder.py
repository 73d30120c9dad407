"""The stack of layers gives the values of the old code, pre-norm and post-norm, with padding and with an attention mask."""

import pytest
import torch
from legacy_models import CLOSE, tensors
from parity_cases import cases

from einthoven.layers.transformer import TransformerEncoder


@pytest.mark.parametrize("case", cases("transformer_encoder"))
def test_the_stack_is_that_of_the_old_code(case):
    config, arrays = case.config, tensors(case)
    encoder = TransformerEncoder(
        config["encoder_embed_dim"],
        config["encoder_ffn_embed_dim"],
        config["encoder_attention_heads"],
        config["encoder_layers"],
        dropout=config["dropout"],
        layerdrop=config["encoder_layerdrop"],
        norm_first=config["layer_norm_first"],
    ).eval()
    encoder.load_state_dict(case.state)
    valid = ~arrays["in.padding_mask"] if "in.padding_mask" in arrays else None
    mask = ~arrays["in.attn_mask"] if "in.attn_mask" in arrays else None
    torch.testing.assert_close(encoder(arrays["in.x"], valid, mask), arrays["out.x"], **CLOSE)
    assert ("out.saliency" in arrays) == config["saliency"]
    if config["saliency"]:
        torch.testing.assert_close(encoder.attention(arrays["in.x"], valid, mask), arrays["out.saliency"], **CLOSE)
