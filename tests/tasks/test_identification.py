"""Identification: the loss is ArcFace's, its gradient is finite, strangers take no part, and persons are told apart."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from einthoven.errors import CheckpointError
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.convnet import ConvNet
from einthoven.models.folder import build, describe, open_model, save_model
from einthoven.models.se_wrn import SEWRN
from einthoven.objectives.step import Moment
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.tasks.identification import Identification, arcface_loss


def encoder(seed=0):
    torch.manual_seed(seed)
    return ConvNet(conv_layers=((16, 8, 4), (16, 4, 2)))


def persons(n_persons=8, n_each=4, n_samples=200, noise=0.3):
    """Recordings (person * each, lead, time): each person's own shape of a beat, at changing places, in noise; and whose they are."""
    generator = torch.Generator().manual_seed(3)
    shape = torch.randn(n_persons, 12, 40, generator=generator)
    ecg = noise * torch.randn(n_persons * n_each, 12, n_samples, generator=generator)
    for row in range(len(ecg)):
        for start in (10 + 8 * (row % n_each), 100 + 4 * (row % n_each)):
            ecg[row, :, start : start + 40] += shape[row // n_each]
    return ecg, torch.arange(len(ecg)) // n_each * 11 + 5  # the store's numbers of persons have gaps


def plain_arcface(cosine, label, margin, scale):
    """The published definition, one number at a time."""
    total = []
    for row, true in zip(cosine.tolist(), label.tolist()):
        logits = [scale * c for c in row]
        angle = math.acos(row[true])
        logits[true] = scale * (math.cos(angle + margin) if angle + margin < math.pi else row[true] - margin * math.sin(margin))
        total.append(-logits[true] + math.log(sum(math.exp(one - max(logits)) for one in logits)) + max(logits))
    return total


@pytest.mark.parametrize(("margin", "scale"), [(0.5, 32.0), (1.0, 192.0), (2.5, 8.0)])
def test_the_loss_is_the_papers_written_out(margin, scale):
    torch.manual_seed(0)
    cosine, label = torch.rand(40, 6, dtype=torch.float64) * 2 - 1, torch.randint(0, 6, (40,))
    loss = arcface_loss(cosine, label, margin, scale)
    np.testing.assert_allclose(loss.numpy(), plain_arcface(cosine, label, margin, scale), rtol=1e-9, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(1)
    cosine = (torch.rand(5, 4, dtype=torch.float64) * 1.9 - 0.95).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: arcface_loss(c, torch.tensor([0, 3, 1, 1, 2]), 0.5, 16.0).sum(), cosine)


def test_the_gradient_is_finite_where_a_cosine_is_one():
    cosine = torch.tensor([[1.0, 0.2], [-1.0, 0.2], [0.3, 1.0]], requires_grad=True)
    loss = arcface_loss(cosine, torch.tensor([0, 0, 0]), 0.5, 32.0)
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach(), plain_arcface(cosine, torch.tensor([0, 0, 0]), 0.5, 32.0), rtol=1e-5, atol=1e-6)
    assert cosine.grad.isfinite().all() and (cosine.grad[:, 0] <= 0).all()


def test_without_margin_it_is_the_softmax_of_scaled_cosines():
    torch.manual_seed(2)
    cosine, label = torch.rand(9, 5) * 2 - 1, torch.randint(0, 5, (9,))
    torch.testing.assert_close(arcface_loss(cosine, label, 0.0, 20.0), F.cross_entropy(20 * cosine, label, reduction="none"))


def test_a_margin_makes_it_harder():
    torch.manual_seed(2)
    cosine, label = torch.rand(50, 5) * 2 - 1, torch.randint(0, 5, (50,))
    easy, middle, hard = (arcface_loss(cosine, label, margin, 20.0) for margin in (0.0, 0.3, 0.6))
    assert (easy < middle).all() and (middle < hard).all()


def test_persons_whom_it_does_not_learn_take_no_part():
    ecg, patient = persons(3, 2)
    task = Identification(encoder(), np.unique(patient.numpy())[[0, 2]]).eval()
    learned = patient != patient[2]
    whole = task({"ecg": ecg, "patient": patient}, Moment())
    part = task({"ecg": ecg[learned], "patient": patient[learned]}, Moment())
    assert whole.weight == 4 == part.weight
    torch.testing.assert_close(whole.loss, part.loss)
    torch.testing.assert_close(whole.parts["accuracy"], part.parts["accuracy"])
    nobody = task({"ecg": ecg[:2], "patient": torch.tensor([0, 9999])}, Moment())
    nobody.loss.backward()
    assert nobody.weight == 0 and nobody.loss == 0 and all((p.grad == 0).all() for p in task.parameters() if p.grad is not None)


