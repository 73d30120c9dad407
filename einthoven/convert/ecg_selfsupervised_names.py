"""What ecg-selfsupervised and the PTB-XL benchmark called the parameters of their networks, and what we call them.

``old_names`` says for each parameter of ours where it stood. Both directions go over that one table: ``load`` takes old
tensors, ``legacy_state`` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from einthoven.errors import CheckpointError
from einthoven.layers.head import ClassifierHead
from einthoven.models import ENCODERS, basic_conv1d, inception1d, resnet1d, rnn1d, xresnet1d
from einthoven.models.encoder import Encoder
from einthoven.models.folder import some

State = Mapping[str, Tensor]


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
