"""Named recipes (``published.py``), by what the command line calls them. No torch is imported until one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from einthoven.recipes.compose import change, compose, parse
from einthoven.recipes.kinds import Pretrain, Recipe
from einthoven.recipes.published import FINETUNE, PRETRAIN

RECIPES: dict[str, Callable[[], Any]] = {**PRETRAIN, **FINETUNE}
TINY_LR = 1e-3


def recipe(name: str, overrides: Sequence[str] = (), config_dir: Path | None = None, of: Iterable[str] = tuple(RECIPES)) -> Recipe:
    """The recipe ``name``, changed by ``key=value`` texts; ``of`` narrows the names to those that a command takes.

    With a tiny encoder it begins from a learning rate of 1e-3 where the published one is smaller, at which so small a network would
    not move, and without dropout on the features that become targets.
    """
    made: Any = compose({key: RECIPES[key] for key in of}, name, overrides, config_dir)
    if made.tiny:
        changed = parse(overrides)
        if made.optim.lr < TINY_LR and "optim.lr" not in changed:
            made = change(made, {"optim.lr": TINY_LR})
        if isinstance(made, Pretrain) and "dropout_features" in made.objective.chosen and "objective.dropout_features" not in changed:
            made = change(made, {"objective.dropout_features": 0.0})
    return made
