"""What there is to choose from, as the command line tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command_line import einthoven

from einthoven.augment import AUGMENTS
from einthoven.bench.grid import PROTOCOLS as OF_BENCH
from einthoven.models import ENCODERS, PRESETS
from einthoven.objectives import OBJECTIVES
from einthoven.recipes import FINETUNE, PRETRAIN, RECIPES, recipe
from einthoven.recipes.compose import compose
from einthoven.recipes.kinds import PROTOCOLS
from einthoven.recipes.options import options_of
from einthoven.report.bench import MEANING


def test_methods_lists_everything_with_a_word_about_it(tmp_path: Path):
    outcome = einthoven("methods", tmp_path)
    assert outcome.code == 0 and outcome.err == ""
    words = set(outcome.out.replace("│", " ").replace(",", " ").split())
    for name in (*PRETRAIN, *FINETUNE, *OBJECTIVES, *ENCODERS, *PRESETS, *AUGMENTS, *PROTOCOLS):
        assert name in words, name
    rows = [line for line in outcome.out.splitlines() if line.startswith("│")]
    assert not [row for row in rows if not row.split("│")[2].strip()]  # nothing stands there without a meaning


@pytest.mark.parametrize("name", [*OBJECTIVES, "xresnet1d50", "vit_tiny", "s4", "tiny", "time_out", "vcg"])
def test_a_methods_options_are_shown_with_default_and_meaning(tmp_path: Path, name: str):
    outcome = einthoven(["methods", name], tmp_path)
    assert outcome.code == 0
    kind = OBJECTIVES.get(name) or AUGMENTS.get(name) or ENCODERS[PRESETS[name][0]]
    usual = PRESETS[name][1] if name in PRESETS else {}
    part = "objective." if name in OBJECTIVES else "encoder." if name in PRESETS else ""
    first = [line.split("│")[1].strip() for line in outcome.out.splitlines() if line.startswith("│")]
    for option, field in options_of(kind).model_fields.items():
        assert f"{part}{option}" in first
        if option in usual and isinstance(usual[option], int):
            (line,) = (
                line for line in outcome.out.splitlines() if line.startswith("│") and line.split("│")[1].strip() == f"{part}{option}"
            )
            assert line.split("│")[2].strip() == str(usual[option])
        assert field.description


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_printed_as_a_file_that_gives_it_again(tmp_path: Path, name: str):
    command = "pretrain" if name in PRETRAIN else "finetune"
    outcome = einthoven(f"{command} {name} --print-config seed=7", tmp_path)
    assert outcome.code == 0 and yaml.safe_load(outcome.out)["base"] == name
    (tmp_path / "mine.yaml").write_text(outcome.out)
    assert compose(RECIPES, "mine", [], tmp_path) == recipe(name, ["seed=7"])
    again = einthoven(f"{command} mine --config-dir . --print-config", tmp_path)
    assert again.out.splitlines()[1:] == outcome.out.splitlines()[1:]


def test_every_protocol_of_a_comparison_is_one_of_finetune_or_the_probe():
    assert set(OF_BENCH) == {"probe", *PROTOCOLS} == set(MEANING)
