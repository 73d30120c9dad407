"""What a comparison is: methods, encoders, protocols, and the budget that each of them gets. Imports no torch."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from einthoven.errors import RecipeError
from einthoven.recipes.compose import load

PROTOCOLS = ("probe", "linear", "attention", "head_first", "full", "lora")
FROZEN = ("probe", "linear", "attention")
"""Protocols in which the encoder stays as it was pretrained."""
RANDOM, SCRATCH = "random encoder", "from scratch"
"""The two lines that are always there: what an encoder is worth untrained, and what labels alone make of it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Method(_Frozen):
    """A line of the table: a pretraining recipe, and what is special about it here."""

    recipe: str = Field(description="a pretraining recipe")
    name: str | None = Field(None, description="what the table calls it; by default the recipe's name")
    encoders: tuple[str, ...] | None = Field(None, description="its encoders; by default the grid's")
    set: tuple[str, ...] = Field((), description="key=value that differ from the recipe")

    @property
    def title(self) -> str:
        return self.name or self.recipe


class Budget(_Frozen):
    """What every run gets, whatever its method."""

    steps: int = Field(gt=0, description="updates")
    batch: int = Field(64, gt=0, description="windows per update (a pair of segments is two); views of a window are not counted")
    lr: tuple[float, ...] = Field((1e-3,), min_length=1, description="learning rates that are tried, all of them by every method")

    @field_validator("lr", mode="before")
    @classmethod
    def _lr(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) else value


class Grid(_Frozen):
    """A comparison. ``einthoven bench GRID data=STORE`` takes its name or a YAML file."""

    name: str = Field(description="of the comparison")
    methods: tuple[Method, ...] = Field(min_length=1, description="recipes, or {recipe, name, encoders, set}")
    encoders: tuple[str, ...] = Field(("tiny",), min_length=1, description="encoders on which every method is tried that can use them")
    variants: dict[str, str] = Field(
        {}, description='names for encoders that differ from a preset: {vit_100hz: "vit_tiny encoder.patch=5"}; to be used under encoders'
    )
    protocols: tuple[Literal["probe", "linear", "attention", "head_first", "full", "lora"], ...] = Field(
        ("probe",),
        min_length=1,
        description="how encoders are judged. probe: logistic regression on frozen vectors, its penalty chosen on validation; the others are those of finetune",
    )
    pretraining: Budget = Field(Budget(steps=1000), description="of every pretraining run")
    finetuning: Budget = Field(Budget(steps=500), description="of every run of another protocol than probe")
    seeds: tuple[int, ...] = Field((1,), min_length=1, description="every line of the table is run once for each")
    label_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (1.0,), min_length=1, description="shares of the training persons whose labels are used"
    )
    classes: str | tuple[str, ...] = Field("auto", description="classes of the labels, as in finetune")
    unlabelled: Literal["negative", "leave_out"] = Field("negative", description="as in finetune: recordings with none of the classes")
    min_positives: int = Field(10, ge=1, description="classes with fewer positive test recordings are left out, and that is said")
    bootstrap: int = Field(1000, ge=100, description="draws of persons behind the intervals and differences")
    set: tuple[str, ...] = Field((), description="key=value for every run, such as seconds=2.5 or leads=[I, II]")

    @field_validator("methods", mode="before")
    @classmethod
    def _methods(cls, value: Any) -> Any:
        return tuple({"recipe": one} if isinstance(one, str) else one for one in value) if isinstance(value, list | tuple) else value

    @field_validator("encoders", "protocols", "seeds", "label_shares", "set", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @field_validator("pretraining", "finetuning", mode="before")
    @classmethod
    def _rest_of_the_budget(cls, value: Any, info: ValidationInfo) -> Any:
        """What a budget does not say is as without it."""
        usual = cls.model_fields[str(info.field_name)].default
        return {"steps": usual.steps, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _each_once(self) -> Grid:
        for key in ("encoders", "protocols", "seeds", "label_shares"):
            if len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"{key}: expected each once, got {', '.join(str(it) for it in getattr(self, key))}")
        seen: set[tuple[str, str]] = set()
        for method in self.methods:
            if method.title in (RANDOM, SCRATCH):
                raise ValueError(f"methods: {method.title} is always there; give this one another name")
            for encoder in method.encoders or self.encoders:
                if (method.title, encoder) in seen:
                    raise ValueError(f"methods: two are called {method.title} on {encoder}; tell them apart by their name")
                seen.add((method.title, encoder))
        return self

    def encoder(self, name: str) -> list[str]:
        """The key=value texts that make an encoder of the grid."""
        preset, *changes = self.variants.get(name, name).split()
        return [f"encoder={preset}", *changes]


SHIPPED = Path(__file__).parent / "grids"


def grid(name: str, overrides: dict[str, Any] | None = None) -> Grid:
    """A grid by its name among those that are shipped, or from a YAML file, with dotted changes. Raises RecipeError, in one line."""
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else SHIPPED / f"{name}.yaml"
    names = sorted(it.stem for it in SHIPPED.glob("*.yaml"))
    if not path.exists():
        close = difflib.get_close_matches(name, names, 1)
        raise RecipeError(
            f"there is no grid {name}; there are {', '.join(names)}{f' (did you mean {close[0]}?)' if close else ''}, or give a YAML file"
        )
    try:
        values = load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a YAML file: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: expected the keys of a grid ({', '.join(Grid.model_fields)})")
    values.setdefault("name", path.stem)
    for key, value in (overrides or {}).items():
        part, _, rest = key.partition(".")
        before = values.get(part)
        values[part] = {**(before if isinstance(before, dict) else {}), rest: value} if rest else value
    try:
        return Grid.model_validate(values)
    except ValidationError as error:
        entries = error.errors()
        # A tuple with a wrong item is called too short as well; the item is what there is to mend.
        told = [it for it in entries if it["type"] != "too_short" or not any(len(one["loc"]) > len(it["loc"]) for one in entries)]
        raise RecipeError(f"{path.name}: {'; '.join(dict.fromkeys(_problem(it) for it in told))}") from None


def _problem(entry: Any) -> str:
    *_, key = where = [str(it) for it in entry["loc"]] or [""]
    if entry["type"] == "extra_forbidden":
        model = Budget if where[0] in ("pretraining", "finetuning") else Method if where[0] == "methods" and len(where) > 1 else Grid
        close = difflib.get_close_matches(key, list(model.model_fields), 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(model.model_fields)}"
        return f"{'.'.join(where)}: unknown key, {hint}"
    what = entry["msg"].removeprefix("Value error, ")
    if entry["type"] == "value_error" and key == "":
        return what
    return f"{'.'.join(where)}: {what[0].lower()}{what[1:]}, got {entry['input']!r}"


def show_grid(grid: Grid) -> str:
    """A grid as YAML with the meaning of every key: a file of one's own to begin from."""
    lines = []
    for name, field in Grid.model_fields.items():
        value = grid.model_dump(mode="json", exclude_none=True, exclude_defaults=name == "methods")[name]
        if name == "methods":
            value = [one["recipe"] if set(one) == {"recipe"} else one for one in value]
        lines.append(
            f"{name}: {yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix(chr(10) + '...' + chr(10)).strip()}  # {field.description}"
        )
    return "\n".join(lines)
