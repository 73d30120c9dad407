"""A recipe as a person reads it: YAML with the meaning of every key, itself a valid recipe of one's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml
from pydantic import BaseModel

from einthoven.recipes.compose import part_of
from einthoven.recipes.kinds import Part
from einthoven.train.settings import Settings


def as_yaml(recipe: BaseModel) -> str:
    """YAML text of a resolved recipe; every line ends with what the key means. ``base:`` makes it a file for --config-dir."""
    lines = [f"base: {getattr(recipe, 'name', '')}"]
    _lines(recipe, "", lines)
    return "\n".join(lines)


def _lines(recipe: BaseModel, indent: str, lines: list[str]) -> None:
    fields = type(recipe).model_fields
    if not indent:  # what people change comes first, the settings of the loop after it
        fields = {name: field for name, field in fields.items() if name not in Settings.model_fields} | fields
    for name, field in fields.items():
        value = getattr(recipe, name)
        if name == "name" and not indent:
            continue
        comment = f"  # {field.description}" if field.description else ""
        if part_of(field.annotation) and isinstance(value, BaseModel):
            lines.append(f"{indent}{name}:{comment}")
            _lines(value, indent + "  ", lines)
            if isinstance(value, Part):
                _options(value, indent + "  ", lines)
        else:
            lines.append(f"{indent}{name}: {_plain(value)}{comment}")


def _options(part: Part, indent: str, lines: list[str]) -> None:
    """The options of a named part: those that were chosen, and the others, as they are, behind a #."""
    usual, chosen = part.usual(part.name), part.chosen
    for name, field in part.all_options(part.name).model_fields.items():
        value = chosen.get(name, usual.get(name, field.default))
        meaning = f"  # {field.description}" if field.description else ""
        lines.append(f"{indent}{'' if name in chosen else '# '}{name}: {_plain(value)}{meaning}")


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        value = [
            entry.model_dump() if isinstance(entry, BaseModel) else list(entry) if isinstance(entry, tuple) else entry for entry in value
        ]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    elif not isinstance(value, str | int | float | bool | list | dict | None):
        value = str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()
