"""Conversion believes the tensors, says what it assumed, and refuses what does not fit; on checkpoints made here in the old layout."""

from collections import OrderedDict

import numpy as np
import pytest
import torch

from einthoven.convert.fairseq_signals import convert_checkpoint, from_fairseq_signals
from einthoven.convert.open import open_weights
from einthoven.errors import CheckpointError
from einthoven.metrics.challenge2021 import read_rewards
from einthoven.models import SIZES, ECGTransformer
from einthoven.models.folder import open_model
from einthoven.tasks import Diagnosis

CFG = {
    "_name": "ecg_transformer_classifier", "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4,
    "layer_norm_first": False, "conv_feature_layers": "[(32, 2, 2)] * 4", "conv_pos": 16, "conv_pos_groups": 4, "in_d": 12, "dropout": 0.1,
    "feature_grad_mult": 0.0, "extractor_mode": "default", "final_dropout": 0.0,
}  # fmt: skip


def classifier(n_labels=26, **changes):
    torch.manual_seed(0)
    return Diagnosis(ECGTransformer(**{**SIZES["tiny"], **changes}), [str(i) for i in range(n_labels)])


def write(path, state, cfg=CFG, **entries):
    content = {
        "args": None, "cfg": {"model": dict(cfg), "task": {"_name": "ecg_classification", "sample_rate": None}}, "model": OrderedDict(state),
        "extra_state": {"val_loss": np.float64(0.5), "metrics": {"best": np.zeros(3)}}, **entries,
    }  # fmt: skip
    torch.save(content, path)
    return path


def test_a_classifier_becomes_a_model_folder_that_answers_the_same(tmp_path):
    task = classifier()
    notes = convert_checkpoint(write(tmp_path / "a.pt", task.state_dict()), tmp_path / "model")
    module, config = open_model(tmp_path / "model")
    batch = {"ecg": torch.randn(2, 12, 640)}
    torch.testing.assert_close(module.predict(batch), task.eval().predict(batch), rtol=0, atol=0)
    assert config["contract"]["scaling"] == "record_zscore" and config["thresholds"] is None
    assert [one["codes"] for one in config["classes"]] == [list(codes) for codes in [sorted_like(c, config) for c in range(26)]]
    assert (
        any("CinC 2021" in note for note in notes)
        and any("not calibrated" in note for note in notes)
        and any("scaled" in note for note in notes)
    )
    assert config["provenance"]["converted_from"] == "a.pt" and config["provenance"]["notes"] == notes


def sorted_like(position, config):
    """The reward matrix's codes of a class, in the order in which the configuration has them."""
    codes = read_rewards().classes[position]
    assert set(codes) == set(config["classes"][position]["codes"])
    return config["classes"][position]["codes"]


def test_half_precision_weights_become_single(tmp_path):
    state = {name: tensor.half() for name, tensor in classifier().state_dict().items()}
    converted = from_fairseq_signals(write(tmp_path / "a.pt", state))
    assert all(tensor.dtype == torch.float32 for tensor in converted.state.values())


def test_the_tensors_are_believed_where_the_configuration_is_stale(tmp_path):
    """As with the published ECG-FM files, beside which a configuration says 1024 wide and 24 layers."""
    stale = {**CFG, "encoder_layers": 24, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096, "conv_pos": 128}
    converted = from_fairseq_signals(write(tmp_path / "a.pt", classifier().state_dict(), stale))
    encoder = converted.config["encoder"]
    assert (encoder["dim"], encoder["depth"], encoder["ffn"], encoder["conv_pos"]) == (64, 2, 128, 16)
    assert sum("the tensors are believed" in note for note in converted.notes) == 4


@pytest.mark.parametrize(
    "changes, cfg",
    [
        ({"dim": 32, "heads": 4}, {"encoder_embed_dim": 32}),
        ({"extractor_mode": "layer_norm"}, {"extractor_mode": "layer_norm"}),
        ({"conv_bias": True}, {"conv_bias": True}),
        ({"conv_layers": [[32, 4, 2], [32, 2, 2]]}, {"conv_feature_layers": "[(32, 4, 2), (32, 2, 2)]"}),
        ({"norm_first": True}, {"layer_norm_first": True}),
        ({"leads": ["lead1", "lead2"]}, {"in_d": 2}),
    ],
)
def test_other_architectures_of_the_family_are_recognised(tmp_path, changes, cfg):
    task = classifier(3, **changes).eval()
    converted = from_fairseq_signals(write(tmp_path / "a.pt", task.state_dict(), {**CFG, **cfg}), labels=["a", "b", "c"])
    ours = {key: converted.config["encoder"][key] for key in changes}
    assert ours == {**changes, **({"conv_pos_groups": 4} if "conv_pos_groups" in changes else {})}


