"""The grammar of ``key=value``, tried on a small recipe of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from einthoven.errors import RecipeError
from einthoven.recipes.compose import change, compose, flatten, keys, parse


class Engine(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    shorthand: ClassVar[str] = "size"
    size: Literal["tiny", "large"] = "large"
    dim: int | None = Field(None, gt=0)


class Toy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
    exclusive: ClassVar = (("steps", "epochs"),)
    steps: int | None = None
    epochs: float | None = 10
    batch: int = 8
    run: str | None = None
    rate: float = 1.0
    leads: tuple[str, ...] = ("I",)
    engine: Engine = Engine()


RECIPES = {"toy": Toy, "fast": lambda: Toy(rate=9.0)}


def test_values_are_yaml_without_its_traps():
    parsed = parse(["rate=1e-3", "run=2026-11-20", "leads=[I, V1]", "batch=4", "steps=null", "flag=true", "path=a=b"])
    assert parsed == {"rate": 0.001, "run": "2026-11-20", "leads": ["I", "V1"], "batch": 4, "steps": None, "flag": True, "path": "a=b"}


def test_a_part_is_named_by_its_short_form_and_changed_further_in_any_order():
    for overrides in (["engine=tiny", "engine.dim=3"], ["engine.dim=3", "engine=tiny"]):
        assert compose(RECIPES, "toy", overrides).engine == Engine(size="tiny", dim=3)


def test_naming_a_part_keeps_nothing_of_the_old_one():
    base = Toy(engine=Engine(dim=5))
    assert change(base, {"engine": "tiny"}).engine == Engine(size="tiny")


def test_one_of_two_exclusive_keys_takes_the_place_of_the_other():
    made = compose(RECIPES, "toy", ["steps=5"])
    assert (made.steps, made.epochs) == (5, None)


def test_everything_that_is_wrong_is_said_at_once_with_the_nearest_key():
    with pytest.raises(RecipeError) as caught:
        compose(RECIPES, "toy", ["bach=3", "rate=abc", "engine.dmi=3", "engine=huge", "steps=1.5"])
    text = str(caught.value)
    assert "bach: unknown key, did you mean batch?" in text
    assert "engine.dmi: unknown key, did you mean engine.dim?" in text
    assert "rate: input should be a valid number" in text and "'abc'" in text
    assert "engine.size" in text and "'tiny' or 'large'" in text
    assert "steps:" in text
    assert "\n" not in text


def test_a_key_without_a_value_is_refused():
    with pytest.raises(RecipeError, match="expected key=value, got 'batch'"):
        parse(["batch"])


def test_an_unknown_recipe_is_told_the_nearest():
    with pytest.raises(RecipeError, match=r"no recipe 'tooy'.*did you mean toy"):
        compose(RECIPES, "tooy")


def test_a_recipe_of_ones_own_is_a_file_with_a_base(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: fast\nbatch: 2\nengine:\n  dim: 7\n")
    (tmp_path / "deeper.yaml").write_text("base: mine\nbatch: 3\n")
    made = compose(RECIPES, "deeper", ["leads=[II]"], tmp_path)
    assert (made.rate, made.batch, made.engine, made.leads) == (9.0, 3, Engine(dim=7), ("II",))


def test_a_file_may_take_the_name_of_the_recipe_it_changes(tmp_path):
    (tmp_path / "toy.yaml").write_text("base: toy\nbatch: 5\n")
    assert compose(RECIPES, "toy", [], tmp_path).batch == 5


def test_files_that_name_each_other_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b\n")
    (tmp_path / "b.yaml").write_text("base: a\n")
    with pytest.raises(RecipeError, match="name each other"):
        compose(RECIPES, "a", [], tmp_path)


@pytest.mark.parametrize("text", ["batch: 2\n", "- 1\n", "base: [\n"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.yaml"):
        compose(RECIPES, "bad", [], tmp_path)


def test_keys_and_flatten_are_each_others_picture():
    assert set(flatten(Toy().model_dump())) <= set(keys(Toy))
