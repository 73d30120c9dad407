"""SwAV's assignment and loss are the paper's loops; pieces are smaller views; queue and frozen prototypes are as asked for."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from objective_cases import CASES, SWAV, batch_of, lead_masks, transformer
from torch.nn import functional as F

from einthoven.errors import RecipeError
from einthoven.objectives.step import Moment
from einthoven.objectives.swav import SwAV, cut, sinkhorn, swav_loss


def tiny(**options):
    torch.manual_seed(0)
    return SwAV(transformer(), **{**SWAV, "augment": lead_masks(), **options})


def paper_sinkhorn(scores, epsilon, iterations):
    """Algorithm 1 of Caron et al., in NumPy."""
    q = np.exp(scores / epsilon).T
    q /= q.sum()
    n_prototypes, n_rows = q.shape
    for _ in range(iterations):
        q *= (1 / n_prototypes / q.sum(axis=1))[:, None]
        q *= (1 / n_rows / q.sum(axis=0))[None, :]
    return (q / q.sum(axis=0, keepdims=True)).T


@pytest.mark.parametrize("epsilon, iterations", [(0.05, 3), (0.5, 1), (0.2, 10)])
def test_an_assignment_is_the_paper_s(epsilon, iterations):
    scores = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = paper_sinkhorn(scores.numpy(), epsilon, iterations)
    np.testing.assert_allclose(sinkhorn(scores, epsilon, iterations).numpy(), expected, rtol=1e-9)


def test_rows_are_shared_evenly_among_prototypes():
    scores = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    codes = sinkhorn(scores, 0.5, 200)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(dim=0), torch.full((4,), 3.0, dtype=torch.float64))


def test_a_small_epsilon_gives_hard_codes_and_no_overflow():
    scores = 2 * torch.rand(6, 3, generator=torch.Generator().manual_seed(0)) - 1
    codes = sinkhorn(scores, 1e-4, 30)
    assert codes.isfinite().all() and codes.amax(dim=1).mean() > 0.8


def test_rows_that_are_not_counted_do_not_take_part():
    scores = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    counted = torch.tensor([True, True, False, True, False, True, True, False, True])
    torch.testing.assert_close(sinkhorn(scores, 0.3, 4, counted)[counted], sinkhorn(scores[counted], 0.3, 4))
    assert not torch.allclose(sinkhorn(scores, 0.3, 4)[counted], sinkhorn(scores[counted], 0.3, 4))


def loop(scores, codes, temperature):
    """The swapped prediction: each assigned view's codes from every other view, mean over them, rows and assigned views."""
    total = []
    for i in range(len(codes)):
        for v in range(len(scores)):
            for row in range(scores.shape[1]):
                if v != i:
                    exps = [math.exp(score / temperature) for score in scores[v, row]]
                    total.append(-sum(float(q) * math.log(e / sum(exps)) for q, e in zip(codes[i, row], exps)))
    return sum(total) / len(total)


