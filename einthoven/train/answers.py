"""What a task answers for the recordings of a view: its windows' answers, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from einthoven.metrics.windows import by_record
from einthoven.train.data import View, in_order

Predict = Callable[[dict[str, Any]], Tensor]


@torch.no_grad()
def answers(
    predict: Predict,
    view: View,
    batch: int,
    device: torch.device | str,
    how: str | Sequence[str] = "mean",
    *,
    names: Iterable[str] = ("label",),
    change: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """(record, class) answers, what the batches say of each record by name, and the rows of the store (record,) in ascending order.

    predict : a batch -> (window, class) ; how : "mean" or "max" over a record's windows, one for all classes or one for each
    change  : called with each batch and its number before it is answered (noise that is added on purpose)
    """
    windows, records = [], []
    said: dict[str, list[np.ndarray]] = {name: [] for name in names}
    done = 0
    for number, made in enumerate(in_order(view, batch, device)):
        windows.append(predict(made if change is None else change(made, number)).float().cpu().numpy())
        records.append(made["record"].cpu().numpy())
        for name, values in said.items():
            values.append(made[name].cpu().numpy())
        done += len(records[-1])
        if progress is not None:
            progress(done, len(view))
    record = np.concatenate(records)
    rows, answer = by_record(np.concatenate(windows), record, how)
    first = np.unique(record, return_index=True)[1]
    return answer, {name: np.concatenate(values)[first] for name, values in said.items()}, rows
