"""MoCo's loss is the paper's loop over one positive and a queue; the queue is a ring; the copy follows and never learns."""

import copy
import math

import pytest
import torch
from objective_cases import CASES, batch_of, lead_masks, transformer
from torch.nn import functional as F

from einthoven.objectives.moco import MoCo, moco_logits, written
from einthoven.objectives.objective import views_of
from einthoven.objectives.step import Moment


def tiny(**options):
    torch.manual_seed(0)
    return MoCo(transformer(), **{"projection": (16, 8), "queue": 12, "augment": lead_masks(), **options})


def loop(query, key, queue, temperature):
    """He et al., equation 1."""
    terms = []
    for q, k in zip(query, key):
        positive = math.exp(q @ k / temperature)
        terms.append(-math.log(positive / (positive + sum(math.exp(q @ old / temperature) for old in queue))))
    return sum(terms) / len(terms)


def test_the_loss_is_the_loop_over_the_queue():
    moco, batch, moment = tiny(temperature=0.2), batch_of(CASES["moco"]), Moment(seed=4)
    first, second = views_of(batch, moment, moco.augment, 2)
    query = F.normalize(moco.projection(moco.encoder(first["ecg"]).mean(dim=1)), dim=1)
    key = F.normalize(moco.key_projection(moco.key_encoder(second["ecg"]).mean(dim=1)), dim=1)
    before = moco.keys.clone()
    step = moco(batch, moment)
    assert step.loss.item() == pytest.approx(loop(query.detach(), key, before, 0.2), rel=1e-5)
    nearest = [bool(q @ k > max(q @ old for old in before)) for q, k in zip(query, key)]
    assert step.parts["accuracy"].item() == pytest.approx(sum(nearest) / 8) and step.weight == 8
    torch.testing.assert_close(moco.keys[:8], key)
    assert torch.equal(moco.keys[8:], before[8:]) and moco.place.item() == 8


def test_the_gradient_of_its_logits_is_that_of_finite_differences():
    torch.manual_seed(0)
    query, key, queue = (
        torch.randn(2, 3, dtype=torch.float64),
        torch.randn(2, 3, dtype=torch.float64),
        torch.randn(4, 3, dtype=torch.float64),
    )
    assert torch.autograd.gradcheck(
        lambda q: F.cross_entropy(moco_logits(q, key, queue, 0.5), torch.tensor([0, 0])), (query.requires_grad_(),)
    )


def test_the_gradient_is_that_of_the_old_keys_although_new_ones_are_written_before_backward():
    moco, batch, moment = tiny(queue=5).double(), batch_of(CASES["moco"], dtype=torch.float64), Moment(seed=4)
    still = copy.deepcopy(moco).eval()  # writes nothing
    moco(batch, moment).loss.backward()
    still(batch, moment).loss.backward()
    assert not torch.equal(moco.keys, still.keys)
    for (name, ours), theirs in zip(moco.named_parameters(), still.parameters()):
        if ours.requires_grad:
            torch.testing.assert_close(ours.grad, theirs.grad, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("size", [1, 5, 7])
def test_the_queue_is_a_ring_for_batches_of_any_size(size):
    draw = torch.Generator().manual_seed(size)
    queue, place = torch.zeros(size, 2), torch.tensor(0)
    plain, at = [[0.0, 0.0] for _ in range(size)], 0
    for n_rows in (3, 2, size, 0, 1, 9, size + 1, 4):
        keys = torch.randn(n_rows, 2, generator=draw)
        for row in keys.tolist():
            plain[at], at = row, (at + 1) % size
        queue, place = written(queue, place, keys)
        assert queue.tolist() == plain and place.item() == at


def test_the_queue_begins_with_directions_and_is_not_written_in_evaluation():
    moco = tiny().eval()
    torch.testing.assert_close(moco.keys.norm(dim=1), torch.ones(12))
    before = moco.keys.clone()
    moco(batch_of(CASES["moco"]), Moment())
    assert torch.equal(moco.keys, before) and moco.place.item() == 0
    assert {"keys", "place"} <= moco.state_dict().keys()


def test_the_gradient_reaches_every_parameter_that_learns_and_none_of_the_copy():
    moco = tiny()
    moco(batch_of(CASES["moco"]), Moment()).loss.backward()
    for name, weight in moco.named_parameters():
        assert weight.requires_grad == (not name.startswith("key_"))
        assert (weight.grad is not None and bool(weight.grad.any())) == weight.requires_grad, name


def test_after_an_update_every_parameter_of_the_copy_has_followed():
    moco = tiny(momentum=0.9)
    with torch.no_grad():
        for weight in moco.parameters():
            weight += torch.randn_like(weight)
    before = copy.deepcopy(moco.state_dict())
    moco.after_update(1, 10)
    for ours in ("encoder", "projection"):
        for name, weight in moco.get_submodule(f"key_{ours}").named_parameters():
            torch.testing.assert_close(weight, 0.9 * before[f"key_{ours}.{name}"] + 0.1 * before[f"{ours}.{name}"])
            assert not torch.equal(weight, before[f"key_{ours}.{name}"]), name


@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"momentum": 1.1}, {"queue": 0}])
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        tiny(**option)
