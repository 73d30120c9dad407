"""The learning rate of every update is fairseq-signals' own, ecg-selfsupervised's and the PTB-XL benchmark's; and that of every group."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity_cases import ROOT, cases, manifest, ssl_cases

from einthoven.models.xresnet1d import PRESETS, XResNet1d
from einthoven.tasks.diagnosis import Diagnosis
from einthoven.train.optim import parameter_groups
from einthoven.train.schedule import factor, momentum
from einthoven.train.settings import Optim, Schedule


def schedule_of(config: dict) -> tuple[Schedule, float]:
    """The old configuration in our terms, and its peak learning rate: where it names rates, we name factors on the peak."""
    peak = config["lr"][0]
    if config["schedule"] == "fixed":
        factors = tuple(lr / peak for lr in config["lr"])
        changes = {"shrink_from": config.get("force_anneal"), "shrink": config.get("lr_shrink", 0.1)}
        return Schedule(name="fixed", warmup=config.get("warmup_updates", 0), per_epoch=factors, **changes), peak
    if config["schedule"] == "step":
        start, floor = max(config.get("warmup_init_lr", 0), 0) / peak, config.get("min_lr", 0) / peak
        changes = {"period": config.get("lr_deacy_period", 25000), "decay": config.get("lr_decay", 0.5)}
        return Schedule(name="step", warmup=config.get("warmup_updates", 0), warmup_from=start, final=floor, **changes), peak
    assert config["schedule"] == "tri_stage"
    scales = {"warmup_from": config.get("init_lr_scale", 0.01), "final": config.get("final_lr_scale", 0.01)}
    if config.get("phase_ratio"):
        return Schedule(name="tri_stage", phases=tuple(config["phase_ratio"]), **scales), peak
    steps = {ours: config.get(theirs, 0) for ours, theirs in (("warmup", "warmup_steps"), ("hold", "hold_steps"), ("fall", "decay_steps"))}
    return Schedule(name="tri_stage", **steps, **scales), peak


@pytest.mark.parametrize("case", cases("lr_schedules"))
def test_the_learning_rate_is_fairseqs_at_every_update(case):
    schedule, peak = schedule_of(case.config)
    total = int(case.config.get("max_update", 0))
    updates, epochs = case.arrays["in.updates"].tolist(), case.arrays["in.epochs"].tolist()
    ours = [peak * factor(schedule, n, total, epoch) for n, epoch in zip(updates, epochs, strict=True)]
    np.testing.assert_allclose(ours, case.arrays["out.lr"], rtol=1e-12)


@pytest.mark.parametrize("case", ssl_cases("lr_schedules"))
def test_warm_up_and_cosine_are_those_of_the_contrastive_methods_at_every_update(case):
    """Beyond the last update theirs rises again and ours stays: the comparable part ends there."""
    assert case.config.keys() & {"linear_warmup_cosine", "swav", "moco", "one_cycle_fastai1"}, "a schedule that no test here knows"
    tolerance = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    for entry in case.config.get("linear_warmup_cosine", []):
        peak, total = entry["base_lr"], entry["max"]
        schedule = Schedule(name="warmup_cosine", warmup=entry["warmup"], warmup_from=entry["start"] / peak, final=entry["eta_min"] / peak)
        expected = entry["lrs"][: total + 1]
        np.testing.assert_allclose([peak * factor(schedule, n, total) for n in range(len(expected))], expected, **tolerance)
    for entry in case.config.get("swav", []):
        peak, per_epoch = entry["learning_rate"], entry["train_iters_per_epoch"]
        ends = {"warmup_from": entry["start_lr"] / peak, "final": entry["final_lr"] / peak}
        schedule = Schedule(name="warmup_cosine", warmup=per_epoch * entry["warmup_epochs"], **ends)
        total = per_epoch * entry["max_epochs"]
        assert len(entry["lrs"]) == total
        np.testing.assert_allclose([peak * factor(schedule, n, total) for n in range(total)], entry["lrs"], **tolerance)


@pytest.mark.parametrize("case", ssl_cases("lr_schedules"))
def test_one_cycle_is_that_of_the_benchmark_in_rate_and_momentum(case):
    tolerance = {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    for entry in case.config.get("one_cycle_fastai1", []):
        schedule = Schedule(
            name="one_cycle",
            warmup_from=1 / entry["div_factor"],
            final=1 / entry["final_div"],
            peak_at=entry["pct_start"],
            momentum=tuple(entry["moms"]),
        )
        peak, total = entry["lr_max"], entry["total_steps"]
        np.testing.assert_allclose([peak * factor(schedule, n, total) for n in range(total)], entry["lrs"], **tolerance)
        np.testing.assert_allclose([momentum(schedule, n, total) for n in range(total)], entry["moms_values"], **tolerance)
        np.testing.assert_allclose(peak * factor(schedule, total, total), entry["final_lr"], **tolerance)
        assert factor(Schedule(name="one_cycle"), 0, total) == pytest.approx(1 / 25) and Schedule(name="one_cycle").momentum == (0.95, 0.85)


@pytest.mark.parametrize("case", ssl_cases("lr_schedules"))
def test_moco_s_cosine_is_ours_by_epochs_until_the_old_code_advances_it_twice(case):
    """From the tenth epoch on the old code moved its cosine twice an epoch, past its end and up again: a defect that we do not have."""
    for entry in case.config.get("moco", []):
        schedule, n_epochs, n_same = Schedule(name="warmup_cosine"), entry["epochs"], min(10, entry["epochs"])
        ours = [entry["lr"] * factor(schedule, epoch, n_epochs) for epoch in range(n_epochs)]
        np.testing.assert_allclose(ours[:n_same], entry["lrs_per_epoch"][:n_same], rtol=case.config["rtol"], atol=case.config["atol"])
        assert np.all(np.diff(ours) < 0)


@pytest.mark.parity
@pytest.mark.skipif(not (ROOT / "ecg_selfsupervised").is_dir(), reason="no golden values: set EINTHOVEN_PARITY")
def test_the_groups_of_fine_tuning_have_the_old_rates_and_the_old_numbers_of_tensors():
    old = manifest("finetune_param_groups.json")
    with torch.device("meta"):
        encoder = XResNet1d(**{**PRESETS["xresnet1d50"], "stem_bias": True})
        module = Diagnosis(encoder, [f"class{number}" for number in range(71)], pooling="mean")
    expected = sorted((group["lr"], group["wd"], group["n"]) for group in old["discriminative"])
    factors = tuple(lr / 0.01 for lr, _, _ in expected[:-1])
    groups = parameter_groups(module, Optim(lr=0.01, weight_decay=0.1, discriminative=factors))
    found = sorted((group["lr"], group["weight_decay"], len(group["names"])) for group in groups)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    encoder.freeze()
    (head,) = parameter_groups(module, Optim(lr=8e-3 * 128 / 256, weight_decay=0.1))
    assert [{"lr": head["lr"], "wd": head["weight_decay"], "n": len(head["names"])}] == old["head_only"]
