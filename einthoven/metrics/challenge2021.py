"""The score of the PhysioNet/Computing in Cardiology Challenge 2021: right answers, with part of the reward for near misses.

For each record the answers O and the true classes Y are paired, each pair weighs 1 / max(1, |Y or O|), and the reward of
true class k answered as l is W[k, l]. The sum over all pairs is scaled so that 1 is the perfect answer and 0 is to answer
"sinus rhythm" always; it can be negative. Reyna et al., Computing in Cardiology 2021.

A label that is not known (NaN) takes no part: neither it nor the answer to it is counted. The challenge has no such labels.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from einthoven.errors import EinthovenError

SINUS_RHYTHM = "426783006"


@dataclass(frozen=True, eq=False)
class Rewards:
    """The reward matrix: ``classes`` are the SNOMED CT codes of each row, equivalent codes together; ``matrix`` is (class, class)."""

    classes: tuple[tuple[str, ...], ...]
    matrix: np.ndarray

    @property
    def sinus_rhythm(self) -> int:
        """Row of sinus rhythm, the answer that scores 0."""
        return next(row for row, codes in enumerate(self.classes) if SINUS_RHYTHM in codes)

    def places(self, codes: Sequence[str | Sequence[str]]) -> list[int | None]:
        """For each row of the matrix the position in ``codes`` of the class that shares a code with it; None where there is none.

        codes : per class a code, several joined by ``|``, or a sequence of codes
        """
        given = [set(one.split("|")) if isinstance(one, str) else set(one) for one in codes]
        found = [[position for position, one in enumerate(given) if one & set(row)] for row in self.classes]
        return [positions[0] if len(positions) == 1 else None for positions in found]

    def arrange(self, columns: np.ndarray, places: Sequence[int | None]) -> np.ndarray:
        """Columns of a model's classes in the matrix's order: (record, class) -> (record, 26); False where the model has no such class."""
        out = np.zeros((len(columns), len(places)), dtype=bool)
        for row, place in enumerate(places):
            if place is not None:
                out[:, row] = columns[:, place]
        return out


def read_rewards(path: Path | None = None) -> Rewards:
    """The challenge's own matrix, or another ``weights.csv`` of the same form. Raises EinthovenError when it has another form."""
    source = path if path is not None else files("einthoven.metrics") / "cinc2021_weights.csv"
    try:
        text = source.read_text(encoding="utf-8")
        rows = [row for row in csv.reader(line for line in text.splitlines() if not line.startswith("#")) if row]
        header, body = rows[0][1:], rows[1:]
        matrix = np.array([row[1:] for row in body], dtype=np.float64)
    except (OSError, ValueError, IndexError) as error:
        raise EinthovenError(f"{source}: expected a table of rewards such as weights.csv of evaluation-2021: {error}") from error
    classes = tuple(tuple(row[0].split("|")) for row in body)
    if [tuple(code.split("|")) for code in header] != list(classes) or matrix.shape != (len(classes), len(classes)):
        raise EinthovenError(f"{source}: expected the same classes as rows and as columns; got {len(body)} rows and {len(header)} columns")
    if not any(SINUS_RHYTHM in codes for codes in classes):
        raise EinthovenError(f"{source}: expected sinus rhythm ({SINUS_RHYTHM}) among the classes; the score is scaled by it")
    return Rewards(classes, matrix)


def reward_sums(positive: np.ndarray, label: np.ndarray, rewards: Rewards) -> np.ndarray:
    """(record, 3): what each record's answers earn, what the right answers would, and what "sinus rhythm" would.

    positive : (record, class) bool, the answers; label : (record, class) 1, 0 or NaN; both in the order of ``rewards``
    """
    if positive.shape != label.shape or label.shape[1] != len(rewards.classes):
        raise ValueError(
            f"expected answers and labels of shape (record, class={len(rewards.classes)}); got {positive.shape} and {label.shape}"
        )
    known, true = ~np.isnan(label), label == 1
    inactive = np.zeros_like(true)
    inactive[:, rewards.sinus_rhythm] = True

    def earned(answer: np.ndarray) -> np.ndarray:
        answer = answer & known
        pairs = np.einsum("rk,kl,rl->r", true.astype(np.float64), rewards.matrix, answer.astype(np.float64), optimize=True)
        return pairs / np.maximum(1, (true | answer).sum(axis=1))

    return np.stack([earned(positive.astype(bool)), earned(true), earned(inactive)], axis=1)


def scaled(sums: np.ndarray) -> np.ndarray:
    """(..., 3) sums over records -> (...) the score; 0 where the right answer is "sinus rhythm" throughout, as in the challenge's script."""
    earned, correct, inactive = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    span = correct - inactive
    return np.divide(earned - inactive, span, out=np.zeros(np.shape(span)), where=span != 0)


def challenge_score(positive: np.ndarray, label: np.ndarray, rewards: Rewards | None = None) -> float:
    """The challenge score of the answers (record, class) to the labels (record, class), classes in the order of the rewards."""
    return float(scaled(reward_sums(positive, label, rewards if rewards is not None else read_rewards()).sum(axis=0)))


class Challenge:
    """The score under any weights of the records, for the bootstrap: (draw, record) -> {"cinc2021": (draw,)}."""

    def __init__(self, positive: np.ndarray, label: np.ndarray, rewards: Rewards):
        self.sums = reward_sums(positive, label, rewards)

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        return {"cinc2021": scaled(weight.astype(np.float64) @ self.sums)}
