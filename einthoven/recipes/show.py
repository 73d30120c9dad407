"""A recipe as a person reads it: YAML with the meaning of every key, itself a valid recipe of one's own."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from einthoven.recipes.compose import part_of
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
        else:
            lines.append(f"{indent}{name}: {_plain(value)}{comment}")


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        value = [entry.model_dump() if isinstance(entry, BaseModel) else entry for entry in value]
    elif not isinstance(value, str | int | float | bool | list | dict | None):
        value = str(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()
