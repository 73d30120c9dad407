"""BYOL's loss is the squared distance of two directions; the copy follows every parameter and never learns."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from objective_cases import CASES, batch_of, lead_masks, transformer
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.objectives.byol import BYOL, byol_loss, target_decay
from einthoven.objectives.objective import views_of
from einthoven.objectives.step import Moment


def tiny(**options):
    torch.manual_seed(0)
    return BYOL(transformer(), **{"hidden": 16, "dim": 8, "augment": lead_masks(), **options})


def test_the_loss_is_the_squared_distance_of_unit_vectors():
    torch.manual_seed(0)
    predicted, target = torch.randn(2, 5, 4, dtype=torch.float64)
    terms = []
    for a, b in zip(predicted, target):
        a, b = a / math.sqrt(sum(x * x for x in a)), b / math.sqrt(sum(x * x for x in b))
        terms.append(float(sum((x - y) ** 2 for x, y in zip(a, b))))
    assert byol_loss(predicted, target).item() == pytest.approx(sum(terms) / 5, rel=1e-12)
    assert byol_loss(target, 3 * target).item() == pytest.approx(0)
    assert byol_loss(target, -target).item() == pytest.approx(4)


def test_its_gradient_is_that_of_finite_differences_and_none_goes_to_the_target():
    torch.manual_seed(0)
    predicted, target = torch.randn(2, 3, 4, dtype=torch.float64)
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: byol_loss(x, target), (predicted,))
    target.requires_grad_()
    byol_loss(predicted, target).backward()
    assert target.grad is None and predicted.grad.any()


def test_the_objective_is_both_ways_by_hand():
    byol, batch, moment = tiny().eval(), batch_of(CASES["byol"]), Moment(seed=2)
    first, second = (view["ecg"] for view in views_of(batch, moment, byol.augment, 2))
    assert not torch.equal(first, second)
    expected = 0.0
    for here, there in ((first, second), (second, first)):
        predicted = byol.predictor(byol.projector(byol.encoder(here).mean(dim=1)))
        target = byol.target_projector(byol.target_encoder(there).mean(dim=1))
        expected = expected + 2 - 2 * (F.normalize(predicted, dim=1) * F.normalize(target, dim=1)).sum(dim=1).mean()
    step = byol(batch, moment)
    torch.testing.assert_close(step.loss, expected)
    assert step.weight == 8 and step.parts["cosine"].item() == pytest.approx(1 - step.loss.item() / 4)


def test_the_gradient_reaches_every_parameter_that_learns_and_none_of_the_copy():
    byol = tiny()
    byol(batch_of(CASES["byol"]), Moment()).loss.backward()
    learning = {name for name, weight in byol.named_parameters() if weight.requires_grad}
    assert learning == {name for name, _ in byol.named_parameters() if not name.startswith("target_")}
    for name, weight in byol.named_parameters():
        assert (weight.grad is not None) == (name in learning), name
    # A constant in front of a batch norm or of a softmax changes nothing: these get a gradient of zero but for rounding.
    constants = {"projector.3.bias", "encoder.encoder.layers.0.final_layer_norm.bias", "encoder.encoder.layers.0.self_attn.k_proj.bias"}
    assert {name for name in learning if not byol.get_parameter(name).grad.abs().max() > 1e-6} == constants


def test_the_decay_rises_along_a_cosine_from_its_base_to_one():
    values = [target_decay(step, 40, 0.99) for step in range(41)]
    assert values[0] == pytest.approx(0.99) and values[20] == pytest.approx(0.995) and values[40] == 1
    assert all(a < b for a, b in pairwise(values))


def test_after_an_update_every_parameter_of_the_copy_has_followed():
    byol = tiny(decay=0.9)
    with torch.no_grad():
        for weight in byol.parameters():
            weight += torch.randn_like(weight)
    before = copy.deepcopy(byol.state_dict())
    byol.after_update(6, 40)
    decay = target_decay(5, 40, 0.9)
    for ours, theirs in (("encoder", "target_encoder"), ("projector", "target_projector")):
        for name, weight in byol.get_submodule(theirs).named_parameters():
            expected = decay * before[f"{theirs}.{name}"] + (1 - decay) * before[f"{ours}.{name}"]
            torch.testing.assert_close(weight, expected)
            assert not torch.equal(weight, before[f"{theirs}.{name}"]), name


def test_the_first_update_has_the_base_s_decay_and_the_last_one_nearly_one():
    byol = tiny(decay=0.0)
    with torch.no_grad():
        byol.projector[0].weight += 1
    byol.after_update(1, 10)  # decay 0: the copy becomes what it follows
    assert torch.equal(byol.target_projector[0].weight, byol.projector[0].weight)
    with torch.no_grad():
        byol.projector[0].weight += 1
    byol.after_update(10, 10)
    moved = byol.target_projector[0].weight - (byol.projector[0].weight - 1)
    torch.testing.assert_close(moved, torch.full_like(moved, (1 + math.cos(math.pi * 0.9)) / 2), rtol=1e-3, atol=1e-6)


def test_the_copy_s_norms_know_its_own_batches_and_learn_none_in_evaluation():
    byol, batch, moment = tiny().train(), batch_of(CASES["byol"]), Moment(seed=2)
    first, second = views_of(batch, moment, byol.augment, 2)
    hidden = [F.linear(byol.target_encoder.embed(view["ecg"]), byol.target_projector[0].weight) for view in (second, first)]
    mean = torch.zeros(16)
    for rows in hidden:
        mean = 0.9 * mean + 0.1 * rows.mean(dim=0)
    byol(batch, moment)
    torch.testing.assert_close(byol.target_projector[1].running_mean, mean.detach())
    still = copy.deepcopy(byol.eval().state_dict())
    byol(batch, moment)
    assert all(torch.equal(value, still[name]) for name, value in byol.state_dict().items())


def test_a_batch_of_one_and_a_decay_that_is_no_share_are_refused():
    with pytest.raises(RecipeError, match="at least 2"):
        tiny().check(None, 1)
    with pytest.raises(ValueError, match="decay"):
        tiny(decay=1.5)
