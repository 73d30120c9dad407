"""The learning rate of every update is fairseq-signals' own."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import cases

from einthoven.train.schedule import factor
from einthoven.train.settings import Schedule


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
