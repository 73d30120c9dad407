"""Identification by ArcFace against the old one: same weights, same input; vectors, cosines, the loss and its gradient."""

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.models.ecg_transformer import ECGTransformer, from_legacy_config
from einthoven.models.folder import load_weights
from einthoven.objectives.step import Moment
from einthoven.tasks.identification import Identification, arcface_loss

ALL = cases("arcface")
WHOLE = [one for one in ALL if one.values[0] is None or one.values[0].has("state.pt")]
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def settings(case) -> dict[str, float]:
    stated = case.config.get("criterion", case.config)
    return {"margin": stated["margin"], "scale": stated["scale"]}


@pytest.mark.parametrize("case", ALL)
def test_the_loss_and_its_gradient_by_cosine_are_the_old_ones(case):
    """The old loss is the sum over rows. Without a model the cosines are given."""
    arrays = case.arrays
    cosine = torch.from_numpy(arrays["in.logits"] if "in.logits" in arrays else arrays["out.logits"]).requires_grad_()
    loss = arcface_loss(cosine, torch.from_numpy(arrays["in.label"]), **settings(case)).sum()
    loss.backward()
    np.testing.assert_allclose(loss.item(), arrays["out.loss"], rtol=1e-5)
    np.testing.assert_allclose(cosine.grad.numpy(), arrays["out.loss_grad_logits"], atol=1e-4, rtol=1e-5)


def task_of(case) -> Identification:
    task = Identification(
        ECGTransformer(**from_legacy_config(case.config)), case.config["num_labels"], dropout=case.config["final_dropout"], **settings(case)
    )
    return load_weights(task, {**case.state, "patients": task.patients}, case.name).eval()


@pytest.mark.parametrize("case", WHOLE)
def test_vectors_cosines_and_counts_are_the_old_ones(case):
    task, arrays = task_of(case), case.arrays
    batch = {"ecg": torch.from_numpy(arrays["in.source"]), "patient": torch.from_numpy(arrays["in.label"])}
    if "in.padding_mask" in arrays:
        pytest.skip("the old mean counts padded frames; ours leaves them out")
    with torch.no_grad():
        np.testing.assert_allclose(task.encoder(batch["ecg"]).numpy(), arrays["out.encoder_out"], **CLOSE)
        vectors = task.predict(batch)
        np.testing.assert_allclose(vectors.numpy(), arrays["out.embedding"], **CLOSE)
        np.testing.assert_allclose(task.cosines(vectors).numpy(), arrays["out.logits"], **CLOSE)
        step = task(batch, Moment())
    assert step.weight == case.expect["sample_size"]
    np.testing.assert_allclose(step.loss.item() * step.weight, arrays["out.loss"], rtol=1e-4)
    np.testing.assert_allclose(step.parts["accuracy"].item(), case.expect["correct"] / case.expect["count"], rtol=1e-6)
