"""The diagnosis classifier against the old one: same weights, same input; outputs, loss, gradients, counts."""

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.models.ecg_transformer import ECGTransformer, from_legacy_config
from einthoven.models.folder import load_weights
from einthoven.objectives.step import Moment
from einthoven.tasks.diagnosis import Diagnosis

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def module_of(case) -> Diagnosis:
    weight = (case.config.get("criterion") or {}).get("pos_weight")
    names = [f"class_{i}" for i in range(case.config["num_labels"])]
    task = Diagnosis(ECGTransformer(**from_legacy_config(case.config)), names, pos_weight=weight, dropout=case.config["final_dropout"])
    return load_weights(task, case.state, case.name).eval()


def batch_of(case) -> dict[str, torch.Tensor]:
    arrays = {name: torch.from_numpy(value) for name, value in case.arrays.items() if name.startswith("in.")}
    batch = {"ecg": arrays["in.source"], "label": arrays["in.label"]}
    if "in.padding_mask" in arrays:
        batch["valid"] = ~arrays["in.padding_mask"].any(dim=1)
    return batch


@pytest.mark.parametrize("case", cases("ecg_transformer_classifier"))
def test_logits_and_frames_are_the_old_ones(case):
    module, batch = module_of(case), batch_of(case)
    with torch.no_grad():
        frames, valid = module.frames(batch)
        logits = module.logits(batch)
    if valid is not None:
        frames = frames.masked_fill(~valid[:, :, None], 0.0)  # the old code zeroes them in place before it gives them out
        np.testing.assert_array_equal(~valid.numpy(), case.arrays["out.frame_padding_mask"])
    np.testing.assert_allclose(frames.numpy(), case.arrays["out.encoder_out"], **CLOSE)
    np.testing.assert_allclose(logits.numpy(), case.arrays["out.logits"], **CLOSE)


@pytest.mark.parametrize("case", cases("ecg_transformer_classifier"))
def test_saliency_is_the_old_one(case):
    if "out.saliency" not in case.arrays:
        pytest.skip("this case has no saliency")
    module, batch = module_of(case), batch_of(case)
    with torch.no_grad():
        frames = module.encoder.frames(batch["ecg"], batch.get("valid"))
        attention = module.encoder.attention(frames.tokens, frames.valid)
    np.testing.assert_allclose(attention.numpy(), case.arrays["out.saliency"], **CLOSE)


@pytest.mark.parametrize("case", cases("ecg_transformer_classifier"))
def test_the_loss_and_every_gradient_are_the_old_ones(case):
    """The old loss is the sum; its gradients are those of sum / sample_size, which is our mean."""
    module, batch = module_of(case), batch_of(case)
    step = module(batch, Moment())
    step.loss.backward()
    assert step.weight == case.expect["sample_size"]
    np.testing.assert_allclose(step.loss.item() * step.weight, case.arrays["out.loss"], rtol=1e-4)
    np.testing.assert_allclose(step.parts["accuracy"].item(), case.expect["correct"] / case.expect["count"], rtol=1e-6)
    theirs, ours = case.grads, dict(module.named_parameters())
    assert theirs.keys() <= ours.keys()
    for name, parameter in ours.items():
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        torch.testing.assert_close(
            gradient, theirs.get(name, torch.zeros_like(parameter)), **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
        )
