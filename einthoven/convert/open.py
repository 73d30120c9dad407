"""Weights from wherever a person has them: a model folder, a run, a model of the hub, or a ``.pt`` of fairseq-signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from einthoven.convert.fairseq_signals import from_fairseq_signals
from einthoven.errors import CheckpointError
from einthoven.models.folder import CONFIG, load_model, locate

MODEL = "model"
"""Where a run keeps its model."""


def open_weights(name: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and configuration of a model. Raises CheckpointError, saying what was expected, where there is none."""
    path = Path(name)
    if path.is_file():
        if path.name == CONFIG or path.suffix == ".safetensors":
            return load_model(path.parent)
        converted = from_fairseq_signals(path)
        return converted.state, converted.config
    if path.is_dir() and not (path / CONFIG).exists():
        if (path / MODEL / CONFIG).exists():
            return load_model(path / MODEL)
        if (path / "recipe.json").exists():
            raise CheckpointError(f"{path}: this run has no model yet; let it finish with einthoven resume {path}")
        raise CheckpointError(
            f"{path}: holds no model; expected a run, a folder with config.json and model.safetensors, or a .pt of fairseq-signals"
        )
    if not locate(name).is_dir():
        raise CheckpointError(
            f"{name}: no such file or folder; expected a run, a model folder, a model of the hub (org/name), or a .pt of fairseq-signals"
        )
    return load_model(name)
