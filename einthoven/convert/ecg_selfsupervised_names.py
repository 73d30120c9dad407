"""What ecg-selfsupervised and the PTB-XL benchmark called the parameters of their networks, and what we call them.

``recognise`` reads a network's kind and sizes off the old names and shapes; ``old_names`` says for each parameter of ours where
it stood. Both directions go over that one table: ``load`` takes old tensors, ``legacy_state`` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from einthoven.errors import CheckpointError
from einthoven.layers.head import ClassifierHead
from einthoven.models import ENCODERS, basic_conv1d, inception1d, resnet1d, rnn1d, xresnet1d
from einthoven.models.encoder import Encoder
from einthoven.models.folder import some

State = Mapping[str, Tensor]
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")
"""The order of ecg-selfsupervised, whose normalisation and checkpoints assume it. The benchmark has a file's order, ``leads.TWELVE``."""


def single(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """An old state as tensors, each parameter once. An xresnet's blocks stand in it twice, as ``convs.J`` and as ``convpath.0.J``.

    Raises CheckpointError where the two copies differ.
    """
    once: dict[str, Tensor] = {}
    for key, value in state.items():
        name, tensor = re.sub(r"\.convpath\.0\.(\d+)\.", r".convs.\1.", key), torch.as_tensor(value)
        if name in once and not torch.equal(once[name], tensor):
            raise CheckpointError(f"holds {name} twice, with different values ({key} is the other); it is damaged")
        once[name] = tensor
    return once


def old_names(encoder: Encoder) -> dict[str, str]:
    """Our name of each tensor of an encoder -> the old name (of a block's tensors, that with ``convs``)."""
    if type(encoder) not in _RULES:
        known = ", ".join(sorted(name for name, kind in ENCODERS.items() if kind in _RULES))
        raise CheckpointError(f"a {type(encoder).__name__} had no counterpart in ecg-selfsupervised; expected one of {known}")
    rules = [(re.compile(ours), theirs) for ours, theirs in _RULES[type(encoder)](encoder)]
    names = {}
    for key in encoder.state_dict():
        for ours, theirs in rules:
            if found := ours.fullmatch(key):
                names[key] = theirs(*found.groups())
                break
        else:
            raise AssertionError(f"no rule for {key}")
    return names


def load(encoder: Encoder, state: State) -> dict[str, Tensor]:
    """Old tensors (each once) by our names. Raises CheckpointError where one is missing, too many or of another shape."""
    own, names = encoder.state_dict(), old_names(encoder)
    missing = [old for old in names.values() if old not in state]
    extra = [key for key in state if key not in set(names.values())]
    # The gates of squeeze-and-excitation had a leading axis of one.
    found = {key: state[old].squeeze(0) if old.endswith((".w1", ".w2")) else state[old] for key, old in names.items() if old in state}
    other = [f"{names[key]} {tuple(one.shape)} for {tuple(own[key].shape)}" for key, one in found.items() if one.shape != own[key].shape]
    problems = [
        f"{len(them)} {what} ({some(them)})"
        for them, what in ((missing, "missing"), (extra, "unknown"), (other, "of another shape"))
        if them
    ]
    if problems:
        raise CheckpointError(f"its tensors are not those of one {type(encoder).__name__}: {'; '.join(problems)}")
    return {key: one.to(own[key].dtype) for key, one in found.items()}


def legacy_state(encoder: Encoder, head: ClassifierHead | None = None) -> dict[str, Tensor]:
    """The encoder's tensors, and its head's, by the old names: what the old code would have saved, both copies of each block included."""
    own, names = encoder.state_dict(), old_names(encoder)
    state: dict[str, Tensor] = {}
    for key, old in names.items():
        state[old] = own[key][None] if old.endswith((".w1", ".w2")) else own[key]
        if (copy := re.sub(r"^((?:\d+\.){2})convs\.", r"\1convpath.0.", old)) != old:
            state[copy] = state[old]
    if head is not None:
        place, first = head_place(encoder)
        for key, value in head.state_dict().items():
            state[_old_head_name(key, head, place, first)] = value
    return state


def head_place(encoder: Encoder) -> tuple[str, int]:
    """Where the head stood behind this network: beginning of its names, and number of its first layer with parameters."""
    if isinstance(encoder, xresnet1d.XResNet1d):
        return f"{len(encoder.stem) + 1 + len(encoder.blocks)}.", 2
    if isinstance(encoder, resnet1d.ResNet1d):
        return f"{_first_stage(encoder) + len(encoder.blocks)}.", 2
    if isinstance(encoder, resnet1d.WideResNet1d):
        return f"{1 + sum(len(stage) for stage in encoder.blocks)}.", 2  # type: ignore[arg-type, misc]
    if isinstance(encoder, inception1d.Inception1d):
        return "layers.1.", 2
    if isinstance(encoder, basic_conv1d.BasicConv1d):
        return f"{len(encoder.layers)}.", 2
    return ("5." if isinstance(encoder, rnn1d.RNN1d) else "head."), 1


def split_head(encoder: Encoder, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """An old state as the encoder's part and the head's, whose names are then its layers' numbers."""
    place, _ = head_place(encoder)
    if isinstance(encoder, basic_conv1d.BasicConv1d) and encoder.config()["out"] is not None:
        return dict(state), {}
    head = {key.removeprefix(place): value for key, value in state.items() if key.startswith(place)}
    return {key: value for key, value in state.items() if not key.startswith(place)}, head


def read_head(
    state: State, *, dropout: float | None = None, activation: str = "relu"
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


def _old_head_name(key: str, head: ClassifierHead, place: str, first: int) -> str:
    """Per layer the old head had a norm, a dropout (not where it is 0), a linear layer, an activation (not the last)."""
    config = head.config()
    norm, dropout = int(config["batch_norm"]), int(config["dropout"] > 0)
    per_layer = norm + dropout + 2
    kind, _, rest = key.partition(".")
    if kind == "final_norm":
        return f"{place}{first + len(config['hidden']) * per_layer + norm + dropout + 1}.{rest}"
    number, _, name = rest.partition(".")
    return f"{place}{first + int(number) * per_layer + (norm + dropout if kind == 'linears' else 0)}.{name}"


def _first_stage(encoder: resnet1d.ResNet1d) -> int:
    return 4 if encoder.stem_halves else 3


def _xresnet_rules(encoder: Any) -> list:
    first = len(encoder.stem) + 1
    layer = {"conv": 0, "norm": 1}
    return [
        (r"stem\.(\d+)\.(conv|norm)\.(\w+)", lambda i, kind, p: f"{i}.{layer[kind]}.{p}"),
        (
            r"blocks\.(\d+)\.(\d+)\.convs\.(\d)\.(conv|norm)\.(\w+)",
            lambda s, b, j, kind, p: f"{first + int(s)}.{b}.convs.{j}.{layer[kind]}.{p}",
        ),
        # Before the shortcut's convolution stands a pool where the block halves the rate, which counts as a layer.
        (
            r"blocks\.(\d+)\.(\d+)\.shortcut\.(conv|norm)\.(\w+)",
            lambda s, b, kind, p: f"{first + int(s)}.{b}.idpath.{int(s != '0' and b == '0')}.{layer[kind]}.{p}",
        ),
    ]


def _resnet_rules(encoder: Any) -> list:
    first = _first_stage(encoder)
    return [
        (r"stem\.(conv|norm)\.(\w+)", lambda kind, p: f"{int(kind == 'norm')}.{p}"),
        (
            r"blocks\.(\d+)\.(\d+)\.convs\.(\d)\.(conv|norm)\.(\w+)",
            lambda s, b, j, kind, p: f"{first + int(s)}.{b}.{'bn' if kind == 'norm' else 'conv'}{int(j) + 1}.{p}",
        ),
        (
            r"blocks\.(\d+)\.(\d+)\.shortcut\.(conv|norm)\.(\w+)",
            lambda s, b, kind, p: f"{first + int(s)}.{b}.downsample.{int(kind == 'norm')}.{p}",
        ),
    ]


def _wide_rules(encoder: Any) -> list:
    before = [1 + sum(len(stage) for stage in encoder.blocks[:number]) for number in range(len(encoder.blocks))]
    part = {"norms.0": "bn", "convs.0": "conv1", "norms.1": "conv2.0", "convs.1": "conv2.2", "shortcut": "shortcut"}
    return [
        (r"stem\.(\w+)", lambda p: f"0.{p}"),
        (
            r"blocks\.(\d+)\.(\d+)\.(norms\.\d|convs\.\d|shortcut)\.(\w+)",
            lambda s, b, kind, p: f"{before[int(s)] + int(b)}.{part[kind]}.{p}",
        ),
    ]


def _inception_rules(_: Any) -> list:
    part = {"pooled": "conv_bottle.1", "norm": "bn_relu.0"}
    return [
        (r"inceptions\.(\d+)\.(bottleneck|convs\.\d|pooled|norm)\.(\w+)", lambda d, kind, p: f"layers.0.im.{d}.{part.get(kind, kind)}.{p}"),
        (r"shortcuts\.(\d+)\.(conv|norm)\.(\w+)", lambda k, kind, p: f"layers.0.sk.{k}.{'bn' if kind == 'norm' else 'conv'}.{p}"),
    ]


def _basic_rules(encoder: Any) -> list:
    dropped = encoder.config()["dropout"] > 0
    split = encoder.config()["split_first"]
    gate = {"squeeze": "w1", "excite": "w2"}

    def layer(i: str, kind: str, p: str) -> str:
        before = int(dropped and i != "0")  # a dropout counts as a layer
        return f"{i}.0.{before + (kind == 'norm')}.{p}"

    def activation(i: str, p: str) -> str:
        normed = encoder.config()["norm"]
        return f"0.1.{1 + normed}.{p}" if split and i == "0" else f"{i}.0.{int(dropped and i != '0') + 1 + normed}.{p}"

    return [
        (r"layers\.(\d+)\.conv\.(conv|norm)\.(\w+)", layer),
        (r"layers\.(\d+)\.across\.(conv|norm)\.(\w+)", lambda i, kind, p: f"{i}.1.{int(kind == 'norm')}.{p}"),
        (r"layers\.(\d+)\.activation\.(\w+)", activation),
        (r"layers\.(\d+)\.gate\.(squeeze|excite)\.weight", lambda i, kind: f"{i}.{2 if split and i == '0' else 1}.{gate[kind]}"),
    ]


_RULES: dict[type[Encoder], Any] = {
    xresnet1d.XResNet1d: _xresnet_rules,
    resnet1d.ResNet1d: _resnet_rules,
    resnet1d.WideResNet1d: _wide_rules,
    inception1d.Inception1d: _inception_rules,
    basic_conv1d.BasicConv1d: _basic_rules,
    rnn1d.RNN1d: lambda _: [(r"rnn\.(\w+)", lambda p: f"2.{p}")],
}
"""For each encoder, patterns over our names and what makes the old name of the groups found."""


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
            leads = LEADS if n_leads == len(LEADS) else tuple(f"lead{i + 1}" for i in range(n_leads))
            if n_leads != len(LEADS):
                notes.append(f"it takes {n_leads} leads and names none; they are called {leads[0]} to {leads[-1]}")
            return name, {"leads": list(leads), "fs": 100.0, **options, **said}, notes
    raise CheckpointError(f"has no tensors of a network of ecg-selfsupervised or of the PTB-XL benchmark; it has {some(list(state))}")


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
