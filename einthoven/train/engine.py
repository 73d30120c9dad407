"""One process or many: the module as torch's own engines (DistributedDataParallel, fully_shard) want to call it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from einthoven.errors import RecipeError
from einthoven.objectives.step import Moment
from einthoven.train.distributed import Place
from einthoven.train.settings import Settings


class Face(nn.Module):
    """An objective or task whose forward gives plain values: the engines look for tensors in tuples and dicts, not in a ``Step``."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, batch: dict[str, Any], moment: Moment) -> tuple[Tensor, dict[str, Any], Any]:
        step = self.module(batch, moment)
        return step.loss, dict(step.parts), step.weight


def compile_layers(module: nn.Module) -> None:
    """torch.compile for each layer of the encoder: its transformer blocks are alike and are compiled once."""
    layers = _layers(module)
    for part in layers or [module.get_submodule("encoder")]:
        part.compile()


def engage(module: nn.Module, settings: Settings, place: Place) -> nn.Module:
    """What the loop calls: the module itself, or the same spread over the processes."""
    if settings.sharded:
        from torch.distributed.fsdp import fully_shard

        if place.world == 1:
            raise RecipeError("sharded=true needs several processes: start it with torchrun, or leave sharded away")
        if any(getattr(part, "layerdrop", 0) for part in module.modules()):
            # Each process drops layers of its own choice, and would wait for ever for the others to gather a layer that they left out.
            raise RecipeError("sharded=true and layerdrop exclude each other: set encoder.layerdrop=0, or leave sharded away")
        face = Face(module)
        for layer in _layers(module):
            fully_shard(layer)
        fully_shard(face)
        return face
    if place.world > 1:
        # find_unused_parameters: layer drop, and heads of labels that a batch does not have, leave parameters out of an update.
        return DistributedDataParallel(Face(module), find_unused_parameters=True)
    return Face(module)


@contextlib.contextmanager
def apart(engine: nn.Module, last: bool) -> Iterator[None]:
    """Keep the processes' gradients to themselves in all micro-batches of an update but its last."""
    if isinstance(engine, DistributedDataParallel) and not last:
        with engine.no_sync():
            yield
        return
    wait = getattr(engine, "set_requires_gradient_sync", None)  # of a module that went through fully_shard
    if callable(wait):
        wait(last)
    yield


def _layers(module: nn.Module) -> list[nn.Module]:
    """The repeated blocks of an encoder: the members of its lists called ``layers``."""
    return [
        layer
        for name, part in module.named_modules()
        if name.split(".")[-1] == "layers" and isinstance(part, nn.ModuleList)
        for layer in part
    ]


def local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor; any other tensor itself."""
    # Not isinstance: importing DTensor takes 0.7 s, which unsharded runs need not pay.
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a sharded tensor, on every process; any other tensor itself."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
