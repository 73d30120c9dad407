"""Checkpoints of fairseq-signals (ECG-FM among them) as models of ours: pretrained encoders and fine-tuned classifiers.

Sizes are read from the tensors; the configuration in the file is asked only for what tensors cannot say (heads, strides,
order of the norms, dropout), and where the two disagree the tensors are believed and it is said. Every tensor is used or
named as dropped; one that is missing or unknown ends the conversion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from einthoven.convert.fairseq_labels import classes_for
from einthoven.convert.unpickle import read_legacy
from einthoven.errors import CheckpointError
from einthoven.leads import TWELVE
from einthoven.models.ecg_transformer import ECGTransformer, from_legacy_config
from einthoven.models.folder import FORMAT, VERSION, save_model, some
from einthoven.objectives.wav2vec2 import options_from_legacy_config, split_legacy_state
from einthoven.signal.contract import LEGACY_MV, LEGACY_ZSCORE, SignalContract

PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "target_glu.", "final_proj.")
"""Beginnings of the keys that belong to pretraining and not to the encoder."""
CONTRACTS = {"record_zscore": LEGACY_ZSCORE, "none": LEGACY_MV}
_OTHERS = {
    "kernel": "an ArcFace identification model", "mlm_proj.": "MedViLL", "language_embedding": "an ECG-language model",
    "class_embedding": "M3AE", "segment.": "a U-Net", "encoder.conv.weight": "a residual network",
}  # fmt: skip


@dataclass(frozen=True)
class Converted:
    """A checkpoint in our terms.

    kind      : "encoder" or "diagnosis"
    state     : tensors by our names, float32: what ``models.folder.save_model`` takes
    config    : the model's configuration, likewise
    objective : of a pretrained file, what its pretraining needs beside the encoder: {"name", "options", "state"} with the
                state of the whole objective, to go on pretraining; None of a fine-tuned one
    notes     : what was assumed, dropped or contradictory, for the person who converts
    """

    kind: str
    state: dict[str, Tensor]
    config: dict[str, Any]
    objective: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def from_fairseq_signals(
    path: str | Path, *, scaling: str = "record_zscore", labels: Path | str | Sequence[str] | None = None
) -> Converted:
    """Read a checkpoint of fairseq-signals; its pickle is not executed.

    scaling : what the weights were trained on, which the file does not say: "record_zscore" (ECG-FM, the newer pipeline) or
              "none" (mV, the older pipeline)
    labels  : names of a classifier's outputs, or a label_def.csv; see ``fairseq_labels.classes_for``

    Raises CheckpointError, in one line that names the file, for what is no such checkpoint, or has a tensor too few or too many.
    """
    if scaling not in CONTRACTS:
        raise CheckpointError(f"scaling: expected {' or '.join(CONTRACTS)}; got {scaling!r}")
    content = read_legacy(path)
    try:
        return _convert(content, scaling, labels, Path(path).name)
    except CheckpointError as error:
        # Names of tensors come from the file; whatever they hold, the message stays one line.
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from error


def convert_checkpoint(
    checkpoint: str | Path, folder: str | Path, *, scaling: str = "record_zscore", labels: Path | str | Sequence[str] | None = None
) -> list[str]:
    """Write a checkpoint of fairseq-signals as a model folder; returns what was assumed or dropped."""
    converted = from_fairseq_signals(checkpoint, scaling=scaling, labels=labels)
    save_model(folder, converted.state, converted.config)
    return converted.notes


def _convert(content: Any, scaling: str, labels: Path | str | Sequence[str] | None, name: str) -> Converted:
    tensors, legacy, task = _parts(content)
    tensors = {_new_name(key): value for key, value in tensors.items()}
    for beginning, what in _OTHERS.items():
        if any(key.startswith(beginning) for key in tensors):
            raise CheckpointError(
                f"is {what} (it has {some([key for key in tensors if key.startswith(beginning)], 1)}), which cannot be converted yet"
            )
    fine_tuned = any(key.startswith("encoder.feature_extractor.") for key in tensors)
    notes: list[str] = []
    backbone = (
        {key.removeprefix("encoder."): value for key, value in tensors.items() if key.startswith("encoder.")}
        if fine_tuned
        else dict(tensors)
    )
    heads = {key: value for key, value in backbone.items() if key.startswith(PRETRAINING)}
    backbone = {key: value for key, value in backbone.items() if key not in heads}
    config = encoder_config(backbone, legacy, notes)
    _must_fit(backbone, config)
    if heads and fine_tuned:
        notes.append(f"dropped, since they are of use in pretraining only: {', '.join(heads)}")

    contract = _contract(CONTRACTS[scaling], config["leads"], task, notes)
    says = "each lead of a record standardised (record_zscore)" if scaling == "record_zscore" else "mV as recorded (none)"
    notes.append(f"the file does not say how its training signals were scaled; taken for {says}, see the option scaling")
    provenance = {
        "converted_from": name,
        "format": "fairseq-signals",
        "model": str(legacy.get("_name") or legacy.get("arch") or "unknown"),
        "notes": notes,
    }
    common = {
        "format": FORMAT,
        "version": VERSION,
        "encoder": {"name": "ecg_transformer", **config},
        "contract": contract.to_dict(),
        "provenance": provenance,
    }
    if not fine_tuned:
        objective = None
        if any(key.startswith("final_proj.") for key in heads):
            kind = "w2v_cmsc" if "cmsc" in str(legacy.get("_name") or legacy.get("arch")) else "w2v"
            objective = {"name": kind, "options": options_from_legacy_config(legacy), "state": split_legacy_state({**heads, **backbone})}
        if heads:
            notes.append(f"left out of the encoder, since they are of use in pretraining only: {', '.join(heads)}")
        return Converted("encoder", backbone, {**common, "kind": "encoder"}, objective, notes)

    if not {"proj.weight", "proj.bias"} <= tensors.keys():
        raise CheckpointError("is a fine-tuned model without its output layer (proj.weight, proj.bias)")
    weight, bias = tensors["proj.weight"], tensors["proj.bias"]
    if weight.ndim != 2 or weight.shape[1] != config["dim"] or bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"has an output layer of shape {tuple(weight.shape)} and {tuple(bias.shape)} behind an encoder of width {config['dim']}"
        )
    if others := [key for key in tensors if not key.startswith("encoder.") and not key.startswith("proj.")]:
        raise CheckpointError(f"has tensors that no diagnosis model has: {some(others)}")
    classes, aggregation, said = classes_for(len(bias), labels)
    notes.extend(said)
    notes.append("no thresholds are known for it: 0.5 is used, which is not calibrated")
    state = {**{f"encoder.{key}": value for key, value in backbone.items()}, "proj.weight": weight, "proj.bias": bias}
    answer = {
        "task": {"head": "mean", "dropout": float(legacy.get("final_dropout") or 0.0)},
        "classes": classes,
        "thresholds": None,
        "aggregation": aggregation,
    }
    return Converted("diagnosis", state, {**common, "kind": "diagnosis", **answer}, None, notes)


def _parts(content: Any) -> tuple[dict[str, Tensor], Mapping[str, Any], Mapping[str, Any]]:
    """The state dict, the model's configuration and the task's, from the newer ``cfg`` or the older ``args``."""
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        keys = some([str(key) for key in content], 4) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"is no checkpoint of fairseq-signals: expected the entries model and cfg, got {keys}")
    tensors = {}
    for key, value in content["model"].items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"has an entry among its weights that is no tensor: {str(key)[:60]}")
        tensors[key] = value.to(torch.float32) if value.is_floating_point() else value
    if not tensors:
        raise CheckpointError("holds no weights")
    for source in (content.get("cfg"), content.get("args")):
        if isinstance(source, Mapping):
            model, task = source.get("model"), source.get("task")
            return tensors, model if isinstance(model, Mapping) else source, task if isinstance(task, Mapping) else source
    return tensors, {}, {}


def _new_name(key: str) -> str:
    """Weight normalisation before 2025 wrote ``weight_g`` and ``weight_v``."""
    for old, new in ((".weight_g", ".parametrizations.weight.original0"), (".weight_v", ".parametrizations.weight.original1")):
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


def encoder_config(state: Mapping[str, Tensor], legacy: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """An ECG transformer's configuration from its tensors, and from the old configuration where tensors are silent.

    Adds to ``notes`` where the two disagree. Raises CheckpointError where the tensors are no ECG transformer's.
    """

    def shape(key: str, n: int) -> tuple[int, ...]:
        if key not in state:
            raise CheckpointError(f"lacks {key}; it is no ECG transformer of fairseq-signals, or it is incomplete")
        if state[key].ndim != n:
            raise CheckpointError(f"has {key} of shape {tuple(state[key].shape)}; expected {n} axes")
        return tuple(state[key].shape)

    try:
        said = from_legacy_config(legacy)
    except (ValueError, TypeError) as error:
        notes.append(f"its configuration cannot be read ({error}); the tensors are asked instead")
        said = from_legacy_config({})
    convolutions: list[tuple[int, ...]] = []
    while f"feature_extractor.conv_layers.{len(convolutions)}.0.weight" in state:
        convolutions.append(shape(f"feature_extractor.conv_layers.{len(convolutions)}.0.weight", 3))
    if not convolutions:
        raise CheckpointError(
            "lacks feature_extractor.conv_layers.0.0.weight; it is no ECG transformer of fairseq-signals, or it is incomplete"
        )
    n_leads = convolutions[0][1]
    conv_layers = [[out, kernel, kernel] for out, _, kernel in convolutions]
    stated = said.get("conv_layers")
    if stated is not None and [layer[:2] for layer in stated] == [layer[:2] for layer in conv_layers]:
        conv_layers = [list(layer) for layer in stated]
    else:
        why = "says nothing of its convolutions" if stated is None else f"says {stated} of its convolutions, which its tensors are not"
        notes.append(f"its configuration {why}; strides are taken to be the kernels' lengths")
    depth = 0
    while f"encoder.layers.{depth}.self_attn.k_proj.weight" in state:
        depth += 1
    if not depth:
        raise CheckpointError(
            "lacks encoder.layers.0.self_attn.k_proj.weight; it is no ECG transformer of fairseq-signals, or it is incomplete"
        )
    dim = shape("encoder.layers.0.self_attn.k_proj.weight", 2)[0]
    _, per_group, kernel = shape("conv_pos.pos_conv.0.parametrizations.weight.original1", 3)
    if per_group == 0 or dim % per_group:
        raise CheckpointError(f"has a positional convolution of {per_group} channels per group, which do not divide {dim}")
    found: dict[str, Any] = {
        "dim": dim, "ffn": shape("encoder.layers.0.fc1.weight", 2)[0], "depth": depth, "conv_pos": kernel, "conv_pos_groups": dim // per_group,
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state,
        "extractor_mode": "layer_norm" if any(key.startswith("feature_extractor.conv_layers.0.2.1.") for key in state) else "default",
    }  # fmt: skip
    for key, value in found.items():
        if key in said and said[key] != value:
            notes.append(f"its configuration says {key} {said[key]}, its tensors {value}; the tensors are believed")
    heads = said.get("heads")
    if not isinstance(heads, int) or heads < 1 or dim % heads:
        wrong = (
            "does not say how many attention heads it has" if heads is None else f"says {heads} attention heads, which do not divide {dim}"
        )
        heads = max(1, dim // 64)
        if dim % heads:
            raise CheckpointError(f"its configuration {wrong}, and no number can be guessed for a width of {dim}")
        notes.append(f"its configuration {wrong}; taken to be {heads} (64 wide each)")
    leads = list(TWELVE) if n_leads == len(TWELVE) else [f"lead{i + 1}" for i in range(n_leads)]
    if n_leads != len(TWELVE):
        notes.append(f"it takes {n_leads} leads and names none; they are called {leads[0]} to {leads[-1]}")
    quiet: dict[str, Any] = {
        key: said[key]
        for key in ("dropout", "attention_dropout", "activation_dropout", "input_dropout", "layerdrop", "extractor_gradient")
        if key in said
    }
    return {
        **_defaults(),
        **quiet,
        **found,
        "norm_first": bool(said.get("norm_first", False)),
        "heads": heads,
        "conv_layers": conv_layers,
        "leads": leads,
        "fs": 500.0,
    }


def _defaults() -> dict[str, Any]:
    """Every option of the encoder by its default, so that a later default does not change a converted model."""
    with torch.device("meta"):
        return ECGTransformer(depth=1).config()


def _must_fit(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless these are exactly the tensors of such an encoder."""
    try:
        with torch.device("meta"):
            own = ECGTransformer(**config).state_dict()
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"its sizes do not make an encoder: {error}") from error
    missing, extra = [key for key in own if key not in state], [key for key in state if key not in own]
    other = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}" for key in own if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(names)} {what} ({some(names)})"
        for names, what in ((missing, "missing"), (extra, "unknown"), (other, "of another shape"))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"its tensors are not those of one encoder: {'; '.join(problems)}; the file is incomplete or of another model"
        )


def _contract(base: SignalContract, leads: Sequence[str], task: Mapping[str, Any], notes: list[str]) -> SignalContract:
    values = base.to_dict()
    rate = task.get("sample_rate")
    if rate not in (None, 500):
        notes.append(f"its task says {rate} Hz; the encoder is still taken to work at 500 Hz, as every published one does")
    if task.get("filter") or task.get("normalize"):
        notes.append("its task filtered or normalised its signals while loading; this contract does not, so its answers may differ")
    return SignalContract.from_dict({**values, "leads": list(leads)})
