"""Which weights learn how fast, by which optimiser, and that the published rates can all be said."""

from __future__ import annotations

import json
import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from einthoven.errors import CheckpointError, RecipeError
from einthoven.layers.lora import add_lora
from einthoven.models import ENCODERS, PRESETS, SIZES, ECGTransformer
from einthoven.models.encoder import Encoder
from einthoven.tasks.diagnosis import Diagnosis
from einthoven.train.lars import attach_lars
from einthoven.train.optim import build_optimiser, load_optimiser, optimiser_state, parameter_groups, set_rate, stage_factors, stage_of_each
from einthoven.train.schedule import factor, momentum
from einthoven.train.settings import Optim, Schedule

F = 0.1


class Layered(Encoder):
    """An encoder of a few weights with the stages that a test wants."""

    def __init__(self, n=4, stages=None):
        super().__init__(("I",), 100, dim=2, samples_per_frame=1)
        self.parts = nn.ModuleList(nn.Linear(2, 2) for _ in range(n))
        self._stages = stages if stages is not None else [(f"parts.{number}.",) for number in range(n)]

    def stages(self):
        return self._stages


class Task(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(2, 1)


def rates(module, **options):
    return {name: group["peak"] for group in parameter_groups(module, Optim(lr=1.0, **options)) for name in group["names"]}


# ------------------------------------------------------------------------------------------------------------------ stages


@pytest.mark.parametrize("name", ENCODERS)
def test_every_parameter_of_every_encoder_stands_in_one_stage_and_no_stage_is_empty(name):
    preset = next(options for encoder, options in PRESETS.values() if encoder == name)
    with torch.device("meta"):
        encoder = ENCODERS[name](**preset)
    stage, n_stages = stage_of_each(encoder)
    assert stage.keys() == dict(encoder.named_parameters()).keys() and set(stage.values()) == set(range(n_stages))


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ([("parts.0.",), ("parts.1.",)], "expected parts.2.weight in exactly one stage; it stands in 0 of 2"),
        ([("parts.",), ("parts.2.",)], "parts.2.weight in exactly one stage; it stands in 2 of 2"),
        ([("blocks.0.",), ("parts.",)], "no name begins with blocks.0."),
    ],
)
def test_a_stage_that_forgets_a_weight_or_misses_its_weights_is_refused_by_name(stages, text):
    module = Task(Layered(3, stages))
    with pytest.raises(ValueError, match=text):
        rates(module, layer_decay=0.5)
    assert set(rates(module).values()) == {1.0}  # no rate asks for stages: nothing can be wrong about them


def test_layer_decay_and_a_head_of_its_own_rate():
    found = rates(Task(Layered(3)), layer_decay=0.5, head_lr=3.0)
    assert [found[f"encoder.parts.{number}.weight"] for number in range(3)] == [0.125, 0.25, 0.5]
    assert found["head.bias"] == 3.0


def test_the_transformers_layer_decay_is_by_its_layers_and_once_more_below_them():
    module = Diagnosis(ECGTransformer(**SIZES["tiny"]), ("a",))
    found = rates(module, layer_decay=0.1)
    assert found["encoder.encoder.layers.1.fc1.weight"] == 0.1 and found["encoder.encoder.layers.0.fc1.weight"] == pytest.approx(0.01)
    below = {value for name, value in found.items() if name.startswith("encoder.") and ".layers." not in name.replace("conv_layers", "")}
    assert below == {0.1**3} and found["proj.weight"] == 1.0


@pytest.mark.parametrize(
    ("factors", "counts", "n_stages", "expected"),
    [
        # xresnet1d after SimCLR, BYOL, SwAV: first convolution, rest of the stem, stages 1-2, stages 3-4
        ((1 / 256, 1 / 64, 1 / 16, 1 / 4), None, 4, [1 / 256, 1 / 64, 1 / 16, 1 / 4]),
        ((F * F, F), None, 2, [F * F, F]),  # CPC
        ((F * F, F), (4, 9), 13, [F * F] * 4 + [F] * 9),  # "reality check": front-end and blocks 0 to 2, then blocks 3 to 11
        ((F * F, F), None, 5, [F * F] * 2 + [F] * 3),
        ((1 / 256, 1 / 64, 1 / 16, 1 / 4), None, 7, [1 / 256] + [1 / 64] * 2 + [1 / 16] * 2 + [1 / 4] * 2),
        ((0.5,), None, 3, [0.5] * 3),
    ],
)
def test_published_discriminative_rates_can_be_said(factors, counts, n_stages, expected):
    assert stage_factors(Optim(discriminative=factors, discriminative_stages=counts), n_stages) == expected


