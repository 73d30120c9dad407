"""LoRA: a frozen linear layer and a low-rank addition to it that learns. Merged, it is a linear layer as it was before.

Source: Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LoRALinear(nn.Linear):
    """x -> x W' + b + alpha / rank · drop(x) A' B'; W and b are frozen and keep their names, A is random and B begins at 0.

    lora_a : (rank, n_in); lora_b : (n_out, rank)

    In evaluation it computes with W + alpha / rank · B A, as the merged layer does, so that merging changes not one bit.
    """

    def __init__(self, plain: nn.Linear, rank: int, alpha: float, dropout: float = 0.0):
        # The plain layer's own tensors are taken over below; meta: none are made for nothing.
        super().__init__(plain.in_features, plain.out_features, bias=plain.bias is not None, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.scale, self.dropout = alpha / rank, dropout
        self.lora_a = nn.Parameter(plain.weight.new_empty(rank, plain.in_features))
        self.lora_b = nn.Parameter(plain.weight.new_zeros(plain.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.train(plain.training)

    def whole_weight(self) -> Tensor:
        """(n_out, n_in)"""
        return self.weight + self.scale * (self.lora_b @ self.lora_a)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return F.linear(input, self.whole_weight(), self.bias)
        low = F.linear(F.dropout(input, self.dropout), self.lora_a)
        return F.linear(input, self.weight, self.bias) + self.scale * F.linear(low, self.lora_b)


def add_lora(
    module: nn.Module, rank: int = 8, alpha: float | None = None, dropout: float = 0.0, targets: Sequence[str] | None = None
) -> list[str]:
    """Give linear layers of a module a low-rank addition, in place, and freeze everything else in it.

    rank    : of the addition
    alpha   : the addition counts alpha / rank; None: as much as rank, so that it counts 1
    dropout : of what goes into the addition
    targets : names, or last parts of names, of the linear layers (``("q_proj", "v_proj")``); None: all of them
    returns : the names of the layers that have one now

    Raises ValueError where a target is no linear layer, or nothing is there to be added to.
    """
    if rank < 1 or not 0 <= dropout < 1:
        raise ValueError(f"expected a rank above 0 and a dropout from 0 to below 1; got {rank} and {dropout}")
    # Subclasses of nn.Linear may compute something else, and a layer may not be given a second addition.
    linear = {name: part for name, part in module.named_modules() if type(part) is nn.Linear and name}
    wanted = {target: [name for name in linear if name == target or name.endswith(f".{target}")] for target in targets or ()}
    if missing := [target for target, found in wanted.items() if not found]:
        some = sorted({name.split(".")[-1] for name in linear})
        raise ValueError(f"no linear layer is called {', '.join(missing)}; there are {', '.join(some) or 'none at all'}")
    names = list(linear) if targets is None else [name for name in linear if any(name in found for found in wanted.values())]
    if not names:
        raise ValueError(f"{type(module).__name__} has no linear layer to which a low-rank addition could be made: take another protocol")
    module.requires_grad_(False)
    for name in names:
        owner, _, last = name.rpartition(".")
        setattr(module.get_submodule(owner), last, LoRALinear(linear[name], rank, rank if alpha is None else alpha, dropout))
    return names


def has_lora(module: nn.Module) -> bool:
    return any(isinstance(part, LoRALinear) for part in module.modules())


@torch.no_grad()
def merge_lora(module: nn.Module) -> None:
    """Put the additions into the weights, in place: plain linear layers, and the state dict's keys, as they were before ``add_lora``.

    What was frozen stays frozen.
    """
    for name, part in list(module.named_modules()):
        if isinstance(part, LoRALinear):
            plain = nn.Linear(part.in_features, part.out_features, bias=part.bias is not None, device="meta")
            plain.weight = nn.Parameter(part.whole_weight(), requires_grad=part.weight.requires_grad)
            plain.bias = part.bias
            owner, _, last = name.rpartition(".")
            setattr(module.get_submodule(owner), last, plain.train(part.training))
