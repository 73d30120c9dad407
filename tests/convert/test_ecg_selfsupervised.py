"""Checkpoints in the layout of ecg-selfsupervised and the PTB-XL benchmark, made here: each network comes over whole, or is refused with the reason."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from einthoven.convert.ecg_selfsupervised import LEADS, MEAN, STD, convert_checkpoint, from_ecg_selfsupervised, is_ecg_selfsupervised
from einthoven.convert.ecg_selfsupervised_heads import diagnosis_head
from einthoven.convert.ecg_selfsupervised_names import legacy_state
from einthoven.convert.unpickle import read_legacy
from einthoven.errors import CheckpointError
from einthoven.io.pickle_reader import Inert, Placeholder
from einthoven.layers.head import ClassifierHead
from einthoven.leads import TWELVE
from einthoven.models import ENCODERS
from einthoven.models.cpc import CPCEncoder
from einthoven.models.folder import build, open_model, save_model
from einthoven.models.rnn1d import RNN1d
from einthoven.models.xresnet1d import XResNet1d
from einthoven.record import Record
from einthoven.signal.contract import SignalContract

NETWORKS = {
    "xresnet": ("xresnet1d", {"layers": (1, 2, 1), "expansion": 4, "widen": 0.125, "stem": (6, 6, 64)}, None),
    "xresnet18": ("xresnet1d", {"layers": (1, 1), "expansion": 1, "widen": 0.25, "kernel": 7, "stem_kernel": 9}, None),
    "resnet": ("resnet1d", {"layers": (2, 1), "width": 6, "stem_kernel": 5, "stem_halves": True}, None),
    "bottleneck": ("resnet1d", {"layers": (1, 2), "expansion": 4, "width": 6, "kernels": (9, 3)}, None),
    "wide": ("wide_resnet1d", {"layers": (2, 1, 3), "width": 5}, None),
    "inception": ("inception1d", {"filters": 3, "bottleneck": 4, "kernel": 40, "depth": 3}, None),
    "inception_plain": ("inception1d", {"filters": 3, "bottleneck": 0, "kernel": 41, "residual": False}, None),
    "fcn_wang": ("basic_conv1d", {"filters": (6, 8, 4), "kernels": (8, 5, 3), "stride": 1}, None),
    "sen": ("basic_conv1d", {"filters": (32, 32), "squeeze_excite": 16}, None),
    "schirrmeister": (
        "basic_conv1d",
        {"filters": (5, 6, 8), "kernels": (10,), "stride": 3, "pool": (3, 1), "split_first": True, "dropout": 0.5},
        "schirrmeister",
    ),
    "without_norm": ("basic_conv1d", {"filters": (5, 6), "norm": False, "activation": "prelu"}, "basic1d"),
    "lstm": ("rnn1d", {"hidden": 6}, None),
    "gru_bidir": ("rnn1d", {"cell": "gru", "hidden": 5, "bidirectional": True, "depth": 3}, None),
}


def network(name, n_out=71, hidden=(8,), **head):
    """A network of the benchmark whose running statistics are not those of the beginning, and its head."""
    torch.manual_seed(0)
    kind, options, _ = NETWORKS[name]
    encoder = ENCODERS[kind](fs=100.0, **options).eval()
    top = ClassifierHead(encoder.width, n_out, hidden=hidden, **head).eval()
    for part in (encoder, top):
        for value in part.state_dict().values():
            if value.is_floating_point() and value.ndim == 1:
                value.copy_(torch.rand_like(value) + 0.5)
    return encoder, top


def written(path, encoder, head=None):
    torch.save({"model": {key: value.detach().clone() for key, value in legacy_state(encoder, head).items()}, "opt": None}, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_network_of_the_benchmark_becomes_a_model_folder_that_answers_the_same(name, tmp_path):
    encoder, head = network(name)
    converted = from_ecg_selfsupervised(written(tmp_path / "a.pth", encoder, head), builder=NETWORKS[name][2])
    save_model(tmp_path / "model", converted.state, converted.config)
    task, config = open_model(tmp_path / "model")
    ecg = torch.randn(3, 12, 250)
    torch.testing.assert_close(task.logits({"ecg": ecg}), head(encoder.embed(ecg)), rtol=1e-6, atol=1e-6)
    stated = {key: value for key, value in config["encoder"].items() if key not in ("name", "zero_last", "kernels", "kernel", "dropout")}
    own = encoder.config()
    assert stated == {key: own[key] for key in stated}
    assert config["contract"]["leads"] == list(TWELVE) and config["contract"]["fs"] == 100.0
    assert config["contract"]["mean"] == [-0.00077717] * 12 and config["aggregation"] == ["max"] * 71
    assert [one["codes"] for one in config["classes"]][:3] == [["1AVB"], ["2AVB"], ["3AVB"]]
    assert config["provenance"]["notes"] == converted.notes and any("not calibrated" in note for note in converted.notes)


def test_strides_that_no_tensor_shows_are_those_of_the_builder_and_it_is_said(tmp_path):
    encoder, head = network("fcn_wang")
    path = written(tmp_path / "a.pth", encoder, head)
    assert any("fcn_wang" in note for note in from_ecg_selfsupervised(path).notes)
    assert from_ecg_selfsupervised(path, builder="basic1d").config["encoder"]["stride"] == 2
    with pytest.raises(CheckpointError, match="not a lstm; expected one of fcn"):
        from_ecg_selfsupervised(path, builder="lstm")


CPC = {
    "fc": {"features": (6, 6), "kernels": (1, 1), "strides": (1, 1), "dim": 5, "depth": 1},
    "conv": {"features": (6, 8, 6), "kernels": (10, 4, 4), "strides": (2, 2, 2), "cell": "gru", "dim": 6, "depth": 2, "batch_norm": False},
    "skipped": {"features": (), "kernels": (), "strides": (), "dim": 5, "depth": 2, "pooling": "last"},
}


@pytest.mark.parametrize("name", CPC)
@torch.no_grad()
def test_a_cpc_classifier_comes_over_with_its_pooling_and_hyper_parameters(name, tmp_path):
    torch.manual_seed(0)
    encoder = CPCEncoder(fs=100.0, **CPC[name]).eval()
    head = ClassifierHead(encoder.width, 4, hidden=(7,), dropout=0.25).eval()
    old = {key: value.clone() for key, value in encoder.state_dict().items()}
    for number, layer in ((1, "norms.0"), (3, "linears.0"), (5, "norms.1"), (7, "linears.1")):
        old |= {
            f"head.{number}.{key.removeprefix(layer + '.')}": value for key, value in head.state_dict().items() if key.startswith(layer)
        }
    hyper = {"normalize": False, "input_size": 1000, "dropout_head": 0.25}
    torch.save({"state_dict": {f"model_cpc.{key}": value for key, value in old.items()}, "hyper_parameters": hyper}, tmp_path / "a.ckpt")
    converted = from_ecg_selfsupervised(tmp_path / "a.ckpt")
    task = build(converted.config).eval()
    task.load_state_dict(converted.state)
    ecg = torch.randn(2, 12, 100)
    torch.testing.assert_close(task.logits({"ecg": ecg}), head(encoder.embed(ecg)), rtol=1e-5, atol=1e-6)
    contract = converted.config["contract"]
    assert (contract["scaling"], contract["seconds"], contract["stride"]) == ("none", 10.0, 5.0)
    assert converted.config["task"]["dropout"] == 0.25 and converted.config["aggregation"] == ["mean"] * 4
    assert any("strides" in note for note in converted.notes) == (name == "conv")


def test_checkpoints_of_the_two_systems_are_told_apart(tmp_path):
    contents = {
        "lightning": {"state_dict": {}, "epoch": 1},
        "benchmark": {"model": {}, "opt": None},
        "alone": {"l1.weight": torch.zeros(1)},
    }
    contents |= {"fairseq": {"args": None, "cfg": {}, "model": {}}, "nothing": {}, "list": [1]}
    found = set()
    for name, content in contents.items():
        torch.save(content, tmp_path / name)
        if is_ecg_selfsupervised(tmp_path / name):
            found.add(name)
    assert found == {"lightning", "benchmark", "alone"}


def test_a_checkpoint_is_written_as_a_model_folder(tmp_path):
    encoder, head = network("xresnet18", n_out=5)
    notes = convert_checkpoint(written(tmp_path / "a.pth", encoder, head), tmp_path / "model")
    _, config = open_model(tmp_path / "model")
    assert config["provenance"]["notes"] == notes and [one["abbreviation"] for one in config["classes"]] == [
        "CD",
        "HYP",
        "MI",
        "NORM",
        "STTC",
    ]


def ssl_state(prefix="encoder.features.", **extra):
    torch.manual_seed(0)
    encoder = XResNet1d(fs=100.0, layers=(1, 1), widen=0.125, stem=(6, 64), stem_bias=True)
    state = {f"{prefix}{key}": value.detach().clone() for key, value in legacy_state(encoder).items()}
    return encoder, {**state, **extra}


def test_either_copy_of_a_block_will_do_and_they_must_agree(tmp_path):
    encoder, state = ssl_state()
    copies = [key for key in state if ".convpath.0." in key]
    assert len(copies) == 2 * 3 * 6
    state |= {"projection.model.1.weight": torch.zeros(5, 64), "projection.model.1.bias": torch.zeros(5)}
    state |= {"projection.model.3.weight": torch.zeros(4, 5), "projection.model.3.bias": torch.zeros(4)}
    for left_out in ([], copies, [key.replace(".convpath.0.", ".convs.") for key in copies]):
        torch.save({"state_dict": {key: value for key, value in state.items() if key not in left_out}}, tmp_path / "a.ckpt")
        converted = from_ecg_selfsupervised(tmp_path / "a.ckpt")
        assert all(torch.equal(value, converted.state[key]) for key, value in encoder.state_dict().items())
        assert converted.objective["options"]["projection"] == [5, 4]
    state[copies[0]] = state[copies[0]] + 1
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="twice, with different values"):
        from_ecg_selfsupervised(tmp_path / "a.ckpt")


def test_the_two_places_of_swavs_encoder_must_agree(tmp_path):
    _, state = ssl_state("model.features.")
    state |= {key.replace("model.features.", "model.model.features."): value.clone() for key, value in state.items()}
    state["model.model.features.0.0.bias"] += 1
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.model\.features\.0\.0\.bias twice"):
        from_ecg_selfsupervised(tmp_path / "a.ckpt")


def changed(**changes):
    """A fine-tuned state, with tensors put in (a tensor) or taken out (None)."""
    _, state = ssl_state("features.")
    state |= {"l1.weight": torch.zeros(3, 64), "l1.bias": torch.zeros(3)}
    state |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    "state, message",
    [
        (changed(**{"features.1.1.running_var": None}), "1 missing .*1.1.running_var"),
        (changed(**{"features.0.0.strange": torch.zeros(3)}), "1 unknown .*strange"),
        (changed(**{"features.1.0.weight": torch.zeros(64, 6, 7)}), "another shape .*1.0.weight"),
        (changed(**{"l1.weight": torch.zeros(3, 63)}), "head for vectors of 63 behind an encoder that gives 64"),
        (changed(**{"l1.bias": None}), "not of weight and bias"),
        ({"something.weight": torch.zeros(2)}, "has no tensors of a network"),
        ({"state_dict": {}}, "expected a state_dict of tensors"),
        ({"encoder.0.0.weight": torch.zeros(2), "rnn.weight_ih_l0": torch.zeros(8, 2)}, "is no CPC model"),
        ([1, 2], "got a list"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_in_one_line(state, message, tmp_path):
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        from_ecg_selfsupervised(tmp_path / "a.pt")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path / "a.pt"))


@torch.no_grad()
def test_the_evaluation_scripts_head_with_a_hidden_layer_comes_over(tmp_path):
    encoder, state = ssl_state("features.")
    state |= {"l1.weight": torch.randn(64, 64), "l1.bias": torch.randn(64), "l2.weight": torch.randn(3, 64), "l2.bias": torch.randn(3)}
    torch.save(state, tmp_path / "a.pt")
    converted = from_ecg_selfsupervised(tmp_path / "a.pt", labels=["NORM", "SR", "AFIB"])
    task = build(converted.config).eval()
    task.load_state_dict(converted.state)
    ecg = torch.randn(2, 12, 250)
    h = encoder.eval().embed(ecg)
    expected = (h @ state["l1.weight"].T + state["l1.bias"]).relu() @ state["l2.weight"].T + state["l2.bias"]
    torch.testing.assert_close(task.logits({"ecg": ecg}), expected, rtol=1e-5, atol=1e-5)
    assert [one["codes"] for one in converted.config["classes"]] == [["NORM"], ["SR"], ["AFIB"]]
    assert any("will normalise" in note for note in converted.notes)


@pytest.mark.parametrize(
    "hidden, options", [((), {}), ((), {"final_norm": True}), ((8,), {"final_norm": True}), ((8, 6), {"batch_norm": False})]
)
@torch.no_grad()
def test_a_head_of_another_build_gives_the_same_answers_as_a_head_of_ours(hidden, options):
    encoder, head = network("xresnet18", n_out=4, hidden=hidden, **options)
    tensors, settings, notes = diagnosis_head({"width": encoder.width, "n_out": 4, **head.config()}, head.state_dict())
    ours = ClassifierHead(encoder.width, 4, hidden=settings["hidden"]).eval() if hidden else torch.nn.Linear(encoder.width, 4)
    ours.load_state_dict(tensors)
    x = torch.randn(5, encoder.width)
    torch.testing.assert_close(ours(x), head(x), rtol=1e-5, atol=1e-5)
    assert notes


def test_labels_may_stand_in_a_file_and_must_be_as_many_as_the_outputs(tmp_path):
    path = written(tmp_path / "a.pth", *network("lstm", n_out=3))
    (tmp_path / "labels.txt").write_text("first finding\nNORM\n\nthird\n")
    converted = from_ecg_selfsupervised(path, labels=tmp_path / "labels.txt")
    assert [one["name"] for one in converted.config["classes"]] == ["first finding", "NORM", "third"]
    assert [one["name"] for one in from_ecg_selfsupervised(path).config["classes"]] == ["class_00", "class_01", "class_02"]
    with pytest.raises(CheckpointError, match="3 outputs; expected as many"):
        from_ecg_selfsupervised(path, labels=["a", "b"])
    with pytest.raises(CheckpointError, match="cannot be read as a text file"):
        from_ecg_selfsupervised(path, labels=tmp_path / "none.txt")


def test_the_contract_puts_leads_into_the_old_order_and_scales_as_asked(tmp_path):
    torch.save(changed(), tmp_path / "a.pt")
    record = Record(np.arange(12, dtype=np.float32)[:, None] + np.zeros((12, 300), dtype=np.float32), 100.0, TWELVE)
    for scaling, mean, std in ((None, 0.0, 1.0), ("ptbxl", MEAN, STD), ("benchmark", -0.00077717, 0.23895642)):
        contract = SignalContract.from_dict(from_ecg_selfsupervised(tmp_path / "a.pt", scaling=scaling).config["contract"])
        expected = (np.array([TWELVE.index(lead) for lead in LEADS]) - mean) / std
        np.testing.assert_allclose(contract.apply(record).signal[:, 0], expected, rtol=1e-5)
    with pytest.raises(CheckpointError, match="expected none, ptbxl, benchmark"):
        from_ecg_selfsupervised(tmp_path / "a.pt", scaling="zscore")
    torch.save(legacy_state(*network("lstm")), tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="constants of PTB-XL are for I II V1"):
        from_ecg_selfsupervised(tmp_path / "b.pt", scaling="ptbxl")


def test_fewer_leads_have_no_names_and_it_is_said(tmp_path):
    torch.save({key: value.detach().clone() for key, value in legacy_state(RNN1d(("I", "II"), hidden=4)).items()}, tmp_path / "a.pt")
    converted = from_ecg_selfsupervised(tmp_path / "a.pt")
    assert converted.kind == "encoder" and converted.objective is None
    assert converted.config["contract"]["leads"] == ["lead1", "lead2"] and any("2 leads" in note for note in converted.notes)


class Callback:
    """Stands for a class of another package, as in Lightning's files."""

    def __init__(self):
        self.range = (0.5, 1.0)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_unknown_classes_become_placeholders_and_nothing_is_executed(tmp_path):
    content = {
        "callbacks": {Callback: {"best": 1.0}},
        "transforms": [Callback()],
        "bomb": Bomb(str(tmp_path / "exploded")),
        "state_dict": {"a": torch.ones(2)},
    }
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="refused, nothing was executed"):
        read_legacy(tmp_path / "a.ckpt")
    found = read_legacy(tmp_path / "a.ckpt", placeholders=True)
    assert not Path(tmp_path / "exploded").exists()
    assert found["callbacks"] == {Placeholder(__name__, "Callback"): {"best": 1.0}} and torch.equal(found["state_dict"]["a"], torch.ones(2))
    (transform,) = found["transforms"]
    assert type(transform) is Inert and transform.kind.name == "Callback" and transform.state == {"range": (0.5, 1.0)}
    assert found["bomb"].kind.name == "mkdir" and found["bomb"].arguments == (str(tmp_path / "exploded"),)
