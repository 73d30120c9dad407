"""A recipe by its name, and the ``key=value`` that change it.

The grammar is small and frozen: ``a.b=value`` with a YAML value; a named part may be given by its short form
(``encoder=tiny``) and changed further (``encoder.dim=96``). A user's own recipe is a YAML file with a ``base:`` and the
differences. Nothing is interpolated, nothing evaluated. What is wrong is reported all at once, with the nearest valid key.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from einthoven.errors import RecipeError


class _Loader(yaml.SafeLoader):
    """YAML without its two traps for a command line: ``1e-3`` is a number, ``2026-11-20`` stays the text it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def load(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


def parse(overrides: Sequence[str]) -> dict[str, Any]:
    """``["optim.lr=1e-4", "leads=[I, II]"]`` -> ``{"optim.lr": 0.0001, "leads": ["I", "II"]}``. Raises RecipeError."""
    changes: dict[str, Any] = {}
    wrong = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            wrong.append(f"expected key=value, got {text!r}")
            continue
        try:
            changes[key.strip()] = load(value)
        except yaml.YAMLError:
            wrong.append(f"{key.strip()}: cannot read the value {value!r}; put text with special characters in quotes")
    if wrong:
        raise RecipeError("; ".join(wrong))
    return changes


def part_of(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, also behind ``| None``; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((found for found in map(part_of, typing.get_args(annotation)) if found), None)
    return None


def keys(model: type[BaseModel], tree: Mapping[str, Any] | None = None, prefix: str = "") -> list[str]:
    """Every dotted key of a recipe, parts before their own keys.

    tree : values, where the options of a part depend on its name (kinds.Part)
    """
    found = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        part = part_of(field.annotation)
        if part:
            value = (tree or {}).get(name)
            found += keys(part, value if isinstance(value, Mapping) else None, f"{prefix}{name}.")
    options_of: Any = getattr(model, "all_options", None)
    if options_of is not None and tree is not None and tree.get("name") in (None, *model.names()):  # type: ignore[attr-defined]
        options = options_of(tree.get("name"))
        for name, field in options.model_fields.items():
            found.append(prefix + name)
            found += [f"{prefix}{name}.{deeper}" for deeper in _deeper(field.annotation)]
    return found


def _deeper(annotation: Any) -> list[str]:
    """The fields of an option that is itself a group of them (a dataclass)."""
    if dataclasses.is_dataclass(annotation):
        return [field.name for field in dataclasses.fields(annotation)]
    return next((found for found in map(_deeper, typing.get_args(annotation)) if found), [])


def change(base: BaseModel, changes: Mapping[str, Any]) -> BaseModel:
    """A recipe that differs from another in some dotted keys. Raises RecipeError with everything that is wrong."""
    model = type(base)
    tree = base.model_dump(mode="python")
    for group in getattr(model, "exclusive", ()):
        if any(key in changes for key in group):
            for key in group:
                tree[key] = None
    # Whole parts first, so that `encoder.dim=96 encoder=tiny` means what it means the other way round.
    shallow = keys(model)
    for key in (key for key in changes if "." not in key and key in shallow):
        _set(tree, model, key, changes[key])
    for key in (key for key in changes if key.endswith(".name") and key in shallow):
        part = key.removesuffix(".name")
        before = tree.get(part)
        if not isinstance(before, dict) or before.get("name") != changes[key]:  # another one: nothing of the old one's options is kept
            _set(tree, model, part, changes[key])
    valid = keys(model, tree)
    nameless = tuple(f"{part}." for part in tree if _is_unknown(model, part, tree[part]))  # the part itself is refused below, with its name
    unknown = [key for key in changes if key not in valid and not key.startswith(nameless)]
    problems = [f"{key}: unknown key{_nearest(key, valid)}" for key in unknown]
    for key in sorted((key for key in changes if key not in unknown and "." in key), key=lambda key: key.count(".")):
        _set(tree, model, key, changes[key])
    try:
        made = model.model_validate(tree)
    except ValidationError as error:
        raise RecipeError("; ".join(problems + [_explain(entry) for entry in error.errors()])) from None
    if problems:
        raise RecipeError("; ".join(problems))
    return made


def _set(tree: dict[str, Any], model: type[BaseModel], key: str, value: Any) -> None:
    first, *rest = key.split(".")
    field = model.model_fields.get(first)
    part = part_of(field.annotation) if field is not None else None
    if rest:
        if tree.get(first) is None:
            tree[first] = {}
        elif not isinstance(tree[first], dict):
            tree[first] = {shorthand(part): tree[first]} if part else dict(vars(tree[first]))
        if part is not None:
            _set(tree[first], part, ".".join(rest), value)
        else:  # an option that is a group of its own
            tree[first] = {**tree[first], rest[0]: value}
        return
    tree[first] = value if part is None or isinstance(value, dict | None) else {shorthand(part): value}


def shorthand(part: type[BaseModel]) -> str:
    """The key of a part that its short form stands for: ``encoder=tiny`` is ``encoder.name=tiny``."""
    return getattr(part, "shorthand", "name")


def _is_unknown(model: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a named part (``encoder``) has a name that nothing has: then nobody knows its options."""
    field = model.model_fields.get(name)
    names = getattr(part_of(field.annotation) if field is not None else None, "names", None)
    return names is not None and isinstance(value, Mapping) and value.get("name") not in (None, *names())


RENAMED = {
    "mask_prob": "objective.mask.prob",
    "mask_length": "objective.mask.length",
    "negatives": "objective.n_negatives",
    "codes": "objective.latent_vars",
    "codebooks": "objective.latent_groups",
    "target_dim": "objective.final_dim",
    "logit_temperature": "objective.temperature",
    "diversity_weight": "objective.diversity_weight",
    "penalty_weight": "objective.energy_weight",
    "feature_dropout": "objective.dropout_features",
    "cmsc_temperature": "objective.cmsc_temperature",
    "cmsc_weight": "objective.cmsc_weight",
    "encoder.size": "encoder.name",
}
"""What keys of earlier versions are called since the options of a method stand under its name."""


def _nearest(key: str, valid: Sequence[str]) -> str:
    if RENAMED.get(key) in valid:
        return f", it is {RENAMED[key]} now"
    short = {name.rsplit(".", 1)[-1]: name for name in reversed(valid)}
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.6)
    close = close or [short[name] for name in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(short), n=1, cutoff=0.7)]
    return f", did you mean {close[0]}?" if close else "; --print-config lists the valid ones"


def _explain(entry: Any) -> str:
    where = ".".join(str(part) for part in entry["loc"] if not str(part).startswith(("function-", "constrained-")))
    what = entry["msg"].removeprefix("Value error, ")
    if entry["type"] in ("missing", "value_error"):
        # A part speaks of its options as ".temperature: …"; several of them stand one after the other.
        what = re.sub(r"(^|; )\.(?=\w)", lambda found: f"{found[1]}{where}.", what) if where else what
        return what if not where or what.startswith(f"{where}.") else f"{where}: {what}"
    return f"{where}: {what[0].lower()}{what[1:]}, got {entry['input']!r}"


def compose(recipes: Mapping[str, Any], name: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> BaseModel:
    """The recipe ``name`` with its changes.

    recipes    : name -> function that returns a recipe
    name       : one of them; or, with ``config_dir``, the name of a YAML file there that holds ``base: <name>`` and differences
    overrides  : ``key=value`` texts; they win over the file
    """
    changes: dict[str, Any] = {}
    seen: list[str] = []
    while name not in recipes or (config_dir and (config_dir / f"{name}.yaml").exists()):
        path = (config_dir / f"{name}.yaml") if config_dir else None
        if path is None or not path.exists():
            where = f" and no {name}.yaml in {config_dir}" if config_dir else ""
            close = difflib.get_close_matches(name, list(recipes), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise RecipeError(f"there is no recipe {name!r}{where}; there are {', '.join(recipes)}{hint}")
        if name in seen:
            raise RecipeError(f"{path}: the recipes name each other as base: {' -> '.join([*seen, name])}")
        seen.append(name)
        name, below = _read_file(path)
        changes = {**below, **changes}
        if name in recipes and name in seen:
            break
    return change(recipes[name](), {**changes, **parse(overrides)})


def _read_file(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        content = load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise RecipeError(f"{path}: not a YAML file: {where}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a YAML file: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or not isinstance(content.get("base"), str):
        raise RecipeError(f"{path}: expected 'base: <recipe>' and the keys that differ")
    return content.pop("base"), flatten(content)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"optim": {"lr": 1}}`` -> ``{"optim.lr": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
