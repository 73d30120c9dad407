"""Which network an old state of ecg-selfsupervised or of the PTB-XL benchmark belongs to, and its sizes: read off the tensors.

What tensors do not say (strides, pools, activations) is that of the published network of the same sizes, and it is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from einthoven.convert.ecg_selfsupervised_names import State
from einthoven.errors import CheckpointError
from einthoven.models import ENCODERS, basic_conv1d, inception1d
from einthoven.models.encoder import Encoder
from einthoven.models.folder import some

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")
"""The order of ecg-selfsupervised, whose normalisation and checkpoints assume it. The benchmark has a file's order, ``leads.TWELVE``."""


def recognise(state: State, builder: str | None = None, **said: Any) -> tuple[str, dict[str, Any], list[str]]:
    """Name and options of the encoder that an old state (each tensor once, without a prefix) belongs to, and what was assumed.

    builder : the old name of the network, where it is known: sizes are in the tensors, strides and pools are not
    said    : options that are known otherwise; they go before what would be assumed
    """
    notes: list[str] = []
    for name, is_it, read in _KINDS:
        if any(re.fullmatch(is_it, key) for key in state):
            try:
                options = read(state, builder, notes)
            except (KeyError, IndexError, ZeroDivisionError, ValueError) as error:
                raise CheckpointError(f"looks like a {name}, but is incomplete ({type(error).__name__}: {error})") from error
            n_leads = options.pop("n_leads")
            return name, {"leads": lead_names(n_leads, notes), "fs": 100.0, **options, **said}, notes
    raise CheckpointError(f"has no tensors of a network of ecg-selfsupervised or of the PTB-XL benchmark; it has {some(list(state))}")


def on_paper(name: str, options: Mapping[str, Any]) -> Encoder:
    """An encoder without numbers in it, for its names and shapes. Raises CheckpointError where the options make none."""
    try:
        with torch.device("meta"):
            return ENCODERS[name](**options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"its sizes do not make an encoder: {error}") from error


def lead_names(n_leads: int, notes: list[str]) -> list[str]:
    """The leads of a network that takes so many; adds to ``notes`` where they have no names."""
    if n_leads == len(LEADS):
        return list(LEADS)
    notes.append(f"it takes {n_leads} leads and names none; they are called lead1 to lead{n_leads}")
    return [f"lead{i + 1}" for i in range(n_leads)]


def _count(state: State, pattern: str) -> int:
    """How many numbers i from 0 have a tensor ``pattern.format(i)``."""
    n = 0
    while pattern.format(n) in state:
        n += 1
    return n


def _xresnet(state: State, builder: str | None, notes: list[str]) -> dict[str, Any]:
    n_stem = _count(state, "{}.1.weight")  # the pool behind the stem has no tensors
    stem = [state[f"{i}.0.weight"].shape for i in range(n_stem)]
    layers, stage = [], n_stem + 1
    while n_blocks := _count(state, f"{stage}.{{}}.convs.0.0.weight"):
        layers.append(n_blocks)
        stage += 1
    n_convs = _count(state, f"{n_stem + 1}.0.convs.{{}}.0.weight")
    shapes = [state[f"{n_stem + 1}.0.convs.{j}.0.weight"].shape for j in range(n_convs)]
    width = shapes[0][0]
    return {
        "n_leads": stem[0][1], "layers": layers, "expansion": shapes[-1][0] // width, "widen": width / 64, "kernel": shapes[1][2] if n_convs == 3 else shapes[0][2],
        "stem": [shape[0] for shape in stem], "stem_kernel": stem[0][2], "stem_bias": "0.0.bias" in state,
    }  # fmt: skip


def _resnet(state: State, builder: str | None, notes: list[str]) -> dict[str, Any]:
    first = 3 if "3.0.conv1.weight" in state else 4
    layers, stage = [], first
    while n_blocks := _count(state, f"{stage}.{{}}.conv1.weight"):
        layers.append(n_blocks)
        stage += 1
    narrow = f"{first}.0.conv3.weight" in state
    one, two = state[f"{first}.0.conv1.weight"].shape, state[f"{first}.0.conv2.weight"].shape
    return {
        "n_leads": state["0.weight"].shape[1], "layers": layers, "expansion": state[f"{first}.0.conv3.weight"].shape[0] // one[0] if narrow else 1,
        "width": state["0.weight"].shape[0], "kernels": [two[2], 3] if narrow else [one[2], two[2]], "stem_kernel": state["0.weight"].shape[2],
        "stem_halves": first == 4,
    }  # fmt: skip


def _wide(state: State, builder: str | None, notes: list[str]) -> dict[str, Any]:
    n_blocks = 0
    while f"{n_blocks + 1}.conv1.weight" in state:
        n_blocks += 1
    starts = [0, *(number for number in range(1, n_blocks) if f"{number + 1}.shortcut.weight" in state), n_blocks]
    return {
        "n_leads": state["0.weight"].shape[1], "layers": [b - a for a, b in pairwise(starts)], "width": state["0.weight"].shape[0],
        "kernel": state["1.conv1.weight"].shape[2],
    }  # fmt: skip


