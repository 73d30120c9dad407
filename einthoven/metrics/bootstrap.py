"""How far a score could have come out otherwise: percentile bootstrap over records, or over patients.

A draw is a whole number per record: how often it was drawn. A statistic is a function of such weights (draw, record), so
that nothing is sorted or copied again for a draw (``multilabel.Multilabel``, ``challenge2021.Challenge``). Where patient
ids are given, patients are drawn with all of their records: two tracings of one person are no independent witnesses.

The draws are a function of the seed alone, not of the statistic or of the chunk size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Statistic = Callable[[np.ndarray], dict[str, np.ndarray]]


def groups_of(patient: Sequence | np.ndarray | None, n_records: int) -> np.ndarray:
    """(record,) the number of the group that is drawn together; a record whose patient is None or NaN is a group of its own."""
    if patient is None:
        return np.arange(n_records)
    if len(patient) != n_records:
        raise ValueError(f"expected a patient for each of {n_records} records; got {len(patient)}")
    keys = [("record", row) if one is None or one != one or one == "" else ("patient", str(one)) for row, one in enumerate(patient)]
    numbers: dict[tuple, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def draw_weights(
    n_records: int, *, patient: Sequence | np.ndarray | None = None, draws: int = 1000, seed: int = 0, chunk: int = 50
) -> Iterator[np.ndarray]:
    """How often each record was drawn, in chunks of (draw, record) int32."""
    group = groups_of(patient, n_records)
    n_groups = int(group.max()) + 1 if n_records else 0
    if not n_groups:
        raise ValueError("expected at least one record to draw from; got none")
    generator = np.random.default_rng(seed)
    for first in range(0, draws, chunk):
        rows = range(min(chunk, draws - first))
        weight = np.stack([np.bincount(generator.integers(0, n_groups, n_groups), minlength=n_groups) for _ in rows])
        yield weight.astype(np.int32)[:, group]


def weights_of(drawn: np.ndarray, n_records: int) -> np.ndarray:
    """Which records were drawn, (draw, n) row numbers as somebody stored them -> how often each was, (draw, record) int32."""
    drawn = np.asarray(drawn)
    if drawn.ndim != 2 or (drawn.size and not (0 <= drawn.min() and drawn.max() < n_records)):
        raise ValueError(f"expected row numbers from 0 to {n_records - 1} of shape (draw, n); got shape {drawn.shape}")
    return np.stack([np.bincount(rows, minlength=n_records) for rows in drawn.astype(np.int64)]).astype(np.int32)


def draws_with_every_class(label: np.ndarray, *, draws: int = 100, seed: int = 0, tries: int = 10_000) -> np.ndarray:
    """The row numbers of the PTB-XL benchmark's resamples: (draw, record) int64, each drawn anew until every class has a positive.

    From NumPy's legacy generator, as there, so that its stored ids come out again. Raises ValueError where a class has no positive at all,
    or is so rare that ``tries`` resamples in a row miss one.
    """
    label = np.asarray(label)
    if not (label == 1).any(axis=0).all():
        raise ValueError(f"class {int(np.flatnonzero(~(label == 1).any(axis=0))[0])} has no positive: no resample has one; leave it out")
    state, out = np.random.RandomState(seed), np.empty((draws, len(label)), dtype=np.int64)
    for row in out:
        for _ in range(tries):
            row[...] = state.randint(0, len(label), len(label))
            if (label[row] == 1).any(axis=0).all():
                break
        else:
            raise ValueError(f"{tries} resamples in a row lack a positive of some class; leave the rarest classes out")
    return out


def bootstrap(
    statistic: Statistic, n_records: int, *, patient=None, draws: int = 1000, seed: int = 0, chunk: int = 50
) -> dict[str, np.ndarray]:
    """The statistic's values over the draws: name -> (draw, …)."""
    parts = [statistic(weight) for weight in draw_weights(n_records, patient=patient, draws=draws, seed=seed, chunk=chunk)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over the first axis: (draw, …) -> low (…), high (…).

    Draws in which the score was not defined (no positive was drawn) are left out; NaN where none is left.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, such as 0.95; got {level}")
    flat = values.reshape(len(values), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    for column, draws in enumerate(flat.T):
        there = draws[~np.isnan(draws)]
        if len(there):
            ends[:, column] = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
    low, high = ends.reshape(2, *values.shape[1:])
    return low, high


def basic_interval(point: np.ndarray | float, values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Basic (reverse percentile) interval: how far the draws lie from the point is taken as how far the point lies from the truth.

    point : (…) the score of the records as they are; values : (draw, …). Low end: 2·point - upper percentile. For a score near its end (an
            AUROC of
    0.99) it may leave the scale, where the percentile interval does not. What ecg-selfsupervised names "empirical bootstrap", point +
    percentiles of (draw - point), is no other than ``interval``: the point cancels.
    """
    low, high = interval(values, level)
    return 2 * np.asarray(point) - high, 2 * np.asarray(point) - low


def two_sided(differences: np.ndarray) -> np.ndarray:
    """p of a difference, from the share of its draws on the other side of 0: (draw, …) -> (…); never below 2 / (number of draws + 1)."""
    fewer = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    return np.minimum(1.0, 2 * (fewer + 1) / ((~np.isnan(differences)).sum(axis=0) + 1))


def paired_difference(
    first: Statistic, second: Statistic, n_records: int, *, patient=None, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, dict[str, float | np.ndarray]]:
    """first - second of every score both have, on the same draws: two models judged by the same records.

    returns : name -> {"difference", "low", "high", "p"}; p as ``two_sided``
    """
    ones = np.ones((1, n_records), dtype=np.int32)
    point = {name: (value[0], other[name][0]) for other in [second(ones)] for name, value in first(ones).items() if name in other}
    drawn = bootstrap(
        lambda weight: {name: value - other[name] for other in [second(weight)] for name, value in first(weight).items() if name in other},
        n_records, patient=patient, draws=draws, seed=seed,
    )  # fmt: skip
    out = {}
    for name, (one, two) in point.items():
        low, high = interval(drawn[name], level)
        out[name] = {"difference": one - two, "low": low, "high": high, "p": two_sided(drawn[name])}
    return out