def test_an_old_checkpoint_with_arguments_instead_of_a_configuration_is_read(tmp_path):
    import argparse

    args = argparse.Namespace(arch="ecg_transformer_classifier", **{key: value for key, value in CFG.items() if key != "_name"})
    path = tmp_path / "a.pt"
    torch.save({"args": args, "model": OrderedDict(classifier(3).state_dict())}, path)
    assert from_fairseq_signals(path).config["encoder"]["heads"] == 4


def test_heads_are_guessed_and_said_only_where_nobody_knows_them(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"model": OrderedDict(classifier(3).state_dict())}, path)
    converted = from_fairseq_signals(path)
    assert converted.config["encoder"]["heads"] == 1 and any("attention heads" in note for note in converted.notes)
    assert any("strides" in note for note in converted.notes)


def test_seventeen_outputs_are_ecg_fms_labels_with_their_aggregation(tmp_path):
    config = from_fairseq_signals(write(tmp_path / "a.pt", classifier(17).state_dict())).config
    by_max = {one["name"] for one, how in zip(config["classes"], config["aggregation"]) if how == "max"}
    assert by_max == {
        "Poor data quality", "Premature ventricular contraction", "Ventricular tachycardia", "Supraventricular tachycardia with aberrancy", "Electronic pacemaker",
    }  # fmt: skip
    assert config["classes"][6]["name"] == "Atrial fibrillation"


def test_labels_can_be_given_and_unknown_ones_get_numbers(tmp_path):
    path = write(tmp_path / "a.pt", classifier(3).state_dict())
    assert [one["name"] for one in from_fairseq_signals(path).config["classes"]] == ["class_00", "class_01", "class_02"]
    table = tmp_path / "label_def.csv"
    table.write_text('name,count\nx,1\n"y, z",2\nw,3\n')
    assert [one["name"] for one in from_fairseq_signals(path, labels=table).config["classes"]] == ["x", "y, z", "w"]
    with pytest.raises(CheckpointError, match="3 outputs; expected as many different names, got 2"):
        from_fairseq_signals(path, labels=["a", "b"])
    table.write_text("label\nx\n")
    with pytest.raises(CheckpointError, match="column name"):
        from_fairseq_signals(path, labels=table)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("encoder.encoder.layers.1.fc2.bias"), r"1 missing \(encoder\.layers\.1\.fc2\.bias\)"),
        (lambda state: state.pop("encoder.conv_pos.pos_conv.0.bias"), "1 missing"),
        (lambda state: state.pop("encoder.conv_pos.pos_conv.0.parametrizations.weight.original1"), "lacks conv_pos"),
        (lambda state: state.pop("proj.bias"), "without its output layer"),
        (lambda state: state.update({"encoder.extra": torch.ones(1)}), r"1 unknown \(extra\)"),
        (lambda state: state.update({"extra": torch.ones(1)}), r"no diagnosis model has: extra"),
        (lambda state: state.update({"encoder.layer_norm.bias": torch.ones(5)}), "1 of another shape"),
        (lambda state: state.update({"proj.weight": torch.ones(26, 5)}), "output layer of shape"),
        (lambda state: state.update({"kernel": torch.ones(5, 64)}), "ArcFace"),
        (lambda state: state.update({"encoder.layer_norm.bias": 3}), "no tensor"),
        (lambda state: state.clear(), "no weights"),
    ],
)
def test_one_tensor_too_few_or_too_many_ends_the_conversion_in_one_line(tmp_path, change, message):
    state = classifier().state_dict()
    change(state)
    path = write(tmp_path / "a.pt", state)
    with pytest.raises(CheckpointError, match=message) as refusal:
        convert_checkpoint(path, tmp_path / "model")
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)
    assert not (tmp_path / "model").exists()


def test_another_kind_of_file_is_named(tmp_path):
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match="no checkpoint of fairseq-signals: expected the entries model and cfg, got state_dict, epoch"
    ):
        from_fairseq_signals(tmp_path / "a.pt")
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="got list"):
        from_fairseq_signals(tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="scaling: expected"):
        from_fairseq_signals(tmp_path / "a.pt", scaling="mV")


def test_weights_are_opened_from_a_run_a_folder_and_an_old_file_alike(tmp_path):
    path = write(tmp_path / "a.pt", classifier().state_dict())
    convert_checkpoint(path, tmp_path / "run" / "model")
    wanted, config = open_weights(path)
    for name in (tmp_path / "run", tmp_path / "run" / "model", tmp_path / "run" / "model" / "config.json"):
        state, read = open_weights(name)
        assert all(torch.equal(state[key], wanted[key]) for key in wanted) and read["classes"] == config["classes"]


def test_a_place_without_a_model_is_explained(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match="holds no model; expected a run"):
        open_weights(tmp_path / "run")
    (tmp_path / "run" / "recipe.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no model yet; let it finish with einthoven resume"):
        open_weights(tmp_path / "run")
    with pytest.raises(CheckpointError, match="no such file or folder; expected a run"):
        open_weights(tmp_path / "nowhere")
