"""The vector that an encoder makes of each recording: the mean over its windows of the encoder's own pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from einthoven.infer.model import Model
from einthoven.sources.vocabulary import LabelClass, benchmark_rows
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.train.answers import answers


@dataclass(frozen=True, eq=False)
class Vectors:
    """vector (record, width), label (record, class) with NaN for unknown, rows (record,) of the store."""

    vector: np.ndarray
    label: np.ndarray
    rows: np.ndarray


def taking_part(label: np.ndarray, unlabelled: str) -> np.ndarray:
    """(record, class) labels -> (record,) bool. unlabelled : "negative": all; "leave_out": those with one of the classes"""
    return benchmark_rows(label) if unlabelled == "leave_out" else np.ones(len(label), dtype=bool)


def vectors_of(model: Model, store: Store, rows: np.ndarray, classes: Sequence[LabelClass], unlabelled: str = "negative") -> Vectors:
    """unlabelled : "negative", or "leave_out": recordings with none of the classes do not take part."""
    contract = model.contract
    view = Segments(store, rows, contract.seconds, stride=contract.stride, classes=tuple(classes), **contract.of_view())
    vector, said, which = answers(model.vectors, view, 64, model.device)
    label = said["label"]
    kept = taking_part(label, unlabelled)
    return Vectors(vector[kept], label[kept], which[kept])
