"""The parts of the loop one by one: settings, schedule, optimiser, order of the data, batches, checkpoints on disk, log."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from toy_run import ToyView, toy_module

from einthoven.errors import CheckpointError, RecipeError
from einthoven.models.folder import load_weights
from einthoven.train.batch import to_batch
from einthoven.train.checkpoint import folder_name, latest, prune, read_tensors, save_checkpoint, steps_saved
from einthoven.train.data import Order, in_order, permutation
from einthoven.train.optim import build_optimiser, load_optimiser, optimiser_state, parameter_groups, set_rate
from einthoven.train.run import cut_metrics
from einthoven.train.schedule import factor
from einthoven.train.sentinel import collapsed_codes, spread
from einthoven.train.settings import Optim, Schedule, Settings

# ---------------------------------------------------------------------------------------------------------------- settings


def test_settings_need_no_torch():
    subprocess.run([sys.executable, "-c", "import sys, einthoven.train.settings; assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "exactly one of steps and epochs"),
        ({"steps": 3, "epochs": 1}, "exactly one of steps and epochs"),
        ({"steps": 3, "stepz": 1}, "Extra inputs are not permitted"),
        ({"steps": 3, "batch": 2, "accumulate": 4}, "a micro-batch would be empty"),
        ({"steps": 3, "schedule": {"name": "tri_stage"}}, "tri_stage needs phases"),
        ({"steps": 3, "schedule": {"name": "tri_stage", "phases": [0.1, 0.4, 0.4]}}, "sum to 1"),
        ({"steps": 3, "schedule": {"name": "cosine", "phases": [0.1, 0.4, 0.5]}}, "phases belong to tri_stage"),
        ({"steps": 3, "schedule": {"name": "cosine", "hold": 5, "period": 9}}, "hold, period: the schedule cosine does not use them"),
        ({"steps": 3, "schedule": {"final": 0.1}}, "final: the schedule constant does not use it"),
        ({"steps": 3, "optim": {"betas": [0.9, 1.0]}}, "betas"),
        ({"steps": 3, "sharded": True, "ema": 0.9}, "exclude each other"),
    ],
)
def test_contradictions_and_unknown_keys_are_refused(values, text):
    with pytest.raises(ValidationError, match=text):
        Settings(**values)


def test_every_setting_says_what_it_is():
    for model in (Settings, Optim, Schedule):
        assert all(field.description for field in model.model_fields.values())


# ---------------------------------------------------------------------------------------------------------------- schedule


def test_cosine_rises_falls_and_ends_at_its_lowest():
    schedule = Schedule(name="cosine", warmup=10, final=0.1)
    rates = [factor(schedule, n, 110) for n in range(110)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert rates[10] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert rates[10 + 33] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2)
    assert (np.diff(rates[10:]) < 0).all()


def test_constant_is_constant_after_its_warm_up():
    assert [factor(Schedule(warmup=2, warmup_from=0.5), n, 9) for n in range(4)] == [0.5, 0.75, 1.0, 1.0]


# --------------------------------------------------------------------------------------------------------------- optimiser


def test_layers_learn_slower_the_further_they_are_from_the_head():
    groups = parameter_groups(toy_module(), Optim(lr=1.0, layer_decay=0.5, head_lr=3.0))
    rates = {name: group["peak"] for group in groups for name in group["names"]}
    assert rates["head.weight"] == 3.0
    assert (rates["encoder.layers.1.weight"], rates["encoder.layers.0.bias"], rates["encoder.front.weight"]) == (0.5, 0.25, 0.125)
    assert sorted(rates) == sorted(name for name, _ in toy_module().named_parameters())


def test_a_front_end_s_own_conv_layers_are_not_taken_for_transformer_layers():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Module()
            self.encoder.conv_layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(5))
            self.encoder.encoder = nn.Module()
            self.encoder.encoder.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))

    rates = {name: group["peak"] for group in parameter_groups(Named(), Optim(lr=1.0, layer_decay=0.5)) for name in group["names"]}
    assert rates["encoder.encoder.layers.1.weight"] == 0.5
    assert {rates[f"encoder.conv_layers.{i}.weight"] for i in range(5)} == {0.125}


def test_weight_decay_leaves_biases_alone_only_when_asked():
    for decay_all, expected in ((True, {0.1}), (False, {0.0})):
        groups = parameter_groups(toy_module(), Optim(weight_decay=0.1, decay_all=decay_all))
        assert {group["weight_decay"] for group in groups for name in group["names"] if name.endswith("bias")} == expected
        assert {group["weight_decay"] for group in groups for name in group["names"] if name.endswith("weight")} == {0.1}


@pytest.mark.parametrize("name", ["adamw", "adam_legacy"])
def test_an_optimiser_goes_on_from_its_saved_state_bit_for_bit(name, tmp_path):
    """Saved as safetensors and JSON, loaded into a new one; weights without a gradient so far have no state."""
    settings = Optim(name=name, lr=0.1, layer_decay=0.9)
    module = toy_module()
    optimiser = build_optimiser(module, settings)

    def update(module, optimiser, seed):
        draw = torch.Generator().manual_seed(seed)
        for parameter_name, weight in module.named_parameters():
            weight.grad = None if parameter_name.startswith("encoder.front") and seed < 2 else torch.randn(weight.shape, generator=draw)
        set_rate(optimiser, 1 / (seed + 1))
        optimiser.step()

    update(module, optimiser, 0)
    update(module, optimiser, 1)
    tensors, facts = optimiser_state(optimiser)
    save_checkpoint(tmp_path, 2, {"weights": module.state_dict(), "optimiser": tensors}, {"optimiser": facts})
    again = toy_module(seed=9)
    load_weights(again, read_tensors(tmp_path / folder_name(2), "weights"), "it")
    other = build_optimiser(again, settings)
    load_optimiser(
        other,
        read_tensors(tmp_path / folder_name(2), "optimiser"),
        json.loads((tmp_path / folder_name(2) / "state.json").read_text())["optimiser"],
    )
    for seed in (2, 3):
        update(module, optimiser, seed)
        update(again, other, seed)
    for key, weight in module.named_parameters():
        assert torch.equal(again.get_parameter(key), weight), key
    with pytest.raises(CheckpointError, match="parameter groups are not those of the run"):
        load_optimiser(build_optimiser(again, Optim(name=name, layer_decay=None)), tensors, facts)


# ------------------------------------------------------------------------------------------------------- order of the data


def test_an_epoch_has_every_item_at_most_once_and_all_but_less_than_a_batch():
    order = Order(seed=5, n_items=43, batch=8)
    assert order.per_epoch == 5
    for epoch in range(3):
        items = np.concatenate([order.items(step) for step in range(5 * epoch, 5 * epoch + 5)])
        assert len(set(items.tolist())) == 40 and set(items.tolist()) <= set(range(43))
    assert not np.array_equal(order.items(0), order.items(5))
    assert not np.array_equal(permutation(5, 0, 43), permutation(6, 0, 43))


@pytest.mark.parametrize(("accumulate", "world"), [(1, 1), (3, 1), (1, 4), (3, 2), (5, 2)])
def test_micro_batches_and_processes_divide_a_batch_in_order(accumulate, world):
    order = Order(seed=1, n_items=100, batch=17, accumulate=accumulate, world=world)
    shares = [order.own(7, micro, rank) for micro in range(accumulate) for rank in range(world)]
    assert [item for share in shares for item in share] == order.items(7).tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 2 and min(map(len, shares)) >= 1
    for micro in range(accumulate):
        bounds = [order.bounds(micro, rank) for rank in range(world)]
        assert [first for first, _, _ in bounds] == [0, *(end for _, end, _ in bounds[:-1])]
        assert all(bounds[-1][1] == n for _, _, n in bounds)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(RecipeError, match="some would be empty"):
        Order(seed=1, n_items=100, batch=5, accumulate=3, world=2)


# ----------------------------------------------------------------------------------------------------------------- batches


def test_counts_become_millivolts_and_what_is_missing_becomes_zero():
    """Against the same written in float64 numpy, element by element."""
    draw = np.random.default_rng(1)
    counts = draw.integers(-32768, 32767, (2, 3, 5)).astype(np.int16)
    gain, offset = draw.normal(size=(2, 2, 3)).astype(np.float32) * 1e-3
    present = np.array([[True, True, True], [True, False, True]])
    gain[1, 1] = np.nan
    raw = {
        "counts": counts,
        "gain": gain,
        "offset": offset,
        "n_valid": np.array([5, 3]),
        "lead_present": present,
        "record": np.array([7, 9]),
    }
    batch = to_batch(raw)
    for row in range(2):
        for lead in range(3):
            for time in range(5):
                real = present[row, lead] and time < raw["n_valid"][row]
                expected = float(counts[row, lead, time]) * float(gain[row, lead]) + float(offset[row, lead]) if real else 0.0
                assert batch["ecg"][row, lead, time].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert batch["ecg"].dtype == torch.float32
    assert batch["valid"].tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert batch["padded"] is True and batch["record"].tolist() == [7, 9] and "counts" not in batch
    assert to_batch(ToyView().__getitems__([1, 2]))["padded"] is False


def test_in_order_gives_every_item_once():
    records = torch.cat([batch["record"] for batch in in_order(ToyView(), 7)])
    assert records.tolist() == [item for item in range(40) for _ in range(2)]


# ------------------------------------------------------------------------------------------------------------- checkpoints


def save(folder, step, **weights):
    return save_checkpoint(folder, step, {"weights": {name: torch.tensor(value) for name, value in weights.items()}}, {"step": step})


def test_only_the_newest_and_the_best_are_kept(tmp_path):
    for step in range(1, 7):
        save(tmp_path, step, a=[1.0])
        prune(tmp_path, keep=2, best=2, saved=step)
    assert list(steps_saved(tmp_path)) == [2, 5, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder_name(step) for step in (2, 5, 6)]


def test_a_damaged_later_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    for step in (4, 8):
        save(tmp_path, step, a=[1.0])
    save(tmp_path, 6, a=[1.0])  # after step 8 was found damaged and passed over for step 4
    prune(tmp_path, keep=1, best=None, saved=6)
    assert list(steps_saved(tmp_path)) == [6]


def test_a_half_written_checkpoint_is_not_one(tmp_path):
    whole = save(tmp_path, 1, a=[1.0])
    half = save(tmp_path, 2, a=[2.0])
    half.rename(tmp_path / ".unfinished-step-00000002")
    assert latest(tmp_path, pytest.fail) == whole
    assert latest(tmp_path / "nothing", pytest.fail) is None


def test_a_checkpoint_under_another_name_is_refused(tmp_path):
    save(tmp_path, 1, a=[1.0]).rename(tmp_path / folder_name(3))
    with pytest.raises(CheckpointError, match="says in its manifest that it is step-00000001"):
        latest(tmp_path, lambda text: None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda state: state.pop("head.bias"), r"1 missing \(head.bias\)"),
        (lambda state: state.update(surplus=torch.zeros(1)), r"1 unexpected \(surplus\)"),
        (lambda state: state.update({"head.bias": torch.zeros(2)}), r"1 of another shape \(head.bias \(2,\) for \(1,\)\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line_and_change_nothing(change, text):
    module, state = toy_module(), dict(toy_module(seed=4).state_dict())
    before = module.encoder.front.weight.clone()
    change(state)
    with pytest.raises(CheckpointError, match=text) as refused:
        load_weights(module, state, "step-00000001")
    assert "\n" not in str(refused.value)
    assert torch.equal(module.encoder.front.weight, before)


def test_tied_and_sliced_weights_are_saved_as_what_they_are(tmp_path):
    big = torch.arange(6.0).reshape(2, 3)
    folder = save_checkpoint(tmp_path, 1, {"weights": {"one": big, "same": big, "row": big[1], "turned": big.T}}, {})
    read = read_tensors(folder, "weights")
    assert torch.equal(read["same"], big) and torch.equal(read["row"], big[1]) and torch.equal(read["turned"], big.T)
    assert (folder / "weights.safetensors").stat().st_size < 1000


def test_lines_after_the_checkpoint_and_half_lines_are_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
    cut_metrics(path, 4)
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'
    cut_metrics(tmp_path / "none.jsonl", 4)


# --------------------------------------------------------------------------------------------------------------- sentinels


def test_a_collapsed_codebook_is_known_by_its_perplexity():
    from einthoven.layers.gumbel_quantiser import GumbelQuantiser

    module = nn.Sequential(GumbelQuantiser(8, 4, 16, 2))
    assert "collapsed: code_perplexity is 2.05 over 2 codebooks" in (collapsed_codes({"code_perplexity": 2.05}, module) or "")
    assert collapsed_codes({"code_perplexity": 2.5}, module) is None
    assert collapsed_codes({"loss": 0.0}, module) is None


def test_the_spread_of_embeddings_is_their_standard_deviation_over_their_length():
    class Given(nn.Module):
        def forward(self, ecg, valid=None):
            assert not self.training
            return ecg

    encoder = Given().train()
    ecg = torch.randn(20, 6, 4)
    pooled = ecg.numpy().astype(np.float64).mean(axis=1)
    expected = math.sqrt(pooled.var(axis=0).mean() / (pooled**2).mean())
    assert spread(encoder, {"ecg": ecg, "valid": torch.ones(20, 4)}) == pytest.approx(expected, rel=1e-5)
    assert encoder.training
    assert math.isnan(spread(encoder, {"ecg": ecg[:1], "valid": torch.ones(1, 4)}))
