"""Scores that judge a record's whole list of findings, as the PTB-XL benchmark and the challenges of 2018 and 2020 have them.

``SampleCentric``: precision and recall of each *record*, averaged over records, over 101 thresholds; F-max is the best harmonic mean.
``Weighted``: F and G (both with beta = 2) of each class, where a record with n true findings counts 1/n.

Both are statistics of whole-number weights (draw, record), so they go into ``bootstrap`` like ``multilabel.Multilabel``.
Labels are 1, 0 or NaN (unknown: neither found nor missed). Where a record has nothing to be found, its recall is not defined and is left
out of that average (the benchmark has no such record; ecg-selfsupervised would have divided by 0).

Source: Strodthoff et al., IEEE JBHI 25(5) 2021 (arXiv 2004.13701); F and G: PhysioNet/CinC Challenge 2020.
"""

from __future__ import annotations

import numpy as np

from einthoven.metrics.multilabel import Ranking, check, mean_over_classes, ratio

THRESHOLDS = np.linspace(0, 1, 101)
BETA = 2.0


class SampleCentric:
    """Precision, recall, false positive rate and coverage over thresholds (``>=``), averaged over records.

    Calling it with weights (draw, record) gives ``sample_f_max`` and, at the threshold where it is reached (the first one),
    ``sample_precision``, ``sample_recall`` and ``sample_threshold``; each (draw,). ``curve`` gives everything over all thresholds.
    """

    def __init__(self, probability: np.ndarray, label: np.ndarray, thresholds: np.ndarray = THRESHOLDS):
        probability, label = check(probability, label)
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        self.n_records = len(label)
        known, true = ~np.isnan(label), label == 1
        n_true, n_false = true.sum(axis=1), (known & ~true).sum(axis=1)
        shape = (len(self.thresholds), self.n_records)
        self.precision, self.recall, self.false_rate, self.says = (np.zeros(shape) for _ in range(4))
        for at, threshold in enumerate(self.thresholds):
            said = (probability >= threshold) & known
            hit, n_said = (said & true).sum(axis=1), said.sum(axis=1)
            self.says[at] = n_said > 0
            self.precision[at] = np.divide(hit, n_said, out=np.zeros(self.n_records), where=n_said > 0)
            self.recall[at] = np.divide(hit, n_true, out=np.zeros(self.n_records), where=n_true > 0)
            self.false_rate[at] = np.divide(n_said - hit, n_false, out=np.zeros(self.n_records), where=n_false > 0)
        self.has_true, self.has_false = (n_true > 0).astype(np.float64), (n_false > 0).astype(np.float64)

    def curve(self, weight: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """``precision`` (of the records for which anything is said), ``recall``, ``false_positive_rate``, ``coverage`` (share of records for which
        anything is said) and ``f``: (draw, threshold) each; NaN where not defined. Without weights one draw: the records as they are."""
        weight = np.ones((1, self.n_records)) if weight is None else weight.astype(np.float64)
        precision = ratio(weight @ self.precision.T, weight @ self.says.T)
        recall = ratio(weight @ self.recall.T, (weight @ self.has_true)[:, None])
        return {
            "precision": precision,
            "recall": recall,
            "false_positive_rate": ratio(weight @ self.false_rate.T, (weight @ self.has_false)[:, None]),
            "coverage": ratio(weight @ self.says.T, weight.sum(axis=1, keepdims=True)),
            "f": ratio(2 * precision * recall, precision + recall),
        }

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        curve = self.curve(weight)
        score = np.where(np.isnan(curve["f"]), -1.0, curve["f"])
        at, rows = score.argmax(axis=1), np.arange(len(score))
        defined = score[rows, at] >= 0
        values = {"f_max": curve["f"], "precision": curve["precision"], "recall": curve["recall"]}
        out = {f"sample_{name}": np.where(defined, value[rows, at], np.nan) for name, value in values.items()}
        return out | {"sample_threshold": np.where(defined, self.thresholds[at], np.nan)}


def sample_f_max(probability: np.ndarray, label: np.ndarray) -> float:
    """The highest sample-centric F over 101 thresholds: (record, class) twice -> a number."""
    return float(SampleCentric(probability, label)(np.ones((1, len(label))))["sample_f_max"][0])


class Weighted:
    """F and G of each class where a record with n true findings counts 1/n (one without any counts 1).

    F = (1 + b²)·TP / ((1 + b²)·TP + FP + b²·FN),  G = TP / (TP + FP + b·FN),  b = ``beta``

    positive : (record, class) bool, what is said (``decide``)
    Calling it with weights (draw, record) gives ``f_beta`` and ``g_beta`` (draw, class), and their means over classes ``f_beta_macro``
    and ``g_beta_macro`` (draw,); a class of which nothing was said and nothing was there is NaN and left out of the mean.
    """

    def __init__(self, positive: np.ndarray, label: np.ndarray, beta: float = BETA):
        positive, label = np.asarray(positive, dtype=bool), np.asarray(label, dtype=np.float64)
        if positive.shape != label.shape or label.ndim != 2:
            raise ValueError(f"expected findings and labels of one shape (record, class); got {positive.shape} and {label.shape}")
        self.beta, self.n_classes = beta, label.shape[1]
        yes, no = label == 1, label == 0
        share = 1 / np.maximum(1, yes.sum(axis=1, keepdims=True))
        self.cells = np.concatenate([yes & positive, no & positive, yes & ~positive], axis=1) * share

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        tp, fp, fn = np.split(weight.astype(np.float64) @ self.cells, 3, axis=1)
        square = self.beta**2
        by_class = {
            "f_beta": ratio((1 + square) * tp, (1 + square) * tp + fp + square * fn),
            "g_beta": ratio(tp, tp + fp + self.beta * fn),
        }
        return by_class | {f"{name}_macro": mean_over_classes(value) for name, value in by_class.items()}


def decide(probability: np.ndarray, thresholds: np.ndarray | float, *, at_least_one: bool = True) -> np.ndarray:
    """What is said of each record: probability > threshold (strictly), (record, class) bool.

    at_least_one : a record of which no class is above its threshold gets the most probable class (CPSC2018's records all have a finding)
    """
    probability = np.asarray(probability)
    positive = probability > np.asarray(thresholds)
    if at_least_one:
        nothing = np.flatnonzero(~positive.any(axis=1))
        positive[nothing, probability[nothing].argmax(axis=1)] = True
    return positive


def g_beta_thresholds(
    probability: np.ndarray, label: np.ndarray, *, beta: float = BETA, n_steps: int = 100, default: float = 0.5
) -> np.ndarray:
    """The threshold of each class with the highest G, every record counting once: (record, class) twice -> (class,).

    Of ``n_steps`` equally spaced values from 0 to 1 the first that is best. ``default`` for a class without positives. Fit it on training
    predictions.
    """
    probability, label = check(probability, label)
    steps, out = np.linspace(0, 1, n_steps), np.full(label.shape[1], float(default))
    for column in range(label.shape[1]):
        known = ~np.isnan(label[:, column])
        given, true = probability[known, column], label[known, column] == 1
        if not true.any():
            continue
        # Records above a step are those that sorting puts behind it.
        n_hit = true.sum() - np.searchsorted(np.sort(given[true]), steps, side="right")
        n_false = (~true).sum() - np.searchsorted(np.sort(given[~true]), steps, side="right")
        score = n_hit / np.maximum(n_hit + n_false + beta * (true.sum() - n_hit), 1e-300)
        out[column] = steps[int(np.argmax(score))]
    return out


def youden_thresholds(probability: np.ndarray, label: np.ndarray, *, between: bool = True, default: float = 0.5) -> np.ndarray:
    """The threshold of each class with the highest sensitivity + specificity: (record, class) twice -> (class,).

    between : True: the middle between the lowest probability that counts as positive and the next one below it, so that
              ``probability > threshold`` gives that operating point. False: that lowest probability itself, as the benchmark has it, which
              a strict comparison then counts as negative
    ``default`` for a class without positives, without negatives, or whose probabilities are no better than chance at every threshold.
    """
    probability, label = check(probability, label)
    out = np.full(label.shape[1], float(default))
    for column in range(label.shape[1]):
        rows = np.flatnonzero(~np.isnan(label[:, column]))
        given, true = probability[rows, column], label[rows, column]
        n_true = int(true.sum())
        if not 0 < n_true < len(true):
            continue
        ranking = Ranking(given, true, rows)
        gain = ranking.positive_end / n_true - (ranking.end - ranking.positive_end) / (len(true) - n_true)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            continue
        lowest = ranking.threshold[best]
        below = given[given < lowest]
        out[column] = lowest if not between else (lowest + below.max()) / 2 if len(below) else lowest / 2
    return out
