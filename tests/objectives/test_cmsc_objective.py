"""CMSC's loss is the paper's double loop; W2V+CMSC is the sum of the two."""

import math

import pytest
import torch

from einthoven.layers.pool import pool
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives import CMSC, W2V, W2VCMSC
from einthoven.objectives.cmsc import cmsc_loss, persons
from einthoven.objectives.step import Moment

OPTIONS = {"final_dim": 8, "latent_vars": 6, "n_negatives": 7, "mask": {"length": 4}}


def pairs(n_pairs=4, n_samples=400):
    person = torch.arange(n_pairs).repeat_interleave(2)
    ecg = torch.randn(2 * n_pairs, 12, n_samples, generator=torch.Generator().manual_seed(0))
    return {"ecg": ecg, "patient": person, "record": person + 100, "segment": torch.arange(2 * n_pairs) % 2}


def tiny():
    torch.manual_seed(0)
    return ECGTransformer(**SIZES["tiny"])


def test_the_loss_is_the_double_loop():
    torch.manual_seed(0)
    first, second = torch.randn(2, 6, 5, dtype=torch.float64)
    patient = [4, 4, 7, 1, 7, 9]
    terms = {"rows": [], "columns": []}
    for i in range(6):
        for j in range(6):
            if patient[i] == patient[j]:

                def score(a, b):
                    return float(first[a] @ second[b] / first[a].norm() / second[b].norm() / 0.1)

                terms["rows"].append(-math.log(math.exp(score(i, j)) / sum(math.exp(score(i, k)) for k in range(6))))
                terms["columns"].append(-math.log(math.exp(score(i, j)) / sum(math.exp(score(k, j)) for k in range(6))))
    expected = sum(sum(part) / len(part) / 2 for part in terms.values())
    assert cmsc_loss(first, second, torch.tensor(patient)).item() == pytest.approx(expected)


def test_it_ignores_batch_order_and_embedding_scale():
    torch.manual_seed(0)
    first, second, patient, order = *torch.randn(2, 6, 8, dtype=torch.float64), torch.tensor([4, 4, 7, 1, 7, 9]), torch.randperm(6)
    torch.testing.assert_close(cmsc_loss(first, second, patient), cmsc_loss(3 * first[order], second[order], patient[order]))


def test_its_gradient_is_right_where_the_norm_is_a_constant():
    torch.manual_seed(0)
    first, second = torch.randn(2, 4, 3, dtype=torch.float64)
    first, second = torch.nn.functional.normalize(first), torch.nn.functional.normalize(second)
    patient = torch.tensor([1, 1, 2, 3])

    def at_fixed_norm(a, b):
        similarity = a @ b.T / 0.5
        positive = patient[:, None] == patient[None, :]
        return -(similarity.log_softmax(dim=1)[positive].mean() + similarity.log_softmax(dim=0)[positive].mean()) / 2

    first.requires_grad_()
    (ours,) = torch.autograd.grad(cmsc_loss(first, second, patient, temperature=0.5), first)
    (expected,) = torch.autograd.grad(at_fixed_norm(first, second), first)
    torch.testing.assert_close(ours, expected)
    assert torch.autograd.gradcheck(at_fixed_norm, (first, second.requires_grad_()))


def test_strangers_that_look_alike_give_chance():
    assert cmsc_loss(torch.ones(8, 4), torch.ones(8, 4), torch.arange(8)).item() == pytest.approx(math.log(8))


def test_a_patient_who_is_not_known_is_only_the_record_itself():
    batch = {"patient": torch.tensor([5, 5, -1, -1, -1, -1]), "record": torch.tensor([0, 0, 1, 1, 2, 2])}
    assert persons(batch).tolist() == [5, 5, -2, -2, -3, -3]


@pytest.mark.parametrize("objective", [CMSC, W2VCMSC])
def test_rows_that_are_no_pairs_are_refused(objective):
    model = objective(tiny(), **(OPTIONS if objective is W2VCMSC else {}))
    batch = pairs()
    with pytest.raises(ValueError, match="pairs"):
        model({**batch, "patient": torch.arange(8)}, Moment())
    with pytest.raises(ValueError, match="pairs"):
        model({name: value[:7] for name, value in batch.items()}, Moment())


def test_w2v_cmsc_is_the_sum_of_its_parts_on_the_masked_ecg():
    both = W2VCMSC(tiny(), **OPTIONS, cmsc_weight=0.3, cmsc_temperature=0.2).eval()
    alone = W2V(tiny(), **OPTIONS).eval()
    alone.load_state_dict(both.state_dict())
    batch, moment = pairs(), Moment(seed=2)
    prediction = alone.masked(alone.encoder, batch, moment)
    pooled = pool(prediction.context)
    cmsc = cmsc_loss(pooled[0::2], pooled[1::2], batch["patient"][0::2], temperature=0.2)
    step = both(batch, moment)
    torch.testing.assert_close(step.loss, prediction.step.loss + 0.3 * cmsc)
    assert step.weight == prediction.step.weight
    torch.testing.assert_close(step.loss.detach(), sum(step.parts[name] for name in ("loss_nce", "diversity", "feature_penalty", "cmsc")))


@pytest.mark.parametrize("objective, options", [(CMSC, {}), (W2VCMSC, OPTIONS)])
def test_the_gradient_reaches_every_parameter_that_learns(objective, options):
    model = objective(tiny(), **options).train()
    model(pairs(), Moment()).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("objective, options", [(CMSC, {}), (W2VCMSC, {**OPTIONS, "final_dim": 32, "latent_vars": 40, "n_negatives": 20})])
def test_a_tiny_encoder_learns_one_batch_by_heart(objective, options):
    torch.manual_seed(0)
    model, batch = objective(tiny(), **options), pairs(4, 320)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(110):
        step = model(batch, Moment())
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    assert float(step.parts["cmsc"]) < 0.02
    assert float(step.parts.get("accuracy", 1.0)) > 0.9
