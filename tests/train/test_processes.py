"""Several processes make the updates that one process makes with the same whole batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_run import settings, toy_module, train

from einthoven.errors import RecipeError
from einthoven.train.checkpoint import steps_saved, verify
from einthoven.train.distributed import Place
from einthoven.train.engine import engage

pytestmark = pytest.mark.slow  # each process imports torch
SCRIPT = Path(__file__).with_name("toy_run.py")


def torchrun(folder: Path, *changes: str, n: int = 2) -> subprocess.CompletedProcess:
    """Start n gloo processes as a person would with torchrun."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(n),
        str(SCRIPT),
        str(folder),
        *changes,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """One process; no dropout, whose draws belong to each process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(folder, module=toy_module(dropout=0.0), log_every=1, frozen_steps=3)
    return folder


def check_same_run(folder: Path, alone: Path) -> None:
    assert len(losses(alone)) == 12
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=1e-5)
    first, second = (load_file(run / "model" / "model.safetensors") for run in (folder, alone))
    for name, value in second.items():
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)


def test_two_processes_give_the_loss_curve_of_one(alone, tmp_path):
    """Weights of micro-batches differ between the processes, and the encoder thaws on the way."""
    done = torchrun(tmp_path, "dropout=0.0", "log_every=1", "frozen_steps=3")
    assert done.returncode == 0, done.stderr
    check_same_run(tmp_path, alone)
    assert json.loads((tmp_path / "environment.json").read_text())["processes"] == 2


def test_a_run_of_two_processes_goes_on_in_one_and_in_three(alone, tmp_path):
    options = ("dropout=0.0", "log_every=1", "frozen_steps=3", "save_every=1")
    done = torchrun(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    for step, folder in steps_saved(tmp_path / "checkpoints").items():
        if step > 10:
            (folder / "state.json").unlink()  # a damaged checkpoint: back to step 10
    done = torchrun(tmp_path, *options, "resume=true", n=3)
    assert done.returncode == 0, done.stderr
    assert "goes on with processes 3, its checkpoint was written with 2" in (tmp_path / "warnings.txt").read_text()
    check_same_run(tmp_path, alone)


def test_sharded_over_two_processes_it_is_the_same_run_and_resumes(alone, tmp_path):
    options = ("dropout=0.0", "log_every=1", "frozen_steps=3", "sharded=true")
    done = torchrun(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    check_same_run(tmp_path, alone)
    (tmp_path / "checkpoints" / "step-00000012" / "state.json").unlink()
    done = torchrun(tmp_path, *options, "resume=true")
    assert done.returncode == 0, done.stderr
    check_same_run(tmp_path, alone)
    for folder in steps_saved(tmp_path / "checkpoints").values():
        verify(folder)


def test_layers_that_each_process_drops_by_itself_cannot_be_sharded():
    module = toy_module()
    module.encoder.layerdrop = 0.1
    with pytest.raises(RecipeError, match="sharded=true and layerdrop exclude each other"):
        engage(module, settings(sharded=True), Place(0, 2, torch.device("cpu")))


def test_too_few_rows_for_the_processes_are_refused_in_one_line(tmp_path):
    done = torchrun(tmp_path, "batch=2", "accumulate=2")
    assert done.returncode != 0
    assert "batch=2 cannot be divided into 2 micro-batches over 2 processes" in done.stderr
