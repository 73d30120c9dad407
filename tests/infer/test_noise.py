"""Noise that is added on purpose before a model answers: its levels, its sameness, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from einthoven.infer.model import Model
from einthoven.infer.noise import LEVELS, noise_of_level
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.models import ENCODERS, PRESETS
from einthoven.models.folder import describe
from einthoven.signal.contract import SignalContract


@pytest.fixture(scope="module")
def model() -> Model:
    name, options = PRESETS["convnet_tiny"]
    encoder = ENCODERS[name](fs=100.0, **options)
    return Model(encoder, describe(encoder, SignalContract(fs=100.0, leads=TWELVE, scaling="none", seconds=10.0)))


def silence(n: int = 16) -> dict:
    """A batch in which nothing is but padding behind the eighth second of the last row, and a lead that was not recorded."""
    valid = torch.ones(n, 1000, dtype=torch.bool)
    valid[-1, 800:] = False
    present = torch.ones(n, 12, dtype=torch.bool)
    present[:, 11] = False
    return {"ecg": torch.zeros(n, 12, 1000), "valid": valid, "padded": True, "lead_present": present, "scale": torch.ones(n, 12)}


def test_noise_grows_from_level_to_level_and_is_of_the_size_that_is_said(model: Model):
    size = []
    for level in LEVELS:
        added = noise_of_level(level, model, 1)(silence(64), 0)["ecg"]
        size.append(float(added.square().mean().sqrt()))
        # Powerline noise and each of the others are at most so large; peaks of all four together cannot be more than their sum.
        assert float(added.abs().max()) < 8 * sum(LEVELS[level])
    assert size == sorted(size) and size[-1] > 3 * size[0] > 0.05


def test_the_same_seed_gives_the_same_noise_another_seed_or_batch_another(model: Model):
    def made(seed: int, number: int) -> torch.Tensor:
        return noise_of_level(3, model, seed)(silence(), number)["ecg"]

    assert torch.equal(made(1, 0), made(1, 0))
    assert not torch.equal(made(1, 0), made(2, 0)) and not torch.equal(made(1, 0), made(1, 1))


def test_padding_and_leads_that_are_not_there_stay_zero_and_the_batch_is_not_changed(model: Model):
    batch = silence()
    added = noise_of_level(6, model, 1)(batch, 0)["ecg"]
    assert (batch["ecg"] == 0).all() and (added[:, 11] == 0).all() and (added[-1, :, 800:] == 0).all()
    assert (added[:, :11, :700].std(dim=-1) > 0).all()


def test_the_limb_leads_keep_their_laws(model: Model):
    added = noise_of_level(6, model, 1)(silence(), 0)["ecg"].double().numpy()
    assert max(max(limb_law_residual(one, TWELVE).values()) for one in added) < 1e-4  # mV
