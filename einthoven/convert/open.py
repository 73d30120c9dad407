"""Weights from wherever a person has them: a model folder, a run, a model of the hub, or a checkpoint of an older system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from einthoven.convert import ecg_selfsupervised, fairseq_signals
from einthoven.errors import CheckpointError
from einthoven.models.folder import CONFIG, load_model, locate

MODEL = "model"
"""Where a run keeps its model."""


def convert_checkpoint(
    checkpoint: Path, folder: Path, *, scaling: str | None = None, labels: Path | None = None, builder: str | None = None
) -> list[str]:
    """Write another system's checkpoint as a model folder; returns what was assumed or dropped.

    scaling : what the weights were trained on; None: what that system did
    labels  : names of the classes; builder : ecg-selfsupervised and the benchmark: the network, where the tensors leave it open
    """
    if ecg_selfsupervised.is_ecg_selfsupervised(checkpoint):
        return ecg_selfsupervised.convert_checkpoint(checkpoint, folder, scaling=scaling, labels=labels, builder=builder)
    if builder is not None:
        raise CheckpointError(f"{checkpoint}: --builder belongs to ecg-selfsupervised and the PTB-XL benchmark; leave it away")
    return fairseq_signals.convert_checkpoint(checkpoint, folder, scaling=scaling or "record_zscore", labels=labels)


def open_weights(name: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and configuration of a model. Raises CheckpointError, saying what was expected, where there is none."""
    path = Path(name)
    if path.is_file():
        if path.name == CONFIG or path.suffix == ".safetensors":
            return load_model(path.parent)
        old = ecg_selfsupervised.is_ecg_selfsupervised(path)
        converted = ecg_selfsupervised.from_ecg_selfsupervised(path) if old else fairseq_signals.from_fairseq_signals(path)
        return converted.state, converted.config
    if path.is_dir() and not (path / CONFIG).exists():
        if (path / MODEL / CONFIG).exists():
            return load_model(path / MODEL)
        if (path / "recipe.json").exists():
            raise CheckpointError(f"{path}: this run has no model yet; let it finish with einthoven resume {path}")
        raise CheckpointError(
            f"{path}: holds no model; expected a run, a folder with config.json and model.safetensors, or a checkpoint of fairseq-signals or ecg-selfsupervised"
        )
    if not locate(name).is_dir():
        raise CheckpointError(
            f"{name}: no such file or folder; expected a run, a model folder, a model of the hub (org/name), or a checkpoint of fairseq-signals or ecg-selfsupervised"
        )
    return load_model(name)
