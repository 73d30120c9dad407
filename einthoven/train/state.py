"""Everything that a run needs to go on: weights, optimiser, average, position, best metric; saved and restored as one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import einthoven
from einthoven.errors import CheckpointError, EinthovenError, RecipeError
from einthoven.models.folder import load_weights
from einthoven.train import checkpoint
from einthoven.train.data import Order
from einthoven.train.distributed import Place, choose_precision
from einthoven.train.ema import Average
from einthoven.train.engine import compile_layers, engage
from einthoven.train.optim import build_optimiser, load_optimiser, optimiser_state
from einthoven.train.settings import Settings

LAST = "last"
"""The metric that chooses nothing: the last weights are the best."""
WEIGHTS, OPTIMISER, AVERAGE = "weights", "optimiser", "ema"


@dataclass
class Window:
    """Means over the updates since the last line of the log; part of a checkpoint, so that a resumed run writes the same lines."""

    weight: float = 0.0
    updates: int = 0
    norm: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, weight: float, values: Mapping[str, float], norm: float) -> None:
        self.weight, self.updates, self.norm = self.weight + weight, self.updates + 1, self.norm + norm
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + weight * value

    def take(self) -> dict[str, float]:
        """The means (the norm's over updates, the others' over terms), and begin anew."""
        means = {name: value / self.weight if self.weight else 0.0 for name, value in self.sums.items()}
        means["gradient_norm"] = self.norm / max(1, self.updates)
        self.weight, self.updates, self.norm, self.sums = 0.0, 0, 0.0, {}
        return means


class Training:
    """A module in training, and its position in the run.

    step          : updates made
    best, best_step : best value of the chosen metric and its step, None before the first validation
    waits         : validations since then; early: whether they are as many as the patience
    metrics       : the last validation's
    """

    def __init__(self, module: nn.Module, settings: Settings, place: Place, checkpoints: Path, order: Order):
        self.module = module.to(place.device).train()
        self.settings, self.place, self.checkpoints, self.order = settings, place, checkpoints, order
        self.precision = choose_precision(settings.precision, place.device)
        self.step, self.waits, self.early = 0, 0, False
        self.best: float | None = None
        self.best_step: int | None = None
        self.metrics: dict[str, float] = {}
        self.window = Window()
        self._learning = {name for name, weight in module.named_parameters() if weight.requires_grad}
        if settings.frozen_steps and not hasattr(module, "encoder"):
            raise RecipeError(f"frozen_steps={settings.frozen_steps}: {type(module).__name__} has no encoder to freeze; leave it away")
        if settings.compile:
            compile_layers(module)
        # Before the optimiser is built: sharding replaces the parameters.
        self._copy: nn.Module | None = None
        if settings.sharded and place.first:
            from einthoven.train.sharded import unsharded_copy

            self._copy = unsharded_copy(module)
        self._engine = engage(module, settings, place) if settings.sharded else None
        self.optimiser = build_optimiser(module, settings.optim)
        self.average = Average(module, settings.ema) if settings.ema is not None else None

    # ------------------------------------------------------------------------------------------------------ the module

    def engine(self) -> nn.Module:
        """What to call for the next update, with the encoder frozen or not."""
        if self._engine is None or (self.step == self.settings.frozen_steps > 0 and not self.settings.sharded):
            for name, weight in self.module.named_parameters():
                weight.requires_grad_(name in self._learning and not self._frozen(name))
            # Also at the end of the frozen updates: DistributedDataParallel must be made anew when other parameters learn.
            self._engine = engage(self.module, self.settings, self.place)
        return self._engine

    def _frozen(self, name: str) -> bool:
        return self.step < self.settings.frozen_steps and name.startswith("encoder.")

    def discard_frozen(self) -> None:
        """Throw away the frozen encoder's gradients, which fully_shard computes all the same: it does not follow ``requires_grad``."""
        if self.settings.sharded and self.step < self.settings.frozen_steps:
            for name, weight in self.module.named_parameters():
                if self._frozen(name):
                    weight.grad = None

    def whole_module(self) -> nn.Module | None:
        """The module with all its weights, for validation and export; every process asks, the first one gets it."""
        if not self.settings.sharded:
            return self.module
        from einthoven.train.sharded import gather

        gather(self.module, self._copy)
        return self._copy.to(self.place.device) if self._copy is not None else None

    # ------------------------------------------------------------------------------------------------------ validation

    def judge(self, metrics: Mapping[str, float]) -> bool:
        """Whether these metrics are the best so far; remembers it, and whether patience has come to its end."""
        name = self.settings.metric
        if name == LAST:
            return False
        if name not in metrics:
            near = difflib.get_close_matches(name, list(metrics), 1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise EinthovenError(f"metric={name} is not among what validation gives ({', '.join(metrics) or 'nothing'}){hint}")
        value = metrics[name]
        better = not math.isnan(value) and (self.best is None or (value > self.best if self.settings.maximise else value < self.best))
        if better:
            self.best, self.best_step, self.waits = value, self.step, 0
        else:
            self.waits += 1
        self.early = self.settings.patience is not None and self.waits >= self.settings.patience
        return better

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def save(self) -> None:
        """Write a checkpoint of this moment; remove old ones. Every process takes part."""
        self._refuse_drift()
        weights = self.module.state_dict()
        moments, facts = optimiser_state(self.optimiser)
        tensors = {WEIGHTS: weights, OPTIMISER: moments}
        if self.settings.sharded:
            if self.place.first:
                checkpoint.unfinished_folder(self.checkpoints, self.step)
            self.place.wait()
            from einthoven.train.sharded import save_shards

            save_shards(checkpoint.unfinished_folder(self.checkpoints, self.step), weights, moments)
            tensors = {}
            self.place.wait()
        if self.average is not None:
            tensors[AVERAGE] = self.average.values
        if self.place.first:
            checkpoint.save_checkpoint(self.checkpoints, self.step, tensors, self._state(facts))
            checkpoint.prune(self.checkpoints, self.settings.keep, self.best_step, self.step)
        self.place.wait()

    def restore(self, say: Callable[[str], None]) -> None:
        """Go on from the last whole checkpoint; from the beginning where there is none."""
        if self.place.first:
            checkpoint.remove_unfinished(self.checkpoints)
        folder = checkpoint.latest(self.checkpoints, say) if self.place.first else None
        name = self.place.tell(folder.name if folder is not None else None)
        if name is None:
            return
        folder = self.checkpoints / name
        state = checkpoint.read_state(folder)
        data = {"items": self.order.n_items, "batch": self.order.batch, "accumulate": self.order.accumulate, "seed": self.order.seed}
        if other := [f"{key} {state['data'][key]}, now {value}" for key, value in data.items() if state["data"][key] != value]:
            raise CheckpointError(f"{folder} was written in another run ({'; '.join(other)}): resume with the run's own recipe and store")
        if state["sharded"] != self.settings.sharded:
            raise CheckpointError(f"{folder} was written with sharded={str(state['sharded']).lower()}: resume with the run's own recipe")
        self.load_weights_of(folder)
        if not self.settings.sharded:
            load_optimiser(self.optimiser, checkpoint.read_tensors(folder, OPTIMISER), state["optimiser"])
        else:
            from einthoven.train.sharded import load_shards

            load_optimiser(self.optimiser, load_shards(folder, self.module), state["optimiser"])
        self.step, self.waits, self.early = state["step"], state["waits"], state["early"]
        self.best, self.best_step, self.metrics = state["best"], state["best_step"], state["metrics"]
        self.window = Window(**state["window"])
        if self.settings.precision == "auto":
            self.precision = state["precision"]
        for key, here in self._here().items():
            if state["here"].get(key, here) != here:
                say(
                    f"this run goes on with {key} {here}, its checkpoint was written with {state['here'][key]}: the numbers may differ in the last bits"
                )

    def load_weights_of(self, folder: Path) -> None:
        """The weights, and their average, of a checkpoint of this run."""
        if self.settings.sharded:
            from einthoven.train.sharded import load_shards

            load_shards(folder, self.module)
        else:
            load_weights(self.module, checkpoint.read_tensors(folder, WEIGHTS), str(folder))
        if self.average is not None:
            self.average.load(checkpoint.read_tensors(folder, AVERAGE))

    def _state(self, optimiser: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "step": self.step,
            "epoch": self.step / self.order.per_epoch,
            "best": self.best,
            "best_step": self.best_step,
            "waits": self.waits,
            "early": self.early,
            "metrics": self.metrics,
            "window": vars(self.window),
            "precision": self.precision,
            "sharded": self.settings.sharded,
            "data": {"items": self.order.n_items, "batch": self.order.batch, "accumulate": self.order.accumulate, "seed": self.order.seed},
            "here": self._here(),
            "optimiser": optimiser,
        }

    def _here(self) -> dict[str, Any]:
        """What the last bits of a number depend on."""
        return {
            "einthoven": einthoven.__version__,
            "torch": torch.__version__,
            "device": self.place.device.type,
            "processes": self.place.world,
            # On a CPU, sums are divided among the threads, so their number is in the last bits of every gradient.
            "threads": torch.get_num_threads() if self.place.device.type == "cpu" else None,
        }

    def _refuse_drift(self) -> None:
        """Several processes must hold the same weights: raise where a gradient was not shared, before it is saved."""
        if self.place.world == 1 or self.settings.sharded:
            return
        own = torch.stack([weight.detach().double().sum() for weight in self.module.parameters()]).to(self.place.device)
        mean = self.place.sum(own.clone()) / self.place.world
        if not torch.allclose(own, mean, rtol=1e-9, atol=1e-12, equal_nan=True):
            raise EinthovenError(
                f"the processes' weights have drifted apart by step {self.step}: a parameter is used in some micro-batches only; set accumulate=1"
            )
