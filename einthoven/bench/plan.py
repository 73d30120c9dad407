"""The lines of a grid: what has to be run, and in which folders. A line is worked on by itself, so that many can be at once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven.bench.grid import FROZEN, Budget, Grid, Method
from einthoven.recipes.kinds import Finetune, Pretrain

RANDOM, SCRATCH = "random encoder", "from scratch"
"""The two lines that are always there: what an encoder is worth untrained, and what labels alone make of it."""


@dataclass(frozen=True)
class Line:
    """A method on an encoder with a seed; ``method`` None for the two baselines, ``title`` says which."""

    title: str
    encoder: str
    seed: int
    method: Method | None = None

    @property
    def key(self) -> str:
        """A name for its folder."""
        return "-".join(part.replace(" ", "_").replace("/", "_") for part in (self.title, self.encoder, f"seed{self.seed}"))


def lines_of(grid: Grid) -> list[Line]:
    """Every line, the baselines of each encoder and seed first."""
    wanted = [(method, encoder) for method in grid.methods for encoder in method.encoders or grid.encoders]
    encoders = list(dict.fromkeys(encoder for _, encoder in wanted))
    lines = [Line(title, encoder, seed) for encoder in encoders for seed in grid.seeds for title in (RANDOM, SCRATCH)]
    return lines + [Line(method.title, encoder, seed, method) for method, encoder in wanted for seed in grid.seeds]


def protocols_of(grid: Grid, line: Line) -> tuple[str, ...]:
    """How a line is judged: a random encoder where it stays as it is, training from scratch where all weights learn."""
    if line.title == RANDOM and line.method is None:
        return tuple(name for name in grid.protocols if name in FROZEN) or ("probe",)
    if line.title == SCRATCH and line.method is None:
        return ("full",)
    return grid.protocols


def cells_of(grid: Grid, line: Line) -> dict[tuple[str, float], str]:
    """(protocol, share of labels) -> the name of what is written about it. Everything that the answer depends on is in the name, so that a grid
    may grow in a folder that has a part of it."""
    basis = grid.model_dump(mode="json", include={"pretraining", "finetuning", "classes", "unlabelled", "set"})
    basis["encoder"] = grid.encoder(line.encoder)
    basis["method"] = line.method.model_dump(mode="json", include={"recipe", "set"}) if line.method else None
    mark = _letters(basis)
    return {
        (protocol, share): f"{line.key}-{protocol}-{share:g}-{mark}" for protocol in protocols_of(grid, line) for share in grid.label_shares
    }


def pretraining_of(grid: Grid, line: Line, lr: float, data: Path) -> Pretrain:
    """The recipe of one pretraining run. Raises RecipeError where method and encoder do not go together."""
    from einthoven.objectives import OBJECTIVES
    from einthoven.recipes import PRETRAIN, recipe

    assert line.method is not None
    made = recipe(line.method.recipe, [*grid.encoder(line.encoder), *grid.set, *line.method.set], of=PRETRAIN)
    assert isinstance(made, Pretrain)
    rows = 2 if OBJECTIVES[made.objective.name].view == "pairs" else 1
    return made.model_copy(update=_budget(made, grid.pretraining, lr, line.seed, data, max(1, grid.pretraining.batch // rows)))


def finetuning_of(grid: Grid, line: Line, protocol: str, lr: float, share: float, data: Path, init: Path | None) -> Finetune:
    """The recipe of one fine-tuning run."""
    from einthoven.recipes import recipe

    begin = [f"init={init}"] if init is not None else grid.encoder(line.encoder)
    kept = [
        text
        for text in (*grid.set, *(line.method.set if line.method else ()))
        if not text.startswith(("objective", "augment", "across", "crop"))
    ]
    made = recipe("diagnosis", [*begin, *kept, f"protocol={protocol}", f"label_share={share}"], of=("diagnosis",))
    assert isinstance(made, Finetune)
    changes = _budget(made, grid.finetuning, lr, line.seed, data, grid.finetuning.batch)
    changes |= {
        "classes": grid.classes,
        "unlabelled": grid.unlabelled,
        "metric": "macro_auroc",
        "maximise": True,
        "validate_every": max(1, grid.finetuning.steps // 5),
    }
    whole = recipe("diagnosis", [*grid.encoder(line.encoder)], of=("diagnosis",)).encoder
    if "extractor_gradient" in whole.all_options(whole.name).model_fields and "extractor_gradient" not in made.encoder.chosen:
        # ECG-FM's fine-tuning leaves the convolutions as they are; in a comparison of protocols "full" means all weights.
        changes["encoder"] = made.encoder.model_copy(update={"extractor_gradient": 1.0})
    return made.model_copy(update=changes)


def _budget(recipe: Any, budget: Budget, lr: float, seed: int, data: Path, batch: int) -> dict[str, Any]:
    return {
        "data": data,
        "seed": seed,
        "steps": budget.steps,
        "epochs": None,
        "batch": batch,
        "optim": recipe.optim.model_copy(update={"lr": lr}),
        "save_every": max(1, min(recipe.save_every, budget.steps // 4)),
        "log_every": max(1, min(recipe.log_every, budget.steps // 20)),
    }


def fingerprint(recipe: Any) -> str:
    """Ten letters that stand for everything about a run but where it is made: another recipe is another run."""
    return _letters(recipe.model_dump(mode="json", exclude={"run", "data", "init", "device", "workers"}))


def _letters(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
