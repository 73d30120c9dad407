"""Scores of multi-label probabilities against labels of which some may be unknown.

Everywhere ``probability`` is (record, class) in [0, 1] without NaN, ``label`` is (record, class) of 1, 0 and NaN (unknown:
left out for that class). A score that needs both kinds of label is NaN for a class that has only one; means over classes
pass such a class over, and ``n_counted`` says how many were counted (scikit-learn warns, torchmetrics counts them as 0).

Everything is written for weighted records, because a bootstrap draw is nothing but whole-number weights: ``Multilabel``
sorts once and then answers for any weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ECE_BINS = 15
UNDEFINED = {"drop": None, "half": 0.5, "zero": 0.0, "nan": np.nan}
"""What a class without positives or without negatives counts in a mean over classes, by the names of ``macro``."""


def check(probability: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (record, class); raises ValueError where they are not what this module expects."""
    probability, label = np.asarray(probability, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if probability.ndim != 2 or probability.shape != label.shape:
        raise ValueError(f"expected probabilities and labels of one shape (record, class); got {probability.shape} and {label.shape}")
    if not ((probability >= 0) & (probability <= 1)).all():
        bad = probability[~((probability >= 0) & (probability <= 1))]
        raise ValueError(f"expected probabilities from 0 to 1; got {bad.size} others, {bad[0]} among them (logits? pass their sigmoid)")
    known = label[~np.isnan(label)]
    if not np.isin(known, (0.0, 1.0)).all():
        raise ValueError(f"expected labels 0, 1 or NaN (unknown); got {known[~np.isin(known, (0.0, 1.0))][0]}")
    return probability, label


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Elementwise quotient, NaN where the divisor is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


def mean_over_classes(value: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(..., class) -> (...): the mean of what is not NaN, optionally weighted by (..., class); NaN where nothing is left."""
    there = ~np.isnan(value)
    weight = there.astype(np.float64) if weight is None else np.where(there, weight, 0.0)
    return ratio((np.where(there, value, 0.0) * weight).sum(axis=-1), weight.sum(axis=-1))


def macro(value: Sequence[float] | np.ndarray, undefined: str = "drop") -> float:
    """The mean of a score over classes, (class,) -> a number, by one of the field's conventions for classes where it is not defined (NaN).

    undefined : ``drop`` them (ours; say how many with ``n_counted``), count an AUROC as ``half`` (ecg-selfsupervised) or an average
                precision as ``zero`` (there too), or let the mean be ``nan``
    """
    if undefined not in UNDEFINED:
        raise ValueError(f"expected undefined as one of {', '.join(UNDEFINED)}; got {undefined!r}")
    scores, instead = np.asarray(value, dtype=np.float64), UNDEFINED[undefined]
    if instead is None:
        return float(mean_over_classes(scores))
    return float(np.where(np.isnan(scores), instead, scores).mean())


class Ranking:
    """Entries in descending order of probability, ready to be scored under any weights of the records.

    Sorted once; each draw then costs one gather and one cumulative sum over all entries, and the rest runs over the
    positives alone: the numbers above a positive and through its tie group are all that AUROC, average precision and
    F-max depend on.

    probability, label : (entry,) without NaN
    record             : (entry,) which record's weight an entry takes
    """

    def __init__(self, probability: np.ndarray, label: np.ndarray, record: np.ndarray):
        order = np.argsort(-probability, kind="stable")
        probability, positive = probability[order], label[order] == 1
        self.record = record[order]
        new = np.flatnonzero(np.diff(probability, prepend=np.inf))  # first entry of each group of equal probabilities
        group = np.cumsum(np.diff(probability, prepend=np.inf) != 0) - 1
        ends = np.append(new[1:], len(probability))
        self.at = np.flatnonzero(positive)
        self.start, self.end = new[group[self.at]], ends[group[self.at]]
        n_positive = np.concatenate([[0], np.cumsum(positive)])
        self.positive_start, self.positive_end = n_positive[self.start], n_positive[self.end]
        self.threshold = probability[self.at]

    def counts(self, weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """weight (draw, record) whole numbers -> the weight of each positive, of entries and of positives above its tie
        group and through it, each (draw, positive) float64, and the sum of all weights (draw,)."""
        n_draws = len(weight)
        below = np.zeros((n_draws, len(self.record) + 1), dtype=np.int64)
        np.cumsum(weight[:, self.record], axis=1, out=below[:, 1:])
        own = weight[:, self.record[self.at]]
        positive = np.zeros((n_draws, len(self.at) + 1), dtype=np.int64)
        np.cumsum(own, axis=1, out=positive[:, 1:])
        pick = (own, below[:, self.start], below[:, self.end], positive[:, self.positive_start], positive[:, self.positive_end])
        return (*(array.astype(np.float64) for array in pick), below[:, -1].astype(np.float64))

    def scores(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        """weight (draw, record) -> AUROC (ties count one half), average precision, F-max; each (draw,), NaN where undefined."""
        own, above, through, positive_above, positive_through, total = self.counts(weight)
        positive = own.sum(axis=1)
        negative = total - positive
        beaten = ((above - positive_above) + (through - positive_through)) / 2  # negatives that stand above, ties by half
        auroc = 1 - ratio((own * beaten).sum(axis=1), positive * negative)
        precision = positive_through / np.maximum(through, 1)
        auprc = ratio((own * precision).sum(axis=1), np.where(negative > 0, positive, 0))
        if not len(self.at):
            return {"auroc": auroc, "auprc": auprc, "f_max": np.full(len(weight), np.nan)}
        # F1 only grows where the threshold passes a positive, so its maximum over all thresholds stands at one of them.
        f_max = (2 * positive_through / np.maximum(through + positive[:, None], 1)).max(axis=1)
        return {"auroc": auroc, "auprc": auprc, "f_max": np.where(positive > 0, f_max, np.nan)}

    def best(self) -> tuple[float, float]:
        """The highest F1 and the probability from which on (``>=``) it is reached; NaN twice without positives."""
        if not len(self.at):
            return np.nan, np.nan
        precision_sum = 2 * self.positive_end / (self.end + len(self.at))
        where = int(np.argmax(precision_sum))
        return float(precision_sum[where]), float(self.threshold[where])


class Discrimination:
    """AUROC and average precision of each class and their means over classes: ``Multilabel`` without the rest, in less than half of its time."""

    def __init__(self, probability: np.ndarray, label: np.ndarray):
        probability, label = check(probability, label)
        self.rankings = rankings(probability, label)

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        by_class = [ranking.scores(weight) for ranking in self.rankings]
        out = {name: np.stack([scores[name] for scores in by_class], axis=1) for name in ("auroc", "auprc")}
        return out | {f"macro_{name}": mean_over_classes(value) for name, value in out.items()}


def rankings(probability: np.ndarray, label: np.ndarray) -> list[Ranking]:
    """One for each class, of the entries whose label is known."""
    known = [np.flatnonzero(column) for column in ~np.isnan(label.T)]
    return [Ranking(probability[rows, at], label[rows, at], rows) for at, rows in enumerate(known)]


class Multilabel:
    """Every score of this module for a set of predictions, under any weights of the records.

    thresholds : (class,) or one number; a finding is positive when its probability is above it (strictly, as in the old code)

    Calling it with weights (draw, record) gives name -> (draw, class) for the scores of single classes and
    name -> (draw,) for ``macro_…`` (mean over classes), ``weighted_…`` (by positives), ``micro_…`` (all entries as one
    class), ``accuracy`` (known entries) and ``exact_match`` (records of which every known label is right).
    """

    def __init__(self, probability: np.ndarray, label: np.ndarray, thresholds: float | np.ndarray = 0.5):
        self.probability, self.label = check(probability, label)
        self.n_records, self.n_classes = self.label.shape
        self.thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (self.n_classes,))
        if np.isnan(self.thresholds).any():
            raise ValueError(f"expected a threshold for each of {self.n_classes} classes; got NaN among {self.thresholds.tolist()}")
        known = ~np.isnan(self.label)
        self.rankings = rankings(self.probability, self.label)
        rows = np.broadcast_to(np.arange(self.n_records)[:, None], known.shape)
        self.together = Ranking(self.probability[known], self.label[known], rows[known])
        yes, no, says = self.label == 1, self.label == 0, self.probability > self.thresholds
        self.cells = np.concatenate([yes & says, no & says, yes & ~says, no & ~says], axis=1).astype(np.float64)
        error = np.where(known, self.probability - np.nan_to_num(self.label), 0.0)
        self.squared = error**2
        self.right = ((says == yes) | ~known).all(axis=1).astype(np.float64) * known.any(axis=1)
        self.asked = known.any(axis=1).astype(np.float64)
        bins = np.minimum((self.probability * ECE_BINS).astype(int), ECE_BINS - 1)
        self.gaps = np.zeros((self.n_records, self.n_classes, ECE_BINS))
        np.put_along_axis(self.gaps, bins[:, :, None], error[:, :, None], axis=2)

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        if weight.shape[1] != self.n_records:
            raise ValueError(f"expected weights of shape (draw, record={self.n_records}); got {weight.shape}")
        by_class = [ranking.scores(weight) for ranking in self.rankings]
        out = {name: np.stack([scores[name] for scores in by_class], axis=1) for name in ("auroc", "auprc", "f_max")}
        real = weight.astype(np.float64)
        tp, fp, fn, tn = np.split(real @ self.cells, 4, axis=1)
        n_known = tp + fp + fn + tn
        out |= cell_scores(tp, fp, fn, tn)
        out["brier"] = ratio(real @ self.squared, n_known)
        gaps = np.abs(real @ self.gaps.reshape(self.n_records, -1)).reshape(len(weight), self.n_classes, ECE_BINS)
        out["ece"] = ratio(gaps.sum(axis=2), n_known)
        overall = {f"macro_{name}": mean_over_classes(value) for name, value in out.items()}
        overall |= {f"weighted_{name}": mean_over_classes(out[name], tp + fn) for name in ("auroc", "auprc", "f1")}
        overall |= {f"micro_{name}": value for name, value in self.together.scores(weight).items()}
        sums = [cell.sum(axis=1) for cell in (tp, fp, fn, tn)]
        overall |= {f"micro_{name}": value for name, value in cell_scores(*sums).items()}
        overall["accuracy"] = ratio(sums[0] + sums[3], np.sum(sums, axis=0))
        overall["exact_match"] = ratio(real @ self.right, real @ self.asked)
        return out | overall


def cell_scores(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> dict[str, np.ndarray]:
    """F1, sensitivity (recall), specificity and PPV (precision) from the four cells; NaN where nothing was there to be found or said."""
    return {
        "f1": np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), np.nan),
        "sensitivity": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "ppv": ratio(tp, tp + fp),
    }


def scores(probability: np.ndarray, label: np.ndarray, thresholds: float | np.ndarray = 0.5) -> dict[str, np.ndarray]:
    """Every score of ``Multilabel`` for the records as they are: name -> (class,), or () for the means."""
    multilabel = Multilabel(probability, label, thresholds)
    return {name: value[0] for name, value in multilabel(np.ones((1, multilabel.n_records), dtype=np.int64)).items()}


def auroc(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(record, class) -> (class,): the chance that a positive stands above a negative, ties by half (Mann-Whitney)."""
    return scores(probability, label)["auroc"]


def average_precision(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(record, class) -> (class,): mean precision over the positives, ties taken as one step (not interpolated)."""
    return scores(probability, label)["auprc"]


def f_max(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(record, class) -> (class,): the highest F1 that any threshold gives."""
    return scores(probability, label)["f_max"]


def best_thresholds(probability: np.ndarray, label: np.ndarray, default: float = 0.5) -> np.ndarray:
    """The threshold per class with the highest F1, for a validation set: (record, class) -> (class,).

    It is the middle between the lowest probability that counts as positive and the next one below it, so that
    ``probability > threshold`` gives that F1 and nothing hangs on the last bit. ``default`` for a class without positives
    or without negatives.
    """
    probability, label = check(probability, label)
    out = np.full(label.shape[1], float(default))
    for column in range(label.shape[1]):
        rows = np.flatnonzero(~np.isnan(label[:, column]))
        given, truth = probability[rows, column], label[rows, column]
        if not 0 < truth.sum() < len(truth):
            continue
        _, lowest = Ranking(given, truth, rows).best()
        below = given[given < lowest]
        out[column] = (lowest + below.max()) / 2 if len(below) else lowest / 2
    return out


def n_counted(value: Sequence[float] | np.ndarray) -> int:
    """How many classes a mean over classes is made of."""
    return int((~np.isnan(np.asarray(value))).sum())
