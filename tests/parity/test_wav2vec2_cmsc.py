"""W2V + CMSC gives the values and the gradients of the old model and criterion, at the old one's random choices."""

from dataclasses import fields

import pytest
import torch
from legacy_models import CLOSE, LOGITS, batch_for, choices_for, segments_in_pairs, tensors, w2v_cmsc_for
from parity_cases import cases

from einthoven.layers.pool import pool
from einthoven.objectives.masked_prediction import Choices
from einthoven.objectives.step import Moment
from einthoven.objectives.wav2vec2 import split_legacy_state

EVERY = cases("wav2vec2_cmsc")


def in_pairs(case, arrays):
    """Batch and choices with the two segments of a pair in rows 2i and 2i + 1, as our contract has them."""
    order = segments_in_pairs(arrays["in.segment"], arrays["in.patient_id"])
    choices = choices_for(case, arrays)
    batch = {name: value[order] for name, value in batch_for(arrays).items()}
    moved = {f.name: getattr(choices, f.name) for f in fields(Choices)}
    return batch, Choices(**{name: None if value is None else value[order] for name, value in moved.items()}), order


@pytest.mark.parametrize("case", EVERY)
def test_logits_and_pooled_features_are_those_of_the_old_model(case):
    model, arrays = w2v_cmsc_for(case), tensors(case)
    batch = batch_for(arrays)
    prediction = model.masked(model.encoder, batch, Moment(), choices_for(case, arrays))
    torch.testing.assert_close(prediction.logits.permute(2, 0, 1), arrays["out.logits_x"], **LOGITS)
    torch.testing.assert_close(prediction.logits.transpose(0, 1).flatten(0, 1), arrays["out.logits"], **LOGITS)
    torch.testing.assert_close(prediction.context, arrays["out.encoder_out"], **CLOSE)
    torch.testing.assert_close(prediction.context, arrays["out.features"], **CLOSE)
    torch.testing.assert_close(pool(prediction.context, prediction.valid), arrays["out.features_mean"], **CLOSE)
    frames = model.encoder.frames(batch["ecg"], batch.get("valid"))
    torch.testing.assert_close(frames.energy, arrays["out.features_pen"], **CLOSE)
    torch.testing.assert_close(frames.local, arrays["out.features_only.features"], **CLOSE)
    torch.testing.assert_close(model.encoder(batch["ecg"], batch.get("valid")), arrays["out.features_only.x"], **CLOSE)
    if "out.frame_padding_mask" in arrays:
        assert torch.equal(~frames.valid, arrays["out.frame_padding_mask"])


@pytest.mark.parametrize("case", EVERY)
def test_the_loss_and_its_parts_are_those_of_the_old_criterion(case):
    model, arrays, expected = w2v_cmsc_for(case), tensors(case), case.expect
    batch, choices, _ = in_pairs(case, arrays)
    step = model(batch, choices=choices)
    size = expected["sample_size"]
    assert step.weight == size
    torch.testing.assert_close(step.loss, arrays["out.loss"] / size, **CLOSE)
    for i, name in enumerate(["loss_nce", "diversity", "feature_penalty", "cmsc"]):
        assert float(step.parts[name]) == pytest.approx(expected[f"loss_{i}"] / size, rel=1e-4, abs=1e-5)
    assert float(step.parts["accuracy"]) * expected["count"] == pytest.approx(expected["correct"], abs=1e-3)
    torch.testing.assert_close(step.parts["prob_perplexity"], arrays["out.prob_perplexity"], **CLOSE)
    torch.testing.assert_close(step.parts["code_perplexity"], arrays["out.code_perplexity"], **CLOSE)


@pytest.mark.parametrize("case", EVERY)
def test_every_gradient_is_that_of_the_old_criterion(case):
    model, arrays = w2v_cmsc_for(case), tensors(case)
    batch, choices, _ = in_pairs(case, arrays)
    model(batch, choices=choices).loss.backward()
    expected = split_legacy_state(case.grads)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(expected)
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
