"""Weights and optimiser spread over the processes (fully_shard): gathered, saved and loaded. Imported by sharded runs alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

from einthoven.errors import CheckpointError
from einthoven.train.engine import whole

SHARDS = "shards"
"""The folder of torch.distributed.checkpoint's own files in the checkpoint of a sharded run."""


def unsharded_copy(module: nn.Module) -> nn.Module:
    """A copy to hold the whole weights of a sharded module, for validation and export; taken before it is sharded."""
    return copy.deepcopy(module).cpu()


def gather(module: nn.Module, into: nn.Module | None) -> None:
    """Bring a sharded module's weights together in a copy; every process takes part, one has the copy."""
    for name, value in module.state_dict().items():
        full = whole(value)
        if into is not None:
            into.state_dict()[name].copy_(full)


def save_shards(folder: Path, weights: Mapping[str, Tensor], optimiser: Mapping[str, Tensor]) -> None:
    """Every process writes its part with torch.distributed.checkpoint."""
    dcp.save({"weights": dict(weights), "optimiser": dict(optimiser)}, checkpoint_id=folder / SHARDS)


def load_shards(folder: Path, module: nn.Module) -> dict[str, Tensor]:
    """Fill a sharded module's weights, whatever number of processes wrote them; gives the optimiser's tensors, sharded alike."""
    reader = dcp.FileSystemReader(folder / SHARDS)
    saved = reader.read_metadata().state_dict_metadata
    weights, parameters = module.state_dict(), dict(module.named_parameters())
    names = {name.removeprefix("weights.") for name in saved if name.startswith("weights.")}
    if names != weights.keys():
        raise CheckpointError(
            f"{folder} does not fit the model: {', '.join(sorted(names ^ weights.keys())[:4])} in one of them only. Was it another recipe?"
        )
    optimiser = {}
    for entry in (name.removeprefix("optimiser.") for name in saved if name.startswith("optimiser.")):
        weight = parameters[entry.partition("/")[2]]
        scalar = entry.startswith("step/")
        optimiser[entry] = torch.zeros((), device=weight.device) if scalar else torch.zeros_like(weight)
    dcp.load({"weights": weights, "optimiser": optimiser}, storage_reader=reader)
    return optimiser
