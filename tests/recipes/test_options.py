"""Options of methods: read from the classes, shown with their meaning, checked with their type, and told where they are unknown."""

from __future__ import annotations

import inspect

import pytest

from einthoven.augment import AUGMENTS
from einthoven.errors import RecipeError
from einthoven.models import ENCODERS, PRESETS
from einthoven.objectives import OBJECTIVES
from einthoven.recipes import FINETUNE, PRETRAIN, recipe
from einthoven.recipes.compose import RENAMED, keys
from einthoven.recipes.kinds import Finetune, Pretrain
from einthoven.recipes.options import GIVEN, described, options_of
from einthoven.recipes.show import as_yaml

KINDS = {**OBJECTIVES, **ENCODERS, **AUGMENTS}


@pytest.mark.parametrize("name", KINDS)
def test_every_argument_of_a_method_is_an_option_with_its_default_and_its_meaning(name: str):
    kind = KINDS[name]
    fields = options_of(kind).model_fields
    for argument, it in inspect.signature(kind.__init__).parameters.items():
        if argument in GIVEN or it.kind in (it.VAR_KEYWORD, it.VAR_POSITIONAL):
            continue
        assert argument in fields and fields[argument].default == it.default, argument
    assert [option for option, field in fields.items() if not field.description] == []


class Base:
    """A base.

    width, height : of it, in mV
    """


class Derived(Base):
    """A class.

    count  : how many,
             over two lines
    height : its own meaning

    no option: this line speaks of something else
    """

    def __init__(self, encoder, *, width: int = 1, height: float = 2.0, count: int | None = None):
        pass


def test_meanings_are_read_from_the_docstrings_of_a_class_and_its_bases():
    assert described(Derived) == {"width": "of it, in mV", "height": "its own meaning", "count": "how many, over two lines"}
    assert {name: (field.annotation, field.default) for name, field in options_of(Derived).model_fields.items()} == {
        "width": (int, 1), "height": (float, 2.0), "count": (int | None, None),
    }  # fmt: skip


@pytest.mark.parametrize("name", [*PRETRAIN, *FINETUNE])
def test_every_recipe_prints_every_option_of_its_parts_with_a_meaning(name: str):
    made = recipe(name)
    text = as_yaml(made)
    lines = [line.strip().removeprefix("# ") for line in text.splitlines()]
    for part in (made.encoder, getattr(made, "objective", None)):
        if part is not None:
            for option in part.all_options(part.name).model_fields:
                assert any(line.startswith(f"{option}: ") and "  # " in line for line in lines), option


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_key_of_an_earlier_version_is_told_its_new_name(old: str, new: str):
    with pytest.raises(RecipeError, match=f"{old}: unknown key, it is {new} now"):
        recipe("w2v_cmsc_rlm", [f"{old}=1"])
    assert new in keys(Pretrain, recipe("w2v_cmsc_rlm").model_dump())


@pytest.mark.parametrize(
    ("name", "words", "part"),
    [
        ("simclr", ["objective.temprature=1"], "did you mean objective.temperature?"),
        ("simclr", ["objective.queue=1"], "objective.queue: unknown key"),  # moco's
        ("simclr", ["objective=moco", "objective.same_person=left_out"], "objective.same_person: unknown key"),
        ("simclr", ["objective.same_person=friends"], "objective.same_person: input should be 'negatives' or 'left_out', got 'friends'"),
        ("simclr", ["objective.temperature=warm"], "objective.temperature: input should be a valid number"),
        ("simclr", ["augment=[{name: time_out, larges: 1}]"], "augment.0.larges: time_out does not use it; did you mean largest?"),
        ("simclr", ["augment=[time_ou]"], "did you mean time_out?"),
        ("simclr", ["encoder=xresnet50"], "did you mean xresnet1d50?"),
        ("simclr", ["objective=cmsc"], "crop=random: objective=cmsc takes pairs of neighbouring windows; set crop=windows"),
        ("w2v", ["across=visits"], "it takes no pairs"),
        ("w2v", ["shown=[I]", "leads=[II]"], "shown: I is not among leads=II"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_what_is_right(name: str, words: list[str], part: str):
    with pytest.raises(RecipeError) as caught:
        recipe(name, words)
    assert part in str(caught.value)


def test_options_of_an_encoder_that_nobody_knows_are_not_judged():
    with pytest.raises(RecipeError) as caught:
        recipe("w2v", ["encoder=huge", "encoder.depth=1", "bach=2"])
    assert "encoder.depth" not in str(caught.value) and "'huge'" in str(caught.value) and "bach: unknown key" in str(caught.value)


OF_ONE_TASK = {
    "diagnosis": {"classes": "cinc2021", "unlabelled": "leave_out", "min_positives": 2, "pos_weight": True, "head_dropout": 0.5, "hidden": (8,),
                  "pooling": "max", "aggregation": "max"},
    "identification": {"margin": 0.3, "scale": 16.0},
    "regression": {"targets": ("weight",), "loss": "mse"},
}  # fmt: skip


@pytest.mark.parametrize("task", OF_ONE_TASK)
@pytest.mark.parametrize(("owner", "key"), [(task, key) for task, values in OF_ONE_TASK.items() for key in values])
def test_a_key_of_another_task_is_refused(task: str, owner: str, key: str):
    values = {"name": "x", "epochs": 1, "task": task, key: OF_ONE_TASK[owner][key]}
    if task == owner:
        assert getattr(Finetune(**values), key) == OF_ONE_TASK[owner][key]
        return
    with pytest.raises(ValueError, match=f"{key}: task={task} does not use it"):
        Finetune(**values)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["lora_rank=4"], "lora_rank: only protocol=lora uses it"),
        (["protocol=linear", "optim.layer_decay=0.5"], "optim.layer_decay: with protocol=linear the encoder does not learn at all"),
        (["protocol=attention", "optim.discriminative=[0.1]"], "optim.discriminative: with protocol=attention"),
        (["protocol=linear", "frozen_steps=3"], "frozen_steps: with protocol=linear"),
        (["protocol=attention", "pooling=mean"], "pooling: protocol=attention learns"),
        (["protocol=probe"], "protocol: input should be 'full', 'linear', 'attention', 'head_first' or 'lora', got 'probe'"),
        (["task=regression", "protocol=attention"], "protocol=attention is a way to diagnose"),
        (["hidden=[0]"], "hidden.0: input should be greater than 0"),
        (["label_share=1.5"], "label_share: input should be less than or equal to 1"),
    ],
)
def test_what_a_protocol_does_not_use_is_refused(words: list[str], part: str):
    with pytest.raises(RecipeError) as caught:
        recipe("diagnosis", words)
    assert part in str(caught.value)


def test_a_variant_brings_its_options_and_they_can_be_changed():
    made = recipe("simclr", ["encoder=vit_tiny", "encoder.depth=3"])
    assert made.encoder.chosen == {"depth": 3} and made.encoder.usual("vit_tiny") == PRESETS["vit_tiny"][1]
