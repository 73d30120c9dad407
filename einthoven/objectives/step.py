"""What an objective or a task gives the training loop, and the moment at which it is asked.

Every random choice of training is a function of a ``Moment`` and of a name, never of a generator's history: so a run that
was interrupted goes on bit for bit, and a batch that is spread over several processes draws what one process would draw.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """The outcome of one forward pass.

    loss   : () mean over ``weight`` terms; the loop follows the gradient of sum(weight * loss) / sum(weight) over
             micro-batches and processes
    parts  : name -> () detached tensor, each a mean of the same kind; what is logged
    weight : the number of terms behind the mean: masked frames, labels, rows
    """

    loss: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    weight: float = 1.0


def valid_of(batch: Mapping[str, Any]) -> Tensor | None:
    """The batch's ``valid``, or None where nothing is padding, which the batch's ``padded`` says without asking the device."""
    return batch.get("valid") if batch.get("padded", True) else None


@dataclass(frozen=True)
class Moment:
    """Where in a run a random choice is made.

    seed      : the run's seed
    step      : optimiser updates finished before this one
    micro     : which micro-batch of the update (gradient accumulation)
    first_row : index of this process's first row in the whole micro-batch over all processes
    n_rows    : rows of the whole micro-batch over all processes; None: this process has them all
    scope     : what the choices are for, where the same ones are made several times (one of several views); "": once
    """

    seed: int = 0
    step: int = 0
    micro: int = 0
    first_row: int = 0
    n_rows: int | None = None
    scope: str = ""

    def within(self, scope: str) -> Moment:
        """The same moment for choices of another purpose: equal names draw other numbers in it."""
        return replace(self, scope=f"{self.scope}{scope}/")

    def key(self, name: str) -> int:
        """A 63-bit number that depends on the run, the update, the micro-batch and the name of the choice, not on the process."""
        name = self.scope + name
        low = zlib.crc32(f"{name}/{self.seed}/{self.step}/{self.micro}".encode())
        high = zlib.crc32(f"{self.micro}|{self.step}|{self.seed}|{name}".encode())
        return (high << 31) ^ low

    def generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh generator for one named choice about the whole micro-batch; each process draws for all rows and keeps its own."""
        generator = torch.Generator(device=device)
        generator.manual_seed(self.key(name))
        return generator

    def own(self, drawn: Tensor, n_own: int) -> Tensor:
        """This process's rows of something drawn for all rows: (n_rows, ...) -> (n_own, ...)."""
        return drawn[self.first_row : self.first_row + n_own]

    def uniform(self, name: str, n_own: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Numbers in [0, 1) for this process's rows: (n_own, *shape) float32. Few: drawn on the CPU for all rows, the same on every device."""
        return self.own(torch.rand(self.rows(n_own), *shape, generator=self.generator(name)), n_own).to(device)

    def normal(self, name: str, n_own: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal numbers for this process's rows: (n_own, *shape) float32. Few: drawn on the CPU for all rows."""
        return self.own(torch.randn(self.rows(n_own), *shape, generator=self.generator(name)), n_own).to(device)

    def noise(self, name: str, n_own: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal numbers for this process's rows: (n_own, *shape) float32. Many: each row has a generator of its own on the
        device, so that a process draws for none but its rows."""
        out = torch.empty(n_own, *shape, device=device)
        generator = torch.Generator(device=device)
        for row in range(n_own):
            generator.manual_seed(self.key(f"{name}/{self.first_row + row}"))
            out[row].normal_(generator=generator)
        return out

    def rows(self, n_own: int) -> int:
        """Rows of the whole micro-batch, when this process has ``n_own`` of them."""
        return n_own if self.n_rows is None else self.n_rows
