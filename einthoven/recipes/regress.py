"""The lesson of regression: numbers from the store's table, in their units."""

from __future__ import annotations

import difflib
import json
from typing import Any

import numpy as np
import torch
from torch import nn

from einthoven.errors import RecipeError
from einthoven.recipes.build import build_encoder, contract_of, fewer_labels, rows_of, windows_of
from einthoven.recipes.kinds import Finetune
from einthoven.recipes.lesson import Lesson, Say
from einthoven.recipes.protocol import prepared
from einthoven.recipes.validation import compare_scaling, held_out_view
from einthoven.signal.contract import SignalContract
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.tasks.regression import Regression, target_statistics
from einthoven.train.answers import answers

UNITS = {"age": "years"}
"""Units of the table's own columns; numbers of a corpus's meta have those of the corpus."""


def targets_in(store: Store, names: tuple[str, ...]) -> np.ndarray:
    """(row of the store, target) float32, NaN where not known: columns of the table, or numbers in its meta. Raises RecipeError."""
    meta = [json.loads(text) if text else {} for text in store.column("meta")] if any(name != "age" for name in names) else []
    columns = []
    for name in names:
        if name == "age":
            column = np.asarray(store.column("age"), dtype=np.float64)
        else:
            column = np.array([_number(one.get(name)) for one in meta])
        if np.isnan(column).all():
            there = sorted({key for one in meta for key, value in one.items() if not np.isnan(_number(value))})
            close = difflib.get_close_matches(name, ["age", *there], 1)
            hint = f"; did you mean {close[0]}?" if close and close[0] != name else ""
            raise RecipeError(
                f"targets: {store.path} has no number called {name}; it has age{''.join(f', {key}' for key in there[:12])}{hint}"
            )
        columns.append(column)
    return np.stack(columns, axis=1).astype(np.float32)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def regression_lesson(recipe: Finetune, store: Store, say: Say) -> tuple[Lesson, SignalContract]:
    """Raises RecipeError where a target is not in the store, StoreError where it is always the same."""
    rows = fewer_labels(recipe, store, rows_of(recipe, store, recipe.split))
    target = targets_in(store, recipe.targets)
    rows = rows[~np.isnan(target[rows]).all(axis=1)]
    mean, std = target_statistics(target[rows], recipe.targets)
    contract = contract_of(recipe, store, rows)
    options: dict[str, Any] = {**contract.of_view(), "extra": {"target": target}}
    view = windows_of(recipe, store, rows, contract, extra={"target": target})
    torch.manual_seed(recipe.seed)
    encoder, before = build_encoder(recipe, contract)
    compare_scaling(recipe, before, say)
    units = [UNITS.get(name, "") for name in recipe.targets]
    task = Regression(prepared(encoder, recipe), recipe.targets, units, mean, std, loss=recipe.loss)

    def build(rows: np.ndarray) -> Segments:
        return Segments(store, rows[~np.isnan(target[rows]).all(axis=1)], contract.seconds, stride=recipe.stride, **options)

    held_out = held_out_view(recipe, store, build, say)

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, Regression) and held_out is not None
        device, batch = next(module.parameters()).device, min(recipe.micro_batch, 64)
        sums = [0.0, 0.0]

        def judge(made: dict[str, Any]) -> torch.Tensor:
            answer, total, n_known = module.judge(made)
            sums[0] += float(total)
            sums[1] += float(n_known)
            return answer

        answer, said, _ = answers(judge, held_out, batch, device, names=("target",))
        return {"loss": sums[0] / sums[1] if sums[1] else float("nan"), **module.metrics(answer, said["target"])}

    known = list(task.metrics(np.zeros((2, len(units))), np.arange(2 * len(units), dtype=float).reshape(2, -1)))
    return Lesson(task, view, validate if held_out is not None else None, known), contract
