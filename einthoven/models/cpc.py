"""The CPC encoder: convolutions make frames, a recurrent network puts them into context; it never looks ahead.

Source: van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018; for ECGs Mehari and
Strodthoff, Comput. Biol. Med. 141, 2022: four layers of 512 that see one sample each ("fc") and two LSTMs of 512, at 100 Hz.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from einthoven.layers.batch_norm import BatchNorm
from einthoven.layers.conv_frontend import first_frames
from einthoven.layers.convolution import same, windows, within
from einthoven.leads import TWELVE
from einthoven.models.encoder import Encoder, Frames


class ConvBlocks(nn.ModuleList):
    """Convolutions, each with batch norm (or a bias) and ReLU: (batch, channel, time) -> (batch, channel', frame).

    With ``valid`` (batch, time) what a record gives does not depend on how far it was padded: padding is 0 before every
    convolution, and takes no part in the batch's mean and variance. Block i is a convolution ``i.0`` and a norm ``i.1``, as in
    the published weights.
    """

    def __init__(self, n_leads: int, features: Sequence[int], kernels: Sequence[int], strides: Sequence[int], *, batch_norm: bool = True):
        if not len(features) == len(kernels) == len(strides):
            raise ValueError(
                "expected a number of features, a kernel and a stride for each convolution of the stem; "
                f"got {len(features)} features, {len(kernels)} kernels and {len(strides)} strides"
            )
        blocks = []
        for width, channels, kernel, stride in zip((n_leads, *features), features, kernels, strides):
            conv = nn.Conv1d(width, channels, kernel, stride, padding=same(kernel), bias=not batch_norm)
            blocks.append(nn.ModuleList([conv, BatchNorm(channels)] if batch_norm else [conv]))
        super().__init__(blocks)

    def parts(self) -> list[tuple[nn.Conv1d, BatchNorm | None]]:
        """Each block's convolution and norm."""
        return [(block[0], block[1] if len(block) > 1 else None) for block in self]  # type: ignore[index, arg-type]

    def n_frames(self, n_samples: Any) -> Any:
        """Frames of a record of this length (a number, or a tensor of numbers)."""
        for conv, _ in self.parts():
            n_samples = frames_after(n_samples, conv)
        return n_samples

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        n_valid = None if valid is None else valid.sum(dim=1)
        for conv, norm in self.parts():
            x = conv(within(x, n_valid))
            n_valid = None if n_valid is None else frames_after(n_valid, conv)
            if norm is not None:
                x = norm(x) if n_valid is None or not norm.training else norm_of_real(x, n_valid, norm)
            x = torch.relu(x)
        return within(x, n_valid)


def frames_after(n: Any, conv: nn.Conv1d) -> Any:
    """Frames after a convolution with its padding (a number, or a tensor of numbers), 0 where none."""
    return windows(n, conv.kernel_size[0], conv.stride[0], int(conv.padding[0]))


def norm_of_real(x: Tensor, n_valid: Tensor, norm: BatchNorm) -> Tensor:
    """Batch norm in training, of the first ``n_valid`` frames of each row alone: (batch, channel, frame) -> the same, 0 at padding."""
    frames = x.transpose(1, 2)
    real = first_frames(n_valid, x.shape[2])
    normed = norm(frames[real])
    return normed.new_zeros(frames.shape).masked_scatter(real[:, :, None], normed).transpose(1, 2)


class CPCEncoder(Encoder):
    """``encoder(ecg, valid)``: (batch, lead, time), (batch, time) bool -> (batch, frame, dim).

    leads, fs : what the signals must be; one row of ``ecg`` per lead, samples per second; published at 100 Hz
    features, kernels, strides : of each convolution; no convolutions: the recurrent network reads the samples themselves
    batch_norm : whether a norm follows each convolution; otherwise it has a bias
    cell      : "lstm" or "gru"
    dim, depth : width and layers of the recurrent network
    pooling   : how frames become a record's vector; as published their mean, their maximum and the last one, side by side

    ``frames().tokens`` and ``local`` are the convolutions' output, which CPC predicts; their width is the last of ``features``.
    Any length and any leads will do; a network over single samples ("fc") reads a 10 s ECG of 500 Hz in 5,000 steps.
    """

    has_context = True
    causal = True

    def __init__(
        self,
        leads: Sequence[str] = TWELVE,
        fs: float = 500.0,
        *,
        features: tuple[int, ...] = (512, 512, 512, 512),
        kernels: tuple[int, ...] = (1, 1, 1, 1),
        strides: tuple[int, ...] = (1, 1, 1, 1),
        batch_norm: bool = True,
        cell: Literal["lstm", "gru"] = "lstm",
        dim: int = 512,
        depth: int = 2,
        pooling: Literal["mean_max_last", "last", "mean"] = "mean_max_last",
    ):
        if cell not in ("lstm", "gru"):
            raise ValueError(f"expected the recurrent network's cell to be lstm or gru; got {cell!r}")
        local_dim = features[-1] if features else len(leads)
        super().__init__(leads, fs, dim=dim, samples_per_frame=math.prod(strides), pooling=pooling, local_dim=local_dim)
        self._config = {
            **{"leads": list(self.leads), "fs": self.fs, "features": list(features), "kernels": list(kernels), "strides": list(strides)},
            **{"batch_norm": batch_norm, "cell": cell, "dim": dim, "depth": depth, "pooling": pooling},
        }
        self.encoder = ConvBlocks(len(self.leads), features, kernels, strides, batch_norm=batch_norm)
        self.rnn = (nn.LSTM if cell == "lstm" else nn.GRU)(local_dim, dim, num_layers=depth, batch_first=True)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, in JSON's types: ``CPCEncoder(**config)``."""
        return dict(self._config)

    def n_frames(self, n_samples: Any) -> Any:
        """Frames of a record of this length (a number, or a tensor of numbers)."""
        return self.encoder.n_frames(n_samples)

    def stages(self) -> list[tuple[str, ...]]:
        """The convolutions, then the recurrent network: the groups of the published fine-tuning."""
        return [("encoder.",), ("rnn.",)] if len(self.encoder) else [("rnn.",)]

    def frames(self, ecg: Tensor, valid: Tensor | None = None) -> Frames:
        self.check_signal(ecg, valid)
        if valid is not None and not len(self.encoder):
            ecg = ecg.masked_fill(~valid[:, None], 0.0)
        tokens = self.encoder(ecg, valid).transpose(1, 2)
        energy = tokens.to(torch.promote_types(tokens.dtype, torch.float32)).square().mean()
        return Frames(tokens, tokens, energy, None if valid is None else self.frame_valid(valid))

    def context(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """(batch, frame, local_dim) -> (batch, frame, dim); a frame's value depends on it and on earlier ones, so padding needs no mask."""
        return self.rnn(tokens)[0]

    def forward(self, ecg: Tensor, valid: Tensor | None = None) -> Tensor:
        frames = self.frames(ecg, valid)
        return self.context(frames.tokens, frames.valid)


PRESETS: dict[str, dict[str, Any]] = {
    "cpc": {},
    "cpc_conv": {"kernels": (10, 4, 4, 4), "strides": (2, 2, 2, 2)},
    "cpc_tiny": {"features": (32, 64), "kernels": (10, 4), "strides": (4, 4), "dim": 64, "depth": 1},
}
"""``CPCEncoder(**PRESETS["cpc"])`` is the paper's, 4 layers and 2 LSTMs (4,999,168 parameters); "cpc_conv" has a frame per
16 samples; "cpc_tiny" learns on a laptop."""


def split_legacy_state(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights of ecg-selfsupervised's CPC model, or of its training module, as (the encoder's, those of the head above it).

    The encoder's names are ours; ``model_cpc.`` before them is taken away. Above it stand ``proj.`` (pretraining: it is that
    of the objective CPC) or ``head.`` (classifier).
    """
    names = {key.removeprefix("model_cpc."): value for key, value in state.items()}
    ours = {key: value for key, value in names.items() if key.startswith(("encoder.", "rnn."))}
    return ours, {key: value for key, value in names.items() if key not in ours}


def from_legacy_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ecg-selfsupervised's CPC model in our words: ``CPCEncoder(leads, fs, **from_legacy_arguments(arguments))``.

    Arguments that do not concern the encoder are left alone; without pooling of mean, maximum and last frame, only the last one counts.
    """
    skipped = bool(arguments.get("skip_encoder", False))
    features = () if skipped else tuple(arguments.get("features") or (512,) * 4)
    return {
        **{"features": features, "kernels": () if skipped else tuple(arguments["kss"])},
        **{"strides": () if skipped else tuple(arguments["strides"]), "batch_norm": bool(arguments.get("bn_encoder", True))},
        **{"cell": "lstm" if arguments.get("lstm", True) else "gru", "dim": arguments["n_hidden"], "depth": arguments["n_layers"]},
        "pooling": "mean_max_last" if arguments.get("concat_pooling", True) else "last",
    }