def test_rates_that_do_not_fit_the_encoder_are_refused():
    with pytest.raises(RecipeError, match="has 5 factors; expected as many as the encoder has stages, 4, or fewer"):
        rates(Task(Layered()), discriminative=(0.1,) * 5)
    with pytest.raises(RecipeError, match="is 3 stages; expected the encoder's 4"):
        rates(Task(Layered()), discriminative=(0.1, 0.2), discriminative_stages=(1, 2))
    with pytest.raises(RecipeError, match="Linear has no encoder"):
        rates(nn.Linear(2, 2), layer_decay=0.5)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"layer_decay": 0.5, "discriminative": [0.1]}, "give one of them"),
        ({"discriminative_stages": [1, 2]}, "set discriminative too"),
        ({"discriminative": [0.1, 0.2], "discriminative_stages": [1]}, "for each of the 2 factors"),
        ({"discriminative": [0.1, 0.0]}, "factors above 0"),
        ({"momentum": 0.8}, "momentum is sgd's"),
        ({"lars_clip": False}, "lars_clip belongs to lars"),
    ],
)
def test_options_of_the_optimiser_that_contradict_each_other_are_refused(values, text):
    with pytest.raises(ValidationError, match=text):
        Optim(**values)


def test_what_does_not_learn_is_in_no_group():
    encoder = ECGTransformer(**SIZES["tiny"])
    encoder.freeze()
    assert set(rates(Diagnosis(encoder, ("a",)), layer_decay=0.5)) == {"proj.weight", "proj.bias"}
    encoder = ECGTransformer(**SIZES["tiny"])
    add_lora(encoder, targets=("q_proj",))
    found = rates(Diagnosis(encoder, ("a",)), layer_decay=0.5)
    assert found["encoder.encoder.layers.0.self_attn.q_proj.lora_a"] == 0.25 and len(found) == 2 * 2 + 2
    with pytest.raises(RecipeError, match="nothing learns"):
        rates(nn.Linear(2, 2).requires_grad_(False))


# -------------------------------------------------------------------------------------------------------------- optimisers

SETTINGS = {
    "adam": Optim(name="adam", lr=0.1, weight_decay=0.3, betas=(0.8, 0.9), eps=1e-3),
    "sgd": Optim(name="sgd", lr=0.1, weight_decay=0.3, momentum=0.7),
    "sgd with lars": Optim(name="sgd", lr=0.1, weight_decay=0.3, lars=0.05, lars_clip=False),
    "adamw with lars": Optim(name="adamw", lr=0.1, weight_decay=0.3, lars=0.02),
    "adam_legacy with lars": Optim(name="adam_legacy", lr=0.1, weight_decay=0.3, lars=0.02),
}


def module_of(seed=0):
    torch.manual_seed(seed)
    return Task(Layered(2))


def update(module, optimiser, seed):
    draw = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.grad = torch.randn(weight.shape, generator=draw)
    set_rate(optimiser, 1 / (seed + 1))
    optimiser.step()


def test_weight_decay_is_in_the_gradient_of_adam_and_of_sgd():
    """One update, written out."""
    for name in ("adam", "sgd"):
        optim, module = SETTINGS[name], module_of()
        before = module.head.weight.detach().clone()
        update(module, build_optimiser(module, optim), 0)
        draw = torch.Generator().manual_seed(0)
        gradient = [torch.randn(weight.shape, generator=draw) for weight in module.parameters()][-2] + 0.3 * before
        expected = before - 0.1 * (gradient if name == "sgd" else gradient / (gradient.abs() + 1e-3))
        torch.testing.assert_close(module.head.weight.detach(), expected)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_optimiser_goes_on_from_its_saved_state_bit_for_bit(name):
    module = module_of()
    optimiser = build_optimiser(module, SETTINGS[name])
    for seed in (0, 1):
        update(module, optimiser, seed)
    tensors, facts = optimiser_state(optimiser)
    tensors, weights = {key: value.clone() for key, value in tensors.items()}, {k: v.clone() for k, v in module.state_dict().items()}
    facts = json.loads(json.dumps(facts))
    for seed in (2, 3):
        update(module, optimiser, seed)
    again = module_of(seed=5)
    again.load_state_dict(weights)
    resumed = build_optimiser(again, SETTINGS[name])
    load_optimiser(resumed, tensors, facts)
    for seed in (2, 3):
        update(again, resumed, seed)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))
    other = build_optimiser(again, SETTINGS["sgd" if "adam" in name else "adam"])
    with pytest.raises(CheckpointError, match="resume with the run's own recipe"):
        load_optimiser(other, tensors, facts)


