"""Optimisers: which parameters learn how fast, fairseq's Adam, and an optimiser's state as named tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from einthoven.errors import CheckpointError
from einthoven.train.settings import Optim

_LAYER = re.compile(r"^encoder\.(?:.*\.)?layers\.(\d+)\.")


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
    """Parameters with equal peak learning rate and weight decay, together, with their names.

    With ``layer_decay`` d and n layers named ``encoder.….layers.<i>``, layer i learns at lr * d^(n - i), the last one at
    lr * d; all of the encoder that is in no layer (front-end, positions, norms around the layers) at lr * d^(n + 1).
    Source of layer-wise decay: Clark et al., ELECTRA, ICLR 2020.
    """
    layers = {int(found[1]) for name, _ in module.named_parameters() if (found := _LAYER.match(name))}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, weight in module.named_parameters():
        lr = optim.lr if name.startswith("encoder.") else (optim.head_lr or optim.lr)
        if optim.layer_decay is not None and name.startswith("encoder."):
            found = _LAYER.match(name)
            depth_below_head = len(layers) - int(found[1]) if found else len(layers) + 1
            lr *= optim.layer_decay**depth_below_head
        weight_decay = optim.weight_decay if optim.decay_all or weight.ndim >= 2 else 0.0
        group = groups.setdefault((lr, weight_decay), {"params": [], "names": [], "lr": lr, "peak": lr, "weight_decay": weight_decay})
        group["params"].append(weight)
        group["names"].append(name)
    return list(groups.values())


def build_optimiser(module: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """AdamW (fused) or fairseq's Adam over the module's parameter groups; each group knows its ``names`` and ``peak`` rate."""
    groups = parameter_groups(module, optim)
    if optim.name == "adam_legacy":
        return LegacyAdam(groups, optim.lr, optim.betas, optim.eps, optim.weight_decay)
    return torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps, weight_decay=optim.weight_decay, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Every group at its peak learning rate times ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


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
            "the checkpoint's parameter groups are not those of the run: resume with the run's own recipe (optim.layer_decay, optim.head_lr)"
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
