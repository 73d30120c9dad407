"""One line of the grid, from nothing or from where it was stopped: pretrain, judge, choose on validation, answer the test recordings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from einthoven import whole
from einthoven.bench.grid import RANDOM, Grid
from einthoven.bench.plan import Line, cells_of, finetuning_of, fingerprint, letters, pretraining_of
from einthoven.bench.vectors import taking_part, vectors_of
from einthoven.errors import EinthovenError
from einthoven.infer.evaluate import label_class
from einthoven.infer.model import Model
from einthoven.metrics.multilabel import auroc, mean_over_classes
from einthoven.models.folder import describe, save_model
from einthoven.recipes.build import build_encoder, contract_of, fewer_labels, rows_of
from einthoven.recipes.claim import describe_run
from einthoven.recipes.diagnose import task_classes
from einthoven.recipes.kinds import Finetune, Recipe
from einthoven.recipes.run import finetune, pretrain
from einthoven.sources.vocabulary import LabelClass
from einthoven.store.read import Store
from einthoven.store.views import Segments
from einthoven.tasks.linear_probe import linear_probe
from einthoven.train.answers import answers

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where a comparison is made: its folder, the store, and how the runs go."""

    folder: Path
    data: Path
    device: str = "auto"
    workers: int = 0


def do_line(grid: Grid, line: Line, place: Place, say: Say) -> None:
    """Everything of a line. What is finished already is left as it is; what was stopped goes on; what could not be run is tried again.

    Writes cells/<line>-<protocol>-<share>.npz with the answers and .json with how they came about; where a method cannot be run, the
    .json alone, with the reason.
    """
    store = Store(place.data)
    cells = {what: place.folder / "cells" / f"{name}.json" for what, name in cells_of(grid, line).items()}
    todo = {what: path for what, path in cells.items() if not path.exists() or "reason" in json.loads(path.read_text(encoding="utf-8"))}
    if not todo:
        return
    (place.folder / "cells").mkdir(parents=True, exist_ok=True)
    try:
        chosen: Chosen | None = _chosen_pretraining(grid, line, _pretrained(grid, line, place), store, place)
        reason = ""
    except EinthovenError as error:
        chosen, reason = None, str(error)
    for (protocol, share), path in todo.items():
        about = {"method": line.title, "encoder": line.label or line.encoder, "seed": line.seed, "protocol": protocol, "label_share": share}
        name = f"{line.key} {protocol}{'' if share == 1 else f' {share:g}'}"
        try:
            if chosen is None:
                raise EinthovenError(reason)
            if protocol == "probe":
                answer, label, rows, facts = _probe(grid, line, chosen, share, store, place)
            else:
                answer, label, rows, facts = _finetuned(grid, line, chosen, protocol, share, store, place)
        except EinthovenError as error:
            whole.write_json(path, {**about, "reason": str(error)})
            say(f"{name}: not run: {error}")
            continue
        with whole.appearing(path.with_suffix(".npz")) as made:
            with made.open("wb") as file:
                np.savez(file, probability=answer, label=label, rows=rows)
        whole.write_json(path, {**about, **facts})
        say(f"{name}: validation AUROC {facts['valid']:.3f}")


