"""SimCLR's loss is the paper's double loop; who is a negative is as asked for."""

import math

import pytest
import torch
from objective_cases import CASES, batch_of, lead_masks, transformer
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.objectives.objective import views_of
from einthoven.objectives.simclr import SimCLR, candidates, nt_xent
from einthoven.objectives.step import Moment


def two_views(n_rows=5, dim=4):
    torch.manual_seed(0)
    return F.normalize(torch.randn(2, n_rows, dim, dtype=torch.float64), dim=2)


def double_loop(first, second, temperature, person=None):
    """Chen et al., equation 1 and algorithm 1; negatives of the same person left out where persons are given."""
    n, z, terms = len(first), torch.cat([first, second]), []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [k for k in range(2 * n) if k != i and (person is None or k == j or person[k % n] != person[i % n])]
        terms.append(-math.log(math.exp(z[i] @ z[j] / temperature) / sum(math.exp(z[i] @ z[k] / temperature) for k in others)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("person", [None, [4, 4, 7, 1, 7]])
def test_the_loss_is_the_double_loop(person):
    first, second = two_views()
    ours = nt_xent(first, second, 0.3, person=None if person is None else torch.tensor(person))
    assert ours.item() == pytest.approx(double_loop(first, second, 0.3, person), rel=1e-12)


@pytest.mark.parametrize("self_term", ["exact", "published"])
def test_its_gradient_is_that_of_finite_differences(self_term):
    first, second = (view.requires_grad_() for view in two_views(3, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5, self_term), (first, second))


def test_it_ignores_the_order_of_rows_and_of_views():
    first, second = two_views()
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(nt_xent(first, second), nt_xent(second[order], first[order]))


def test_views_that_are_all_alike_give_chance():
    assert nt_xent(torch.ones(8, 1), torch.ones(8, 1)).item() == pytest.approx(math.log(15))


def test_at_temperature_one_the_published_self_term_is_exact_but_for_its_epsilon():
    first, second = two_views()
    torch.testing.assert_close(nt_xent(first, second, 1.0, "published"), nt_xent(first, second, 1.0), rtol=1e-5, atol=0)
    assert not torch.isclose(nt_xent(first, second, 0.5, "published"), nt_xent(first, second, 0.5), rtol=1e-2)


def test_a_self_term_that_is_none_is_refused():
    with pytest.raises(ValueError, match="exact"):
        nt_xent(*two_views(), self_term="none")
    with pytest.raises(ValueError, match="without persons"):
        nt_xent(*two_views(), self_term="published", person=torch.arange(5))


def test_candidates_are_all_but_the_view_itself_or_all_but_the_person():
    first, second = two_views(3)
    logits, positive = candidates(first, second, 1.0)
    assert torch.equal(logits.isinf(), torch.eye(6, dtype=torch.bool)) and positive.tolist() == [3, 4, 5, 0, 1, 2]
    logits, _ = candidates(first, second, 1.0, torch.tensor([8, 8, 2]))
    assert [row.nonzero().flatten().tolist() for row in ~logits.isinf()] == [
        [2, 3, 5],
        [2, 4, 5],
        [0, 1, 3, 4, 5],
        [0, 2, 5],
        [1, 2, 5],
        [0, 1, 2, 3, 4],
    ]


@pytest.mark.parametrize("same_person", ["negatives", "left_out"])
def test_the_objective_is_the_loss_of_its_two_views(same_person):
    torch.manual_seed(0)
    simclr = SimCLR(transformer(), projection=(16, 8), temperature=0.2, same_person=same_person, augment=lead_masks()).eval()
    batch, moment = batch_of(CASES["simclr"]), Moment(seed=3)
    first, second = (simclr.embed(view["ecg"], view["valid"]).detach() for view in views_of(batch, moment, simclr.augment, 2))
    torch.testing.assert_close(first.norm(dim=1), torch.ones(8))
    step = simclr(batch, moment)
    person = batch["patient"].tolist() if same_person == "left_out" else None
    assert step.loss.item() == pytest.approx(double_loop(first, second, 0.2, person), rel=1e-5)
    assert step.weight == 8
    similarity = torch.cat([first, second]) @ torch.cat([first, second]).T
    right = 0
    for i in range(16):
        allowed = [k for k in range(16) if k != i and (person is None or k == (i + 8) % 16 or person[k % 8] != person[i % 8])]
        right += max(allowed, key=lambda k: similarity[i, k]) == (i + 8) % 16
    assert step.parts["accuracy"].item() == pytest.approx(right / 16)


def test_a_patient_who_is_not_known_is_only_the_record_itself():
    torch.manual_seed(0)
    simclr, batch = SimCLR(transformer(), projection=(), same_person="left_out").eval(), batch_of(CASES["simclr"])
    unknown = {**batch, "patient": torch.full((8,), -1), "record": torch.arange(8)}
    simclr_of_all = SimCLR(simclr.encoder, projection=()).eval()
    torch.testing.assert_close(simclr(unknown).loss, simclr_of_all(batch).loss)
    assert not torch.isclose(simclr(batch).loss, simclr_of_all(batch).loss)


def test_without_a_head_the_encoder_s_vectors_are_compared_and_a_constant_norm_is_the_same_loss_with_another_gradient():
    torch.manual_seed(0)
    encoder, batch = transformer().eval(), batch_of(CASES["simclr"])
    losses, gradients = [], []
    for constant_norm in (False, True):
        simclr = SimCLR(encoder, projection=(), temperature=0.1, constant_norm=constant_norm, augment=lead_masks()).eval()
        assert list(simclr.projection.parameters()) == []
        loss = simclr(batch, Moment(seed=1)).loss
        losses.append(loss.detach())
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(encoder.parameters()))]))
    torch.testing.assert_close(*losses)
    assert not torch.allclose(*gradients, rtol=1e-2)


def test_the_encoder_and_the_pool_are_told_what_is_padding():
    torch.manual_seed(0)
    simclr, batch, told = SimCLR(transformer(), projection=()).eval(), batch_of(CASES["simclr"], padded=True), []
    simclr.encoder.register_forward_hook(lambda module, args, out: told.append((args[1], out)))
    simclr(batch, Moment())
    assert len(told) == 2 and all(torch.equal(valid, batch["valid"]) for valid, _ in told)
    frames, there = told[0][1], simclr.encoder.frame_valid(batch["valid"])
    mean = torch.stack([row[inside].mean(dim=0) for row, inside in zip(frames, there)])
    torch.testing.assert_close(simclr.embed(batch["ecg"], batch["valid"]), F.normalize(mean, dim=1))
    told.clear()
    simclr({**batch, "padded": False}, Moment())
    assert told[0][0] is None


def test_the_gradient_reaches_every_parameter_that_learns():
    torch.manual_seed(0)
    simclr = SimCLR(transformer(), projection=(16, 8), augment=lead_masks())
    simclr(batch_of(CASES["simclr"]), Moment()).loss.backward()
    assert [name for name, weight in simclr.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_a_batch_of_one_and_options_that_mean_nothing_are_refused():
    with pytest.raises(RecipeError, match="at least 2"):
        SimCLR(transformer()).check(None, 1)
    SimCLR(transformer()).check(None, 2)
    with pytest.raises(ValueError, match="temperature"):
        SimCLR(transformer(), temperature=0.0)
    with pytest.raises(ValueError, match="left_out"):
        SimCLR(transformer(), same_person="friends")
