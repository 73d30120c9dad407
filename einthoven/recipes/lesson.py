"""What fine-tuning needs to know of its task: one value, whichever task it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from einthoven.train.data import View

Say = Callable[[str], None]


@dataclass(frozen=True)
class Lesson:
    """A task and what it is taught with.

    task      : the module
    view      : training items
    validate  : the module -> its scores on the held-out recordings; None without them
    metrics   : names that ``validate`` gives, known before training
    describe  : the module, after training -> the arguments of ``models.folder.describe`` that are the task's
    """

    task: nn.Module
    view: View
    validate: Callable[[nn.Module], Mapping[str, float]] | None
    metrics: Sequence[str]
    describe: Callable[[nn.Module], dict[str, Any]] = field(default=lambda module: {})
