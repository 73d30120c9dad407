"""The lesson of diagnosis: classes, their labels, the head and the protocol; and what the model will say of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from einthoven.errors import RecipeError
from einthoven.metrics.multilabel import best_thresholds
from einthoven.recipes.build import build_encoder, choose_classes, contract_of, fewer_labels, rows_of, usable_classes, windows_of
from einthoven.recipes.kinds import Finetune
from einthoven.recipes.lesson import Lesson, Say
from einthoven.recipes.protocol import prepared
from einthoven.recipes.validation import compare_scaling, held_out_view
from einthoven.signal.contract import SignalContract
from einthoven.sources.vocabulary import LabelClass, benchmark_rows
from einthoven.store.read import Store
from einthoven.store.views import Segments, targets_of
from einthoven.tasks.diagnosis import Diagnosis, constant_classes, pos_weight
from einthoven.train.answers import answers


def diagnosis_lesson(recipe: Finetune, store: Store, say: Say) -> tuple[Lesson, SignalContract]:
    """Raises RecipeError where the store cannot teach what the recipe asks for."""
    rows = fewer_labels(recipe, store, rows_of(recipe, store, recipe.split))
    contract = contract_of(recipe, store, rows)
    options = contract.of_view()
    wanted = choose_classes(recipe, store, rows)
    classes, left = task_classes(recipe, store, rows)
    rows = taking_part(recipe, Segments(store, rows, contract.seconds, classes=classes, **options))
    if left:
        say(f"{len(left)} of {len(wanted)} classes left out, too few training recordings: {'; '.join(left)}")
    view = windows_of(recipe, store, rows, contract, classes=classes)
    assert view.label is not None
    names = [it.name for it in classes]
    weight: Any = recipe.pos_weight
    if isinstance(weight, bool):
        weight = pos_weight(view.label, names) if weight else None
    elif len(weight) != len(classes):
        raise RecipeError(f"pos_weight: expected {len(classes)} numbers, one per class ({', '.join(names)}); got {len(weight)}")
    torch.manual_seed(recipe.seed)
    encoder, before = build_encoder(recipe, contract)
    compare_scaling(recipe, before, say)
    try:
        task = Diagnosis(
            prepared(encoder, recipe),
            names,
            pos_weight=weight,
            dropout=recipe.head_dropout,
            pooling=recipe.pooling,
            hidden=recipe.hidden,
            head="query" if recipe.protocol == "attention" else "pooled",
        )
    except ValueError as error:
        raise RecipeError(f"task=diagnosis: {error}") from error

    def build(rows: np.ndarray) -> Segments:
        kept = taking_part(recipe, Segments(store, rows, contract.seconds, classes=classes, **options))
        return Segments(store, kept, contract.seconds, stride=recipe.stride, classes=classes, **options)

    held_out = held_out_view(recipe, store, build, say)

    def judged(module: nn.Module) -> tuple[np.ndarray, np.ndarray, float]:
        """Probabilities and labels of the held-out recordings, and the loss over their windows: one pass."""
        assert isinstance(held_out, Segments) and isinstance(module, Diagnosis)
        device = next(module.parameters()).device
        sums = [0.0, 0.0]

        def judge(batch: dict[str, Any]) -> torch.Tensor:
            probability, total, n_known = module.judge(batch)
            sums[0] += float(total)
            sums[1] += float(n_known)
            return probability

        answer, said, _ = answers(judge, held_out, min(recipe.micro_batch, 64), device, recipe.aggregation)
        return answer, said["label"], sums[0] / sums[1] if sums[1] else float("nan")

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(module, Diagnosis)
        answer, label, loss = judged(module)
        return {"loss": loss, **module.metrics(answer, label)}

    def describe(module: nn.Module) -> dict[str, Any]:
        thresholds = None
        if held_out is not None:
            answer, label, _ = judged(module)
            thresholds = best_thresholds(answer, label).tolist()
            if unjudged := [name for name, constant in zip(names, constant_classes(label), strict=True) if constant]:
                say(
                    f"no threshold could be chosen for {', '.join(unjudged)}: the validation recordings have none with it, or none without it; "
                    "it is left at 0.5"
                )
        return {"classes": [class_entry(it) for it in classes], "thresholds": thresholds, "aggregation": recipe.aggregation}

    known = list(task.metrics(np.full((2, len(names)), 0.5), np.repeat([[0.0], [1.0]], len(names), axis=1)))
    return Lesson(task, view, validate if held_out is not None else None, known, describe), contract


def task_classes(recipe: Finetune, store: Store, rows: np.ndarray) -> tuple[list[LabelClass], list[str]]:
    """The classes that these training rows can teach, and one line about each of the others. Raises RecipeError where there are none."""
    wanted = choose_classes(recipe, store, rows)
    label = targets_of(store, rows, wanted)
    if recipe.unlabelled == "leave_out":
        label = label[benchmark_rows(label)]
    classes, left = usable_classes(wanted, label, recipe.min_positives)
    if not classes:
        raise RecipeError(f"none of the {len(wanted)} classes has positive and negative training recordings: {'; '.join(left[:5])}")
    return classes, left


def taking_part(recipe: Finetune, view: Segments) -> np.ndarray:
    """Rows of the view's recordings that take part: with unlabelled=leave_out, labelled ones only where they have one of the classes."""
    if recipe.unlabelled == "negative" or view.label is None:
        return view.rows
    kept = view.rows[benchmark_rows(view.label)]
    if not len(kept):
        raise RecipeError("unlabelled=leave_out leaves no recording: none of the rows has any of the classes")
    return kept


def class_entry(it: LabelClass) -> dict[str, Any]:
    """A class as a model's configuration holds it: its own vocabulary's codes, and those of the others."""
    system = next(iter(it.codes))
    return {
        "name": it.name,
        "abbreviation": it.abbreviation,
        "system": system,
        "codes": list(it.codes[system]),
        "vocabularies": {name: list(codes) for name, codes in it.codes.items()},
    }
