"""The classifiers of ecg-selfsupervised's and the PTB-XL benchmark's checkpoints, as heads of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from einthoven.errors import CheckpointError

EPS = 1e-5
"""Of every batch norm here."""


def read_classifier(tensors: Mapping[str, Tensor], hyper: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor], list[str]]:
    """The head's options, state and what is to be said: of the evaluation script's ``l1``, ``l2``, or of a network's layers."""
    if any(key.startswith("l1.") for key in tensors):
        numbered = {key.replace("l1.", "1.").replace("l2.", "3."): value for key, value in tensors.items()}
        return read_head(numbered, dropout=0.0)
    dropout = hyper.get("dropout_head") if isinstance(hyper.get("dropout_head"), float) else None
    if hyper.get("linear_eval"):
        dropout = 0.0
    return read_head({key.removeprefix("head."): value for key, value in tensors.items()}, dropout=dropout)


def read_head(
    state: Mapping[str, Tensor], *, dropout: float | None = None, activation: str = "relu"
) -> tuple[dict[str, Any], dict[str, Tensor], list[str]]:
    """Options of a ClassifierHead (width and n_out among them), its state, and what was assumed; from ``N.weight``, … by layer number.

    dropout : None: 0.5 where the numbers leave room for it, 0 where they do not
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        number, _, name = key.partition(".")
        if not number.isdecimal() or not name:
            raise CheckpointError(f"has a head with a strange tensor, {key}")
        layers.setdefault(int(number), {})[name] = value
    ordered = sorted(layers)
    kinds = ["norm" if "running_mean" in layers[number] else "linear" for number in ordered]
    linears = [layers[number] for number, kind in zip(ordered, kinds) if kind == "linear"]
    final_norm = bool(kinds) and kinds[-1] == "norm"
    norms = [layers[number] for number, kind in zip(ordered, kinds) if kind == "norm"][: -1 if final_norm else None]
    batch_norm = bool(norms)
    if kinds != (["norm", "linear"] if batch_norm else ["linear"]) * len(linears) + ["norm"] * final_norm or not linears:
        raise CheckpointError(f"has a head of {' '.join(kinds) or 'no layer'}; expected linear layers, all or none behind a norm")
    if any(set(one) != {"weight", "bias"} or one["weight"].ndim != 2 for one in linears):
        raise CheckpointError("has a head whose linear layers are not of weight and bias")
    notes = []
    if dropout is None:
        # Layers without parameters count too: a norm and its linear layer are 2 apart where a dropout stands between them.
        room = any(b - a > 1 for a, b, kind in zip(ordered, ordered[1:], kinds) if kind == "norm")
        dropout = 0.5 if room else 0.0
        if room:
            notes.append("its head has dropout and does not say how much; taken for 0.5, a quarter before hidden layers")
    hidden = [one["weight"].shape[0] for one in linears[:-1]]
    options = {
        "width": linears[0]["weight"].shape[1], "n_out": linears[-1]["weight"].shape[0], "hidden": hidden, "dropout": dropout,
        "batch_norm": batch_norm, "final_norm": final_norm, "activation": activation,
    }  # fmt: skip
    ours = {f"linears.{i}.{name}": value for i, one in enumerate(linears) for name, value in one.items()}
    ours |= {f"norms.{i}.{name}": value for i, one in enumerate(norms) for name, value in one.items()}
    ours |= {f"final_norm.{name}": value for name, value in (layers[ordered[-1]] if final_norm else {}).items()}
    return options, ours, notes


def diagnosis_head(options: Mapping[str, Any], state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """A head as ``read_head`` gives it, as that of a Diagnosis: the tensors of its ``proj``, its settings, and what was changed.

    A Diagnosis has a norm before each layer where there are hidden ones, and a plain linear layer where there are none. What
    stands otherwise in the file is brought to this: the answers are the same, going on with training is not.
    """
    state, notes, hidden = dict(state), [], list(options["hidden"])
    last = len(hidden)
    if options["final_norm"]:
        _fold_after(state, f"linears.{last}", "final_norm")
        notes.append("a norm of its answers was taken up by its last layer; they are the same")
    if not hidden and options["batch_norm"]:
        _fold_before(state, "norms.0", "linears.0")
        notes.append("the norm before its only layer was taken up by that layer; the answers are the same")
    if hidden and not options["batch_norm"]:
        for number, width in enumerate((options["width"], *hidden)):
            # What divides by sqrt(1 + eps) and multiplies by it does nothing.
            one, none = torch.ones(width), torch.zeros(width)
            norm = {"weight": one * (1 + EPS) ** 0.5, "bias": none, "running_mean": none, "running_var": one}
            state |= {f"norms.{number}.{name}": value for name, value in norm.items()}
            state[f"norms.{number}.num_batches_tracked"] = torch.tensor(0)
        notes.append("its head has no norms; such as do nothing were put in, which will normalise when it is trained further")
    settings = {"head": "pooled", "hidden": hidden, "dropout": options["dropout"]}
    return (state if hidden else {"weight": state["linears.0.weight"], "bias": state["linears.0.bias"]}), settings, notes


def _scale_and_shift(state: dict[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation as one factor and one addend per channel; it is taken out of ``state``."""
    part = {name: state.pop(f"{norm}.{name}") for name in ("weight", "bias", "running_mean", "running_var")}
    state.pop(f"{norm}.num_batches_tracked", None)
    scale = part["weight"].double() / (part["running_var"].double() + EPS).sqrt()
    return scale, part["bias"].double() - part["running_mean"].double() * scale


def _fold_before(state: dict[str, Tensor], norm: str, linear: str) -> None:
    """The linear layer becomes norm and linear layer."""
    scale, shift = _scale_and_shift(state, norm)
    weight, bias = state[f"{linear}.weight"].double(), state[f"{linear}.bias"].double()
    state |= {f"{linear}.weight": (weight * scale).float(), f"{linear}.bias": (bias + weight @ shift).float()}


def _fold_after(state: dict[str, Tensor], linear: str, norm: str) -> None:
    """The linear layer becomes linear layer and norm."""
    scale, shift = _scale_and_shift(state, norm)
    weight, bias = state[f"{linear}.weight"].double(), state[f"{linear}.bias"].double()
    state |= {f"{linear}.weight": (weight * scale[:, None]).float(), f"{linear}.bias": (bias * scale + shift).float()}
