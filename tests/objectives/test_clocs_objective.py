"""CMLC and CMSMLC are the paper's double loop over pairs of leads; one lead is one view, by an encoder of one lead and of many."""

import itertools
import math

import pytest
import torch

from einthoven.errors import RecipeError
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives.clocs import CMLC, CMSMLC, choose_leads, clocs_loss, lead_vectors
from einthoven.objectives.cmsc import cmsc_loss
from einthoven.objectives.step import Moment

PERSON = torch.tensor([4, 8, 4, 1])


def loop(views, person, present, temperature):
    """Every two views, every item, every positive, one after the other; the paper sums over combinations and both directions."""
    pairs = []
    for a, b in itertools.combinations(range(views.shape[1]), 2):
        for one, other in ((a, b), (b, a)):
            terms = []
            for i in range(len(views)):
                scores = [
                    torch.exp(views[i, one] @ views[j, other] / views[i, one].norm() / views[j, other].norm() / temperature)
                    for j in range(len(views))
                ]
                among = sum(scores[j] for j in range(len(views)) if present[j][other])
                terms += [
                    -torch.log(scores[j] / among)
                    for j in range(len(views))
                    if person[i] == person[j] and present[i][one] and present[j][other]
                ]
            if terms:
                pairs.append(sum(terms) / len(terms))
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("missing", [[], [(0, 1), (2, 1), (3, 0)], [(i, 2) for i in range(4)]])
def test_the_loss_and_its_gradient_are_those_of_the_double_loop(missing):
    torch.manual_seed(0)
    views, present = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True), torch.ones(4, 3, dtype=torch.bool)
    for place in missing:
        present[place] = False
    ours, expected = clocs_loss(views, PERSON, present, 0.3), loop(views, PERSON.tolist(), present.tolist(), 0.3)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, views)[0], torch.autograd.grad(expected, views)[0])
    assert torch.autograd.gradcheck(lambda x: clocs_loss(x, PERSON, present, 0.3), (views,))


def test_of_two_views_it_is_cmsc():
    torch.manual_seed(0)
    views = torch.randn(4, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(clocs_loss(views, PERSON), cmsc_loss(views[:, 0], views[:, 1], PERSON))


def test_strangers_that_look_alike_give_chance():
    assert clocs_loss(torch.ones(8, 3, 4), torch.arange(8)).item() == pytest.approx(math.log(8))


def test_where_no_lead_is_there_the_loss_is_0_and_no_nan():
    views = torch.randn(4, 3, 5, requires_grad=True)
    loss = clocs_loss(views, PERSON, torch.zeros(4, 3, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and (views.grad == 0).all()


def batch(n_rows=4, leads=12):
    ecg = torch.randn(n_rows, leads, 320, generator=torch.Generator().manual_seed(0))
    present = torch.ones(n_rows, leads, dtype=torch.bool)
    if leads > 1:
        missing = min(2, leads - 1)
        present[1, missing] = False
        ecg[1, missing] = 0
    person = torch.arange(n_rows) // 2
    return {"ecg": ecg, "lead_present": present, "patient": person, "record": person + 100, "segment": torch.arange(n_rows) % 2}


def tiny(**options):
    torch.manual_seed(0)
    return ECGTransformer(**{**SIZES["tiny"], "dim": 32, "depth": 1, **options}).eval()


def test_a_view_is_one_lead_as_the_encoder_sees_it_alone():
    given = batch()
    one, many = tiny(leads=("II",)), tiny()
    vectors, present = lead_vectors(one, given, [0, 2, 5])
    torch.testing.assert_close(vectors[:, 1], one.embed(given["ecg"][:, 2:3]), rtol=1e-4, atol=1e-5)
    assert present.tolist() == [[True, lead, True] for lead in (True, False, True, True)]
    vectors, _ = lead_vectors(many, given, [0, 2, 5])
    alone = torch.zeros_like(given["ecg"])
    alone[:, 5] = given["ecg"][:, 5]
    torch.testing.assert_close(vectors[:, 2], many.embed(alone), rtol=1e-4, atol=1e-5)


def test_padding_follows_its_row_into_each_of_its_leads():
    given, encoder = batch(leads=3), tiny(leads=("I", "II", "V1"), ignore_padding=True)
    given["valid"] = torch.arange(320) < torch.tensor([320, 320, 160, 320])[:, None]
    given["ecg"][2, :, 160:] = 0
    vectors, _ = lead_vectors(encoder, given, [0, 1, 2])
    alone, _ = lead_vectors(encoder, {"ecg": given["ecg"][2:3, :, :160]}, [0, 1, 2])
    torch.testing.assert_close(vectors[2:3], alone, rtol=1e-4, atol=1e-5)


def test_cmlc_compares_the_leads_of_the_rows():
    given, objective = batch(), CMLC(tiny(), temperature=0.2, n_leads=0)
    vectors, present = lead_vectors(objective.encoder, given, list(range(12)))
    expected = loop(vectors, given["patient"].tolist(), present.tolist(), 0.2)
    torch.testing.assert_close(objective(given, Moment()).loss, expected, rtol=1e-4, atol=1e-5)


def test_cmsmlc_compares_every_lead_of_both_segments_of_a_pair():
    given, objective = batch(8, 2), CMSMLC(tiny(leads=("I",)))
    given["patient"] = torch.tensor([1, 1, 2, 2, 1, 1, 3, 3])
    vectors, present = lead_vectors(objective.encoder, given, [0, 1])
    views = torch.stack([torch.cat([vectors[2 * pair], vectors[2 * pair + 1]]) for pair in range(4)])
    there = [present[2 * pair].tolist() + present[2 * pair + 1].tolist() for pair in range(4)]
    torch.testing.assert_close(objective(given, Moment()).loss, loop(views, [1, 2, 1, 3], there, 0.1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="pairs"):
        objective({**given, "patient": torch.arange(8)}, Moment())


def test_some_leads_are_drawn_anew_at_each_step_and_alike_in_every_process():
    drawn = {tuple(choose_leads(Moment(seed=1, step=step), 12, 4)) for step in range(20)}
    assert len(drawn) > 10 and all(len(set(leads)) == 4 and sorted(leads) == list(leads) for leads in drawn)
    assert choose_leads(Moment(step=3), 12, 4) == choose_leads(Moment(step=3, first_row=8, n_rows=16), 12, 4)
    assert choose_leads(Moment(), 3, 0) == choose_leads(Moment(), 3, 5) == [0, 1, 2]
    given, moment = batch(), Moment(seed=1)
    objective = CMLC(tiny(), n_leads=4)
    vectors, present = lead_vectors(objective.encoder, given, choose_leads(moment, 12, 4))
    torch.testing.assert_close(objective(given, moment).loss, clocs_loss(vectors, given["patient"], present))


def test_what_leaves_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="2 leads or more; got 1"):
        CMLC(tiny(leads=("II",)))(batch(leads=1), Moment())
    with pytest.raises(ValueError, match="n_leads"):
        CMLC(tiny(), n_leads=1)
    for objective in (CMLC(tiny()), CMSMLC(tiny())):
        with pytest.raises(RecipeError, match="2 or more; got 1"):
            objective.check(None, 1)
        objective.check(None, 2)
