"""The options of an encoder, an objective or an augmentation, as typed fields of a recipe.

They are written down once, where they are used: the keyword arguments of the class are the options, its annotations their
types, and the lines ``name : meaning`` of its docstring what ``--print-config`` says about them. So who adds an objective
writes no second list of its options.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

GIVEN = ("self", "encoder", "leads", "fs", "augment", "patients", "classes", "targets")
"""Arguments that a recipe gives itself."""

_LINE = re.compile(r"^(\w+(?:, *\w+)*) *: +(.+)$")


@cache
def options_of(kind: type) -> type[BaseModel]:
    """The options of a class as a pydantic model: name, type, default, meaning.

    A class whose arguments go on to another (``**options``) names that one in ``options_from``.
    """
    meanings = described(kind)
    fields: dict[str, Any] = {}
    signature, types = inspect.signature(kind.__init__), typing.get_type_hints(kind.__init__)  # type: ignore[misc]
    if any(it.kind is it.VAR_KEYWORD for it in signature.parameters.values()) and hasattr(kind, "options_from"):
        other = options_of(kind.options_from)
        fields |= {name: (field.annotation, field) for name, field in other.model_fields.items()}
    for name, it in signature.parameters.items():
        if name in GIVEN or it.kind in (it.VAR_KEYWORD, it.VAR_POSITIONAL) or it.default is it.empty:
            continue
        fields[name] = (types[name], Field(it.default, description=meanings.get(name)))
    for name, (annotation, field) in fields.items():
        if field.description is None and name in meanings:
            fields[name] = (annotation, Field(field.default, description=meanings[name]))
    config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), arbitrary_types_allowed=True)
    return create_model(f"{kind.__name__}Options", __config__=config, **fields)


def described(kind: type) -> dict[str, str]:
    """What the docstring of a class and of those it inherits from says of each name: lines ``name, name : meaning``, which may go on indented."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        text = one.__dict__.get("__doc__") or ""
        names: list[str] = []
        column = 0
        for line in textwrap.dedent(text.split("\n", 1)[-1]).splitlines():
            start = _LINE.match(line)
            if start:
                names = [name.strip() for name in start[1].split(",")]
                column = line.index(start[2])
                found |= dict.fromkeys(names, start[2].strip())
            elif names and line[:column].strip() == "" and line.strip():
                found |= dict.fromkeys(names, f"{found[names[0]]} {line.strip()}")
            else:
                names = []
    return found
