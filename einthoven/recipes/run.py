"""Recipes are carried out here: their parts are built and given to the one training loop, and the model is written."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from einthoven.errors import EinthovenError, RecipeError
from einthoven.metrics.multilabel import best_thresholds
from einthoven.models.folder import describe, save_model
from einthoven.objectives import Moment
from einthoven.recipes.build import (
    build_augmentations,
    build_encoder,
    build_objective,
    build_view,
    choose_classes,
    contract_of,
    provenance,
    rows_of,
    usable_classes,
)
from einthoven.recipes.claim import describe_run, fingerprint, free_folder, from_where_it_began, open_store
from einthoven.recipes.kinds import Finetune, Pretrain, Recipe
from einthoven.sources.vocabulary import LabelClass
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.tasks.diagnosis import Diagnosis, constant_classes, pos_weight
from einthoven.train.data import View, in_order
from einthoven.train.loop import Finished, fit
from einthoven.train.run import RECIPE

SMALL = 5_000_000
"""Weights below which casting to bf16 costs more than it saves: encoder=tiny makes 72 segments/s in fp32, 53 in bf16."""

KINDS: dict[str, type[Recipe]] = {"pretrain": Pretrain, "finetune": Finetune}


def pretrain(recipe: Pretrain, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] | None = None) -> Path:
    """Learn an encoder without labels; returns the run's folder, whose ``model/`` is the encoder alone."""
    say = say or speak
    store = open_store(recipe)
    rows = rows_of(recipe, store, recipe.split)
    contract = contract_of(recipe, store, rows)
    torch.manual_seed(recipe.seed)
    encoder, before = build_encoder(recipe, contract)
    _compare_scaling(recipe, before, say)
    objective = build_objective(recipe, encoder)
    view = build_view(recipe, store, rows, contract)
    held_out = _held_out(recipe, store, lambda rows: build_view(recipe, store, rows, contract), say)
    _check_metric(recipe, held_out, lambda: _names_of_parts(objective, held_out))

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        return mean_parts(module, held_out, min(recipe.micro_batch, len(held_out)), recipe.seed)

    def export(module: nn.Module, folder: Path) -> None:
        save_model(folder, module.encoder.state_dict(), describe(module.encoder, contract, provenance=provenance(recipe, store)))  # type: ignore[union-attr, arg-type]

    return _fit(recipe, store, objective, view, validate if held_out is not None else None, export, resume, progress, say)


