"""3KG's loss is the double loop over positive pairs; persons, processes and augmentations are as promised."""

import math

import pytest
import torch

from einthoven.augment import VCG
from einthoven.errors import RecipeError
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives.step import Moment
from einthoven.objectives.three_kg import ThreeKG, three_kg_loss

PERSON = torch.tensor([4, 4, 7, 4, 7, 9])


def loop(rows, person, temperature):
    """Every ordered pair of one person against the rows of all other persons, one term after the other."""
    terms = []
    for i in range(len(rows)):
        for j in range(len(rows)):
            if i != j and person[i] == person[j]:

                def score(k, i=i):
                    return torch.exp(rows[i] @ rows[k] / rows[i].norm() / rows[k].norm() / temperature)

                others = sum(score(k) for k in range(len(rows)) if person[k] != person[i])
                terms.append(-torch.log(score(j) / (score(j) + others)))
    return sum(terms), len(terms)


def test_the_loss_and_its_gradient_are_those_of_the_double_loop():
    torch.manual_seed(0)
    rows = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    total, n_terms = three_kg_loss(rows, PERSON, 0.3)
    expected, n_expected = loop(rows, PERSON.tolist(), 0.3)
    assert n_terms == n_expected == 6 + 2
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(torch.autograd.grad(total, rows)[0], torch.autograd.grad(expected, rows)[0])
    assert torch.autograd.gradcheck(lambda x: three_kg_loss(x, PERSON, 0.3)[0], (rows,))


def test_a_constant_norm_leaves_the_loss_and_gives_the_gradient_a_part_along_the_vector():
    torch.manual_seed(0)
    rows = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    (ours, _), (legacy, _) = three_kg_loss(rows, PERSON), three_kg_loss(rows, PERSON, constant_norm=True)
    torch.testing.assert_close(ours, legacy)
    along = [(torch.autograd.grad(loss, rows)[0] * rows).sum(dim=1).abs().max().item() for loss in (ours, legacy)]
    assert along[0] < 1e-10 < 1e-3 < along[1]


def test_a_batch_of_one_person_has_nothing_to_be_told_from_and_no_nan():
    rows = torch.randn(4, 3, requires_grad=True)
    total, n_terms = three_kg_loss(rows, torch.zeros(4))
    total.backward()
    assert total == 0 and n_terms == 12 and (rows.grad == 0).all()


def test_strangers_that_look_alike_give_chance():
    total, n_terms = three_kg_loss(torch.ones(8, 4), torch.arange(4).repeat_interleave(2))
    assert (total / n_terms).item() == pytest.approx(math.log(7))


def batch(n=4):
    ecg = torch.randn(n, 12, 400, generator=torch.Generator().manual_seed(0))
    return {"ecg": ecg, "patient": torch.tensor([3, 3, 5, -1])[:n], "record": torch.arange(n)}


def test_the_objective_is_the_mean_over_the_pairs_of_two_views_and_knows_persons():
    torch.manual_seed(0)
    objective = ThreeKG(ECGTransformer(**SIZES["tiny"]), augment=VCG(mask=0.3)).eval()
    given, moment = batch(), Moment(seed=3)
    views = [objective.encoder.embed(VCG(mask=0.3)(given, moment.within(f"view{n}"))["ecg"]) for n in (0, 1)]
    person = [3, 3, 5, -4, 3, 3, 5, -4]  # an unknown patient is the record alone
    total, n_terms = loop(torch.cat(views), person, 0.1)
    assert n_terms == 12 + 2 + 2
    torch.testing.assert_close(objective(given, moment).loss, total / n_terms, rtol=1e-4, atol=1e-5)
    assert not torch.equal(*views)


def test_without_views_to_compare_or_others_to_tell_apart_it_refuses_to_begin():
    encoder = ECGTransformer(**SIZES["tiny"])
    with pytest.raises(RecipeError, match=r"augment=\[vcg\]"):
        ThreeKG(encoder).check(None, 8)
    with pytest.raises(RecipeError, match="2 or more; got 1"):
        ThreeKG(encoder, augment=VCG()).check(None, 1)
    ThreeKG(encoder, augment=VCG()).check(None, 2)
