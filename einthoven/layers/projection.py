"""What stands between an encoder and a contrastive loss: a small perceptron, thrown away after pretraining."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm


def projection(dim: int, widths: Sequence[int], *, norm: bool = False) -> nn.Sequential:
    """Linear layers with ReLU between them: (batch, dim) -> (batch, widths[-1]); no layer at all where ``widths`` is empty.

    widths : of the hidden layers, then of the output
    norm   : batch normalisation behind every hidden layer, over the rows of all processes. These layers have no bias: the norm would
             take it off again (SwAV's published head has it all the same; ``bias_into_norm`` brings its weights over)

    Raises ValueError where a width is not a positive number.
    """
    if not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError(f"expected the widths of a projection to be numbers above 0; got {tuple(widths)}")
    layers: list[nn.Module] = []
    for place, width in enumerate(widths):
        hidden = place < len(widths) - 1
        layers.append(nn.Linear(dim, width, bias=not (hidden and norm)))
        if hidden:
            layers += [BatchNorm(width), nn.ReLU()] if norm else [nn.ReLU()]
        dim = width
    return nn.Sequential(*layers)


def unit(rows: Tensor, *, constant_norm: bool = False, eps: float = 1e-8) -> Tensor:
    """Rows of length 1: (row, dim) -> (row, dim); ``constant_norm`` leaves the gradient of the length out, as fairseq-signals does."""
    if not constant_norm:
        return F.normalize(rows, dim=1, eps=eps)
    return rows / rows.detach().norm(dim=1, keepdim=True).clamp(min=eps)


def bias_into_norm(state: dict[str, Tensor], linear: str, norm: str) -> dict[str, Tensor]:
    """Weights in which a batch norm's running mean has taken up the bias of the layer before it: equal in training and in evaluation.

    linear, norm : prefixes of the layer's and the norm's names in ``state``, which is left as it is
    """
    folded = dict(state)
    bias = folded.pop(f"{linear}.bias")
    folded[f"{norm}.running_mean"] = torch.as_tensor(folded[f"{norm}.running_mean"]) - bias
    return folded
