"""The recipes themselves: published hyper-parameters, the keys that everybody uses, and what a wrong one is told."""

from __future__ import annotations

import pytest
import yaml

from einthoven.augment import AUGMENTS
from einthoven.errors import RecipeError
from einthoven.layers.span_mask import Spans
from einthoven.leads import TWELVE
from einthoven.models import ENCODERS, SIZES, ECGTransformer
from einthoven.objectives import OBJECTIVES
from einthoven.recipes import FINETUNE, PRETRAIN, RECIPES, recipe
from einthoven.recipes.build import build_encoder, build_objective
from einthoven.recipes.compose import compose
from einthoven.recipes.options import options_of
from einthoven.recipes.show import as_yaml
from einthoven.signal.contract import SignalContract

COMMON = ["data=store", "run=r", "seed=3", "steps=5", "batch=4", "workers=1", "device=cpu", "precision=fp32", "save_every=2",
          "optim.lr=1e-4", "encoder=tiny", "augment=[random_lead_mask]", "leads=[II, v1]", "split=all", "init=x.pt"]  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_the_keys_that_everybody_uses_mean_the_same_in_every_recipe(name):
    made = recipe(name, COMMON)
    assert (made.seed, made.steps, made.epochs, made.batch, made.workers, made.device, made.precision) == (3, 5, None, 4, 1, "cpu", "fp32")
    assert (made.optim.lr, made.encoder.name, made.augment[0].name, made.leads, made.split, made.init) == (
        1e-4,
        "tiny",
        "random_lead_mask",
        ("II", "V1"),
        "all",
        "x.pt",
    )


@pytest.mark.parametrize("name", RECIPES)
def test_the_printed_recipe_is_a_recipe_file_that_gives_the_same_recipe(name, tmp_path):
    made = recipe(name, COMMON)
    (tmp_path / "mine.yaml").write_text(as_yaml(made))
    assert yaml.safe_load(as_yaml(made))["base"] == name
    assert compose(RECIPES, "mine", [], tmp_path) == made


def test_w2v_cmsc_rlm_has_the_published_hyper_parameters():
    # Oh et al. 2022 and ECG-FM: 64 pairs × 4 GPUs × 2 accumulated, Adam 5e-5 (0.9, 0.98) 1e-6, decay 0.01, 200 epochs, masks 0.65 × 10.
    made = recipe("w2v_cmsc_rlm")
    assert (made.settings(10_000).batch, made.settings(10_000).accumulate, made.epochs) == (512, 8, 200)
    assert made.optim.model_dump(include={"lr", "betas", "eps", "weight_decay"}) == {
        "lr": 5e-5,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
    }
    built = build_objective(made, ECGTransformer(**SIZES["tiny"])).masked
    assert (built.mask, built.n_negatives, built.temperature) == (Spans(prob=0.65, length=10), 100, 0.1)
    assert (built.quantizer.n_codes, built.quantizer.groups, built.final_proj.out_features) == (320, 2, 256)
    assert (built.diversity_weight, built.energy_weight, built.dropout_features) == (0.1, 10.0, 0.1)
    assert (made.seconds, made.leads) == (5.0, TWELVE)


def test_a_variant_is_a_difference():
    one, other = recipe("w2v_cmsc").model_dump(), recipe("w2v_cmsc_rlm").model_dump()
    assert {key for key in one if one[key] != other[key]} == {"name", "augment"}


def test_a_small_batch_is_not_split():
    assert recipe("w2v_cmsc", ["batch=16"]).settings(100).accumulate == 1


def test_the_batch_is_the_published_one_or_what_there_is_and_a_laptops_with_the_tiny_encoder():
    assert [recipe(name).settings(n).batch for name, n in (("w2v_cmsc", 10_000), ("diagnosis", 10_000), ("diagnosis", 60))] == [
        512,
        128,
        60,
    ]
    assert [recipe(name, ["encoder=tiny"]).settings(10_000).batch for name in ("w2v_cmsc", "diagnosis")] == [16, 32]
    assert recipe("diagnosis", ["encoder=tiny", "batch=7"]).settings(10_000).batch == 7


def test_the_tiny_encoder_begins_at_a_learning_rate_at_which_it_moves():
    assert recipe("w2v_cmsc", ["encoder=tiny"]).optim.lr == 1e-3
    assert recipe("w2v_cmsc", ["encoder=tiny", "optim.lr=5e-5"]).optim.lr == 5e-5
    assert recipe("w2v_cmsc").optim.lr == 5e-5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("leads=[I, V9]", "unknown lead V9"),
        ("leads=[II, ii]", "named twice"),
        ("augment=[shear]", "random_lead_mask"),
        ("scaling=zscore", "record_zscore"),
        ("steps=0", "greater than or equal to 1"),
        ("optim.lr=fast", "optim.lr"),
        ("encode=tiny", "did you mean encoder"),
        ("lr=1", "did you mean optim.lr"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(override, message):
    with pytest.raises(RecipeError, match=message):
        recipe("w2v_cmsc_rlm", [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=w2v", "objective.cmsc_weight=2"], r"objective.cmsc_weight: unknown key"),
        (["objective=w2v", "across=visits"], "across: objective=w2v does not use it"),
        (["objective=cmsc", "crop=random"], "crop=random: objective=cmsc takes pairs"),
        (["objective.n_negatives=many"], r"objective\.n_negatives: input should be a valid integer"),
        (["objective.mask.prob=much"], r"objective\.mask\.prob"),
        (["encoder=xresnet1d50", "encoder.heads=3"], "encoder.heads: unknown key"),
        (["augment=[{name: time_out, longest: 3}]"], "time_out does not use it"),
    ],
)
def test_a_key_that_the_objective_does_not_use_is_refused(overrides, message):
    with pytest.raises(RecipeError, match=message):
        recipe("w2v_cmsc", overrides)


def test_fine_tuning_keeps_no_dropout_of_the_pretraining():
    # The published fine-tuning configuration overrides each of these, whatever the pretrained checkpoint says.
    encoder, _ = build_encoder(recipe("diagnosis", ["encoder.dim=64", "encoder.heads=4", "encoder.depth=1"]), SignalContract())
    said = {key: value for key, value in encoder.config().items() if key.endswith("drop") or key.endswith("dropout")}
    assert said == {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.1, "input_dropout": 0.0, "layerdrop": 0.0}


def test_every_option_has_a_meaning_and_is_printed_with_it():
    for kind in (*OBJECTIVES.values(), *ENCODERS.values(), *AUGMENTS.values()):
        for name, field in options_of(kind).model_fields.items():
            assert field.description, f"the docstring of {kind.__name__} says nothing of {name}"
    text = as_yaml(recipe("simclr", ["objective.temperature=0.2"]))
    assert "  temperature: 0.2  # divides similarities" in text and "  # same_person: negatives" in text


def test_a_command_takes_only_its_own_recipes():
    with pytest.raises(RecipeError, match="there is no recipe 'diagnosis'"):
        recipe("diagnosis", of=PRETRAIN)
    assert set(PRETRAIN) | set(FINETUNE) == set(RECIPES)
