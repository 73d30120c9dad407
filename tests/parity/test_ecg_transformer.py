"""The ECG transformer gives the values of the old code: context, input of the stack, padding, attention, pooled mean."""

import pytest
import torch
from legacy_models import CLOSE, batch_for, encoder_for, tensors
from parity_cases import cases

from einthoven.layers.pool import pool


@pytest.mark.parametrize("case", cases("ecg_transformer"))
def test_the_encoder_is_that_of_the_old_code(case):
    arrays = tensors(case)
    encoder = encoder_for(case)
    encoder.load_state_dict(case.state)
    batch = batch_for(arrays)
    frames = encoder.frames(batch["ecg"], batch.get("valid"))
    context = encoder.context(frames.tokens, frames.valid)
    torch.testing.assert_close(frames.tokens + encoder.conv_pos(frames.tokens), arrays["out.embeddings"], **CLOSE)
    torch.testing.assert_close(context, arrays["out.x"], **CLOSE)
    torch.testing.assert_close(pool(context, frames.valid), arrays["out.logits_mean"], **CLOSE)
    assert (frames.valid is None) == ("out.frame_padding_mask" not in arrays)
    if frames.valid is not None:
        assert torch.equal(~frames.valid, arrays["out.frame_padding_mask"])
    if "out.saliency" in arrays:
        torch.testing.assert_close(encoder.attention(frames.tokens, frames.valid), arrays["out.saliency"], **CLOSE)
