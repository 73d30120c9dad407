"""The contrastive losses and their gradients are those of the old code: CMSC's mean, and the sums of 3KG and SimCLR."""

import pytest
import torch
from legacy_models import tensors
from parity_cases import cases

from einthoven.layers.projection import unit
from einthoven.objectives.cmsc import cmsc_loss
from einthoven.objectives.simclr import nt_xent
from einthoven.objectives.three_kg import three_kg_loss


def cmsc(logits, arrays, config):
    first, second, patient = arrays["in.segment"] == 0, arrays["in.segment"] == 1, arrays["in.patient_id"]
    return cmsc_loss(logits[first], logits[second], patient[first], patient[second], temperature=config["temp"], eps=config["eps"])


def three_kg(logits, arrays, config):
    return three_kg_loss(logits, arrays["in.patient_id"], config["temp"], config["eps"], constant_norm=True)[0]


def simclr(logits, arrays, config):
    """The old criterion sums over rows, where ours is the mean."""
    rows = unit(logits, constant_norm=True, eps=config["eps"])
    return len(rows) * nt_xent(rows[0::2], rows[1::2], config["temp"])


CRITERIA = {"cmsc": cmsc, "3kg": three_kg, "simclr": simclr}


@pytest.mark.parametrize("case", cases("contrastive_losses"))
def test_the_loss_and_its_gradient_are_those_of_the_old_criterion(case):
    arrays = tensors(case)
    logits = arrays["in.logits"].clone().requires_grad_()
    loss = CRITERIA[case.config["criterion"]](logits, arrays, case.config)
    loss.backward()
    torch.testing.assert_close(loss.detach(), arrays["out.loss"], rtol=1e-5, atol=0)
    scale = max(1.0, float(arrays["out.loss"]))
    torch.testing.assert_close(logits.grad, arrays["out.loss_grad"], rtol=0, atol=1e-6 * scale)