def finetune(recipe: Finetune, *, resume: bool = False, progress: bool = True, say: Callable[[str], None] | None = None) -> Path:
    """Learn a task from labels; returns the run's folder, whose ``model/`` answers with probabilities."""
    say = say or speak
    store = open_store(recipe)
    rows = rows_of(recipe, store, recipe.split)
    contract = contract_of(recipe, store, rows)
    options: dict[str, Any] = {"leads": contract.leads, "scaling": contract.scaling, "mean": contract.mean, "std": contract.std}
    wanted = choose_classes(recipe, store, rows)
    every = Segments(store, rows, contract.seconds, classes=wanted, **options)
    assert every.label is not None
    classes, left = usable_classes(wanted, every.label, recipe.min_positives)
    if not classes:
        raise RecipeError(f"none of the {len(wanted)} classes has positive and negative training recordings: {'; '.join(left[:5])}")
    if left:
        say(f"{len(left)} of {len(wanted)} classes left out, too few training recordings: {'; '.join(left)}")
    view = Segments(store, rows, contract.seconds, classes=classes, **options)
    assert view.label is not None
    names = [it.name for it in classes]
    weight: Any = recipe.pos_weight
    if isinstance(weight, bool):
        weight = pos_weight(view.label, names) if weight else None
    elif len(weight) != len(classes):
        raise RecipeError(f"pos_weight: expected {len(classes)} numbers, one per class ({', '.join(names)}); got {len(weight)}")
    torch.manual_seed(recipe.seed)
    encoder, before = build_encoder(recipe, contract)
    _compare_scaling(recipe, before, say)
    task = Diagnosis(encoder, names, pos_weight=weight, dropout=recipe.head_dropout)
    held_out = _held_out(recipe, store, lambda rows: Segments(store, rows, contract.seconds, classes=classes, **options), say)
    _check_metric(recipe, held_out, lambda: task.metrics(np.full((2, len(names)), 0.5), np.repeat([[0.0], [1.0]], len(names), axis=1)))

    def validate(module: nn.Module) -> dict[str, float]:
        assert isinstance(held_out, Segments) and isinstance(module, Diagnosis)
        answer, label, _ = by_record(module, held_out, min(recipe.micro_batch, 64))
        loss = mean_parts(module, held_out, min(recipe.micro_batch, 64), recipe.seed)["loss"]
        return {"loss": loss, **module.metrics(answer, label)}

    def export(module: nn.Module, folder: Path) -> None:
        assert isinstance(module, Diagnosis)
        thresholds = None
        if isinstance(held_out, Segments):
            answer, label, _ = by_record(module, held_out, min(recipe.micro_batch, 64))
            thresholds = best_thresholds(answer, label).tolist()
            if unjudged := [name for name, constant in zip(names, constant_classes(label), strict=True) if constant]:
                say(
                    f"no threshold could be chosen for {', '.join(unjudged)}: the validation recordings have none with it, or none without it; "
                    "it is left at 0.5"
                )
        config = describe(
            module.encoder,
            contract,
            task=module,
            classes=[class_entry(it) for it in classes],
            thresholds=thresholds,
            provenance=provenance(recipe, store),
        )
        save_model(folder, module.state_dict(), config)

    return _fit(recipe, store, task, view, validate if held_out is not None else None, export, resume, progress, say)


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
    finished: Finished = fit(
        module,
        view,
        settings,
        run,
        augment=build_augmentations(recipe),
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


def _held_out(recipe: Recipe, store: Store, build: Callable[[np.ndarray], View], say: Callable[[str], None]) -> View | None:
    """A view of the validation rows; None where the store has none, or where they are trained on."""
    if recipe.split in ("valid", "all") or recipe.validate_every == 0:
        return None
    rows = rows_of(recipe, store, "valid")
    if not len(rows):
        return None
    try:
        view = build(rows)
    except EinthovenError as error:  # too short or too few for this objective
        say(f"training goes on without validation: {error}")
        return None
    return view if len(view) >= 2 else None


def _compare_scaling(recipe: Recipe, before: Mapping[str, Any] | None, say: Callable[[str], None]) -> None:
    """Speak where an encoder goes on with signals of another scale than it has seen; it works, and is worse."""
    scaling = before["contract"]["scaling"] if before is not None else recipe.scaling
    if scaling != recipe.scaling:
        say(
            f"init={recipe.init} was trained with scaling={scaling}, this run has scaling={recipe.scaling}: add scaling={scaling}, unless that is meant"
        )


def _check_metric(recipe: Recipe, held_out: View | None, known: Callable[[], Iterable[str]]) -> None:
    """Refuse, before training, a metric that validation will not give, and what needs a validation where there can be none."""
    default = type(recipe).model_fields
    asked = [f"{key}={getattr(recipe, key)}" for key in ("metric", "maximise", "patience") if getattr(recipe, key) != default[key].default]
    if held_out is None and asked:
        raise RecipeError(
            f"{' '.join(asked)}: there is nothing to validate on; give the store validation rows with `einthoven split`, or leave it away"
        )
    if recipe.metric == "loss":
        return
    names = ["loss", *(name for name in known() if name != "loss")]
    if recipe.metric not in names:
        close = difflib.get_close_matches(recipe.metric, names, 1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise RecipeError(f"metric={recipe.metric} is not among what validation gives ({', '.join(names)}){hint}")


@torch.no_grad()
def _names_of_parts(module: nn.Module, held_out: View | None) -> list[str]:
    """What an objective reports, from one look at two held-out items."""
    assert held_out is not None
    module.eval()
    step = module(next(iter(in_order(held_out, 2, next(module.parameters()).device))), Moment(0, 0, 0))
    return list(step.parts)


def mean_parts(module: nn.Module, view: View, batch: int, seed: int) -> dict[str, float]:
    """The loss and its parts over a whole view, each weighted as the loop weighs it; the same choices at every call."""
    device = next(module.parameters()).device
    sums: dict[str, float] = {}
    total = 0.0
    for number, made in enumerate(in_order(view, batch, device)):
        step = module(made, Moment(seed, 0, number))
        total += step.weight
        for name, value in {"loss": step.loss, **step.parts}.items():
            sums[name] = sums.get(name, 0.0) + float(value) * step.weight
    return {name: value / total for name, value in sums.items()} if total else {"loss": float("nan")}


def by_record(task: Diagnosis, view: Segments, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities and labels of recordings: the mean over their windows. (record, class) twice, and the rows of the store (record,)."""
    device = next(task.parameters()).device
    answers, records, labels = [], [], []
    for made in in_order(view, batch, device):
        answers.append(task.predict(made).cpu().numpy())
        records.append(made["record"].cpu().numpy())
        labels.append(made["label"].cpu().numpy())
    answer, record, label = np.concatenate(answers), np.concatenate(records), np.concatenate(labels)
    rows, first, which, counts = np.unique(record, return_index=True, return_inverse=True, return_counts=True)
    mean = np.zeros((len(rows), answer.shape[1]))
    np.add.at(mean, which, answer)
    return mean / counts[:, None], label[first], rows


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
