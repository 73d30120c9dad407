"""Random lead masking takes leads away at its rate, says so, and draws the same however the batch is spread."""

from dataclasses import replace

import pytest
import torch

from einthoven.augment.random_lead_mask import RandomLeadMask, keep_leads
from einthoven.objectives.step import Moment


def batch_of(n_rows, n_leads=12, n_samples=20):
    ecg = torch.randn(n_rows, n_leads, n_samples, generator=torch.Generator().manual_seed(0))
    return {"ecg": ecg, "lead_present": torch.ones(n_rows, n_leads, dtype=torch.bool), "patient": torch.arange(n_rows)}


def test_half_of_the_leads_go_and_are_marked_as_missing():
    batch = batch_of(2000)
    masked = RandomLeadMask()(batch, Moment(seed=3))
    present = masked["lead_present"]
    assert present.float().mean().item() == pytest.approx(0.5, abs=0.02)  # 24,000 coins: standard error 0.003
    assert torch.equal(masked["ecg"], batch["ecg"] * present[:, :, None])
    per_row = present.sum(dim=1)
    # Twelve independent coins: variance 3.
    assert per_row.float().var().item() == pytest.approx(3.0, abs=0.4)


def test_the_input_stays_as_it_was():
    batch = batch_of(4)
    before = {name: value.clone() for name, value in batch.items()}
    RandomLeadMask(p=0.9)(batch, Moment())
    for name, value in batch.items():
        assert torch.equal(value, before[name])


def test_at_least_so_many_leads_stay_and_absent_leads_do_not_come_back():
    batch = batch_of(500)
    batch["lead_present"][:, 6:] = False
    kept = RandomLeadMask(p=0.95, at_least=2)(batch, Moment())["lead_present"]
    assert kept.sum(dim=1).min() == 2
    assert not kept[:, 6:].any()
    batch["lead_present"][:, 1:] = False
    assert (RandomLeadMask(p=1.0, at_least=2)(batch, Moment())["lead_present"].sum(dim=1) == 1).all()


def test_no_lead_goes_at_p_0_and_every_lead_at_p_1():
    batch = batch_of(8)
    assert torch.equal(RandomLeadMask(p=0.0)(batch, Moment())["ecg"], batch["ecg"])
    assert not RandomLeadMask(p=1.0)(batch, Moment())["ecg"].any()


def test_a_lead_that_stays_at_a_high_rate_stays_at_a_lower_one():
    drawn = torch.rand(50, 12, generator=torch.Generator().manual_seed(1))
    few, many = keep_leads(drawn, None, 0.8, 1), keep_leads(drawn, None, 0.3, 1)
    assert (many | ~few).all()


def test_two_processes_mask_what_one_masks():
    batch, whole = batch_of(6), Moment(seed=1, step=5, n_rows=6)
    together = RandomLeadMask()(batch, whole)["ecg"]
    parts = [
        RandomLeadMask()({name: value[a:b] for name, value in batch.items()}, replace(whole, first_row=a))["ecg"]
        for a, b in ((0, 4), (4, 6))
    ]
    assert torch.equal(torch.cat(parts), together)


def test_other_updates_mask_other_leads():
    batch = batch_of(4)
    masks = [RandomLeadMask()(batch, Moment(step=step))["lead_present"] for step in (0, 1)]
    assert not torch.equal(*masks)
    again = RandomLeadMask()(batch, Moment(step=0))["lead_present"]
    assert torch.equal(masks[0], again)


@pytest.mark.parametrize("options", [{"p": 1.5}, {"p": -0.1}, {"at_least": -1}])
def test_an_impossible_option_is_refused(options):
    with pytest.raises(ValueError, match="expected"):
        RandomLeadMask(**options)
