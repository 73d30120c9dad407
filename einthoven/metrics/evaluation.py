"""The whole judgement of a set of predictions: scores with intervals, over all classes and class by class."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from einthoven.metrics.bootstrap import bootstrap as bootstrap_draws
from einthoven.metrics.bootstrap import groups_of, interval
from einthoven.metrics.challenge2021 import Challenge, read_rewards
from einthoven.metrics.fmax import SampleCentric
from einthoven.metrics.multilabel import Multilabel, n_counted

BY_CLASS = ("auroc", "auprc", "f_max", "f1", "sensitivity", "specificity", "ppv", "brier", "ece")


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    summary   : name -> {"value", "low", "high", "n_classes"}; ``n_classes`` (macro and weighted means only) is how many
                classes were counted, of ``n_classes`` of the evaluation
    per_class : for each class name, codes, number of records whose label is known, positives, prevalence, threshold, and
                each score with ``_low`` and ``_high``
    settings  : records, patients, classes, draws, seed, level, what thresholds were used
    """

    summary: Mapping[str, Mapping[str, float | int]]
    per_class: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]

    def value(self, name: str) -> float:
        """One score of the summary; raises KeyError naming those there are."""
        if name not in self.summary:
            raise KeyError(f"no score {name!r}; there are {', '.join(self.summary)}")
        return float(self.summary[name]["value"])

    def to_json(self) -> str:
        """Strict JSON: what is not defined is null."""
        return json.dumps(
            plain({"settings": self.settings, "summary": self.summary, "per_class": self.per_class}), indent=1, ensure_ascii=False
        )

    def to_csv(self) -> str:
        """The table per class; what is not defined is an empty cell."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        header = list(self.per_class[0]) if self.per_class else []
        writer.writerow(header)
        for row in self.per_class:
            writer.writerow(["" if plain(row[name]) is None else plain(row[name]) for name in header])
        return text.getvalue()


def evaluate(
    probability: np.ndarray,
    label: np.ndarray,
    names: Sequence[str],
    *,
    codes: Sequence[str] | None = None,
    patient: Sequence | np.ndarray | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    thresholds: float | Sequence[float] | np.ndarray | None = None,
    challenge: np.ndarray | None = None,
) -> Evaluation:
    """Score predictions against labels, with bootstrap intervals.

    probability : (record, class) in [0, 1]
    label       : (record, class) 1, 0 or NaN (unknown, left out for that class)
    names       : (class,) for the table
    codes       : (class,) SNOMED CT codes, equivalent ones joined by ``|``; the CinC 2021 score is given when its 26
                  classes are among them, or some of them and ``challenge`` is given
    challenge   : (record, 26) labels of all the challenge's classes in its order; those that the model does not know
                  count as never answered, so that leaving classes out does not make a score better
    patient     : (record,) ids; then patients are drawn, not records
    bootstrap   : number of draws; 0 gives no intervals (NaN)
    thresholds  : (class,) above which a finding is positive; None is 0.5, which no model is tuned to
    """
    thresholds_given = thresholds is not None
    scorer = Multilabel(probability, label, 0.5 if thresholds is None else np.asarray(thresholds, dtype=np.float64))
    if len(names) != scorer.n_classes or (codes is not None and len(codes) != scorer.n_classes):
        raise ValueError(f"expected a name (and a code) for each of {scorer.n_classes} classes; got {len(names)} names")
    statistics: list = [scorer]
    if (scorer.label == 1).any(axis=1).any():
        sample_centric = SampleCentric(scorer.probability, scorer.label)
        statistics.append(lambda weight: {"sample_f_max": sample_centric(weight)["sample_f_max"]})
    rewards = read_rewards()
    places = rewards.places(codes) if codes is not None else []
    n_known = sum(place is not None for place in places)
    if n_known and (challenge is not None or n_known == len(places)):
        positive = rewards.arrange(scorer.probability > scorer.thresholds, places)
        statistics.append(Challenge(positive, scorer.label[:, places] if challenge is None else challenge, rewards))  # type: ignore[index]

    def statistic(weight: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value for part in statistics for name, value in part(weight).items()}

    point = {name: value[0] for name, value in statistic(np.ones((1, scorer.n_records), dtype=np.int32)).items()}
    # A chunk holds draws x entries numbers: about 16 million of them at most, whatever the size of the test set.
    chunk = max(1, min(100, 16_000_000 // max(1, scorer.label.size)))
    drawn = bootstrap_draws(statistic, scorer.n_records, patient=patient, draws=bootstrap, seed=seed, chunk=chunk)
    ends = {name: interval(drawn[name], level) if bootstrap else (np.full_like(value, np.nan),) * 2 for name, value in point.items()}

    summary: dict[str, dict[str, float | int]] = {}
    for name, value in point.items():
        if name not in BY_CLASS:
            summary[name] = {"value": float(value), "low": float(ends[name][0]), "high": float(ends[name][1])}
            averaged = name.removeprefix("macro_").removeprefix("weighted_")
            if averaged != name:
                summary[name]["n_classes"] = n_counted(point[averaged])
    per_class = []
    for column, class_name in enumerate(names):
        known = scorer.label[~np.isnan(scorer.label[:, column]), column]
        row: dict[str, Any] = {"name": class_name, "code": codes[column] if codes is not None else ""}
        row |= {"n_known": len(known), "n_positive": int(known.sum()), "prevalence": float(known.mean()) if len(known) else math.nan}
        row["threshold"] = float(scorer.thresholds[column])
        for name in BY_CLASS:
            row |= {
                name: float(point[name][column]),
                f"{name}_low": float(ends[name][0][column]),
                f"{name}_high": float(ends[name][1][column]),
            }
        per_class.append(row)
    n_groups = int(groups_of(patient, scorer.n_records).max()) + 1 if scorer.n_records else 0
    settings = {
        "n_records": scorer.n_records,
        "n_patients": n_groups if patient is not None else None,
        "n_classes": scorer.n_classes,
        "n_known": int((~np.isnan(scorer.label)).sum()),
        "bootstrap": bootstrap,
        "drawn": "patients" if patient is not None else "records",
        "seed": seed,
        "level": level,
        "thresholds": "given" if thresholds_given else "0.5 for every class, not tuned",
    }
    return Evaluation(summary, per_class, settings)


def plain(value: Any) -> Any:
    """Numbers and containers that strict JSON knows; NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
