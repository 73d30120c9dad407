"""Whether the targets of a predictive method still say anything: a constant is easy to predict, and worth nothing.

Source: the checks that Assran et al., I-JEPA, CVPR 2023, and Bardes et al., VICReg, ICLR 2022, look at.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.errors import EinthovenError
from einthoven.layers.gather import sum_over_processes
from einthoven.objectives.mae import row_means
from einthoven.objectives.masked_prediction import take

FLOORS = {"target_spread": 0.1, "record_spread": 0.003, "target_size": 0.01}
"""See JEPA. A ViT at random weights has spreads of 0.7 and, for signals of 0.2 mV, 0.02 to 0.7; sums in float32 know a spread to 0.001."""


class Collapsed(EinthovenError):
    """The targets no longer say anything about the ECG."""


def look(
    raw: Tensor,
    target: Tensor,
    loss: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    predicted: Tensor,
    counted: Tensor | None,
    *,
    over_processes: bool,
) -> dict[str, Tensor]:
    """What tells a representation from a constant, over the rows of all processes; the names are explained in JEPA.

    raw, target : (batch, frame, dim)    before and after the target's norm
    loss        : ()                     of the method, mean over these rows
    distance    : its loss of one vector, (..., dim), (..., dim) -> (...)
    predicted   : (batch, predicted)     frames that were to be predicted
    counted     : (batch, frame) bool, frames that are not padding; None: all
    """
    total = sum_over_processes if over_processes else (lambda x: x)
    n_batch, n_frames, dim = target.shape
    weight = target.new_ones(n_batch, n_frames, 1) if counted is None else counted[:, :, None].to(target.dtype)
    mean = (target * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    sums = [
        (target * weight).sum(dim=0).flatten(),
        weight.sum(dim=0).flatten(),
        (target.square() * weight).sum().reshape(1),
        (raw.square() * weight).sum().reshape(1),
        F.normalize(mean, dim=1).sum(dim=0),
        target.new_tensor([n_batch]),
    ]
    at_place, n_place, square, size, direction, n_rows = total(torch.cat(sums)).split([len(one) for one in sums])
    at_place, n_place = at_place.view(n_frames, dim), n_place.view(n_frames, 1)
    n, whole = n_place.sum().clamp(min=1), square.clamp_min(1e-12)
    centre, place = at_place.sum(dim=0) / n, at_place / n_place.clamp(min=1)

    wanted, asked = take(target, predicted), None if counted is None else counted.gather(1, predicted)
    by_centre = row_means(distance(centre, wanted), asked).mean()
    by_place = row_means(distance(place[predicted], wanted), asked).mean()
    answered, centred, placed = total(torch.stack([loss, by_centre, by_place]) * n_batch)
    return {
        "target_size": (size / (n * dim)).sqrt().squeeze(),
        "target_spread": (1 - centre.square().sum() * n / whole).clamp(min=0).sqrt().squeeze(),
        "record_spread": (1 - (place.square() * n_place).sum() / whole).clamp(min=0).sqrt().squeeze(),
        "target_cosine": ((direction.square().sum() - n_rows) / (n_rows * (n_rows - 1)).clamp(min=1)).squeeze(),
        "relative_loss": answered / centred.clamp_min(1e-12),
        "relative_to_place": answered / placed.clamp_min(1e-12),
    }


class Guard(nn.Module):
    """Remembers what the targets were at the first update and at the last, and ends a run whose targets have become a constant.

    every : updates between two looks; 0: never
    sizes : whether the size of the targets counts: where they are not normalised
    """

    begun: Tensor

    def __init__(self, every: int, *, sizes: bool):
        super().__init__()
        self.every = every
        self.names = [name for name in FLOORS if sizes or name != "target_size"]
        self.register_buffer("begun", torch.full((len(self.names),), float("nan")))
        self.last: Tensor | None = None

    def remember(self, looked: dict[str, Tensor]) -> None:
        """Without asking the device."""
        self.last = torch.stack([looked[name] for name in self.names]).detach()
        self.begun.copy_(torch.where(self.begun.isnan(), self.last.to(self.begun.dtype), self.begun))

    def check(self, step: int) -> None:
        """Raise Collapsed where, at every ``every``-th update, a value is under its floor and under half of what it was at first."""
        if not self.every or step % self.every or self.last is None:
            return
        # Some encoders begin under a floor: a recurrent one at random weights gives nearly its biases, whatever comes.
        found = [
            f"{name} is {value:.2g} (least {FLOORS[name]}, at first {begun:.2g})"
            for name, value, begun in zip(self.names, self.last.tolist(), self.begun.tolist(), strict=True)
            if value < min(FLOORS[name], begun / 2)
        ]
        if found:
            raise Collapsed(
                f"jepa's targets have collapsed at step {step}: {', '.join(found)}; they say nothing about the ECG any more. Lower "
                "optim.lr, raise objective.momentum, or set objective.guard=0 to go on all the same"
            )
