"""The diagnosis task: unknown labels take no part, frozen is frozen, and it can learn."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from einthoven.errors import StoreError
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.xresnet1d import XResNet1d
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


@pytest.mark.parametrize("head", ["mean", "attention", "query"])
def test_what_stands_in_padded_frames_does_not_matter_to_the_head(head):
    module = task(head=head)
    frames, valid = torch.randn(2, 10, 64), torch.arange(10) < torch.tensor([[10], [6]])
    other = frames.clone()
    other[1, 6:] = math.nan
    torch.testing.assert_close(module.summary(other, valid), module.summary(frames, valid))
    torch.testing.assert_close(module.summary(frames, valid)[1:], module.summary(frames[1:, :6], None))
    assert not torch.allclose(module.summary(frames, valid), module.summary(frames, None))


@pytest.mark.parametrize("head", ["mean", "attention", "query"])
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


@pytest.mark.parametrize("head", ["mean", "attention", "query"])
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


# --------------------------------------------------------------------------------------------------- heads and protocols


def query_by_loops(pool, frames):
    """One learned query: each head's softmax of its dot products over the root of its width, one number after the other."""
    size = frames.shape[-1] // pool.heads
    query = pool.q_proj.weight @ pool.query
    out = []
    for row in frames:
        keys, values = row @ pool.k_proj.weight.T, row @ pool.v_proj.weight.T
        for head in range(pool.heads):
            own = slice(head * size, (head + 1) * size)
            score = torch.stack([keys[frame, own] @ query[own] / size**0.5 for frame in range(len(row))]).exp()
            out.append(sum(score[frame] / score.sum() * values[frame, own] for frame in range(len(row))))
    return torch.stack(out).view(len(frames), -1)


def test_the_query_head_is_attention_of_one_learned_query_straight_to_the_classes():
    module, frames = task(head="query"), torch.randn(2, 10, 64)
    assert module.query.heads == 16 and module.proj.bias is None
    torch.testing.assert_close(module.summary(frames, None), query_by_loops(module.query, frames), rtol=1e-4, atol=1e-5)
    assert sum(weight.numel() for name, weight in module.named_parameters() if not name.startswith("encoder.")) == 64 + 3 * 64**2 + 3 * 64
    nothing = module.summary(frames, torch.zeros(2, 10, dtype=torch.bool))
    assert torch.equal(nothing, torch.zeros(2, 64))
    assert task(head="query", heads=4).query.heads == 4
    with pytest.raises(ValueError, match="dim=64, heads=5"):
        task(head="query", heads=5)


def test_a_hidden_layer_stands_between_the_vector_and_the_classes():
    module, given = task(hidden=(24,), dropout=0.2).eval(), batch()
    vector = module.embed(given)
    head = module.proj
    scaled = F.batch_norm(vector, head.norms[0].running_mean, head.norms[0].running_var)
    inner = F.relu(F.linear(scaled, head.linears[0].weight, head.linears[0].bias))
    again = F.batch_norm(inner, head.norms[1].running_mean, head.norms[1].running_var)
    torch.testing.assert_close(module.logits(given), F.linear(again, head.linears[1].weight, head.linears[1].bias), rtol=1e-4, atol=1e-5)
    assert inner.shape == (4, 24) and [drop.p for drop in head.dropouts] == [0.1, 0.2]


def test_pooling_is_the_encoders_own_unless_another_is_asked_for():
    given = batch()
    own = task().eval()
    own.encoder.pooling = "max_mean"
    own = Diagnosis(own.encoder, NAMES).eval()
    frames, _ = own.frames(given)
    torch.testing.assert_close(own.embed(given), torch.cat([frames.amax(dim=1), frames.mean(dim=1)], dim=1))
    asked = Diagnosis(own.encoder, NAMES, pooling="last").eval()
    torch.testing.assert_close(asked.embed(given), frames[:, -1])
    torch.testing.assert_close(Diagnosis(own.encoder, NAMES, head="mean").embed(given), frames.mean(dim=1))


@pytest.mark.parametrize(
    "options",
    [{}, {"head": "query"}, {"head": "query", "heads": 4}, {"head": "attention"}, {"hidden": [16], "dropout": 0.3}, {"pooling": "max"}],
)
def test_a_task_s_configuration_builds_it_again(options):
    module, given = task(**options).eval(), batch()
    config = json.loads(json.dumps(module.config()))
    again = Diagnosis(task().encoder, NAMES, **config).eval()
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.logits(given), module.logits(given)) and again.config() == module.config()


@pytest.mark.parametrize("old", [{"head": "mean", "dropout": 0.1}, {"head": "attention", "dropout": 0.0}])
def test_configurations_of_older_model_folders_are_understood(old):
    module, given = Diagnosis(task().encoder, NAMES, **old).eval(), batch()
    frames, _ = module.frames(given)
    expected = {"mean": frames.mean(dim=1)}.get(old["head"], module.embed(given))
    torch.testing.assert_close(module.embed(given), expected)
    assert set(module.state_dict()) - set(task().state_dict()) == ({"attend.weight"} if old["head"] == "attention" else set())


@pytest.mark.parametrize("options", [{"pooling": "median"}, {"head": "query", "pooling": "mean"}, {"head": "pooled", "heads": 4}])
def test_heads_and_poolings_that_do_not_go_together_are_refused(options):
    with pytest.raises(ValueError, match=f"{list(options)[-1]}"):
        task(**options)


def test_judging_gives_the_probabilities_and_the_loss_of_one_forward_pass():
    module, given = task(pos_weight=[2.0, 1.0, 0.5]).eval(), batch(5)
    given["label"][0, 1] = math.nan
    calls = []
    module.encoder.register_forward_hook(lambda *_: calls.append(1))
    probability, total, n_known = module.judge(given)
    assert len(calls) == 1 and n_known == 14 and not probability.requires_grad
    assert torch.equal(probability, module.predict(given))
    torch.testing.assert_close(total / n_known, module(given, Moment()).loss)


@pytest.mark.parametrize("options", [{"head": "pooled"}, {"head": "query"}, {"hidden": (16,)}])
def test_a_frozen_encoder_does_not_change_by_one_bit_though_its_task_trains(options):
    torch.manual_seed(0)
    encoder = XResNet1d(layers=(1, 1), expansion=1, widen=0.25)
    encoder.freeze()
    module = Diagnosis(encoder, NAMES, **options)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    heads = [weight for weight in module.parameters() if weight.requires_grad]
    start = [weight.clone() for weight in heads]
    optimiser = torch.optim.AdamW(heads, lr=1e-2)
    for step in range(4):
        module.train()
        optimiser.zero_grad()
        module(batch(seed=step), Moment(step=step)).loss.backward()
        optimiser.step()
        assert module.training and not any(part.training for part in encoder.modules())
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert all(not torch.equal(a, b) for a, b in zip(start, heads, strict=True))