def test_the_loss_is_the_loop():
    torch.manual_seed(0)
    scores, codes = torch.randn(4, 3, 5, dtype=torch.float64), torch.rand(2, 3, 5, dtype=torch.float64).softmax(dim=2)
    assert swav_loss(scores, codes, 0.3).item() == pytest.approx(loop(scores, codes, 0.3), rel=1e-12)
    assert swav_loss(scores, codes, 0.3, divisor=6).item() == pytest.approx(loop(scores, codes, 0.3) * 3 / 6, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    scores, codes = torch.randn(3, 2, 4, dtype=torch.float64), torch.rand(2, 2, 4, dtype=torch.float64).softmax(dim=2)
    assert torch.autograd.gradcheck(lambda x: swav_loss(x, codes, 0.5), (scores.requires_grad_(),))


def test_a_piece_is_cut_within_what_is_valid_at_a_place_of_the_moment():
    time = torch.arange(100.0)
    n_valid = torch.tensor([100, 60, 40, 10])
    valid = time < n_valid[:, None]
    view = {"ecg": torch.where(valid, time, -1.0)[:, None].expand(-1, 2, -1), "valid": valid}
    seen = [set() for _ in n_valid]
    for step in range(200):
        piece = cut(view, 40, Moment(step=step))
        assert piece["ecg"].shape == (4, 2, 40) and torch.equal(piece["ecg"], cut(view, 40, Moment(step=step))["ecg"])
        for row, (ecg, there) in enumerate(zip(piece["ecg"], piece["valid"])):
            start = int(ecg[0, 0])
            seen[row].add(start)
            expected = torch.arange(start, start + 40.0)
            assert there.sum() == min(40, n_valid[row]) and torch.equal(ecg[:, there], expected[there].expand(2, -1))
    assert (min(seen[0]), max(seen[0])) == (0, 60) and len(seen[0]) > 50
    assert seen[1] == set(range(21)) and seen[2] == seen[3] == {0}


def test_views_of_one_length_go_through_the_encoder_together_and_pieces_are_really_shorter():
    swav = tiny(crops=3, small=2, small_seconds=0.3)
    shapes = []
    swav.encoder.register_forward_hook(lambda module, args, out: shapes.append(tuple(args[0].shape)))
    swav(batch_of(CASES["swav"]), Moment())
    assert shapes == [(24, 12, 320), (16, 12, 150)] and swav.n_views == 5
    shapes.clear()
    published = tiny(crops=6, small=0)
    published.encoder.register_forward_hook(lambda module, args, out: shapes.append(tuple(args[0].shape)))
    published(batch_of(CASES["swav"]), Moment())
    assert shapes == [(48, 12, 320)]


def test_the_objective_is_the_paper_s_loop():
    swav, batch, moment = tiny(queue=0).eval(), batch_of(CASES["swav"]), Moment(seed=2)
    vectors = swav.embed(swav.views(batch, moment))
    torch.testing.assert_close(vectors.norm(dim=2), torch.ones(4, 8))
    scores = vectors @ swav.prototypes.T
    codes = torch.stack([torch.from_numpy(paper_sinkhorn(scores[i].double().detach().numpy(), 0.05, 3)) for i in range(2)])
    step = swav(batch, moment)
    assert step.loss.item() == pytest.approx(loop(scores.detach().double(), codes, 0.1), rel=1e-4) and step.weight == 8
    share = codes.mean(dim=(0, 1))
    assert step.parts["prototypes_in_use"].item() == pytest.approx(math.exp(-sum(p * math.log(p) for p in share.tolist())), rel=1e-4)


def test_no_gradient_goes_through_the_codes():
    swav, batch, moment = tiny(queue=0).double().eval(), batch_of(CASES["swav"], dtype=torch.float64), Moment(seed=2)
    vectors = swav.embed(swav.views(batch, moment))
    codes = torch.stack([sinkhorn(vectors[i] @ swav.prototypes.T) for i in range(2)]).detach()
    expected = torch.autograd.grad(swav_loss(vectors @ swav.prototypes.T, codes), swav.prototypes)[0]
    torch.testing.assert_close(torch.autograd.grad(swav(batch, moment).loss, swav.prototypes)[0], expected)


def test_the_queue_takes_part_once_it_is_full_and_only_then():
    """The newest vectors stand in front; there is none before ``queue_from``, nothing in evaluation."""
    swav = tiny(queue=10, queue_from=1, small=0).double()
    draw = torch.Generator().manual_seed(0)
    old = torch.zeros(2, 10, 8, dtype=torch.float64)
    for step, full in enumerate([False, False, False, False, True, True]):
        vectors = F.normalize(torch.randn(2, 4, 8, dtype=torch.float64, generator=draw), dim=2)
        rows = torch.cat([vectors, old], dim=1) if full else vectors
        expected = torch.stack([sinkhorn(one @ swav.prototypes.T)[:4] for one in rows])
        torch.testing.assert_close(swav.eval().assign(vectors, Moment(step=step)), expected)
        torch.testing.assert_close(swav.train().assign(vectors, Moment(step=step)), expected)
        if step >= 1:
            old = torch.cat([vectors, old], dim=1)[:, :10]
        torch.testing.assert_close(swav.queue, old)
        assert swav.filled.item() == min(10, 4 * step)


def test_a_batch_larger_than_the_queue_leaves_its_first_rows_in_it():
    swav = tiny(queue=3)
    vectors = torch.randn(2, 8, 8)
    swav.assign(vectors, Moment(step=1))
    assert torch.equal(swav.queue, vectors[:, :3]) and swav.filled.item() == 3


def test_prototypes_stay_for_as_long_as_asked_for_and_have_length_one():
    swav, batch = tiny(frozen_for=2), batch_of(CASES["swav"])
    torch.testing.assert_close(swav.prototypes.norm(dim=1), torch.ones(6))
    for step in range(4):
        swav.zero_grad()
        swav(batch, Moment(step=step)).loss.backward()
        assert (swav.prototypes.grad is None) == (step < 2)
    with torch.no_grad():
        swav.prototypes.mul_(3)
    swav.after_update(1, 2)
    torch.testing.assert_close(swav.prototypes.norm(dim=1), torch.ones(6))


def test_the_gradient_reaches_every_parameter_that_learns():
    swav = tiny()
    swav(batch_of(CASES["swav"]), Moment()).loss.backward()
    assert [name for name, weight in swav.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_more_prototypes_than_rows_to_share_them_are_refused_before_training():
    with pytest.raises(RecipeError, match="prototypes=14 or less"):
        tiny(prototypes=15, queue=12).check(None, 2)
    tiny(prototypes=14, queue=12).check(None, 2)
    with pytest.raises(RecipeError, match="prototypes=4 or less"):
        tiny(prototypes=5, queue=0).check(None, 4)


@pytest.mark.parametrize("seconds", [0.01, 0.64, 2.0])
def test_a_piece_that_is_no_piece_or_gives_no_frame_is_refused_before_training(seconds):
    swav = tiny(small_seconds=seconds)
    for data in (SimpleNamespace(n_window=320), SimpleNamespace(segments=SimpleNamespace(n_window=320))):
        with pytest.raises(RecipeError, match="small_seconds"):
            swav.check(data, 8)
    with pytest.raises(RecipeError, match="small_seconds"):  # whole recordings: seen with the first batch
        swav.check(SimpleNamespace(n_window=None), 8)
        swav(batch_of(CASES["swav"]), Moment())
    tiny(small_seconds=seconds, small=0).check(SimpleNamespace(n_window=320), 8)


@pytest.mark.parametrize(
    "option", [{"assigned": 3}, {"crops": 1, "assigned": 1, "small": 0}, {"queue": -1}, {"epsilon": 0.0}, {"small_seconds": 0.0}]
)
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(ValueError, match="expected"):
        tiny(**option)
