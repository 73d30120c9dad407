"""A run small enough to be killed hundreds of times: a toy objective on a toy view. ``python toy_run.py FOLDER steps=12 …``"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from einthoven.errors import EinthovenError
from einthoven.objectives.step import Moment, Step
from einthoven.train.loop import fit
from einthoven.train.settings import Settings

LEADS, TIME = 3, 32


class ToyView:
    """``n_items`` ECG-like items of two rows each, as raw batches of a store; ``label`` is learnable from the signal."""

    def __init__(self, n_items: int = 40, padded: bool = False):
        draw = np.random.default_rng(7)
        self.counts = draw.integers(-2000, 2000, size=(n_items, 2, LEADS, TIME)).astype(np.int16)
        self.n_valid = draw.integers(TIME // 2, TIME, size=(n_items, 2)) if padded else np.full((n_items, 2), TIME)
        self.asked: list[list[int]] = []

    def __len__(self):
        return len(self.counts)

    def __getitems__(self, indices):
        self.asked.append(list(indices))
        rows, n = np.asarray(indices), 2 * len(indices)
        return {
            "counts": self.counts[rows].reshape(n, LEADS, TIME),
            "gain": np.full((n, LEADS), 0.001, np.float32),
            "offset": np.zeros((n, LEADS), np.float32),
            "n_valid": self.n_valid[rows].reshape(n),
            "lead_present": np.ones((n, LEADS), bool),
            "patient": np.repeat(rows, 2),
            "record": np.repeat(rows, 2),
            "segment": np.tile([0, 1], len(indices)),
            "label": (self.counts[rows].reshape(n, LEADS, TIME).mean(axis=(1, 2)) > 0).astype(np.float32)[:, None],
        }


class ToyLayer(nn.Linear):
    def forward(self, frames):
        return torch.tanh(super().forward(frames))


class ToyEncoder(nn.Module):
    """(batch, lead, time) -> (batch, frame, dim), with two layers and dropout."""

    def __init__(self, dim: int = 8, dropout: float = 0.1):
        super().__init__()
        self.dim = dim
        self.front = nn.Conv1d(LEADS, dim, 4, stride=4)
        self.layers = nn.ModuleList(ToyLayer(dim, dim) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, ecg, valid=None):
        frames = self.front(ecg).transpose(1, 2)
        for layer in self.layers:
            frames = frames + self.dropout(layer(frames))
        return frames


class ToyObjective(nn.Module):
    """A labelled loss with a random mask drawn from its moment: the weight (frames kept) differs between micro-batches."""

    def __init__(self, dropout: float = 0.1, mask: bool = True):
        super().__init__()
        self.encoder = ToyEncoder(dropout=dropout)
        self.head = nn.Linear(self.encoder.dim, 1)
        self.mask = mask
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch, moment: Moment) -> Step:
        frames = self.encoder(batch["ecg"], batch["valid"])
        n_own, n_frames = frames.shape[:2]
        kept = torch.ones(n_own, n_frames, dtype=torch.bool)
        if self.mask:
            kept = moment.own(torch.rand(moment.rows(n_own), n_frames, generator=moment.generator("mask")), n_own) < 0.6
        logits = self.head(frames).squeeze(-1)[kept]
        target = batch["label"].expand(-1, n_frames)[kept]
        if self.training:
            self.n_seen += 1
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
        return Step(loss, {"accuracy": ((logits > 0) == (target > 0)).float().mean()}, float(kept.sum()))


def settings(**changes) -> Settings:
    values = {
        "steps": 12,
        "batch": 8,
        "accumulate": 2,
        "save_every": 3,
        "log_every": 2,
        "keep": 3,
        "device": "cpu",
        "precision": "fp32",
        **changes,
    }
    values.setdefault("optim", {"lr": 0.01})
    return Settings(**values)


def toy_module(seed: int = 3, **changes) -> ToyObjective:
    torch.manual_seed(seed)
    return ToyObjective(**changes)


def export(module: nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "model.safetensors")


def validate(module: nn.Module) -> dict[str, float]:
    """Two numbers that follow from the weights alone; the global generator is used, as a careless validation would."""
    torch.rand(3)
    return {
        "loss": float(sum(weight.detach().abs().sum() for weight in module.parameters())),
        "size": float(module.head.weight.detach().norm()),
    }


def train(folder: Path, view=None, resume: bool = False, validate=validate, export=export, module=None, augment=(), **changes):
    """A toy run with the given settings: the module, and what ``fit`` returned."""
    module = toy_module() if module is None else module
    done = fit(
        module,
        view or ToyView(),
        settings(**changes),
        folder,
        augment=augment,
        validate=validate,
        export=export,
        progress=False,
        describe={"name": "toy"},
        resume=resume,
    )
    return module, done


def train_and_tell(folder: Path, resume: bool, workers: int, told) -> None:
    """What a process that is to be killed does: it says that it begins, trains, and saves at every update."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    told.send("beginning")
    train(folder, resume=resume, save_every=1, keep=2, workers=workers)


def main() -> None:
    torch.set_num_threads(1)
    changes = {key: yaml.safe_load(value) for key, value in (entry.split("=", 1) for entry in sys.argv[2:])}
    resume, dropout = changes.pop("resume", False), changes.pop("dropout", 0.1)
    try:
        train(Path(sys.argv[1]), resume=resume, module=toy_module(dropout=dropout), **changes)
    except EinthovenError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
