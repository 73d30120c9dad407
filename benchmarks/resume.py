"""Kill a training at random moments, resume it, and compare it with the one that nobody disturbed.

    python benchmarks/resume.py --kills 300

W2V + CMSC with random lead masking on a tiny encoder, a checkpoint after every update, so that many kills fall into the
middle of writing one. A run is killed (SIGKILL) and resumed until it has ended; then the last checkpoint (weights, optimiser,
position), the exported model and the log without its times are compared with the undisturbed run's, byte for byte.

2026-11-20, 2 cores (AMD EPYC) shared with seven other busy processes, Python 3.11, torch 2.13.0 CPU. Where a run was when it
was killed is what its folder showed afterwards:

| reading processes | runs | kills | before the first checkpoint | between | writing one | removing an old one | writing the model | different |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| 0 | 25 | 206 | 100 | 88 | 15 | 3 | 0 | none |
| 2 | 10 | 42 | 4 | 34 | 2 | 1 | 1 | none |
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from einthoven.augment.random_lead_mask import RandomLeadMask
from einthoven.models.ecg_transformer import ECGTransformer
from einthoven.models.folder import describe, save_model
from einthoven.objectives.w2v_cmsc import W2VCMSC
from einthoven.signal.contract import LEGACY_ZSCORE
from einthoven.train.checkpoint import folder_name, steps_saved, verify
from einthoven.train.log import TIMES
from einthoven.train.loop import fit
from einthoven.train.settings import Optim, Settings

STEPS = 12


class NoisePairs:
    """Pairs of one-second segments of noise: whether a run is exact does not depend on what it learns from."""

    def __init__(self) -> None:
        self.counts = np.random.default_rng(1).integers(-1000, 1000, (40, 2, 12, 500)).astype(np.int16)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        rows, n = np.asarray(indices), 2 * len(indices)
        return {
            "counts": self.counts[rows].reshape(n, 12, 500),
            "gain": np.full((n, 12), 0.001, np.float32),
            "offset": np.zeros((n, 12), np.float32),
            "n_valid": np.full(n, 500),
            "lead_present": np.ones((n, 12), bool),
            "patient": np.repeat(rows, 2),
            "record": np.repeat(rows, 2),
            "segment": np.tile([0, 1], len(rows)),
        }


def train(folder: Path, workers: int, told: Any = None) -> None:
    """The whole run, from wherever its folder says that it is."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    encoder = ECGTransformer(
        dim=16, depth=2, heads=2, ffn=32, dropout=0.1, attention_dropout=0.1, activation_dropout=0.0, input_dropout=0.1
    )
    objective = W2VCMSC(encoder, latent_vars=16, final_dim=8, n_negatives=10, dropout_features=0.1)
    settings = Settings(
        steps=STEPS, batch=4, accumulate=2, save_every=1, log_every=2, keep=2, ema=0.9, clip=1.0, workers=workers,
        device="cpu", precision="fp32", optim=Optim(lr=1e-3),
    )  # fmt: skip

    def export(module: nn.Module, where: Path) -> None:
        save_model(where, encoder.state_dict(), describe(encoder, LEGACY_ZSCORE))

    if told is not None:
        told.send("beginning")
    resume = (folder / "recipe.json").exists()
    fit(objective, NoisePairs(), settings, folder, augment=(RandomLeadMask(p=0.5),), export=export, progress=False, resume=resume)


def start(folder: Path, workers: int) -> Any:
    """A process of its own that trains; forked, because a new interpreter would spend seconds on importing torch each time."""
    context = multiprocessing.get_context("fork")
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=train, args=(folder, workers, told))
    process.start()
    heard.recv()
    return process


def ended_within(process: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < end:
        time.sleep(0.001)
    return not process.is_alive()


def moment_of_death(folder: Path) -> str:
    """What the run folder shows of where its process was."""
    checkpoints = folder / "checkpoints"
    if any(checkpoints.glob(".unfinished-removing*")):
        return "removing an old checkpoint"
    if any(checkpoints.glob(".unfinished*")):
        return "writing a checkpoint"
    done = max(steps_saved(checkpoints), default=0)
    if done == STEPS:
        return "writing the model"
    return "between checkpoints" if done else "before the first checkpoint"


def outcome(folder: Path) -> dict[str, bytes | str]:
    """Everything that has to be equal, by name."""
    last = folder / "checkpoints" / folder_name(STEPS)
    found: dict[str, bytes | str] = {path.name: path.read_bytes() for path in last.iterdir()}
    found |= {f"model/{path.name}": path.read_bytes() for path in (folder / "model").iterdir()}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["metrics.jsonl"] = json.dumps([{key: value for key, value in line.items() if key not in TIMES} for line in lines])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, moments, different, n_runs = random.Random(options.seed), Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        begun = time.monotonic()
        process = start(root / "undisturbed", options.workers)
        process.join()
        seconds = time.monotonic() - begun
        expected = outcome(root / "undisturbed")
        while moments.total() < options.kills:
            folder = root / f"run{n_runs}"
            n_runs += 1
            while True:
                process = start(folder, options.workers)
                if ended_within(process, draw.uniform(0, seconds)):
                    break
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                moments[moment_of_death(folder)] += 1
            if process.exitcode:
                raise SystemExit(f"run {n_runs} ended with exit status {process.exitcode}")
            found = outcome(folder)
            different.update(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            for checkpoint in steps_saved(folder / "checkpoints").values():
                verify(checkpoint)
    print(
        f"{n_runs} runs of {STEPS} updates, {moments.total()} kills, undisturbed run {seconds:.2f} s, {options.workers} reading processes"
    )
    for moment, n in moments.most_common():
        print(f"    {n:5d}  {moment}")
    print("files that differ from the undisturbed run's:", dict(different) or "none")
    raise SystemExit(1 if different else 0)


if __name__ == "__main__":
    main()
