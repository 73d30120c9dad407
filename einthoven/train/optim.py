"""Optimisers: which parameters learn how fast, fairseq's Adam, and an optimiser's state as named tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from einthoven.errors import CheckpointError, RecipeError
from einthoven.models.encoder import Encoder
from einthoven.train.lars import attach_lars
from einthoven.train.settings import Optim

_LAYER = re.compile(r"^(?:.*\.)?layers\.(\d+)\.")


class LegacyAdam(torch.optim.Optimizer):
    """Adam with decoupled weight decay and eps added to the *uncorrected* root of the second moment.

    p <- p (1 - lr wd) - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps). In torch's AdamW, eps stands after the
    correction, which makes it larger by 1 / sqrt(1 - b2^t): at the first update 7 times, for b2 = 0.98.
    Source: fairseq's Adam, as fairseq-signals trained with it.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float, weight_decay: float):
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            (beta1, beta2), eps, lr = group["betas"], group["eps"], group["lr"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state.update(step=0, exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
                state["step"] += 1
                first, second = state["exp_avg"], state["exp_avg_sq"]
                first.mul_(beta1).add_(weight.grad, alpha=1 - beta1)
                second.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
                scale = lr * (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
                weight.mul_(1 - lr * group["weight_decay"])
                weight.addcdiv_(first, second.sqrt().add_(eps), value=-scale)


def parameter_groups(module: nn.Module, optim: Optim) -> list[dict[str, Any]]:
    """The parameters that learn, those with equal peak learning rate and weight decay together, with their names.

    Each of the encoder's stages (``encoder.stages()``, from the input to the top) has a factor on the rate, see
    ``stage_factors``. All that is not the encoder learns at ``head_lr``, or at the full rate.
    Raises RecipeError where nothing learns or where the options do not fit the encoder's stages.
    """
    stage: dict[str, int] = {}
    factors: list[float] = []
    if optim.layer_decay is not None or optim.discriminative is not None:
        encoder = getattr(module, "encoder", None)
        if not isinstance(encoder, nn.Module):
            key = "layer_decay" if optim.layer_decay is not None else "discriminative"
            raise RecipeError(
                f"optim.{key}: {type(module).__name__} has no encoder whose stages could learn at rates of their own; leave it away"
            )
        stage, n_stages = stage_of_each(encoder)
        factors = stage_factors(optim, n_stages)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            continue
        inside = name.startswith("encoder.")
        lr = optim.lr if inside else (optim.head_lr or optim.lr)
        if inside and factors:
            lr *= factors[stage[name.removeprefix("encoder.")]]
        weight_decay = optim.weight_decay if optim.decay_all or weight.ndim >= 2 else 0.0
        group = groups.setdefault((lr, weight_decay), {"params": [], "names": [], "lr": lr, "peak": lr, "weight_decay": weight_decay})
        group["params"].append(weight)
        group["names"].append(name)
    if not groups:
        raise RecipeError(f"nothing learns: every parameter of {type(module).__name__} is frozen")
    return list(groups.values())


def stage_of_each(encoder: nn.Module) -> tuple[dict[str, int], int]:
    """The number of the stage, from 0 at the input, in which each of the encoder's parameters stands; and how many stages there are.

    Raises ValueError, naming them, where a parameter stands in no stage or in two, or where a stage has none: a parameter that
    is forgotten, or a stage that is misspelt, would otherwise learn at a wrong rate or never, and nobody would hear of it.
    """
    names = [name for name, _ in encoder.named_parameters()]
    stages = encoder.stages() if isinstance(encoder, Encoder) else _stages_by_name(names)
    stage: dict[str, int] = {}
    for name in names:
        found = [number for number, prefixes in enumerate(stages) if any(name.startswith(prefix) for prefix in prefixes)]
        if len(found) != 1:
            raise ValueError(
                f"{type(encoder).__name__}.stages(): expected {name} in exactly one stage; it stands in {len(found)} of {len(stages)}"
            )
        stage[name] = found[0]
    if empty := [", ".join(prefixes) for number, prefixes in enumerate(stages) if number not in stage.values()]:
        raise ValueError(f"{type(encoder).__name__}.stages(): a stage has no parameter; no name begins with {' or '.join(empty)}")
    return stage, len(stages)


def _stages_by_name(names: list[str]) -> list[tuple[str, ...]]:
    """For a module that is no Encoder and says no stages: all that is in no ``layers.<i>``, then each of these."""
    layers: dict[int, set[str]] = {}
    for name in names:
        if found := _LAYER.match(name):
            layers.setdefault(int(found[1]), set()).add(found[0])
    rest = tuple(name for name in names if not _LAYER.match(name))
    return [*([rest] if rest else []), *(tuple(sorted(layers[number])) for number in sorted(layers))]


def stage_factors(optim: Optim, n_stages: int) -> list[float]:
    """A factor on the learning rate for each stage of an encoder, from the input to the top.

    layer_decay d  : stage i of n, from 0, has d^(n - i), so that the topmost one learns at d times the head's rate (Clark et
                     al., ELECTRA, ICLR 2020)
    discriminative : as it says; ``discriminative_stages`` tells how many stages each factor is for. Without it they are
                     divided as equally as possible

    Published: (1/256, 1/64, 1/16, 1/4) for xresnet1d after SimCLR, BYOL or SwAV; f² for CPC's convolutions and f for its
    recurrent layers, f = 0.1; f² for the front-end and the first three of twelve transformer layers, f for the others.
    Raises RecipeError where there are not as many stages as the options speak of.
    """
    if optim.layer_decay is not None:
        return [optim.layer_decay ** (n_stages - number) for number in range(n_stages)]
    if optim.discriminative is None:
        return [1.0] * n_stages
    factors, counts = optim.discriminative, optim.discriminative_stages
    if counts is not None and sum(counts) != n_stages:
        raise RecipeError(f"optim.discriminative_stages={list(counts)} is {sum(counts)} stages; expected the encoder's {n_stages}")
    if len(factors) > n_stages:
        raise RecipeError(
            f"optim.discriminative has {len(factors)} factors; expected as many as the encoder has stages, {n_stages}, or fewer"
        )
    if counts is not None:
        return [factor for factor, count in zip(factors, counts, strict=True) for _ in range(count)]
    return [factors[len(factors) - 1 - (n_stages - 1 - number) * len(factors) // n_stages] for number in range(n_stages)]


def build_optimiser(module: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """The optimiser over the module's parameter groups; each group knows its ``names`` and ``peak`` rate."""
    groups = parameter_groups(module, optim)
    moments: dict[str, Any] = {"lr": optim.lr, "betas": optim.betas, "eps": optim.eps, "weight_decay": optim.weight_decay}
    optimiser: torch.optim.Optimizer
    match optim.name:
        case "adamw":
            optimiser = torch.optim.AdamW(groups, **moments, fused=True)
        case "adam":
            optimiser = torch.optim.Adam(groups, **moments, fused=True)
        case "adam_legacy":
            optimiser = LegacyAdam(groups, **moments)
        case "sgd":
            optimiser = torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)
    if optim.lars is not None:
        attach_lars(optimiser, optim.lars, optim.lars_clip)
    return optimiser


def set_rate(optimiser: torch.optim.Optimizer, factor: float, momentum: float | None = None) -> None:
    """Every group at its peak learning rate times ``factor``; and at this momentum (the first of an Adam's betas), where one is given."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser as named tensors (``exp_avg/encoder.….weight``) and a JSON value: its groups, and its plain numbers."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, float]] = {}
    groups = []
    for group in optimiser.param_groups:
        groups.append({key: value for key, value in group.items() if key != "params"})
        for name, weight in zip(group["names"], group["params"], strict=True):
            for key, value in optimiser.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{key}/{name}"] = value
                else:
                    numbers.setdefault(name, {})[key] = value
    return tensors, {"kind": type(optimiser).__name__, "groups": groups, "numbers": numbers}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Put back what ``optimiser_state`` gave.

    Raises CheckpointError where the optimiser, its groups or the shape of a tensor are others than those that were saved.
    """
    weights = {name: weight for group in optimiser.param_groups for name, weight in zip(group["names"], group["params"], strict=True)}
    if facts["kind"] != type(optimiser).__name__:
        raise CheckpointError(
            f"the checkpoint's optimiser is {facts['kind']}, the run's is {type(optimiser).__name__}: resume with the run's own recipe"
        )
    saved = [group["names"] for group in facts["groups"]]
    if saved != [group["names"] for group in optimiser.param_groups]:
        raise CheckpointError(
            "the checkpoint's parameter groups are not those of the run: resume with the run's own recipe (optim.layer_decay, optim.discriminative, optim.head_lr)"
        )
    state: dict[str, dict[str, Any]] = {}
    for name, numbers in facts["numbers"].items():
        state.setdefault(name, {}).update(numbers)
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if name not in weights:
            raise CheckpointError(
                f"the checkpoint's optimiser has {key}, which belongs to no parameter of the model: the checkpoint is of another model"
            )
        if tensor.ndim and tensor.shape != weights[name].shape:
            raise CheckpointError(
                f"the checkpoint's optimiser has {key} of shape {tuple(tensor.shape)}, the parameter has {tuple(weights[name].shape)}"
            )
        # AdamW's step count stays where its fused kernel keeps it: on the parameter's device, float32.
        state.setdefault(name, {})[kind] = tensor.to(weights[name].device)
    kinds = {kind for values in state.values() for kind in values}
    for name, values in state.items():
        if absent := sorted(kinds - values.keys()):
            raise CheckpointError(
                f"the checkpoint's optimiser lacks {absent[0]}/{name}, which it has for other parameters: the checkpoint is incomplete"
            )
    for group, was in zip(optimiser.param_groups, facts["groups"], strict=True):
        group.update({key: tuple(value) if key == "betas" else value for key, value in was.items()})
    optimiser.state.clear()
    for name, values in state.items():
        optimiser.state[weights[name]] = values
