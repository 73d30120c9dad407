"""What a run is validated on, and by which metric; refused before training where there is nothing to go by."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from einthoven.errors import EinthovenError, RecipeError
from einthoven.objectives import Moment
from einthoven.recipes.build import rows_of
from einthoven.recipes.kinds import Recipe
from einthoven.recipes.published import FINETUNE, PRETRAIN
from einthoven.store.read import Store
from einthoven.train.data import View, in_order
from einthoven.train.state import LAST

RECIPES: dict[str, Callable[[], Recipe]] = {**PRETRAIN, **FINETUNE}


def held_out_view(recipe: Recipe, store: Store, build: Callable[[np.ndarray], View], say: Callable[[str], None]) -> View | None:
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


def compare_scaling(recipe: Recipe, before: Mapping[str, Any] | None, say: Callable[[str], None]) -> None:
    """Speak where an encoder goes on with signals of another scale than it has seen; it works, and is worse."""
    scaling = before["contract"]["scaling"] if before is not None else recipe.scaling
    if scaling != recipe.scaling:
        say(
            f"init={recipe.init} was trained with scaling={scaling}, this run has scaling={recipe.scaling}: add scaling={scaling}, unless that is meant"
        )


def check_metric(recipe: Recipe, validated: bool, known: Sequence[str]) -> None:
    """Refuse, before training, a metric that validation will not give, and what needs a validation where there can be none."""
    # What a published recipe says of itself nobody has asked for: where it cannot be had, the last weights are kept.
    usual = RECIPES[recipe.name]() if recipe.name in RECIPES else None
    unasked = {key: {type(recipe).model_fields[key].default, getattr(usual, key, None)} for key in ("metric", "maximise", "patience")}
    unasked["metric"].add(LAST)  # it needs no validation
    asked = [f"{key}={getattr(recipe, key)}" for key, values in unasked.items() if getattr(recipe, key) not in values]
    if not validated and asked:
        raise RecipeError(
            f"{' '.join(asked)}: there is nothing to validate on; give the store validation rows with `einthoven split`, or leave it away"
        )
    if not validated or recipe.metric in ("loss", LAST):
        if recipe.metric == LAST and recipe.patience is not None:
            raise RecipeError("patience waits for a better metric, and metric=last names none: leave one of them away")
        return
    names = ["loss", *(name for name in known if name != "loss")]
    if recipe.metric not in names:
        close = difflib.get_close_matches(recipe.metric, names, 1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise RecipeError(f"metric={recipe.metric} is not among what validation gives ({', '.join(names)}){hint}")


@torch.no_grad()
def names_of_parts(module: nn.Module, held_out: View | None) -> list[str]:
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
