"""What there is to choose from, for the terminal: recipes, objectives, encoders, augmentations, protocols; and the options of one of them."""

from __future__ import annotations

import difflib
from typing import Any

from rich.markup import escape
from rich.table import Table

from einthoven.errors import RecipeError


def everything() -> list[Table]:
    from einthoven.augment import AUGMENTS
    from einthoven.models import ENCODERS, PRESETS
    from einthoven.objectives import OBJECTIVES
    from einthoven.recipes.kinds import PROTOCOLS
    from einthoven.recipes.published import FINETUNE, PRETRAIN

    encoders: dict[str, list[str]] = {name: [] for name in ENCODERS}
    for preset, (name, _) in PRESETS.items():
        encoders[name].append(preset)
    return [
        _listed("Pretraining recipes: einthoven pretrain NAME data=STORE", {name: _said(made) for name, made in PRETRAIN.items()}),
        _listed("Fine-tuning recipes: einthoven finetune NAME data=STORE init=RUN", {name: _said(made) for name, made in FINETUNE.items()}),
        _listed("Objectives: objective=NAME objective.OPTION=…", {name: _said(kind) for name, kind in OBJECTIVES.items()}),
        _listed("Encoders: encoder=VARIANT encoder.OPTION=…", {name: f"{', '.join(variants)}" for name, variants in encoders.items()}),
        _listed("Augmentations: augment=[NAME, …]", {name: _said(kind) for name, kind in AUGMENTS.items()}),
        _listed("Protocols: protocol=NAME", PROTOCOLS),
    ]


def options_tables(name: str) -> list[Table]:
    """The options of an objective, encoder or augmentation; of each, where a name is that of several. Raises RecipeError for an unknown name."""
    from einthoven.augment import AUGMENTS
    from einthoven.models import ENCODERS, PRESETS
    from einthoven.objectives import OBJECTIVES

    found: list[tuple[Any, str, dict[str, Any]]] = []
    if name in OBJECTIVES:
        found.append((OBJECTIVES[name], "objective", {}))
    if name in PRESETS:
        encoder, usual = PRESETS[name]
        found.append((ENCODERS[encoder], "encoder", usual))
    elif name in ENCODERS:
        found.append((ENCODERS[name], "encoder", {}))
    if name in AUGMENTS:
        found.append((AUGMENTS[name], "augment", {}))
    if not found:
        close = difflib.get_close_matches(name, [*OBJECTIVES, *PRESETS, *ENCODERS, *AUGMENTS], 1)
        raise RecipeError(
            f"there is no method called {name}{f'; did you mean {close[0]}?' if close else ''}; `einthoven methods` lists them"
        )
    return [_options(name, *one) for one in found]


def _options(name: str, kind: Any, key: str, usual: dict[str, Any]) -> Table:
    from einthoven.recipes.options import options_of

    table = Table("option", "default", "meaning", title=f"{name}: {_said(kind)}", title_justify="left")
    for option, field in options_of(kind).model_fields.items():
        shown = f"{key}.{option}" if key != "augment" else option
        table.add_row(shown, escape(str(usual.get(option, field.default))), escape(field.description or ""))
    return table


def _listed(title: str, rows: dict[str, str]) -> Table:
    table = Table(show_header=False, title=title, title_justify="left")
    for name, said in rows.items():
        table.add_row(name, escape(said))
    return table


def _said(thing: Any) -> str:
    """The first sentence of a docstring."""
    return (thing.__doc__ or "").strip().split("\n")[0].replace("``", "")
