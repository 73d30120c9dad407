"""The classifier on top of a record's vector that fastai's networks have, and with them most convolutional ECG models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import initialise

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "elu": F.elu}


class ClassifierHead(nn.Module):
    """Per hidden layer batch norm, dropout, linear layer, activation; then batch norm, dropout, linear layer: (batch, width) -> (batch, n_out).

    hidden     : widths of the hidden layers; none: batch norm, dropout and one linear layer. The PTB-XL benchmark has (128,)
    dropout    : before the last linear layer; before the others half of it
    batch_norm : False leaves the batch norms before the linear layers out; with no hidden layer and no dropout that is linear evaluation
    final_norm : a batch norm of the answers themselves
    activation : "relu" or "elu"

    Source: fastai's ``create_head``, as in Strodthoff et al., IEEE JBHI 2021.
    """

    def __init__(
        self,
        width: int,
        n_out: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.5,
        batch_norm: bool = True,
        final_norm: bool = False,
        activation: Literal["relu", "elu"] = "relu",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"expected the activation to be one of {', '.join(ACTIVATIONS)}; got {activation!r}")
        widths = (width, *hidden, n_out)
        if min(widths) < 1 or not 0 <= dropout < 1:
            raise ValueError(f"expected widths above 0 and a dropout from 0 to below 1; got {widths} and {dropout}")
        self.hidden, self.activation = tuple(hidden), activation
        self.norms = nn.ModuleList(BatchNorm(n) for n in widths[:-1]) if batch_norm else None
        self.dropouts = nn.ModuleList([*(nn.Dropout(dropout / 2) for _ in hidden), nn.Dropout(dropout)])
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.final_norm = BatchNorm(n_out, momentum=0.01) if final_norm else None
        initialise(self)

    def config(self) -> dict[str, Any]:
        """The options, in JSON's types."""
        dropout = self.dropouts[-1]
        assert isinstance(dropout, nn.Dropout)
        return {
            "hidden": list(self.hidden), "dropout": dropout.p, "batch_norm": self.norms is not None,
            "final_norm": self.final_norm is not None, "activation": self.activation,
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        activate = ACTIVATIONS[self.activation]
        last = len(self.linears) - 1
        for number, (drop, linear) in enumerate(zip(self.dropouts, self.linears)):
            if self.norms is not None:
                x = self.norms[number](x)
            x = linear(drop(x))
            if number < last:
                x = activate(x)
        return x if self.final_norm is None else self.final_norm(x)
