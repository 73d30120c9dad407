"""Our encoder and heads with the weights that ecg-selfsupervised's contrastive methods had, from the state of a golden case."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from einthoven.convert.ecg_selfsupervised_names import load, old_names, single
from einthoven.convert.ecg_selfsupervised_sizes import recognise
from einthoven.models import ENCODERS
from einthoven.models.encoder import Encoder


def part(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {key.removeprefix(prefix): torch.from_numpy(value) for key, value in state.items() if key.startswith(prefix)}


def encoder_of(state: Mapping[str, np.ndarray], prefix: str) -> Encoder:
    """The convolutional part of the old wrapper, ``<prefix>features.*``."""
    own = single(part(state, f"{prefix}features."))
    name, options, _ = recognise(own)
    encoder = ENCODERS[name](**options)
    encoder.load_state_dict(load(encoder, own))
    return encoder


def by_our_names(encoder: Encoder, state: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """Another state of the same network, for comparison."""
    return load(encoder, single(part(state, f"{prefix}features.")))


def encoder_names(encoder: Encoder, ours: str, theirs: str) -> dict[str, str]:
    """Our name of each parameter -> theirs."""
    return {f"{ours}{name}": f"{theirs}features.{old}" for name, old in old_names(encoder).items()}
