"""Learning-rate schedules: functions of the number of finished updates, with nothing to remember.

Each gives a factor on the peak learning rate. ``fixed``, ``tri_stage`` and ``step`` are fairseq's, update for update;
where fairseq takes learning rates (a list of them, initial and minimal ones), here stand factors on the peak.
"""

from __future__ import annotations

import math

from einthoven.train.settings import Schedule


def factor(schedule: Schedule, n: int, total: int, epoch: int = 1) -> float:
    """The factor in force for the update that follows ``n`` finished ones.

    total : updates of the whole run (tri_stage's phases, the cosines, one_cycle)
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
        case "warmup_cosine":
            return warmup_cosine(schedule, n, total)
        case "one_cycle":
            start = 1 / 25 if schedule.warmup_from is None else schedule.warmup_from
            return _cycle(schedule, n, total, start, 1.0, 1 / 250_000 if schedule.final is None else schedule.final)
        case "tri_stage":
            return tri_stage(schedule, n, total)


def momentum(schedule: Schedule, n: int, total: int) -> float | None:
    """The momentum in force for the update that follows ``n`` finished ones; None: the optimiser's own."""
    if schedule.name != "one_cycle" or schedule.momentum is None:
        return None
    ends, peak = schedule.momentum
    return _cycle(schedule, n, total, ends, peak, ends)


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


def warmup_cosine(schedule: Schedule, n: int, total: int) -> float:
    """Linear rise from ``warmup_from`` (0) to 1 at the last warm-up update, then half a cosine that would reach ``final`` (0) after the last one.

    The closed form with which SimCLR, BYOL and SwAV were trained on ECGs (Mehari and Strodthoff, 2022). Beyond ``total``
    theirs rises again; here it stays at ``final``.
    """
    start, lowest = schedule.warmup_from or 0.0, schedule.final or 0.0
    if n < schedule.warmup:
        return start + (1 - start) * n / max(1, schedule.warmup - 1)
    share = min(1.0, (n - schedule.warmup) / max(1, total - schedule.warmup))
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * share)) / 2


def _cycle(schedule: Schedule, n: int, total: int, start: float, peak: float, end: float) -> float:
    """Half a cosine from start to peak over the first share of the updates, another one from there to end, which stands after the last.

    Source: one-cycle (Smith, 2018) as in fastai 1, with which the PTB-XL benchmark was trained.
    """

    def between(a: float, b: float, share: float) -> float:
        return b + (a - b) * (1 + math.cos(math.pi * share)) / 2

    rise = int(total * schedule.peak_at)
    if n < rise:
        return between(start, peak, n / rise)
    return between(peak, end, min(1.0, (n - rise) / max(1, total - rise)))


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
