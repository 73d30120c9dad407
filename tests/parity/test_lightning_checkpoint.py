"""Genuine checkpoints of ecg-selfsupervised's pretraining: what they hold is found, and gives the old values."""

import json

import pytest
import torch
from parity_cases import ROOT, ssl_cases

from einthoven.convert.ecg_selfsupervised import from_ecg_selfsupervised
from einthoven.convert.ecg_selfsupervised_names import legacy_state
from einthoven.convert.ecg_selfsupervised_objectives import METHODS
from einthoven.convert.unpickle import read_legacy
from einthoven.models import ENCODERS
from einthoven.models.folder import build, load_weights
from einthoven.objectives import OBJECTIVES


def encoder_of(converted):
    options = dict(converted.config["encoder"])
    encoder = ENCODERS[options.pop("name")](**options)
    encoder.load_state_dict(converted.state)
    return encoder.eval()


def objective_of(converted):
    """The objective with the file's weights, to go on pretraining."""
    objective = OBJECTIVES[converted.objective["name"]](encoder_of(converted), **converted.objective["options"])
    objective.load_state_dict(converted.objective["state"])
    return objective.eval()


@pytest.mark.parametrize("case", ssl_cases("lightning_checkpoint"))
@torch.no_grad()
def test_a_checkpoint_of_pretraining_gives_the_old_values(case):
    converted = from_ecg_selfsupervised(case.folder / "model.ckpt")
    method, close = case.config["method"], {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    expected = {name: torch.from_numpy(value) for name, value in case.arrays.items()}
    x = expected.pop("x")
    assert converted.config["provenance"]["model"] == method
    if converted.kind == "diagnosis":
        task = load_weights(build(converted.config), converted.state, "converted").eval()
        torch.testing.assert_close(task.logits({"ecg": x}), expected.pop("logits"), **close)
    else:
        objective = objective_of(converted)
        h = encoder_of(converted).embed(x)
        found = {"features": h}
        if method == "simclr":
            found["projection"] = objective.embed(x)
        elif method == "byol":
            found["online_projection"] = objective.projector(h)
            found["online_prediction"] = objective.predict(x)
            found["target_features"] = objective.target_encoder.embed(x)
            found["target_projection"] = objective.target(x)
        elif method == "cpc":
            frames = objective.encoder.frames(x)
            found = {"encoded": frames.tokens, "proj": objective.proj(objective.encoder.context(frames.tokens))}
        for name in expected.keys() & found.keys():
            torch.testing.assert_close(found[name], expected.pop(name), **close)
    assert not expected, f"nothing of ours was compared with {', '.join(expected)}"


@pytest.mark.parametrize("case", ssl_cases("lightning_checkpoint"))
def test_the_names_in_a_checkpoint_are_those_that_the_file_states_and_its_classes_stay_names(case):
    content = read_legacy(case.folder / "model.ckpt", placeholders=True)
    assert [[key, list(value.shape)] for key, value in content["state_dict"].items()] == case.config["state_dict_keys"]
    assert [f"{key.module} {key.name}" for key in content["callbacks"]] == ["pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint"]
    assert content["epoch"] == case.config["epoch"] and content["global_step"] == case.config["global_step"]


def modules():
    path = ROOT / "ecg_selfsupervised" / "manifest" / "lightning_modules.json"
    if not path.exists():
        return [
            pytest.param("", [], id="none", marks=[pytest.mark.parity, pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY")])
        ]
    return [pytest.param(name, keys, id=name, marks=pytest.mark.parity) for name, keys in json.loads(path.read_text()).items()]


@pytest.mark.parametrize("name, keys", modules())
def test_a_training_module_of_full_size_becomes_encoder_and_objective(name, keys, tmp_path):
    """By the old names and shapes alone: the weights are drawn here, each parameter once, as in the old modules."""
    method = name.removeprefix("Custom").lower()
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    state = {}
    for key, shape in keys:
        once = key.replace(".convpath.0.", ".convs.").replace("model.model.features.", "model.features.")
        if once not in drawn:
            drawn[once] = torch.rand(shape, generator=generator) if shape or "queue" in key else torch.tensor(3)
        state[key] = drawn[once]
    if "queue_ptr" in state:
        state["queue_ptr"] = torch.tensor([7])
    torch.save({"state_dict": state, "hyper_parameters": {}}, tmp_path / "model.ckpt")
    converted = from_ecg_selfsupervised(tmp_path / "model.ckpt")
    assert converted.objective["name"] == method
    objective = objective_of(converted)
    again = legacy_state(objective.encoder)
    for key, value in state.items():
        if key.startswith(METHODS[method]):
            assert torch.equal(again[key.removeprefix(METHODS[method])], value), key
    if method == "moco":
        assert torch.equal(objective.keys, state["queue"].T) and int(objective.place) == 7
        theirs = legacy_state(objective.key_encoder)
        assert all(torch.equal(value, state[f"encoder_k.features.{key}"]) for key, value in theirs.items())
    if method == "swav":
        x = torch.randn(4, 512, generator=generator)
        old = torch.nn.functional.linear(x, state["model.projection_head.0.weight"], state["model.projection_head.0.bias"])
        norm = [state[f"model.projection_head.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        old = torch.nn.functional.batch_norm(old, *norm).relu()
        old = torch.nn.functional.linear(old, state["model.projection_head.3.weight"], state["model.projection_head.3.bias"])
        torch.testing.assert_close(objective.projection(x), old, rtol=1e-4, atol=1e-4)
