"""Learning-rate schedules: functions of the number of finished updates, with nothing to remember.

Each gives a factor on the peak learning rate. ``fixed``, ``tri_stage`` and ``step`` are fairseq's, update for update;
where fairseq takes learning rates (a list of them, initial and minimal ones), here stand factors on the peak.
"""

from __future__ import annotations

import math

from einthoven.train.settings import Schedule


def factor(schedule: Schedule, n: int, total: int, epoch: int = 1) -> float:
    """The factor in force for the update that follows ``n`` finished ones.

    total : updates of the whole run (tri_stage's phases, cosine)
    epoch : the epoch of that update, from 1 (fixed)
    """
    match schedule.name:
        case "constant":
            return _rise(schedule, n)
        case "fixed":
            return fixed(schedule, epoch) * _rise(schedule, n)
        case "step":
            return step(schedule, n)
        case "cosine":
            return cosine(schedule, n, total)
        case "tri_stage":
            return tri_stage(schedule, n, total)


def _rise(schedule: Schedule, n: int) -> float:
    """Linear warm-up: 1/warmup at the first update (or from ``warmup_from``), 1 at the last of them."""
    if n >= schedule.warmup:
        return 1.0
    start = schedule.warmup_from
    return (n + 1) / schedule.warmup if start is None else start + (1 - start) * n / schedule.warmup


def fixed(schedule: Schedule, epoch: int) -> float:
    """A factor for each of the first epochs, then the last of them, shrinking every epoch from ``shrink_from`` on."""
    if schedule.shrink_from is not None and epoch >= schedule.shrink_from:
        return schedule.per_epoch[-1] * schedule.shrink ** (epoch + 1 - schedule.shrink_from)
    return schedule.per_epoch[min(epoch, len(schedule.per_epoch)) - 1]


def step(schedule: Schedule, n: int) -> float:
    """Linear rise from ``warmup_from`` (0), then a fall by ``decay`` every ``period`` updates, never below ``final``."""
    if n < schedule.warmup:
        start = schedule.warmup_from or 0.0
        return start + (1 - start) * n / schedule.warmup
    return max(schedule.final or 0.0, schedule.decay ** ((n - schedule.warmup) // schedule.period))


def cosine(schedule: Schedule, n: int, total: int) -> float:
    """Warm-up, then half a cosine from 1 to ``final`` (0) at the last update."""
    if n < schedule.warmup:
        return _rise(schedule, n)
    lowest = schedule.final or 0.0
    share = min(1.0, (n - schedule.warmup) / max(1, total - 1 - schedule.warmup))
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * share)) / 2


def tri_stage(schedule: Schedule, n: int, total: int) -> float:
    """Linear rise from ``warmup_from`` (0.01), hold, exponential fall to ``final`` (0.01), which then stays.

    Source: Park et al., SpecAugment, 2019, as in fairseq.
    """
    start = 0.01 if schedule.warmup_from is None else schedule.warmup_from
    final = 0.01 if schedule.final is None else schedule.final
    rise, hold, fall = schedule.warmup, schedule.hold, schedule.fall
    if schedule.phases is not None:
        rise, hold, fall = (int(total * share) for share in schedule.phases)
    if n < rise:
        return start + (1 - start) * n / rise
    if n < rise + hold:
        return 1.0
    if n <= rise + hold + fall and fall:
        return math.exp(math.log(final) * (n - rise - hold) / fall)
    return final
