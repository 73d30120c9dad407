"""Every objective in the table has the face that the loop and the model folder count on."""

import pytest
import torch

from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives import OBJECTIVES
from einthoven.objectives.step import Moment, Step


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_keeps_the_contract(name):
    torch.manual_seed(0)
    encoder = ECGTransformer(**SIZES["tiny"])
    objective = OBJECTIVES[name](encoder)
    assert objective.encoder is encoder and objective.view in ("segments", "pairs")
    batch = {
        "ecg": torch.randn(4, 12, 500),
        "valid": torch.ones(4, 500, dtype=torch.bool),
        "lead_present": torch.ones(4, 12, dtype=torch.bool),
        "patient": torch.tensor([3, 3, 8, 8]),
        "record": torch.tensor([0, 0, 1, 1]),
        "segment": torch.tensor([2, 3, 0, 1]),
    }
    step = objective(batch, Moment(seed=1))
    assert isinstance(step, Step) and step.loss.shape == () and step.loss.requires_grad
    assert step.weight > 0 and all(part.shape == () and not part.requires_grad for part in step.parts.values())
    step.loss.backward()
    names = {name for name, _ in objective.named_parameters()}
    assert {f"encoder.{name}" for name, _ in encoder.named_parameters()} <= names
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = objective(batch, Moment(seed=1))
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, step.loss, rtol=0.05, atol=0.05)
