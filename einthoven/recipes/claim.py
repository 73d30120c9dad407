"""A run's folder is claimed before anything slow happens, so that a run that is killed a moment later can be resumed already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from einthoven import whole
from einthoven.errors import RecipeError
from einthoven.recipes.kinds import Recipe
from einthoven.store.layout import TABLE
from einthoven.store.read import Store
from einthoven.train.run import CHECKPOINTS, ENVIRONMENT, LOCK, METRICS, RECIPE, WARNINGS, refuse_taken


def open_store(recipe: Recipe) -> Store:
    """The recipe's store. Raises RecipeError where it names none."""
    if recipe.data is None:
        raise RecipeError("train on what? add data=STORE (a folder that `einthoven ingest` or `einthoven demo` wrote)")
    return Store(recipe.data)


def fingerprint(store: Store) -> str:
    """SHA-256 of the store's table: a run that is resumed must see the rows that it began with."""
    return whole.sha256(store.path / TABLE)


def describe_run(recipe: Recipe, store: Store) -> dict:
    """What recipe.json says, and ``einthoven resume`` reads. ``folder`` is where the command was given, which its relative paths mean."""
    return {"kind": recipe.kind, "recipe": recipe.model_dump(mode="json"), "folder": str(Path.cwd()), "records_sha256": fingerprint(store)}


def from_where_it_began(path: str | Path, folder: str | None) -> Path:
    """A path of a recipe: as it was typed where that is there, else as it was meant in the folder where the run began."""
    there = Path(path)
    return there if folder is None or there.exists() or not (Path(folder) / there).exists() else Path(folder) / there


@contextmanager
def claimed(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe with its folder, in which recipe.json stands from here on.

    When training fails before its first checkpoint the claim is given back, so that the command can be mended and run again; a
    run that was killed or asked to stop keeps it, for `einthoven resume`. Raises EinthovenError where the folder holds a run.
    """
    if recipe.run is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError("several processes must agree on the folder to write: add run=FOLDER")
    run = recipe.run or free_folder(Path("runs"), recipe.name)
    recipe = recipe.model_copy(update={"run": run})
    if os.environ.get("RANK", "0") != "0":  # the first process claims for all
        yield recipe
        return
    refuse_taken(run)
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    whole.write_json(run / RECIPE, describe_run(recipe, open_store(recipe)))
    try:
        yield recipe
    except Exception:
        if not any((run / CHECKPOINTS).glob("step-*")) and not any(_is_filled(run / name) for name in (METRICS, WARNINGS)):
            give_back(run, made)
        raise


def _is_filled(path: Path) -> bool:
    """Whether something was already said about the training: then it stays, to be read."""
    return path.exists() and path.stat().st_size > 0


def give_back(run: Path, made: Iterable[Path]) -> None:
    """Remove what a run without a checkpoint has written, and the folders that were made for it, where nothing else is in them."""
    for name in (RECIPE, ENVIRONMENT, METRICS, LOCK, WARNINGS):
        (run / name).unlink(missing_ok=True)
    for folder in (run / CHECKPOINTS, *made):
        with suppress(OSError):
            folder.rmdir()


def free_folder(parent: Path, name: str) -> Path:
    """The first of ``name-1``, ``name-2``, … that is not there."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
