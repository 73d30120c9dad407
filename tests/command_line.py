"""The command line as tests use it: a command in this process or in one of its own, and a small world that commands made.

Commands run inside the world's folder or a copy of it, so that what a person would type, with relative paths, is what is run.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RECORDING = "corpus/training/synthetic/g1/S00001.hea"
SIMULATE = "simulate corpus --records 40 --patients 20 --seed 3 -j 1"
INGEST = "ingest physionet2021 corpus store -j 1"
PRETRAIN = "pretrain w2v_cmsc_rlm data=store encoder=tiny encoder.depth=1 steps=4 batch=4 save_every=2 log_every=1 keep=5 device=cpu"
FINETUNE = "finetune diagnosis data=store init=pretrained steps=4 batch=4 save_every=2 log_every=2 keep=5 device=cpu optim.lr=1e-3"


@dataclass(frozen=True)
class Outcome:
    """What a command came to: exit code, and what it said on standard output and standard error."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class World:
    """A folder with ``corpus``, ``store``, ``pretrained`` and ``diagnosis``, and what the commands that made them said, by name."""

    folder: Path
    outcomes: dict[str, Outcome]


def einthoven(words: str | list[str], cwd: Path) -> Outcome:
    """Run ``einthoven WORDS`` in this process."""
    from einthoven.cli import main

    arguments = words.split() if isinstance(words, str) else words
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    code: int | str | None = 0
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["einthoven", *arguments]
        try:
            main()
        except SystemExit as ending:
            code = ending.code
        finally:
            sys.argv = argv
    assert code is None or isinstance(code, int)
    return Outcome(code or 0, out.getvalue(), err.getvalue())


def start(words: str | list[str], cwd: Path) -> subprocess.Popen[str]:
    """Begin ``python -m einthoven WORDS`` in a process of its own."""
    arguments = words.split() if isinstance(words, str) else words
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "einthoven", *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def end(process: subprocess.Popen[str], seconds: float = 120) -> Outcome:
    """Wait for a process that ``start`` began."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Outcome(process.returncode, out, err)


_made: list[World] = []


def make_world(folder: Callable[[], Path]) -> World:
    """The small world, made once in a test session."""
    if not _made:
        place = folder()
        commands = {
            "simulate": SIMULATE,
            "ingest": INGEST,
            "pretrain": f"{PRETRAIN} run=pretrained",
            "finetune": f"{FINETUNE} run=diagnosis",
        }
        outcomes = {}
        for name, words in commands.items():
            outcomes[name] = einthoven(words, place)
            assert outcomes[name].code == 0, (words, outcomes[name].err)
        _made.append(World(place, outcomes))
    return _made[0]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world to look at; a test that changes it takes ``own``."""
    return make_world(lambda: tmp_path_factory.mktemp("world"))


@pytest.fixture
def own(world: World, tmp_path: Path) -> Iterator[Path]:
    """A folder like the world's, to be damaged: store and runs are copies, the corpus is the world's."""
    for name in ("store", "pretrained", "diagnosis"):
        shutil.copytree(world.folder / name, tmp_path / name)
    (tmp_path / "corpus").symlink_to(world.folder / "corpus")
    yield tmp_path


def legacy_checkpoint(path: Path, change: Callable[[dict[str, Any]], object] = lambda state: None) -> None:
    """A fine-tuned checkpoint as fairseq-signals saves it, with the weights of a small model of ours after ``change``."""
    import numpy as np
    import torch

    from einthoven.models import SIZES, ECGTransformer
    from einthoven.tasks import Diagnosis

    torch.manual_seed(0)
    size = SIZES["tiny"]
    state = Diagnosis(ECGTransformer(**{**size, "depth": 1}), [str(place) for place in range(26)]).state_dict()
    model = {
        "_name": "ecg_transformer_classifier", "encoder_layers": 1, "encoder_embed_dim": size["dim"], "encoder_ffn_embed_dim": size["ffn"],
        "encoder_attention_heads": size["heads"], "layer_norm_first": False, "conv_pos": size["conv_pos"], "conv_pos_groups": size["conv_pos_groups"],
        "conv_feature_layers": str([tuple(layer) for layer in size["conv_layers"]]), "in_d": 12, "dropout": 0.1, "extractor_mode": "default",
    }  # fmt: skip
    change(state)
    cfg = {"model": model, "task": {"_name": "ecg_classification", "sample_rate": None}}
    torch.save({"args": None, "cfg": cfg, "model": OrderedDict(state), "extra_state": {"best": np.float64(0.5)}}, path)


def one_line(outcome: Outcome, *parts: str) -> str:
    """The one line in which a command refused its input; it has all ``parts``, there is nothing beside it, and the exit code says so."""
    assert outcome.code not in (0, None), outcome
    lines = outcome.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("einthoven: "), outcome.err
    for part in parts:
        assert part in lines[0], f"{part!r} is not in: {lines[0]}"
    return lines[0]
