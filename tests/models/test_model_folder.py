"""A model on disk is whole or is not there, and what is wrong with one is said in one line."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from einthoven.errors import CheckpointError
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.folder import CONFIG, WEIGHTS, build, describe, load_model, load_weights, locate, open_model, save_model
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.tasks import Diagnosis

CLASSES = [{"name": "atrial fibrillation", "codes": ["164889003"], "system": "SNOMED CT"}, {"name": "sinus rhythm", "codes": ["426783006"]}]


def tiny(seed=0):
    torch.manual_seed(seed)
    encoder = ECGTransformer(**SIZES["tiny"])
    return Diagnosis(encoder, [one["name"] for one in CLASSES])


def written(folder, seed=0, **changes):
    task = tiny(seed)
    config = describe(
        task.encoder, LEGACY_ZSCORE, task=task, classes=CLASSES, **{"thresholds": [0.3, 0.6], "aggregation": "max", **changes}
    )
    save_model(folder, task.state_dict(), config)
    return task, config


def test_a_model_comes_back_with_the_same_bits_and_answers(tmp_path):
    task, config = written(tmp_path / "runs" / "model", provenance={"recipe": {"seed": 3}})
    module, read = open_model(tmp_path / "runs" / "model")
    assert {name: read[name] for name in config} == config and read["provenance"]["recipe"] == {"seed": 3}
    assert read["thresholds"] == [0.3, 0.6] and read["aggregation"] == ["max", "max"]
    for name, tensor in task.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])
    batch = {"ecg": torch.randn(2, 12, 640)}
    assert not module.training and torch.equal(module.predict(batch), task.eval().predict(batch))
    assert sorted(path.name for path in (tmp_path / "runs").rglob("*")) == ["config.json", "model", "model.safetensors"]


def test_an_encoder_alone_is_a_model_too(tmp_path):
    encoder = tiny().encoder
    save_model(tmp_path / "m", encoder.state_dict(), describe(encoder, LEGACY_ZSCORE))
    module, config = open_model(tmp_path / "m")
    assert config["kind"] == "encoder" and "classes" not in config and type(module) is ECGTransformer
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])


def test_a_flipped_bit_anywhere_in_the_weights_is_noticed(tmp_path):
    written(tmp_path / "m")
    path = tmp_path / "m" / WEIGHTS
    data = path.read_bytes()
    for position in (0, 9, len(data) // 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match=r"model\.safetensors: its SHA-256") as refusal:
            load_model(tmp_path / "m")
        assert "\n" not in str(refusal.value)
    path.write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"version": 2}, "version 2; this einthoven reads version 1"),
        ({"format": "other"}, "no configuration of an einthoven model"),
        ({"kind": "oracle"}, "kind 'oracle'"),
        ({"classes": []}, "lacks its classes"),
        ({"classes": [{"name": "a", "codes": []}] * 2}, "names a class twice"),
        ({"thresholds": [0.5]}, "a threshold from 0 to 1 for each of its 2"),
        ({"thresholds": [0.5, 1.5]}, "a threshold from 0 to 1"),
        ({"aggregation": ["mean", "median"]}, "mean or max"),
        ({"contract": {"fs": -5}}, "fs as a number above 0"),
        ({"contract": {"fs": 500, "colour": 1}}, "no colour"),
        ({"contract": {"fs": 400}}, "contradicts itself"),
        ({"encoder": {}}, "encoder's name"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path, change, message):
    written(tmp_path / "m")
    path = tmp_path / "m" / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_model(tmp_path / "m")
    assert "\n" not in str(refusal.value) and "config.json" in str(refusal.value)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_model(tmp_path / "nothing")
    written(tmp_path / "m")
    (tmp_path / "m" / CONFIG).write_text('{"format": ')
    with pytest.raises(CheckpointError, match=r"config\.json: is no JSON"):
        load_model(tmp_path / "m")
    written(tmp_path / "n")
    (tmp_path / "n" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="incomplete"):
        load_model(tmp_path / "n")


def rewrite(folder, change):
    """Other weights with a checksum that is right, so that only their names and shapes can be wrong."""
    import hashlib

    state = change(load_file(folder / WEIGHTS))
    save_file(state, folder / WEIGHTS)
    config = json.loads((folder / CONFIG).read_text())
    config["files"][WEIGHTS] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: {name: tensor for name, tensor in state.items() if name != "proj.bias"}, r"1 missing \(proj\.bias\)"),
        (lambda state: {**state, "proj.extra": torch.ones(2)}, r"1 unexpected \(proj\.extra\)"),
        (lambda state: {**state, "proj.bias": torch.ones(3)}, r"1 of another shape \(proj\.bias \(3,\) for \(2,\)\)"),
        (lambda state: {"proj.bias": state["proj.bias"]}, r"\d+ missing \(.*, …\)"),
    ],
)
def test_one_missing_extra_or_misshapen_tensor_is_named(tmp_path, change, message):
    written(tmp_path / "m")
    rewrite(tmp_path / "m", change)
    with pytest.raises(CheckpointError, match=message) as refusal:
        open_model(tmp_path / "m")
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


def test_sizes_that_are_wrong_are_an_error_of_the_configuration(tmp_path):
    written(tmp_path / "m")
    path = tmp_path / "m" / CONFIG
    config = json.loads(path.read_text())
    for change in ({"colour": 3}, {"heads": 7}):
        path.write_text(json.dumps({**config, "encoder": {**config["encoder"], **change}}))
        with pytest.raises(CheckpointError, match="configuration of ecg_transformer is wrong"):
            open_model(tmp_path / "m")
    with pytest.raises(CheckpointError, match="knows no 'cnn'"):
        build({**config, "encoder": {"name": "cnn"}})


def test_an_older_model_is_replaced_and_anything_else_is_left_alone(tmp_path):
    written(tmp_path / "m", seed=0)
    task, _ = written(tmp_path / "m", seed=1)
    assert torch.equal(load_model(tmp_path / "m")[0]["proj.weight"], task.proj.weight)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ecg.dat").write_text("precious")
    with pytest.raises(CheckpointError, match="no model folder"):
        written(tmp_path / "data")
    assert (tmp_path / "data" / "ecg.dat").read_text() == "precious"


@pytest.mark.parametrize("broken", ["os.fsync", "os.rename"])
def test_a_write_that_fails_leaves_nothing_that_looks_whole(tmp_path, monkeypatch, broken):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, broken.removeprefix("os."), fail)
    with pytest.raises(OSError, match="disk full"):
        written(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_id_without_the_hub_package_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="pip install huggingface_hub"):
        locate("someone/ecg-model")
    os.makedirs("someone/ecg-model")
    assert str(locate("someone/ecg-model")) == "someone/ecg-model"


def test_a_state_that_fits_is_loaded_and_given_back(tmp_path):
    task, other = tiny(0), tiny(1)
    assert load_weights(other, task.state_dict(), "here") is other
    assert torch.equal(other.proj.weight, task.proj.weight)
