"""CMSC's loss and its gradient are those of the old code."""

import pytest
import torch
from legacy_models import tensors
from parity_cases import cases

from einthoven.objectives.cmsc import cmsc_loss


@pytest.mark.parametrize("case", cases("contrastive_losses"))
def test_the_loss_and_its_gradient_are_those_of_the_old_criterion(case):
    if case.config["criterion"] != "cmsc":
        pytest.xfail(f"{case.name}: the objective {case.config['criterion']} is not part of Einthoven yet")
    arrays = tensors(case)
    logits = arrays["in.logits"].clone().requires_grad_()
    first, second = arrays["in.segment"] == 0, arrays["in.segment"] == 1
    patient = arrays["in.patient_id"]
    loss = cmsc_loss(
        logits[first], logits[second], patient[first], patient[second], temperature=case.config["temp"], eps=case.config["eps"]
    )
    loss.backward()
    torch.testing.assert_close(loss.detach(), arrays["out.loss"], rtol=1e-5, atol=0)
    scale = max(1.0, float(arrays["out.loss"]))
    torch.testing.assert_close(logits.grad, arrays["out.loss_grad"], rtol=0, atol=1e-6 * scale)
