"""Checkpoints of ecg-selfsupervised (SimCLR, BYOL, SwAV, MoCo, CPC) and of the PTB-XL benchmark as models of ours.

Read are Lightning's ``.ckpt``, the evaluation script's ``finetuned.pt``, and states of the benchmark's networks, alone or as
fastai's ``{"model", "opt"}``. Sizes come from the tensors; hyper-parameters are asked only for what tensors cannot say. Every
tensor is used or named as dropped; one that is missing or unknown ends the conversion. No pickle is executed.

These systems work at 100 Hz on windows of 2.5 s, one every 1.25 s. ecg-selfsupervised has the leads in an order of its own
(``LEADS``) and trained its contrastive methods on mV as they are; CPC could standardise each lead by constants of PTB-XL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from einthoven.convert.ecg_selfsupervised_heads import diagnosis_head, read_classifier
from einthoven.convert.ecg_selfsupervised_names import load, single, split_head
from einthoven.convert.ecg_selfsupervised_objectives import METHODS, objective_of
from einthoven.convert.ecg_selfsupervised_sizes import LEADS, on_paper, recognise, recognise_cpc
from einthoven.convert.fairseq_signals import Converted
from einthoven.convert.unpickle import read_legacy
from einthoven.errors import CheckpointError
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder
from einthoven.models.folder import FORMAT, VERSION, save_model, some
from einthoven.signal.contract import SignalContract
from einthoven.sources.vocabulary import CLASSES, SCP, LabelClass

MEAN = (
    *(-0.00184586, -0.00130277, 0.00017031, -0.00091313, -0.00148835, -0.00174687),
    *(-0.00077071, -0.00207407, 0.00054329, 0.00155546, -0.00114379, -0.00035649),
)
STD = (
    *(0.16401004, 0.1647168, 0.23374124, 0.33767231, 0.33362807, 0.30583013),
    *(0.2731171, 0.27554379, 0.17128962, 0.14030828, 0.14606956, 0.14656108),
)
"""CPC's normalisation, in the order of LEADS, mV: PTB-XL's, whatever was trained on."""
BENCHMARK_MEAN, BENCHMARK_STD = -0.00077717, 0.23895642
"""The benchmark's published scaler, of all samples of all leads of the training records."""

SCALINGS = ("none", "ptbxl", "benchmark")


def from_ecg_selfsupervised(
    path: str | Path, *, scaling: str | None = None, labels: Path | str | Sequence[str] | None = None, builder: str | None = None
) -> Converted:
    """Read a checkpoint of ecg-selfsupervised or of the PTB-XL benchmark.

    scaling : what the weights were trained on, where it is known: "none" (mV), "ptbxl" (each lead by constants) or "benchmark"
              (all leads by one mean and one SD)
    labels  : names of a classifier's outputs in order, or a text file with one on each line; the old index order of
              ecg-selfsupervised was drawn anew in each run and stands in its ``lbl_itos.pkl``
    builder : the benchmark's name of a stack of convolutions (fcn, fcn_wang, schirrmeister, sen, basic1d), whose strides no tensor shows

    Raises CheckpointError, in one line that names the file, for what is no such checkpoint, or has a tensor too few or too many.
    """
    if scaling is not None and scaling not in SCALINGS:
        raise CheckpointError(f"scaling: expected {', '.join(SCALINGS)}; got {scaling!r}")
    content = read_legacy(path, placeholders=True)
    try:
        return _convert(content, scaling, labels, builder, Path(path).name)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from error


def convert_checkpoint(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    scaling: str | None = None,
    labels: Path | str | Sequence[str] | None = None,
    builder: str | None = None,
) -> list[str]:
    """Write a checkpoint of ecg-selfsupervised or of the benchmark as a model folder; returns what was assumed or dropped."""
    converted = from_ecg_selfsupervised(checkpoint, scaling=scaling, labels=labels, builder=builder)
    save_model(folder, converted.state, converted.config)
    return converted.notes


def is_ecg_selfsupervised(path: str | Path) -> bool:
    """Whether a checkpoint is laid out as those read here are, and not as those of fairseq-signals: weights by themselves, or beside
    Lightning's or fastai's entries. Raises CheckpointError for a file that is no checkpoint at all."""
    content = read_legacy(path, placeholders=True)
    if not isinstance(content, Mapping) or not content:
        return False
    return "state_dict" in content or "opt" in content or all(isinstance(value, Tensor) for value in content.values())