def test_micro_batches_weighted_by_their_rows_give_the_loss_of_the_whole():
    ecg, patient = persons(3, 2)
    task = Identification(encoder(), np.unique(patient.numpy())).eval()
    whole = task({"ecg": ecg, "patient": patient}, Moment())
    parts = [task({"ecg": ecg[rows], "patient": patient[rows]}, Moment()) for rows in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(part.weight * part.loss for part in parts) / 6, whole.loss)


@pytest.mark.parametrize("dim", [None, 7])
def test_vectors_have_length_one_and_ignore_padding(dim):
    ecg, _ = persons(2, 1)
    task = Identification(encoder(), [5, 16], dim=dim).eval()
    alone = task.predict({"ecg": ecg[:1, :, :120]})
    valid = torch.arange(200) < torch.tensor([[120], [200]])
    together = task.predict({"ecg": ecg, "valid": valid, "padded": True})
    assert alone.shape == (1, dim or 16) and alone.dtype == torch.float32
    torch.testing.assert_close(together.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_the_vector_is_pooled_as_the_encoder_says():
    torch.manual_seed(0)
    network = SEWRN(filters=(4, 8), blocks=1)
    task, ecg = Identification(network, 2).eval(), torch.randn(2, 12, 100)
    torch.testing.assert_close(task.embed({"ecg": ecg}), F.normalize(network(ecg).amax(dim=1), dim=1))


@pytest.mark.parametrize("options", [{}, {"margin": 1.0, "scale": 64.0, "dim": 8}])
def test_eight_persons_are_learned_and_found_again(options):
    ecg, patient = persons()
    task = Identification(encoder(), np.unique(patient.numpy()), **options)
    before = task.eval().metrics(task.predict({"ecg": ecg}).numpy(), patient.numpy())
    optimiser = torch.optim.Adam(task.parameters(), lr=5e-3)
    task.train()
    for number in range(120):
        step = task({"ecg": ecg, "patient": patient}, Moment(step=number))
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    assert step.parts["accuracy"] == 1
    after = task.eval().metrics(task.predict({"ecg": ecg}).numpy(), patient.numpy())
    assert after["rank_1"] == 1 and after["eer"] < before["eer"] and after["auroc"] > 0.99
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in [task.kernel])


def test_who_is_enrolled_can_be_said():
    vectors, patient = np.eye(4)[[0, 1, 0, 1, 2]], np.array([7, 8, 7, 8, 9])
    task = Identification(encoder(), 3)
    assert task.metrics(vectors, patient)["rank_1"] == 1
    scores = task.metrics(vectors, patient, gallery=np.array([True, True, False, False, False]))
    assert scores["rank_1"] == 1 and scores["eer"] == 0
    with pytest.raises(ValueError, match="probes"):
        task.metrics(vectors, np.arange(5))


def test_a_model_folder_keeps_it_and_its_persons(tmp_path):
    torch.manual_seed(0)
    task = Identification(ECGTransformer(**SIZES["tiny"]), [3, 40, 5], margin=1.0, scale=192.0, dim=6).eval()
    save_model(tmp_path / "m", task.state_dict(), describe(task.encoder, LEGACY_ZSCORE, task=task))
    module, config = open_model(tmp_path / "m")
    assert config["kind"] == "identification" and "classes" not in config and config["task"]["patients"] == 3
    assert isinstance(module, Identification) and module.patients.tolist() == [3, 5, 40] and module.config() == task.config()
    batch = {"ecg": torch.randn(2, 12, 320)}
    assert torch.equal(module.predict(batch), task.predict(batch))
    with pytest.raises(CheckpointError, match="number of persons"):
        save_model(tmp_path / "n", task.state_dict(), {**config, "task": {**config["task"], "patients": None}})
    with pytest.raises(CheckpointError, match="classes or thresholds"):
        describe(task.encoder, LEGACY_ZSCORE, task=task, classes=[{"name": "a", "codes": []}])
    with pytest.raises(CheckpointError, match="margin"):
        build({**config, "task": {**config["task"], "margin": 4.0}})


@pytest.mark.parametrize(
    ("patients", "options", "message"),
    [
        ([4], {}, "two persons"),
        ([4, 4, 5], {}, "each once"),
        (1, {}, "two persons"),
        (2, {"margin": -0.1}, "margin"),
        (2, {"scale": 0.0}, "scale"),
        (2, {"dim": 0}, "dim"),
    ],
)
def test_settings_without_meaning_are_refused(patients, options, message):
    with pytest.raises(ValueError, match=message):
        Identification(encoder(), patients, **options)
