"""The lines of a grid: what has to be run, and in which folders. A line is worked on by itself, so that many can be at once."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven.bench.grid import FROZEN, RANDOM, SCRATCH, Budget, Grid, Method
from einthoven.errors import RecipeError
from einthoven.leads import TWELVE
from einthoven.recipes.kinds import Finetune, Pretrain

OF_PRETRAINING = ("objective", "augment", "across", "crop", "encoder")
"""Parts of a recipe that are of no use, or decided already, when its encoder is put to use."""


@dataclass(frozen=True)
class Line:
    """A method on an encoder with a seed; ``method`` None for the two baselines, ``title`` says which.

    signal : the key=value texts that say what the encoder is shown (length, scaling, leads): those of the method's recipe. Its
             fine-tuning and its baselines are shown the same
    label  : the encoder as the table calls it: with its signal, where methods show it different ones
    """

    title: str
    encoder: str
    seed: int
    method: Method | None = None
    signal: tuple[str, ...] = ()
    label: str = ""

    @property
    def key(self) -> str:
        """A name for its folder."""
        return "-".join(part.replace(" ", "_").replace("/", "_") for part in (self.title, self.encoder, f"seed{self.seed}"))


def lines_of(grid: Grid) -> list[Line]:
    """Every line, the baselines of each encoder, signal and seed first. Raises RecipeError for what has no sense anywhere in the grid."""
    wanted = [(method, encoder) for method in grid.methods for encoder in method.encoders or grid.encoders]
    signals = dict(zip(wanted, _signals(grid, wanted), strict=True))
    shown: dict[str, list[tuple[str, ...]]] = {}
    for (_, encoder), signal in signals.items():
        if signal not in shown.setdefault(encoder, []):
            shown[encoder].append(signal)

    def label(encoder: str, signal: tuple[str, ...]) -> str:
        own = [text for text in signal if any(text not in other for other in shown[encoder])]
        return f"{encoder}, {' '.join(own)}" if own else encoder

    lines = [
        Line(title, encoder, seed, None, signal, label(encoder, signal))
        for encoder, several in shown.items()
        for signal in several
        for seed in grid.seeds
        for title in (RANDOM, SCRATCH)
    ]
    return lines + [
        Line(method.title, encoder, seed, method, signal, label(encoder, signal))
        for (method, encoder), signal in signals.items()
        for seed in grid.seeds
    ]


def _signals(grid: Grid, wanted: Sequence[tuple[Method, str]]) -> list[tuple[str, ...]]:
    """What the recipe of each line shows to its encoder; all that is wrong in any of them is told at once."""
    from einthoven.recipes import FINETUNE, PRETRAIN

    found, problems = [], []
    for method, encoder in wanted:
        try:
            if method.recipe not in PRETRAIN:
                close = difflib.get_close_matches(method.recipe, list(PRETRAIN), 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                said = "is a recipe of fine-tuning" if method.recipe in FINETUNE else "is no pretraining recipe"
                raise RecipeError(f"{method.recipe} {said}; there are {', '.join(PRETRAIN)}{hint}")
            made = _pretraining(grid, Line(method.title, encoder, grid.seeds[0], method))
            if made.schedule.warmup >= grid.pretraining.steps:
                raise RecipeError(
                    f"its rate rises over {made.schedule.warmup} updates and the budget is {grid.pretraining.steps}: "
                    "add set: [schedule.warmup=…], for every method or for this one"
                )
            signal = [f"seconds={made.seconds:g}", f"scaling={made.scaling}"]
            signal += [
                f"{key}=[{', '.join(names)}]"
                for key, names in (("leads", made.leads), ("shown", made.shown))
                if names not in (TWELVE, None)
            ]
            found.append(tuple(signal))
            for protocol in ("full", *(it for it in grid.protocols if it != "probe")):
                finetuning_of(grid, Line(method.title, encoder, grid.seeds[0], method, tuple(signal)), protocol, 1e-3, 1.0, Path(), Path())
        except RecipeError as error:
            problems.append(f"{method.title} on {encoder}: {error}")
    if problems:
        raise RecipeError("; ".join(dict.fromkeys(problems)))
    return found


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
    if line.method is None and (signal := [text for text in line.signal if text not in grid.set]):
        basis["signal"] = signal
    mark = letters(basis)
    return {
        (protocol, share): f"{line.key}-{protocol}-{share:g}-{mark}" for protocol in protocols_of(grid, line) for share in grid.label_shares
    }


def pretraining_of(grid: Grid, line: Line, lr: float, data: Path) -> Pretrain:
    """The recipe of one pretraining run. Raises RecipeError where method and encoder do not go together."""
    from einthoven.objectives import OBJECTIVES

    made = _pretraining(grid, line)
    rows = 2 if OBJECTIVES[made.objective.name].view == "pairs" else 1
    return made.model_copy(update=_budget(made, grid.pretraining, lr, line.seed, data, max(1, grid.pretraining.batch // rows)))


def _pretraining(grid: Grid, line: Line) -> Pretrain:
    from einthoven.recipes import PRETRAIN, recipe

    assert line.method is not None
    made = recipe(line.method.recipe, [*grid.encoder(line.encoder), *grid.set, *line.method.set], of=PRETRAIN)
    assert isinstance(made, Pretrain)
    return made


def finetuning_of(grid: Grid, line: Line, protocol: str, lr: float, share: float, data: Path, init: Path | None) -> Finetune:
    """The recipe of one fine-tuning run: the grid's, the same for every method but for the signal that the encoder is used to."""
    from einthoven.recipes import recipe

    begin = [] if init is not None else grid.encoder(line.encoder)
    kept = [*(text for text in grid.set if text.partition("=")[0].partition(".")[0] not in OF_PRETRAINING), *line.signal]
    made = recipe("diagnosis", [*begin, *kept, f"protocol={protocol}", f"label_share={share}"], of=("diagnosis",))
    assert isinstance(made, Finetune)
    changes = _budget(made, grid.finetuning, lr, line.seed, data, grid.finetuning.batch)
    changes |= {
        "init": None if init is None else str(init),
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
    """Ten letters that stand for everything about a run but where it is made: another recipe is another run, and so are other weights."""
    said = recipe.model_dump(mode="json", exclude={"run", "data", "init", "device", "workers"})
    if recipe.init is not None:  # the name of a run holds the letters of its own recipe
        said["init"] = Path(recipe.init).name
    return letters(said)


def letters(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