def _convert(content: Any, scaling: str | None, labels: Any, builder: str | None, name: str) -> Converted:
    state, hyper, method = _parts(content)
    notes: list[str] = []
    if method == "cpc":
        encoder_name, options, encoder_state, rest = recognise_cpc(
            {key.removeprefix(METHODS["cpc"]): value for key, value in state.items()}, notes
        )
    else:
        if method is None:
            features = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
            rest = {key: value for key, value in state.items() if not key.startswith("features.")} if features else {}
            features = features or state
        else:
            features = _features(state, METHODS[method])
            rest = {key: value for key, value in state.items() if ".features." not in key}
        encoder_name, options, said = recognise(single(features), builder)
        notes += said
        encoder = on_paper(encoder_name, options)
        body, head = split_head(encoder, single(features))
        rest |= {f"head.{key}": value for key, value in head.items()}
        encoder_state = load(encoder, body)

    benchmark = method is None and not any(key.startswith("l1.") for key in rest)
    contract = _contract(options, method, hyper, scaling, benchmark, notes)
    options = {**options, "leads": list(contract.leads)}
    encoder = on_paper(encoder_name, options)
    _must_fit(encoder, encoder_state)
    provenance = {
        "converted_from": name,
        "format": "PTB-XL benchmark" if benchmark else "ecg-selfsupervised",
        "model": method or encoder_name,
        "notes": notes,
    }
    common = {
        "format": FORMAT,
        "version": VERSION,
        "encoder": {"name": encoder_name, **encoder.config()},
        "contract": contract.to_dict(),
        "provenance": provenance,
    }
    classifier = {
        key: value for key, value in rest.items() if key.startswith("head.") or (method is None and key.startswith(("l1.", "l2.")))
    }
    if not classifier:
        objective, dropped = objective_of(method, encoder_state, rest, hyper, state, notes)
        if dropped:
            notes.append(f"left out, since it is of no use: {some(dropped, 6)}")
        return Converted("encoder", encoder_state, {**common, "kind": "encoder"}, objective, notes)

    head_options, head_state, said = read_classifier(classifier, hyper)
    notes += said
    if left := [key for key in rest if key not in classifier]:
        notes.append(f"left out, since they are of use in pretraining only: {some(left, 6)}")
    if head_options["width"] != encoder.width:
        raise CheckpointError(f"has a head for vectors of {head_options['width']} behind an encoder that gives {encoder.width}")
    classes, said = _classes(head_options["n_out"], labels, benchmark)
    notes += said
    notes.append("no thresholds are known for it: 0.5 is used, which is not calibrated")
    head_tensors, task, said = diagnosis_head(head_options, head_state)
    notes += said
    state = {
        **{f"encoder.{key}": value for key, value in encoder_state.items()},
        **{f"proj.{key}": value for key, value in head_tensors.items()},
    }
    answer = {
        "task": {**task, "pooling": encoder.pooling},
        "classes": classes,
        "thresholds": None,
        # The benchmark asks the most striking window of a record, ecg-selfsupervised all of them.
        "aggregation": ["max" if benchmark else "mean"] * len(classes),
    }
    return Converted("diagnosis", state, {**common, "kind": "diagnosis", **answer}, None, notes)


def _parts(content: Any) -> tuple[dict[str, Tensor], Mapping[str, Any], str | None]:
    """State, hyper-parameters and method of a checkpoint; None: a classifier or a network alone."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"is no checkpoint of ecg-selfsupervised: expected named tensors, got a {type(content).__name__}")
    inner = content.get("state_dict", content.get("model") if set(content) <= {"model", "opt"} else None)
    state = content if inner is None else inner
    if not isinstance(state, Mapping) or not state or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise CheckpointError(
            f"is no checkpoint of ecg-selfsupervised: expected a state_dict of tensors; it has {some([str(key) for key in content], 4)}"
        )
    tensors = {key: value.to(torch.float32) if value.is_floating_point() else value for key, value in state.items()}
    hyper = content.get("hyper_parameters") if inner is not None else None
    method = next((name for name, prefix in METHODS.items() if any(key.startswith(prefix) for key in tensors)), None)
    if method is None and "encoder.0.0.weight" in tensors and "rnn.weight_ih_l0" in tensors:
        method = "cpc"
    return tensors, hyper if isinstance(hyper, Mapping) else {}, method


def _features(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The encoder's tensors. SwAV's stand twice, under ``model.`` and ``model.model.``, which must agree."""
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    for key, value in state.items():
        again = key.removeprefix("model.model.features.")
        if prefix == METHODS["swav"] and again != key and not torch.equal(value, found.get(again, value)):
            raise CheckpointError(f"holds {key} twice, with different values; it is damaged")
    return found


