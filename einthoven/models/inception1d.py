"""InceptionTime for ECGs: convolutions of three lengths side by side, with shortcuts over every third module.

Source: Ismail Fawaz et al., Data Min. Knowl. Discov. 2020; as in Strodthoff et al., IEEE JBHI 2021. There the modules before
the first shortcut belonged to no group of learning rates and were never fine-tuned; here they are the first group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.convolution import Convolution, initialise, max_pool, normalise, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder


def odd(kernel: int) -> int:
    return kernel - (kernel % 2 == 0)


class Module(nn.Module):
    """Convolutions of three lengths behind a narrow one, and one behind a max pool, side by side: (batch, n_in, time) -> (batch, 4 * filters, time)."""

    def __init__(self, n_in: int, filters: int, bottleneck: int, kernel: int):
        super().__init__()
        self.bottleneck = nn.Conv1d(n_in, bottleneck, 1, bias=False) if bottleneck else None
        width = bottleneck or n_in
        self.convs = nn.ModuleList(
            nn.Conv1d(width, filters, k, padding="same", bias=False) for k in map(odd, (kernel, kernel // 2, kernel // 4))
        )
        self.pooled = nn.Conv1d(n_in, filters, 1, bias=False)
        self.norm = BatchNorm(4 * filters)

    def forward(self, x: Tensor, n: Tensor | None) -> Tensor:
        largest, _ = max_pool(x, n, 3, 1, 1)
        x = within(x, n)
        narrow = x if self.bottleneck is None else self.bottleneck(x)
        wide = torch.cat([*(conv(narrow) for conv in self.convs), self.pooled(largest)], dim=1)
        return F.relu(normalise(wide, n, self.norm))


class Inception1d(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, time, dim), dim = 4 * filters: a frame per sample.

    leads, fs  : what the signals must be; one row of ``ecg`` per lead, samples per second
    depth      : modules
    filters    : channels of each of a module's four convolutions
    kernel     : longest kernel of a module in samples, made odd; the others are its half and its quarter
    bottleneck : channels of the narrow convolution before them; 0: none
    residual   : a shortcut over every third module

    A padded record gives the frames that it gives alone; behind its end they are 0.
    """

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        depth: int = 6,
        filters: int = 32,
        kernel: int = 40,
        bottleneck: int = 32,
        residual: bool = True,
    ):
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if depth < 1 or filters < 1 or kernel < 4 or bottleneck < 0:
            raise ValueError(
                f"expected modules with filters and a kernel of 4 or more; got depth {depth}, filters {filters}, kernel {kernel}"
            )
        super().__init__(leads, fs, dim=4 * filters, samples_per_frame=1, pooling="max_mean")
        self._config = {**options, "leads": list(self.leads), "fs": self.fs}
        width = 4 * filters
        n_leads = len(self.leads)
        self.inceptions = nn.ModuleList(Module(width if number else n_leads, filters, bottleneck, kernel) for number in range(depth))
        n_shortcuts = depth // 3 if residual else 0
        self.shortcuts = nn.ModuleList(Convolution(width if number else n_leads, width, 1, active=False) for number in range(n_shortcuts))
        initialise(self)

    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        return n_samples

    def stages(self) -> list[tuple[str, ...]]:
        """Three modules and the shortcut over them, and so on."""
        groups = []
        for first in range(0, len(self.inceptions), 3):
            names = [f"inceptions.{number}." for number in range(first, min(first + 3, len(self.inceptions)))]
            groups.append((*names, *([f"shortcuts.{first // 3}."] if first // 3 < len(self.shortcuts) else [])))
        return groups

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        self.check_signal(ecg, valid)
        x, n = ecg, None if valid is None else valid.sum(dim=1)
        before = x
        for number, module in enumerate(self.inceptions):
            x = module(x, n)
            if number % 3 == 2:
                if number // 3 < len(self.shortcuts):
                    x = F.relu(x + self.shortcuts[number // 3](before, n)[0])
                before = x
        return within(x, n).transpose(1, 2)


PRESETS: dict[str, dict[str, Any]] = {"inception1d": {}, "inception1d_small": {"filters": 8, "bottleneck": 8}}
"""As in the PTB-XL benchmark, and one for a laptop."""
