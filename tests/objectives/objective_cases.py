"""A small one of every objective, for the tests that hold for all of them (test_every_objective.py).

Who adds an objective adds a line to CASES: how to build it small, and what is special about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from einthoven.augment import Pipeline, RandomLeadMask
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives import CMSC, W2V, W2VCMSC, Objective

MASKED = {"n_negatives": 5, "final_dim": 8, "latent_vars": 6, "mask": {"length": 4}}


@dataclass(frozen=True)
class Case:
    """build  : makes the objective; called after torch.manual_seed
    n_rows    : rows of a batch (an even number)
    n_time    : samples of a row at 500 Hz
    falls_to  : share of the first loss to which the loss falls when one batch is learned by heart (``floor`` is taken off both)
    floor     : the least value that the loss can have
    updates, lr : of that learning by heart
    padded    : whether padded rows, too, must come out alike in one process and in two
    """

    build: Callable[[], Objective]
    n_rows: int = 8
    n_time: int = 320
    falls_to: float = 0.5
    floor: float = 0.0
    updates: int = 60
    lr: float = 3e-3
    padded: bool = True


def transformer(**changes: Any) -> ECGTransformer:
    """The ECG transformer, smaller still than tiny, without dropout."""
    return ECGTransformer(**{**SIZES["tiny"], "dim": 32, "depth": 1, "ffn": 64, **changes})


def lead_masks() -> Pipeline:
    """Some augmentation, for objectives that make views."""
    return Pipeline([RandomLeadMask(p=0.3, at_least=4)])


CASES: dict[str, Case] = {
    "w2v": Case(lambda: W2V(transformer(), cross_sample_negatives=4, **MASKED), falls_to=0.8),
    "cmsc": Case(lambda: CMSC(transformer()), padded=False),
    "w2v_cmsc": Case(lambda: W2VCMSC(transformer(), channel_mask={"prob": 0.2, "length": 2}, **MASKED), falls_to=0.8),
}


def batch_of(case: Case, *, padded: bool = False, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Noise with a rhythm of its own in each row: pairs of segments of persons, one of whom has two pairs."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.arange(case.n_rows)
    person = rows // 2
    person = torch.where(person == case.n_rows // 2 - 1, torch.zeros_like(person), person)
    time = torch.arange(case.n_time) / 500
    phase, rate = 6.28 * torch.rand(case.n_rows, 12, 1, generator=draw), 2 + 8 * torch.rand(case.n_rows, 1, 1, generator=draw)
    ecg = torch.sin(6.28 * rate * time + phase) + 0.3 * torch.randn(case.n_rows, 12, case.n_time, generator=draw)
    n_valid = torch.full((case.n_rows,), case.n_time)
    if padded:  # only rows of the second half, which the second process has
        n_valid[-3] = int(0.65 * case.n_time)
        n_valid[-1] = int(0.6 * case.n_time)
    valid = torch.arange(case.n_time) < n_valid[:, None]
    return {
        "ecg": (ecg * valid[:, None]).to(dtype),
        "valid": valid,
        "padded": padded,
        "lead_present": torch.ones(case.n_rows, 12, dtype=torch.bool),
        "scale": torch.ones(case.n_rows, 12, dtype=dtype),
        "patient": person,
        "record": person,
        "segment": rows % 2,
    }


class CaseView:
    """A store's view for an objective: items of one row, or of two; it crashes when told to."""

    def __init__(self, case: Case, pairs: bool, crash_at: int = -1):
        draw = np.random.default_rng(5)
        self.per_item = 2 if pairs else 1
        self.counts = draw.integers(-1000, 1000, (32 // self.per_item, self.per_item, 12, case.n_time)).astype(np.int16)
        self.crash_at, self.n_asked = crash_at, 0

    def __len__(self):
        return len(self.counts)

    def __getitems__(self, indices):
        if self.n_asked == self.crash_at:
            raise Crash
        self.n_asked += 1
        rows, n = np.asarray(indices), self.per_item * len(indices)
        return {
            "counts": self.counts[rows].reshape(n, 12, -1),
            "gain": np.full((n, 12), 0.001, np.float32),
            "offset": np.zeros((n, 12), np.float32),
            "scale": np.ones((n, 12), np.float32),
            "n_valid": np.full(n, self.counts.shape[-1]),
            "lead_present": np.ones((n, 12), bool),
            "patient": np.repeat(rows, self.per_item),
            "record": np.repeat(rows, self.per_item),
            "segment": np.tile(np.arange(self.per_item), len(rows)),
        }


class Crash(Exception):
    pass
