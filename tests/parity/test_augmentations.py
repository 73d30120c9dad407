"""Augmentations do what the old ones did with the same draws."""

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.augment.random_lead_mask import RandomLeadMask, keep_leads
from einthoven.objectives.step import Moment


@pytest.mark.parametrize("case", cases("augmentations"))
def test_the_signal_is_that_of_the_old_augmentation(case, monkeypatch):
    if not case.name.startswith("random_leads_masking"):
        pytest.xfail(f"{case.name}: this augmentation is not part of Einthoven yet")
    config, x = case.config, torch.from_numpy(case.arrays["in.x"])
    rng = np.random.RandomState(config["seed"])
    assert rng.uniform() == config["drawn"]["apply_draw"]
    drawn = torch.from_numpy(rng.uniform(0, 1, size=x.shape[0]))[None]
    survivors = torch.tensor(config["drawn"]["survivors"])
    assert torch.equal(keep_leads(drawn, None, config["mask_leads_prob"], 0)[0], survivors)
    # The whole augmentation, at those draws instead of its own.
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: drawn.view(shape))
    masked = RandomLeadMask(p=config["mask_leads_prob"])({"ecg": x[None]}, Moment())
    torch.testing.assert_close(masked["ecg"][0], torch.from_numpy(case.arrays["out.y"]), atol=1e-6, rtol=0)
    assert torch.equal(masked["lead_present"][0], survivors)
