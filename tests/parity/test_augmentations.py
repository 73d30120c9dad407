"""Augmentations do what the old ones of fairseq-signals did with the same draws.

With ``dependency`` the old ones replaced III, aVR, aVL and aVF by what follows from I and II after the noise; ours add what follows for
the noise, and leave what was recorded. On a signal that obeys the laws the two are one; these cases' signals do not, so that they are
made to first.
"""

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.augment.augment import obey_limb_laws
from einthoven.augment.baseline_shift import shifted
from einthoven.augment.cosines import cosines
from einthoven.augment.random_lead_mask import RandomLeadMask, keep_leads
from einthoven.augment.sources import add_course, add_noise, free_leads, mixing
from einthoven.leads import TWELVE
from einthoven.objectives.step import Moment


def row(values):
    return torch.tensor(np.atleast_1d(values))[None]


def with_course(case, x, course, gain):
    """A course with a gain per lead, of which the old code drew twelve; with ``dependency`` those of four leads were thrown away."""
    bound = case.config["dependency"]
    gain = torch.as_tensor(np.broadcast_to(gain, len(TWELVE)).copy())[None, free_leads(TWELVE, bound)]
    return add_course({"ecg": x}, course, gain, TWELVE, limb_laws=bound)


def powerline_noise(case, x, rng):
    amplitude, hz, phase = (row(case.config["drawn"][name]) for name in ("amp", "f", "phase"))
    return with_course(case, x, cosines(amplitude, hz, phase, x.shape[2], case.config["freq"]), 1.0)


def emg_noise(case, x, rng):
    bound = case.config["dependency"]
    low, high = (case.config[name] for name in ("min_amplitude", "max_amplitude"))
    amplitude = rng.uniform(low, high, size=x.shape[1])
    np.testing.assert_allclose(amplitude, case.config["drawn"]["amp_per_lead"])
    noise, free = torch.from_numpy(rng.normal(size=x.shape[1:])), free_leads(TWELVE, bound)
    return add_noise({"ecg": x}, noise[None, free], torch.from_numpy(amplitude)[None, free], mixing(TWELVE, bound, x))


def baseline_shift(case, x, rng):
    drawn = case.config["drawn"]
    gain = np.asarray(drawn["amp_per_lead"])
    # The old gain is ±1 - a, for ±a: a slip that leaves ±1 mV whatever a is.
    share = np.abs(np.sign(gain) - gain)
    low, high = (case.config[name] for name in ("min_amplitude", "max_amplitude"))
    assert (share >= low).all() and (share <= high).all()
    return with_course(case, x, shifted(row(drawn["start"]), row(drawn["end"]), torch.ones(1, 1, dtype=x.dtype), x.shape[2]), gain)


def baseline_wander(case, x, rng):
    drawn = case.config["drawn"]
    course = cosines(row(drawn["amps"]), row(drawn["freqs"]), row(drawn["phases"]), x.shape[2], case.config["freq"])
    return with_course(case, x, course, np.asarray(drawn["factor_per_lead"]))


NOISES = {it.__name__: it for it in (powerline_noise, emg_noise, baseline_shift, baseline_wander)}


@pytest.mark.parametrize("case", cases("augmentations"))
def test_the_signal_is_that_of_the_old_augmentation(case, monkeypatch):
    config, x = case.config, torch.from_numpy(case.arrays["in.x"])
    rng = np.random.RandomState(config["seed"])
    assert rng.uniform() == config["drawn"]["apply_draw"]
    expected = torch.from_numpy(case.arrays["out.y"])
    noise = next((make for name, make in NOISES.items() if case.name.startswith(name)), None)
    if noise is not None:
        lawful = obey_limb_laws(x[None], TWELVE) if config["dependency"] else x[None]
        torch.testing.assert_close(noise(case, lawful, rng)[0], expected, atol=1e-6, rtol=0)
        return
    drawn = torch.from_numpy(rng.uniform(0, 1, size=x.shape[0]))[None]
    survivors = torch.tensor(config["drawn"]["survivors"])
    assert torch.equal(keep_leads(drawn, None, config["mask_leads_prob"], 0)[0], survivors)
    # The whole augmentation, at those draws instead of its own.
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: drawn.view(shape))
    masked = RandomLeadMask(p=config["mask_leads_prob"])({"ecg": x[None]}, Moment())
    torch.testing.assert_close(masked["ecg"][0], expected, atol=1e-6, rtol=0)
    assert torch.equal(masked["lead_present"][0], survivors)
