"""Windows' answers put together to those of recordings, against a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from einthoven.train.answers import answers

RECORDS = [7, 7, 7, 2, 5, 5]
"""Rows of the store that six windows are of, out of order."""


class View:
    """Six windows; each sample is the number of its window."""

    def __len__(self) -> int:
        return len(RECORDS)

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        n = len(indices)
        return {
            "counts": np.repeat(np.array(indices, dtype=np.int16), 8).reshape(n, 2, 4),
            "gain": np.ones((n, 2), dtype=np.float32),
            "offset": np.zeros((n, 2), dtype=np.float32),
            "scale": np.ones((n, 2), dtype=np.float32),
            "n_valid": np.full(n, 4),
            "lead_present": np.ones((n, 2), dtype=bool),
            "record": np.array([RECORDS[index] for index in indices]),
            "label": np.array([[RECORDS[index], np.nan] for index in indices], dtype=np.float32),
        }


def predict(batch: dict[str, Any]) -> torch.Tensor:
    """(window, 2): the window's number, and its square."""
    number = batch["ecg"][:, 0, 0]
    return torch.stack([number, number**2], dim=1)


@pytest.mark.parametrize("how", ["mean", "max", ["max", "mean"]])
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_answers_are_the_mean_or_maximum_over_a_records_windows_in_the_order_of_the_store(how, batch: int):
    answer, said, rows = answers(predict, View(), batch, "cpu", how)
    assert rows.tolist() == [2, 5, 7]
    for place, row in enumerate(rows.tolist()):
        windows = np.array([[number, number**2] for number, record in enumerate(RECORDS) if record == row], dtype=float)
        for column in range(2):
            one = how if isinstance(how, str) else how[column]
            assert answer[place, column] == pytest.approx(getattr(windows[:, column], one)())
        assert said["label"][place, 0] == row and np.isnan(said["label"][place, 1])


def test_a_batch_is_changed_before_it_is_answered_and_its_number_is_known():
    numbers: list[int] = []

    def change(batch: dict[str, Any], number: int) -> dict[str, Any]:
        numbers.append(number)
        return {**batch, "ecg": batch["ecg"] + 10}

    answer, _, _ = answers(predict, View(), 4, "cpu", names=(), change=change)
    assert numbers == [0, 1] and answer[0, 0] == 13  # record 2 is window 3


def test_progress_counts_windows():
    seen: list[tuple[int, int]] = []
    answers(predict, View(), 4, "cpu", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 6), (6, 6)]


def test_no_gradient_is_kept():
    weight = torch.ones((), requires_grad=True)
    kept: list[torch.Tensor] = []

    def with_weight(batch: dict[str, Any]) -> torch.Tensor:
        kept.append(predict(batch) * weight)
        return kept[-1]

    answers(with_weight, View(), 64, "cpu")
    assert not kept[0].requires_grad
