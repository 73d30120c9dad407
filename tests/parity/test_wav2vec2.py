"""W2V gives the values and the gradients of the old model and criterion, at the old one's random choices."""

import pytest
import torch
from legacy_models import CLOSE, LOGITS, batch_for, choices_for, tensors, w2v_for
from parity_cases import cases

from einthoven.objectives.step import Moment
from einthoven.objectives.wav2vec2 import split_legacy_state

EVERY = cases("wav2vec2")


@pytest.mark.parametrize("case", EVERY)
def test_logits_features_and_context_are_those_of_the_old_model(case):
    w2v, arrays = w2v_for(case), tensors(case)
    batch = batch_for(arrays)
    prediction = w2v.masked(w2v.encoder, batch, Moment(), choices_for(case, arrays))
    torch.testing.assert_close(prediction.logits.permute(2, 0, 1), arrays["out.logits_x"], **LOGITS)
    torch.testing.assert_close(prediction.logits.transpose(0, 1).flatten(0, 1), arrays["out.logits"], **LOGITS)
    torch.testing.assert_close(prediction.context, arrays["out.encoder_out"], **CLOSE)
    frames = w2v.encoder.frames(batch["ecg"], batch.get("valid"))
    torch.testing.assert_close(frames.energy, arrays["out.features_pen"], **CLOSE)
    torch.testing.assert_close(frames.local, arrays["out.features_only.features"], **CLOSE)
    torch.testing.assert_close(w2v.encoder(batch["ecg"], batch.get("valid")), arrays["out.features_only.x"], **CLOSE)
    if "out.frame_padding_mask" in arrays:
        assert torch.equal(~frames.valid, arrays["out.frame_padding_mask"])


@pytest.mark.parametrize("case", EVERY)
def test_the_loss_and_its_parts_are_those_of_the_old_criterion(case):
    w2v, arrays, expected = w2v_for(case), tensors(case), case.expect
    step = w2v(batch_for(arrays), choices=choices_for(case, arrays))
    assert step.weight == expected["sample_size"]
    # The old criterion sums; ours is the mean.
    size = expected["sample_size"]
    torch.testing.assert_close(step.loss, arrays["out.loss"] / size, **CLOSE)
    names = ["loss_nce", "diversity", "feature_penalty"] if case.config["quantize_targets"] else ["loss_nce", "feature_penalty"]
    for i, name in enumerate(names):
        assert float(step.parts[name]) == pytest.approx(expected[f"loss_{i}"] / size, rel=1e-4, abs=1e-5)
    assert float(step.parts["accuracy"]) * expected["count"] == pytest.approx(expected["correct"], abs=1e-3)
    if case.config["quantize_targets"]:
        torch.testing.assert_close(step.parts["prob_perplexity"], arrays["out.prob_perplexity"], **CLOSE)
        torch.testing.assert_close(step.parts["code_perplexity"], arrays["out.code_perplexity"], **CLOSE)
        assert float(step.parts["temperature"]) == pytest.approx(expected["temp"])


@pytest.mark.parametrize("case", EVERY)
def test_every_gradient_is_that_of_the_old_criterion(case):
    w2v, arrays = w2v_for(case), tensors(case)
    w2v(batch_for(arrays), choices=choices_for(case, arrays)).loss.backward()
    expected = split_legacy_state(case.grads)
    assert {name for name, p in w2v.named_parameters() if p.grad is not None} == set(expected)
    for name, parameter in w2v.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
