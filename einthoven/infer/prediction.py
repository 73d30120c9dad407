"""What a model answers about one recording. No torch here: answers are read, written and drawn without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from einthoven.metrics.windows import by_record


@dataclass(frozen=True)
class Finding:
    """One class of the model.

    codes       : its codes in ``system``, any of which means the finding; empty where the model knows none
    probability : of the whole record, from those of its windows
    threshold   : above which it counts as present
    """

    name: str
    codes: tuple[str, ...]
    probability: float
    threshold: float
    system: str | None = None

    @property
    def positive(self) -> bool:
        """Whether the probability is above the threshold."""
        return self.probability > self.threshold

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "code": "|".join(self.codes) or None,
            "system": self.system,
            "probability": self.probability,
            "threshold": self.threshold,
            "positive": self.positive,
        }


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one recording.

    record, file : its id; where it was read from, "" where it was given as a Record
    model        : as the person named it
    findings     : in the model's order of classes
    steps        : what was done to the signal to meet the model's contract
    notes        : what a reader must know beside the numbers: missing leads, padding, thresholds that nobody calibrated
    window_probability : (window, class) float32; ``window_seconds`` is a window's length, one after the other from the start
    """

    record: str
    file: str
    model: str
    findings: tuple[Finding, ...]
    steps: tuple[str, ...]
    notes: tuple[str, ...]
    window_probability: np.ndarray = field(repr=False)
    window_seconds: float

    @property
    def n_windows(self) -> int:
        return len(self.window_probability)

    @property
    def positive(self) -> tuple[Finding, ...]:
        """Findings above their thresholds, the most probable first."""
        return tuple(sorted((one for one in self.findings if one.positive), key=lambda one: -one.probability))

    def __getitem__(self, name: str) -> Finding:
        """A finding by its name or one of its codes."""
        for one in self.findings:
            if name == one.name or name in one.codes:
                return one
        raise KeyError(f"this model has no finding {name!r}; it has {', '.join(one.name for one in self.findings)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "file": self.file,
            "record": self.record,
            "model": self.model,
            "findings": [one.to_dict() for one in self.findings],
            "windows": {"count": self.n_windows, "seconds": self.window_seconds},
            "steps": list(self.steps),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        said = ", ".join(f"{one.name} {one.probability:.2f}" for one in self.positive) or "nothing above its threshold"
        return f"{self.record or self.file or 'record'}: {said}"


def aggregate(windows: np.ndarray, how: Sequence[str]) -> np.ndarray:
    """The probabilities of a record's windows as one per class: (window, class) -> (class,); ``how`` is "mean" or "max" per class."""
    return by_record(windows, np.zeros(len(windows)), how)[1][0]


def findings_of(probability: np.ndarray, classes: Sequence[Mapping[str, Any]], thresholds: Sequence[float]) -> tuple[Finding, ...]:
    """(class,) probabilities with the names and codes of a model's configuration."""
    return tuple(
        Finding(one["name"], tuple(one["codes"]), float(value), float(threshold), one.get("system"))
        for one, value, threshold in zip(classes, probability, thresholds, strict=True)
    )
