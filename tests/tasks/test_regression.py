"""Regression: unknown targets take no part, answers come in units, and it can learn."""

import math

import numpy as np
import pytest
import torch

from einthoven.errors import CheckpointError, StoreError
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.convnet import ConvNet
from einthoven.models.folder import build, describe, open_model, save_model
from einthoven.models.se_wrn import SEWRN
from einthoven.objectives.step import Moment
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.tasks.regression import LOSSES, Regression, masked_error, target_statistics

AGE = {"targets": ("age", "qt"), "units": ("years", "ms"), "mean": (60.0, 400.0), "std": (15.0, 30.0)}


def task(seed=0, **options):
    torch.manual_seed(seed)
    return Regression(ConvNet(conv_layers=((16, 8, 4), (16, 4, 2))), **{**AGE, **options})


def batch(n=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(n, 2, generator=generator) * torch.tensor([15.0, 30.0]) + torch.tensor([60.0, 400.0])
    return {"ecg": torch.randn(n, 12, 200, generator=generator), "target": target}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_mean_over_known_targets_written_out(loss):
    torch.manual_seed(0)
    predicted, target = 2 * torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    target[1, 2] = target[3, 0] = math.nan

    def term(d):
        return {"l1": abs(d), "mse": d * d, "huber": d * d / 2 if abs(d) < 1 else abs(d) - 0.5}[loss]

    terms = [term(float(predicted[i, k] - target[i, k])) for i in range(5) for k in range(3) if not target[i, k].isnan()]
    total, known = masked_error(predicted, target, loss)
    assert known == len(terms) == 13
    assert total.item() == pytest.approx(sum(terms), rel=1e-5)


def test_an_unknown_target_gives_no_gradient_and_no_nan():
    predicted, target = torch.randn(4, 2, requires_grad=True), torch.ones(4, 2)
    target[:, 1] = math.nan
    masked_error(predicted, target, "mse")[0].backward()
    assert (predicted.grad[:, 1] == 0).all() and (predicted.grad[:, 0] != 0).all()


def test_it_works_in_sds_and_answers_in_units():
    module, given = task(loss="mse").eval(), batch()
    answer = module.predict(given)
    distance = (answer - given["target"]) / torch.tensor(AGE["std"])
    step = module(given, Moment())
    torch.testing.assert_close(step.loss, distance.square().mean())
    torch.testing.assert_close(step.parts["error_sd"], distance.abs().mean())
    assert step.weight == 12
    torch.nn.init.zeros_(module.proj.weight)
    torch.testing.assert_close(module.predict(given), torch.tensor([[60.0, 400.0]]).expand(6, 2))


def test_micro_batches_weighted_by_their_known_targets_give_the_loss_of_the_whole():
    module, given = task().eval(), batch()
    given["target"][0] = math.nan
    whole = module(given, Moment())
    parts = [module({name: value[rows] for name, value in given.items()}, Moment()) for rows in (slice(0, 2), slice(2, 6))]
    assert whole.weight == 10 and whole.loss.isfinite()
    torch.testing.assert_close(sum(part.weight * part.loss for part in parts) / 10, whole.loss)
    given["target"][:] = math.nan
    nothing = module(given, Moment())
    nothing.loss.backward()
    assert nothing.weight == 0 and all((p.grad == 0).all() for p in module.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_it_learns_six_records_by_heart(loss):
    module, given = task(loss=loss), batch()
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for number in range(200):
        step = module(given, Moment(step=number))
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
    scores = module.eval().metrics(module.predict(given).numpy(), given["target"].numpy())
    assert scores["mae_age"] < 3 and scores["mae_qt"] < 6 and scores["macro_r2"] > 0.9 and scores["macro_pearson"] > 0.95


def test_the_vector_is_pooled_as_the_encoder_says():
    torch.manual_seed(0)
    encoder = SEWRN(filters=(4, 8), blocks=1)
    module, ecg = Regression(encoder, ["age"], ["years"], [60.0], [10.0]).eval(), torch.randn(2, 12, 100)
    torch.testing.assert_close(module.embed({"ecg": ecg}), encoder(ecg).amax(dim=1))


def test_a_model_folder_keeps_it(tmp_path):
    torch.manual_seed(0)
    module = Regression(ECGTransformer(**SIZES["tiny"]), **AGE, loss="huber", dropout=0.1).eval()
    save_model(tmp_path / "m", module.state_dict(), describe(module.encoder, LEGACY_ZSCORE, task=module))
    again, config = open_model(tmp_path / "m")
    assert config["kind"] == "regression" and config["task"]["units"] == ["years", "ms"] and again.config() == module.config()
    given = {"ecg": torch.randn(2, 12, 320)}
    assert torch.equal(again.predict(given), module.predict(given))
    with pytest.raises(CheckpointError, match="for each of its targets"):
        save_model(tmp_path / "n", module.state_dict(), {**config, "task": {**config["task"], "units": ["years"]}})
    with pytest.raises(CheckpointError, match="SDs above 0"):
        build({**config, "task": {**config["task"], "std": [1.0, 0.0]}})


def test_statistics_of_the_targets_leave_out_what_is_unknown():
    target = np.array([[50, np.nan], [60, 380], [np.nan, 420], [70, 400]])
    mean, std = target_statistics(target, ("age", "qt"))
    np.testing.assert_allclose(mean, [60, 400])
    np.testing.assert_allclose(std, [np.std([50, 60, 70]), np.std([380, 420, 400])])
    with pytest.raises(StoreError, match="qt \\(1 known\\)"):
        target_statistics(target[:2], ("age", "qt"))
    with pytest.raises(StoreError, match="age"):
        target_statistics(np.full((4, 1), 50.0), ("age",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ("age", "age")}, "each once"),
        ({"units": ("years",)}, "unit"),
        ({"std": (15.0, 0.0)}, "SDs above 0"),
        ({"mean": (math.nan, 1.0)}, "finite"),
        ({"loss": "l2"}, "loss"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)
