"""The diagnosis task: unknown labels take no part, frozen is frozen, and it can learn."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from einthoven.errors import StoreError
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives.step import Moment
from einthoven.tasks.diagnosis import Diagnosis, check_labels, constant_classes, masked_bce, pos_weight

NAMES = ("a", "b", "c")


def task(seed=0, **options):
    torch.manual_seed(seed)
    return Diagnosis(ECGTransformer(**SIZES["tiny"]), NAMES, **options)


def batch(n=4, time=320, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, time, generator=generator), "label": torch.randint(0, 2, (n, 3), generator=generator).float()}


def test_the_loss_is_the_mean_over_known_labels_written_out():
    logits, label = torch.randn(5, 3, dtype=torch.float64), torch.randint(0, 2, (5, 3)).double()
    label[1, 2] = label[3, 0] = math.nan
    weight = torch.tensor([2.0, 0.5, 7.0])
    terms = [
        -(weight[k] * label[i, k] * math.log(torch.sigmoid(logits[i, k])) + (1 - label[i, k]) * math.log(1 - torch.sigmoid(logits[i, k])))
        for i in range(5)
        for k in range(3)
        if not label[i, k].isnan()
    ]
    total, known = masked_bce(logits, label, weight)
    assert known == len(terms) == 13
    torch.testing.assert_close(total.double(), sum(terms), rtol=1e-5, atol=1e-5)


def test_an_unknown_label_gives_no_gradient_and_no_nan():
    logits = torch.randn(4, 3, requires_grad=True)
    label = torch.ones(4, 3)
    label[:, 1] = math.nan
    masked_bce(logits, label)[0].backward()
    assert (logits.grad[:, 1] == 0).all() and (logits.grad[:, [0, 2]] != 0).all()


def test_a_batch_of_which_nothing_is_known_weighs_nothing():
    module, given = task(), batch()
    given["label"] = torch.full((4, 3), math.nan)
    step = module(given, Moment())
    step.loss.backward()
    assert step.weight == 0 and step.loss == 0 and all((p.grad == 0).all() for p in module.parameters() if p.grad is not None)


def test_micro_batches_weighted_by_their_known_labels_give_the_loss_of_the_whole():
    module, given = task().eval(), batch(6)
    given["label"][0, :] = given["label"][4, 1] = math.nan
    whole = module(given, Moment())
    parts = [module({name: value[rows] for name, value in given.items()}, Moment()) for rows in (slice(0, 2), slice(2, 6))]
    assert whole.weight == 14 == sum(part.weight for part in parts)
    torch.testing.assert_close(sum(part.weight * part.loss for part in parts) / 14, whole.loss)
    torch.testing.assert_close(sum(part.weight * part.parts["accuracy"] for part in parts) / 14, whole.parts["accuracy"])


def test_a_padded_row_answers_as_its_frames_do_alone():
    """Through an encoder that keeps padding out; the published one lets it into the norm (models.md §3.1)."""
    torch.manual_seed(0)
    module = Diagnosis(ECGTransformer(**SIZES["tiny"], ignore_padding=True), NAMES).eval()
    given = batch(2, 320)
    valid = torch.ones(2, 320, dtype=torch.bool)
    valid[1, 160:] = False
    given["ecg"][1, :, 160:] = 0
    both = module.predict({**given, "valid": valid})
    torch.testing.assert_close(both[1:], module.predict({"ecg": given["ecg"][1:, :, :160]}), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both[:1], module.predict({"ecg": given["ecg"][:1]}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["mean", "attention"])
def test_what_stands_in_padded_frames_does_not_matter_to_the_head(head):
    module = task(head=head)
    frames, valid = torch.randn(2, 10, 64), torch.arange(10) < torch.tensor([[10], [6]])
    other = frames.clone()
    other[1, 6:] = math.nan
    torch.testing.assert_close(module.summary(other, valid), module.summary(frames, valid))
    torch.testing.assert_close(module.summary(frames, valid)[1:], module.summary(frames[1:, :6], None))
    assert not torch.allclose(module.summary(frames, valid), module.summary(frames, None))


@pytest.mark.parametrize("head", ["mean", "attention"])
def test_the_gradient_reaches_every_parameter(head):
    module = task(head=head)
    module(batch(), Moment()).loss.backward()
    learns = {name for name, p in module.named_parameters() if p.grad is not None and (p.grad != 0).any()}
    # A key's bias adds the same to every score of a query, so no softmax can feel it.
    assert {name for name, _ in module.named_parameters() if "k_proj.bias" not in name} <= learns


def test_the_first_answer_of_a_new_head_is_near_chance_and_classes_weigh_as_asked():
    module = task()
    assert module(batch(64), Moment()).loss.item() == pytest.approx(math.log(2), abs=0.25)
    assert (module.proj.bias == 0).all() and module.proj.weight.abs().max() <= math.sqrt(6 / (64 + 3))
    given, weighted = batch(), task(pos_weight=[3.0, 3.0, 3.0])
    logits = weighted.eval().logits(given)
    expected = F.binary_cross_entropy_with_logits(logits, given["label"], pos_weight=torch.full((3,), 3.0))
    torch.testing.assert_close(weighted(given, Moment()).loss, expected)
    assert "pos_weight" not in weighted.state_dict()


@pytest.mark.parametrize("head", ["mean", "attention"])
def test_a_tiny_classifier_memorises_four_ecgs(head):
    module, given = task(head=head), batch()
    given["label"] = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, math.nan]])
    optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3)
    for step in range(60):
        optimiser.zero_grad()
        loss = module(given, Moment(step=step)).loss
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.02
    assert ((module.eval().predict(given) > 0.5) == (given["label"] == 1))[:3].all()


def test_dropout_acts_in_training_and_not_in_evaluation():
    module, given = task(dropout=0.5), batch()
    assert not torch.equal(module.logits(given), module.logits(given))
    module.eval()
    assert torch.equal(module.logits(given), module.logits(given))


def test_labels_of_one_value_are_refused_by_name_before_training():
    label = np.array([[1, 0, 0, np.nan], [1, 1, 0, np.nan], [1, np.nan, np.nan, np.nan]])
    assert constant_classes(label).tolist() == [True, False, True, True]
    with pytest.raises(
        StoreError, match=r"3 of 4 classes .* 3 training records .* a \(always present\), c \(never present\), d \(no label is known\)"
    ):
        check_labels(label, "abcd")
    with pytest.raises(StoreError, match="never present"):
        pos_weight(label[:, 1:3], "bc")
    check_labels(label[:, 1:2], "b")


def test_pos_weight_is_negatives_per_positive_among_the_known():
    label = np.array([[1, 0], [0, 1], [0, np.nan], [0, 1], [np.nan, 1]])
    np.testing.assert_allclose(pos_weight(label, "ab"), [3, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize("options", [{"head": "max"}, {"pos_weight": [1.0]}, {"pos_weight": [1.0, 0.0, 2.0]}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        task(**options)


def test_validation_scores_are_named_and_finite():
    found = task().metrics(np.array([[0.9, 0.2, 0.4], [0.1, 0.8, 0.6]]), np.array([[1, 0, 0], [0, 1, 0]], dtype=float))
    assert found["macro_auroc"] == 1.0 and found["micro_sensitivity"] == 1.0 and found["accuracy"] == pytest.approx(5 / 6)
