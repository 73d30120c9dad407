"""Is one model better than another, or did the same two answers only fall on the right sides? The paired permutation test.

If two models were equally good, it would not matter which of their two answers to a record is called the first's. So the answers to each
record (to all records of a patient) are swapped by a coin, a thousand times, and p is the share of swaps with a difference as large as the
one that was seen.

Nothing is sorted again for a swap: a score over both models' answers, stacked, is asked with weights that are 1 for the answers a model has
been dealt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from einthoven.metrics.bootstrap import Statistic, groups_of
from einthoven.metrics.multilabel import Discrimination

_TIE = 1e-12  # differences that are equal but for rounding are equally extreme


def permutation_test(
    first: np.ndarray,
    second: np.ndarray,
    label: np.ndarray,
    *,
    score: Callable[[np.ndarray, np.ndarray], Statistic] = Discrimination,
    patient: Sequence | np.ndarray | None = None,
    permutations: int = 1000,
    seed: int = 0,
    chunk: int = 20,
) -> dict[str, dict[str, np.ndarray]]:
    """Two models' probabilities of the same records, (record, class) each -> name of a score -> ``difference`` (first - second) and two-sided ``p``.

    score   : builds a statistic from (probability, label), as ``Discrimination``, ``Multilabel`` (everything) and ``fmax.SampleCentric`` do
    patient : (record,) ids; then the answers to all records of a patient are swapped together
    p       : (1 + number of swaps with a difference at least as large) / (1 + swaps in which the score was defined); NaN where it was not
              defined

    The swaps are a function of the seed and the patients alone, so that several pairs of models are compared on the same ones.
    """
    first, second, label = (np.asarray(array, dtype=np.float64) for array in (first, second, label))
    if first.shape != second.shape or first.shape != label.shape:
        raise ValueError(
            f"expected two predictions and labels of one shape (record, class); got {first.shape}, {second.shape} and {label.shape}"
        )
    if permutations < 1:
        raise ValueError(f"expected at least one permutation; got {permutations}")
    statistic = score(np.concatenate([first, second]), np.concatenate([label, label]))

    def difference(swapped: np.ndarray) -> dict[str, np.ndarray]:
        """swapped (draw, record) bool -> first - second of every score."""
        one = np.concatenate([~swapped, swapped], axis=1).astype(np.int32)
        dealt, other = statistic(one), statistic(1 - one)
        return {name: value - other[name] for name, value in dealt.items()}

    seen = {name: value[0] for name, value in difference(np.zeros((1, len(label)), dtype=bool)).items()}
    group = groups_of(patient, len(label))
    n_groups = int(group.max()) + 1
    generator = np.random.default_rng(seed)
    as_large = {name: np.zeros(np.shape(value)) for name, value in seen.items()}
    defined = {name: np.zeros(np.shape(value)) for name, value in seen.items()}
    for start in range(0, permutations, chunk):
        swapped = generator.random((min(chunk, permutations - start), n_groups)) < 0.5
        for name, value in difference(swapped[:, group]).items():
            as_large[name] += (np.abs(value) >= np.abs(seen[name]) - _TIE).sum(axis=0)
            defined[name] += (~np.isnan(value)).sum(axis=0)
    return {
        name: {"difference": value, "p": np.where(np.isnan(value), np.nan, (1 + as_large[name]) / (1 + defined[name]))}
        for name, value in seen.items()
    }


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """p values of several comparisons -> adjusted ones, for the chance of even one false "better" among them (Holm, Scand. J. Stat. 1979).

    The smallest is multiplied by their number, the next by one less, and so on; none is below a smaller one's. NaN stays and does not
    count.
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise ValueError(f"expected a list of p values from 0 to 1; got {p.tolist()}")
    out = np.full(p.shape, np.nan)
    counted = np.flatnonzero(~np.isnan(p))
    order = counted[np.argsort(p[counted], kind="stable")]
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return out