def _must_fit(encoder: Encoder, state: Mapping[str, Tensor]) -> None:
    own = encoder.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise CheckpointError(
            f"its tensors are not those of one {type(encoder).__name__}; missing, unknown or of another shape: {some(wrong)}"
        )


def _contract(
    options: Mapping[str, Any], method: str | None, hyper: Mapping[str, Any], scaling: str | None, benchmark: bool, notes: list[str]
) -> SignalContract:
    leads = tuple(options["leads"])
    if benchmark and len(leads) == len(TWELVE):
        leads = TWELVE
    if scaling is None:
        scaling = "benchmark" if benchmark else "ptbxl" if method == "cpc" and hyper.get("normalize", True) else "none"
        said = (
            "as its hyper-parameters say"
            if method == "cpc" and "normalize" in hyper
            else "as published; the file does not say it, see the option scaling"
        )
        notes.append(f"its signals were scaled by {_SAYS[scaling]}, {said}")
    if len(leads) == len(TWELVE):
        notes.append(f"its leads are taken to be in the order {' '.join(leads)}, which the file does not say")
    values: dict[str, Any] = {"scaling": "none"}
    if scaling == "ptbxl":
        if leads != LEADS:
            raise CheckpointError(f"scaling: the constants of PTB-XL are for {' '.join(LEADS)}; the model takes {' '.join(leads)}")
        values = {"scaling": "corpus", "mean": MEAN, "std": STD}
    elif scaling == "benchmark":
        values = {"scaling": "corpus", "mean": (BENCHMARK_MEAN,) * len(leads), "std": (BENCHMARK_STD,) * len(leads)}
    n_window = hyper.get("input_size") if method == "cpc" else None
    seconds = n_window / 100 if isinstance(n_window, int) and 0 < n_window <= 6000 else 2.5
    # ecg-selfsupervised resized its sources as images; the benchmark took PTB-XL's own files of 100 Hz.
    resampling = "polyphase" if benchmark else "image"
    return SignalContract(fs=100.0, leads=leads, seconds=seconds, stride=seconds / 2, missing="zero", resampling=resampling, **values)


_SAYS = {
    "none": "nothing (mV)",
    "ptbxl": "PTB-XL's mean and SD of each lead",
    "benchmark": "the benchmark's one mean and SD of all leads",
}


def _classes(n_out: int, labels: Path | str | Sequence[str] | None, benchmark: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Classes as a model's configuration has them, and what is to be said about them. Statements of PTB-XL get their codes."""
    if labels is None:
        # The benchmark sorts its classes; ecg-selfsupervised has them in the order of a set of strings.
        known = [name for name, classes in CLASSES.items() if name.startswith("ptbxl") and len(classes) == n_out] if benchmark else []
        if known:
            note = f"its {n_out} outputs are taken for the classes {known[0]}, sorted, as in the benchmark; the file names none (labels=… names others)"
            return [_described(one.abbreviation, CLASSES[known[0]]) for one in CLASSES[known[0]]], [note]
        names = [f"class_{position:02d}" for position in range(n_out)]
        note = f"its {n_out} outputs have no known names, so they are called {names[0]} to {names[-1]}; labels=… names them (lbl_itos has their order)"
        return [{"name": name, "codes": []} for name in names], [note]
    if isinstance(labels, str | Path):
        try:
            names = [line.strip() for line in Path(labels).read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{labels}: cannot be read as a text file with a label on each line ({error})") from error
    else:
        names = [str(one) for one in labels]
    if len(names) != n_out or len(set(names)) != n_out:
        raise CheckpointError(f"the classifier has {n_out} outputs; expected as many different labels, got {len(names)}: {some(names, 4)}")
    tables = [table for name, table in CLASSES.items() if name.startswith("ptbxl") and set(names) <= {one.abbreviation for one in table}]
    return [_described(name, tables[0] if tables else ()) for name in names], []


def _described(name: str, classes: Sequence[LabelClass]) -> dict[str, Any]:
    """A class by its abbreviation in one of our vocabularies, or by its name alone."""
    for one in classes:
        if one.abbreviation == name:
            codes = {system: list(codes) for system, codes in one.codes.items()}
            return {"name": one.name, "abbreviation": name, "system": SCP, "codes": codes.get(SCP, []), "vocabularies": codes}
    return {"name": name, "codes": []}
