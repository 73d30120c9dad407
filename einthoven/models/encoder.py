"""What every encoder is: an ECG becomes frames. It knows no loss (docs/architecture.md).

An encoder that first makes frames and then puts them into context shows the two halves, ``frames`` and ``context``:
masked and predictive objectives stand between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from einthoven.layers.conv_frontend import first_frames
from einthoven.layers.pool import pool, pooled_dim


@dataclass(frozen=True)
class Frames:
    """What stands before context.

    tokens : (batch, frame, dim)    what ``context`` takes
    local  : (batch, frame, width)  normalised features of each frame alone: what masked objectives predict
    energy : ()                     mean square of the features before their norm, padding included
    valid  : (batch, frame) bool    True where real; None: no frame is padding
    """

    tokens: Tensor
    local: Tensor
    energy: Tensor
    valid: Tensor | None


class Encoder(nn.Module):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool or None -> (batch, frame, dim).

    leads, fs          : what the signals must be; one row of ``ecg`` per lead, samples per second
    dim                : width of a frame
    samples_per_frame  : samples between the centres of two frames
    local_dim          : width of ``Frames.local``, where there are halves
    pooling            : how this encoder's frames become one vector, as published: a name of ``layers.pool.POOLINGS``
    has_context        : whether ``frames`` and ``context`` exist
    causal             : whether a frame of the context knows nothing of later frames, so that predicting them means something
    takes_any_tokens   : whether ``context`` may be given any subset of the tokens, because they carry their own positions
    least_samples      : shortest signal that gives a frame

    ``valid`` marks real samples, which stand before the padding.
    """

    has_context: ClassVar[bool] = False
    takes_any_tokens: ClassVar[bool] = False
    causal: bool = False
    frozen: bool = False

    def __init__(
        self, leads: Sequence[str], fs: float, *, dim: int, samples_per_frame: int, pooling: str = "mean", local_dim: int | None = None
    ):
        super().__init__()
        self.leads, self.fs, self.dim = tuple(leads), float(fs), dim
        self.samples_per_frame, self.pooling = samples_per_frame, pooling
        self.local_dim = dim if local_dim is None else local_dim

    @property
    def width(self) -> int:
        """Width of a record's vector."""
        return pooled_dim(self.dim, self.pooling)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, in JSON's types: ``type(encoder)(**encoder.config())``."""
        raise NotImplementedError

    def n_frames(self, n_samples: Any) -> Any:
        """Frames of a record of this length (a number, or a tensor of numbers); 0 where it is too short for one."""
        raise NotImplementedError

    def frames(self, ecg: Tensor, valid: Tensor | None = None) -> Frames:
        """Tokens before any context, where ``has_context``."""
        raise NotImplementedError(f"{type(self).__name__} has no halves")

    def context(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """(batch, frame, dim), (batch, frame) bool or None -> (batch, frame, dim), where ``has_context``."""
        raise NotImplementedError(f"{type(self).__name__} has no halves")

    def stages(self) -> list[tuple[str, ...]]:
        """Prefixes of parameter names, from the input to the top: what discriminative learning rates divide.

        Every parameter's name begins with exactly one of them. One stage, everything, unless an encoder says otherwise.
        """
        return [("",)]

    def freeze(self) -> None:
        """From now on it does not learn, and stays in evaluation mode whatever is asked of it: no dropout, no drifting batch statistics."""
        self.requires_grad_(False)
        self.frozen = True
        self.eval()

    def train(self, mode: bool = True) -> Encoder:
        return super().train(mode and not self.frozen)

    def frame_valid(self, valid: Tensor) -> Tensor:
        """Which frames stand for real samples: (batch, time) bool -> (batch, frame) bool."""
        return first_frames(torch.as_tensor(self.n_frames(valid.sum(dim=1))), int(self.n_frames(valid.shape[1])))

    def embed(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        """One vector per record: (batch, lead, time) -> (batch, width)."""
        return pool(self(ecg, valid), None if valid is None else self.frame_valid(valid), self.pooling)

    def check_signal(self, ecg: Tensor, valid: Tensor | None = None) -> None:
        """Raise ValueError, with what was expected, unless ``ecg`` has the leads and the length of a frame."""
        if ecg.dim() != 3 or ecg.shape[1] != len(self.leads):
            hint = " It looks transposed: pass ecg.mT." if ecg.dim() == 3 and ecg.shape[2] == len(self.leads) else ""
            raise ValueError(
                f"expected an ECG of shape (batch, lead={len(self.leads)}, time) for {' '.join(self.leads)}; got {tuple(ecg.shape)}.{hint}"
            )
        if valid is not None and valid.shape != (ecg.shape[0], ecg.shape[2]):
            raise ValueError(f"expected valid of shape (batch={ecg.shape[0]}, time={ecg.shape[2]}); got {tuple(valid.shape)}")
        if self.n_frames(ecg.shape[2]) < 1:
            raise ValueError(f"expected at least {self.least_samples} samples, one frame; got {ecg.shape[2]}")

    @property
    def least_samples(self) -> int:
        """The shortest signal that gives a frame."""
        n = 1
        while self.n_frames(n) < 1:
            n += 1
        return n
