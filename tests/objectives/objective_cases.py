"""A small one of every objective, for the tests that hold for all of them (test_every_objective.py).

Who adds an objective adds a line to CASES: how to build it small, and what is special about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from einthoven.augment import VCG, Pipeline, RandomLeadMask
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.cpc import CPCEncoder
from einthoven.models.vit1d import PRESETS, ViT1D
from einthoven.objectives import BYOL, CMLC, CMSC, CMSMLC, CPC, JEPA, MAE, W2V, W2VCMSC, MoCo, Objective, SimCLR, SwAV, ThreeKG

MASKED = {"n_negatives": 5, "final_dim": 8, "latent_vars": 6, "mask": {"length": 4}}

SWAV = {"small": 2, "prototypes": 6, "projection": (32, 8), "queue": 12, "queue_from": 1}


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


def recurrent() -> CPCEncoder:
    """The CPC encoder, with a frame per 16 samples."""
    return CPCEncoder(features=(16, 24), kernels=(10, 4), strides=(4, 4), dim=32, depth=1)


def patches(name: str) -> ViT1D:
    """A vision transformer with 16 patches in a row's 320 samples."""
    return ViT1D(**{**PRESETS[name], "dim": 32, "patch": 20})


def lead_masks() -> Pipeline:
    """Some augmentation, for objectives that make views."""
    return Pipeline([RandomLeadMask(p=0.3, at_least=4)])


CASES: dict[str, Case] = {
    "w2v": Case(lambda: W2V(transformer(), cross_sample_negatives=4, **MASKED), falls_to=0.8),
    "cmsc": Case(lambda: CMSC(transformer()), padded=False),
    "cmlc": Case(lambda: CMLC(transformer(), n_leads=3), floor=1.155, updates=100),  # a row of the person with four has four positives
    "cmsmlc": Case(lambda: CMSMLC(transformer(), n_leads=3), floor=0.462),
    "3kg": Case(lambda: ThreeKG(transformer(), augment=Pipeline([VCG()]))),
    "w2v_cmsc": Case(lambda: W2VCMSC(transformer(), channel_mask={"prob": 0.2, "length": 2}, **MASKED), falls_to=0.8),
    "simclr": Case(lambda: SimCLR(transformer(), projection=(16, 8), temperature=0.1, same_person="left_out", augment=lead_masks())),
    "byol": Case(lambda: BYOL(transformer(), hidden=32, dim=8, augment=lead_masks())),
    "swav": Case(lambda: SwAV(transformer(), **SWAV, augment=lead_masks()), falls_to=0.7),
    # An ECG of the one batch has one or two older keys of its own in the queue: with the one, log(2) is the least.
    "moco": Case(
        lambda: MoCo(transformer(), projection=(32, 16), queue=12, momentum=0.9, augment=Pipeline([RandomLeadMask(p=0.1, at_least=4)])),
        floor=0.69,
    ),
    "cpc": Case(lambda: CPC(recurrent(), steps_ahead=3, n_negatives=6, negatives="batch", head="mlp"), falls_to=0.5),
    "mae": Case(lambda: MAE(patches("vit_tiny"), decoder_dim=32, decoder_depth=1), falls_to=0.75, updates=120, lr=1e-2),
    "jepa": Case(lambda: JEPA(patches("vit_tiny"), least_seconds=0.1, guard=2), falls_to=0.6),
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