def run_to_its_end(recipe: Recipe, folder: Path, carry_out: Callable[..., Path]) -> dict[str, Any]:
    """Make a run, or go on with it, or leave it where it is finished; the seconds that it took, as far as this process saw."""
    note = folder / "cost.json"
    if (folder / "model" / "config.json").exists():
        return json.loads(note.read_text()) if note.exists() else {}
    recipe = recipe.model_copy(update={"run": folder})
    begun = time.monotonic()
    if not (folder / "recipe.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        whole.write_json(folder / "recipe.json", describe_run(recipe, Store(recipe.data)))  # type: ignore[arg-type]
    carry_out(recipe, resume=True, progress=False, say=lambda text: None)
    cost = {"seconds": round(time.monotonic() - begun, 1)}
    whole.write_json(note, cost)
    return cost


def _pretrained(grid: Grid, line: Line, place: Place) -> list[tuple[float, Path, dict[str, Any]]]:
    """(learning rate, folder, cost) of each pretraining trial; none for the baselines."""
    if line.method is None:
        return []
    runs = []
    for lr in grid.pretraining.lr:
        recipe = pretraining_of(grid, line, lr, place.data).model_copy(
            update={"device": place.device, "workers": place.workers, "validate_every": 0}
        )
        folder = place.folder / "runs" / f"{line.key}-pretrain-lr{lr:g}-{fingerprint(recipe)}"
        runs.append((lr, folder, run_to_its_end(recipe, folder, pretrain)))
    return runs


@dataclass(frozen=True)
class Chosen:
    """The pretraining trial that did best on validation; ``folder`` None for the baselines."""

    folder: Path | None
    lr: float | None
    seconds: float
    model: Model


def _chosen_pretraining(grid: Grid, line: Line, runs: list[tuple[float, Path, dict[str, Any]]], store: Store, place: Place) -> Chosen:
    if not runs:
        return Chosen(None, None, 0.0, untrained(grid, line, store, place))
    seconds = sum(cost.get("seconds", 0.0) for _, _, cost in runs)
    models = [(lr, folder, Model.from_pretrained(folder, place.device)) for lr, folder, _ in runs]
    if len(models) == 1:
        lr, folder, model = models[0]
        return Chosen(folder, lr, seconds, model)
    scores = [_probe_scores(grid, line, model, 1.0, store, place, ("train", "valid"))[1] for _, _, model in models]
    if np.isnan(scores).all():
        raise EinthovenError("no class has both kinds of validation recordings, so that no learning rate can be chosen: give the grid one")
    lr, folder, model = models[int(np.nanargmax(scores))]
    return Chosen(folder, lr, seconds, model)


def untrained(grid: Grid, line: Line, store: Store, place: Place) -> Model:
    """The line's encoder as it is before it has seen anything."""
    recipe = finetuning_of(grid, line, "full", grid.finetuning.lr[0], 1.0, place.data, None)
    contract = contract_of(recipe, store, rows_of(recipe, store, "train"))
    torch.manual_seed(line.seed)
    encoder, _ = build_encoder(recipe, contract)
    return Model(encoder, describe(encoder, contract), "untrained", place.device if place.device != "auto" else "cpu")


def _recipe_of_labels(grid: Grid, line: Line, share: float, place: Place) -> Finetune:
    return finetuning_of(grid, line, "full", grid.finetuning.lr[0], share, place.data, None)


def _probe_scores(
    grid: Grid, line: Line, model: Model, share: float, store: Store, place: Place, parts: tuple[str, ...]
) -> tuple[dict[str, Any], float]:
    """Vectors of some splits, and the AUROC that a probe reaches on validation."""
    recipe = _recipe_of_labels(grid, line, share, place)
    rows = {part: rows_of(recipe, store, part) for part in parts}
    rows["train"] = fewer_labels(recipe, store, rows["train"])
    classes, left = task_classes(recipe, store, rows["train"])
    vectors = {part: vectors_of(model, store, rows[part], classes, grid.unlabelled) for part in parts}
    known = {part: (one.vector, one.label) for part, one in vectors.items()}
    answer = linear_probe(known["train"], known["valid"], known["valid"][0])
    return {"vectors": vectors, "classes": classes, "left_out": left}, float(mean_over_classes(auroc(answer, known["valid"][1])))


def _probe(
    grid: Grid, line: Line, chosen: Chosen, share: float, store: Store, place: Place
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    found, valid = _probe_scores(grid, line, chosen.model, share, store, place, ("train", "valid"))
    (train, held_out), classes = found["vectors"].values(), found["classes"]
    test = vectors_of(chosen.model, store, rows_of(_recipe_of_labels(grid, line, share, place), store, "test"), classes, grid.unlabelled)
    answer = linear_probe((train.vector, train.label), (held_out.vector, held_out.label), test.vector)
    facts = {"valid": valid, "classes": [it.name for it in classes], "left_out": found["left_out"], "pretraining_lr": chosen.lr,
             "pretraining_seconds": chosen.seconds}  # fmt: skip
    return answer, test.label, test.rows, facts


def _finetuned(
    grid: Grid, line: Line, chosen: Chosen, protocol: str, share: float, store: Store, place: Place
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Every learning rate is tried; the one that is best on validation answers the test recordings."""
    recipe = _recipe_of_labels(grid, line, share, place)
    rows = {part: rows_of(recipe, store, part) for part in ("train", "valid", "test")}
    classes, left = task_classes(recipe, store, fewer_labels(recipe, store, rows["train"]))
    tried: list[tuple[float, float, Model]] = []
    seconds = 0.0
    init = chosen.folder
    if init is None and line.title == RANDOM:
        init = _random_weights(line, chosen.model, place)
    for lr in grid.finetuning.lr:
        made = finetuning_of(grid, line, protocol, lr, share, place.data, init)
        made = made.model_copy(update={"device": place.device, "workers": place.workers})
        folder = place.folder / "runs" / f"{line.key}-{protocol}-{share:g}-lr{lr:g}-{fingerprint(made)}"
        seconds += run_to_its_end(made, folder, finetune).get("seconds", 0.0)
        model = Model.from_pretrained(folder, place.device)
        answer, label, _ = _answers(model, store, rows["valid"], classes, grid.unlabelled)
        tried.append((float(mean_over_classes(auroc(answer, label))), lr, model))
    valid, lr, model = max(tried, key=lambda one: (one[0] == one[0], one[0]))
    answer, label, which = _answers(model, store, rows["test"], classes, grid.unlabelled)
    facts = {"valid": valid, "classes": [it.name for it in classes], "left_out": left, "pretraining_lr": chosen.lr,
             "pretraining_seconds": chosen.seconds, "lr": lr, "seconds": seconds}  # fmt: skip
    return answer, label, which, facts


def _random_weights(line: Line, model: Model, place: Place) -> Path:
    """The untrained encoder as a model folder, for protocols that begin from one."""
    folder = place.folder / "runs" / f"{line.key}-weights-{letters(model.config)}"
    if not (folder / "config.json").exists():
        save_model(folder, model.encoder.state_dict(), model.config)
    return folder


def _answers(
    model: Model, store: Store, rows: np.ndarray, classes: Sequence[LabelClass], unlabelled: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of the table's classes, .5 for one that the model could not learn; labels; rows."""
    contract = model.contract
    view = Segments(store, rows, contract.seconds, stride=contract.stride, classes=classes, **contract.of_view())
    found, said, which = answers(model.module.predict, view, 64, model.device, model.aggregation[0])  # type: ignore[arg-type]
    own = [label_class(one).name for one in model.classes]
    answer = np.full((len(which), len(classes)), 0.5)
    for column, name in enumerate(own):
        answer[:, [it.name for it in classes].index(name)] = found[:, column]
    kept = taking_part(said["label"], unlabelled)
    return answer[kept], said["label"][kept], which[kept]