def test_lars_scales_each_gradient_to_its_weight_and_leaves_nothing_but_zeros_alone():
    weights = [nn.Parameter(torch.full((4,), 3.0)), nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(4))]
    optimiser = torch.optim.SGD([{"params": weights, "weight_decay": 0.0}], lr=1.0)
    attach_lars(optimiser, 0.1, clip=False)
    for weight, slope in zip(weights, (5.0, 5.0, 0.0), strict=True):
        weight.grad = torch.full((4,), slope)
    optimiser.step()
    # an update as long as a tenth of the weight; where there is no length to go by, plain SGD
    assert weights[0].tolist() == pytest.approx([2.7] * 4) and weights[1].tolist() == [-5.0] * 4 and weights[2].tolist() == [1.0] * 4


def test_clipped_lars_never_goes_further_than_the_optimiser_alone():
    for lr, expected in ((1.0, 2.7), (0.01, 2.95), (0.0, 3.0)):
        weight = nn.Parameter(torch.full((4,), 3.0))
        optimiser = torch.optim.SGD([{"params": [weight], "weight_decay": 0.0}], lr=lr)
        attach_lars(optimiser, 0.1, clip=True)
        weight.grad = torch.full((4,), 5.0)
        optimiser.step()
        assert weight.tolist() == pytest.approx([expected] * 4)


# --------------------------------------------------------------------------------------------------------------- schedules


def test_one_cycle_rises_falls_and_turns_the_momentum_the_other_way():
    schedule, total = Schedule(name="one_cycle"), 50
    rate = [factor(schedule, n, total) for n in range(total)]
    turning = [momentum(schedule, n, total) for n in range(total)]
    assert rate[0] == pytest.approx(1 / 25) and rate[15] == 1.0 == max(rate) and 0 < rate[-1] < 0.01
    assert turning[0] == 0.95 and turning[15] == 0.85 == min(turning) and 0.94 < turning[-1] < 0.95
    assert momentum(Schedule(name="one_cycle", momentum=None), 3, total) is None and momentum(Schedule(), 3, total) is None
    assert [factor(Schedule(name="one_cycle", peak_at=0.0), n, 2) for n in (0, 1)] == [1.0, pytest.approx(0.5, abs=1e-5)]


def test_a_momentum_reaches_the_optimiser():
    for name, key in (("adamw", "betas"), ("adam_legacy", "betas"), ("sgd", "momentum")):
        optimiser = build_optimiser(module_of(), Optim(name=name, betas=(0.9, 0.98)))
        set_rate(optimiser, 0.5, momentum=0.8)
        assert optimiser.param_groups[0][key] == ((0.8, 0.98) if key == "betas" else 0.8)
        set_rate(optimiser, 0.5)
        assert optimiser.param_groups[0][key] == ((0.8, 0.98) if key == "betas" else 0.8)


def test_warmup_cosine_begins_at_0_and_falls_from_the_peak():
    schedule = Schedule(name="warmup_cosine", warmup=4, final=0.1)
    rate = [factor(schedule, n, 20) for n in range(22)]
    assert rate[:5] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1]) and rate[12] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert rate[20] == rate[21] == 0.1
    assert factor(Schedule(name="warmup_cosine", warmup=1), 0, 20) == 0.0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": "one_cycle", "warmup": 5}, "leave warmup away"),
        ({"name": "one_cycle", "momentum": [0.9, 1.0]}, "momentum: expected"),
        ({"name": "cosine", "peak_at": 0.5}, "peak_at: the schedule cosine does not use it"),
        ({"name": "warmup_cosine", "momentum": None}, "momentum: the schedule warmup_cosine does not use it"),
    ],
)
def test_keys_of_another_schedule_are_refused(values, text):
    with pytest.raises(ValidationError, match=text):
        Schedule(**values)