def _inception(state: State, builder: str | None, notes: list[str]) -> dict[str, Any]:
    at = "layers.0.im.0."
    kernels = [state[f"{at}convs.{j}.weight"].shape[2] for j in range(3)]
    longest = next(k for k in (kernels[0] + 1, kernels[0]) if [inception1d.odd(n) for n in (k, k // 2, k // 4)] == kernels)
    return {
        "n_leads": state[f"{at}conv_bottle.1.weight"].shape[1], "depth": _count(state, "layers.0.im.{}.conv_bottle.1.weight"),
        "filters": state[f"{at}conv_bottle.1.weight"].shape[0], "kernel": longest,
        "bottleneck": state[f"{at}bottleneck.weight"].shape[0] if f"{at}bottleneck.weight" in state else 0,
        "residual": "layers.0.sk.0.conv.weight" in state,
    }  # fmt: skip


def _basic(state: State, builder: str | None, notes: list[str]) -> dict[str, Any]:
    convs: list[Tensor] = []
    dropped = "1.0.0.weight" not in state and "1.0.1.weight" in state
    while (found := state.get(f"{len(convs)}.0.{int(dropped and len(convs) > 0)}.weight")) is not None and found.ndim == 3:
        convs.append(found)
    split, gated = "0.1.0.weight" in state, "0.1.w1" in state or "0.2.w1" in state
    norm = "0.0.1.running_mean" in state
    last = len(convs) - 1
    headless = norm and f"{last}.0.{1 + int(dropped)}.running_mean" not in state
    filters, kernels = [one.shape[0] for one in convs], [one.shape[2] for one in convs]
    slope = state.get(f"0.{int(split)}.{1 + norm}.weight")
    known = {"fcn": "fcn", "fcn_wang": "fcn_wang", "schirrmeister": "schirrmeister", "sen": "sen", "basic1d": "basic1d"}
    if builder is None:
        builder = "fcn" if headless else "schirrmeister" if split else "sen" if gated else "fcn_wang" if kernels == [8, 5, 3] else "basic1d"
        notes.append(f"strides, pools and the activation are not in its tensors; they are taken to be those of {builder}")
    elif builder not in known:
        raise CheckpointError(f"is a stack of convolutions, not a {builder}; expected one of {', '.join(known)}")
    published = basic_conv1d.PRESETS[builder]
    gate = state.get("0.2.w1" if split else "0.1.w1")
    return {
        "n_leads": convs[0].shape[1], "filters": filters[:-1] if headless else filters, "out": filters[-1] if headless else None,
        "kernels": kernels, "norm": norm, "stride": published.get("stride", 2), "pool": published.get("pool"), "split_first": split,
        "dropout": 0.5 if dropped else 0.0, "squeeze_excite": filters[0] // gate.shape[1] if gate is not None else 0,
        "activation": "prelu" if slope is not None and slope.numel() == 1 else "relu",
    }  # fmt: skip


def _rnn(state: State, builder: str | None, notes: list[str]) -> dict[str, Any]:
    rows, n_leads = state["2.weight_ih_l0"].shape
    hidden = state["2.weight_hh_l0"].shape[1]
    return {
        "n_leads": n_leads, "cell": {4: "lstm", 3: "gru"}[rows // hidden], "hidden": hidden, "depth": _count(state, "2.weight_ih_l{}"),
        "bidirectional": "2.weight_ih_l0_reverse" in state,
    }  # fmt: skip


_KINDS: Sequence[tuple[str, str, Any]] = (
    ("xresnet1d", r"\d+\.0\.convs\.0\.0\.weight", _xresnet),
    ("inception1d", r"layers\.0\.im\.0\.conv_bottle\.1\.weight", _inception),
    ("wide_resnet1d", r"1\.conv2\.2\.weight", _wide),
    ("resnet1d", r"[34]\.0\.bn1\.weight", _resnet),
    ("rnn1d", r"2\.weight_ih_l0", _rnn),
    ("basic_conv1d", r"0\.0\.0\.weight", _basic),
)
"""Our encoder, the name of a tensor that only it has, and what reads its sizes."""


def recognise_cpc(state: State, notes: list[str]) -> tuple[str, dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """The CPC encoder, its options and state, and the tensors that are not its."""
    ours = {key: value for key, value in state.items() if key.startswith(("encoder.", "rnn."))}
    depth = 0
    while f"encoder.{depth}.0.weight" in ours:
        depth += 1
    convs = [ours[f"encoder.{i}.0.weight"] for i in range(depth)]
    if any(conv.ndim != 3 for conv in convs) or "rnn.weight_hh_l0" not in ours or "rnn.weight_ih_l0" not in ours:
        raise CheckpointError("is no CPC model: it lacks convolutions or the recurrent network's weights, or they are damaged")
    kernels = [conv.shape[2] for conv in convs]
    if all(kernel == 1 for kernel in kernels):
        strides = [1] * depth
    else:
        strides = [2] * depth
        notes.append(f"strides are not in its tensors; with kernels of {kernels} they are taken to be 2, as published")
    width = ours["rnn.weight_hh_l0"].shape[1]
    cell = {4: "lstm", 3: "gru"}.get(ours["rnn.weight_ih_l0"].shape[0] // max(1, width))
    if cell is None:
        raise CheckpointError("has a recurrent network that is neither LSTM nor GRU")
    layers = 0
    while f"rnn.weight_ih_l{layers}" in ours:
        layers += 1
    n_leads = convs[0].shape[1] if convs else ours["rnn.weight_ih_l0"].shape[1]
    options = {
        "leads": lead_names(n_leads, notes), "fs": 100.0, "features": [conv.shape[0] for conv in convs], "kernels": kernels, "strides": strides,
        "batch_norm": "encoder.0.1.weight" in ours, "cell": cell, "dim": width, "depth": layers,
    }  # fmt: skip
    rest = {key: value for key, value in state.items() if key not in ours}
    # A head as wide as a frame stands on the last frame alone; the usual one on mean, maximum and last.
    widths = {
        int(key.split(".")[1]): value.shape[-1] for key, value in rest.items() if re.fullmatch(r"head\.\d+\.weight", key) and value.ndim
    }
    options["pooling"] = "last" if widths and widths[min(widths)] == width else "mean_max_last"
    return "cpc", options, ours, rest
