"""Recipes are carried out here: their parts are built and given to the one training loop, and the model is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from einthoven.errors import RecipeError
from einthoven.models.folder import describe, save_model
from einthoven.objectives import OBJECTIVES, Objective
from einthoven.recipes.build import build_augmentations, build_encoder, build_objective, build_view, contract_of, provenance, rows_of
from einthoven.recipes.claim import describe_run, fingerprint, free_folder, from_where_it_began, open_store
from einthoven.recipes.diagnose import diagnosis_lesson
from einthoven.recipes.identify import identification_lesson
from einthoven.recipes.kinds import Finetune, Pretrain, Recipe
from einthoven.recipes.lesson import Lesson, Say
from einthoven.recipes.protocol import merged
from einthoven.recipes.regress import regression_lesson
from einthoven.recipes.validation import check_metric, compare_scaling, held_out_view, mean_parts, names_of_parts
from einthoven.signal.contract import SignalContract
from einthoven.store.read import Store
from einthoven.train.data import View
from einthoven.train.loop import Finished, fit
from einthoven.train.run import RECIPE
from einthoven.train.state import LAST

SMALL = 5_000_000
"""Weights below which casting to bf16 costs more than it saves: encoder=tiny makes 72 segments/s in fp32, 53 in bf16."""

KINDS: dict[str, type[Recipe]] = {"pretrain": Pretrain, "finetune": Finetune}


def pretrain(recipe: Pretrain, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] | None = None) -> Path:
    """Learn an encoder without labels; returns the run's folder, whose ``model/`` is the encoder alone."""
    say = say or speak
    store = open_store(recipe)
    if recipe.metric == "loss" and not OBJECTIVES[recipe.objective.name].loss_judges:
        recipe = recipe.model_copy(update={"metric": LAST})
    rows = rows_of(recipe, store, recipe.split)
    contract = contract_of(recipe, store, rows)
    torch.manual_seed(recipe.seed)
    encoder, before = build_encoder(recipe, contract)
    compare_scaling(recipe, before, say)
    objective = build_objective(recipe, encoder)
    view = build_view(recipe, store, rows, contract)
    held_out = held_out_view(recipe, store, lambda rows: build_view(recipe, store, rows, contract), say)
    check_metric(recipe, held_out is not None, [] if held_out is None or recipe.metric == "loss" else names_of_parts(objective, held_out))

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        return mean_parts(module, held_out, min(recipe.micro_batch, len(held_out)), recipe.seed)

    def export(module: nn.Module, folder: Path) -> None:
        assert isinstance(module, Objective)
        save_model(folder, module.kept.state_dict(), describe(module.kept, contract, provenance=provenance(recipe, store)))

    return _fit(recipe, store, objective, view, validate if held_out is not None else None, export, resume, progress, say)


LESSONS: dict[str, Callable[[Finetune, Store, Say], tuple[Lesson, SignalContract]]] = {
    "diagnosis": diagnosis_lesson,
    "identification": identification_lesson,
    "regression": regression_lesson,
}
"""By the recipe's ``task``."""


def finetune(recipe: Finetune, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] | None = None) -> Path:
    """Learn a task from labels; returns the run's folder, whose ``model/`` answers."""
    say = say or speak
    store = open_store(recipe)
    lesson, contract = LESSONS[recipe.task](recipe, store, say)
    check_metric(recipe, lesson.validate is not None, lesson.metrics)

    def export(module: nn.Module, folder: Path) -> None:
        plain = merged(module)
        config = describe(plain.encoder, contract, task=plain, provenance=provenance(recipe, store), **lesson.describe(module))  # type: ignore[arg-type]
        save_model(folder, plain.state_dict(), config)

    return _fit(recipe, store, lesson.task, lesson.view, lesson.validate, export, resume, progress, say)


def resume(run: Path, *, progress: bool = True) -> Path:
    """Go on with a run from its last whole checkpoint. A run that is finished is left as it is, and that is said."""
    path = run / RECIPE
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        recipe = KINDS[known["kind"]].model_validate(known["recipe"])
    except OSError:
        raise RecipeError(f"{run} is no run: it has no {RECIPE}; name the folder that pretrain or finetune wrote") from None
    except (ValueError, KeyError) as error:
        raise RecipeError(f"{path} is damaged or of another version: {' '.join(str(error).split())[:200]}") from None
    places: dict[str, Any] = {"run": run, "data": from_where_it_began(recipe.data or "", known.get("folder"))}
    if recipe.init is not None:
        places["init"] = str(from_where_it_began(recipe.init, known.get("folder")))
    recipe = recipe.model_copy(update=places)
    store = open_store(recipe)
    if fingerprint(store) != known["records_sha256"]:
        raise RecipeError(
            f"{store.path} is not the store that {run} began with: its table has changed since; put the old one back, or begin a new run"
        )
    if (run / "model" / "config.json").exists():
        print(f"{run} is finished; its model is in {run / 'model'}")
        return run
    if isinstance(recipe, Pretrain):
        return pretrain(recipe, resume=True, progress=progress)
    assert isinstance(recipe, Finetune)
    return finetune(recipe, resume=True, progress=progress)


def _fit(
    recipe: Recipe,
    store: Store,
    module: nn.Module,
    view: View,
    validate: Callable[[nn.Module], Mapping[str, float]] | None,
    export: Callable[[nn.Module, Path], None],
    resume: bool,
    progress: bool,
    say: Callable[[str], None],
) -> Path:
    run = recipe.run or free_folder(Path("runs"), recipe.name)
    if recipe.batch is not None and len(view) < recipe.batch:
        raise RecipeError(
            f"batch={recipe.batch} is more than the {len(view)} items that {store.path} has in its {recipe.split} rows; set batch={len(view)} or less"
        )
    settings = recipe.settings(len(view))
    if settings.precision == "auto" and sum(weight.numel() for weight in module.parameters()) < SMALL:
        settings = settings.model_copy(update={"precision": "fp32"})
    views_inside = isinstance(module, Objective) and module.n_views > 1
    augment = () if views_inside or not recipe.augment else (build_augmentations(recipe, module.encoder),)  # type: ignore[arg-type]
    if isinstance(recipe, Finetune) and recipe.protocol == "head_first" and not settings.frozen_steps:
        total = settings.steps or max(1, round((settings.epochs or 1) * (len(view) // settings.batch)))
        settings = settings.model_copy(update={"frozen_steps": max(1, round(total * (recipe.frozen_share or 1 / 3)))})
    finished: Finished = fit(
        module,
        view,
        settings,
        run,
        augment=augment,
        validate=validate,
        export=export,
        progress=progress,
        describe=describe_run(recipe.model_copy(update={"run": run, "batch": settings.batch}), store),
        resume=resume,
    )
    say(f"{run}: {finished.step} updates; model in {finished.model}")
    return run


def speak(text: str) -> None:
    """Say something to the person, once however many processes train."""
    if os.environ.get("RANK", "0") == "0":
        print(text)
