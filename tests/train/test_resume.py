"""A run that was killed and resumed is the run that was not, bit for bit."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_run import ToyView, train, train_and_tell

from einthoven.errors import CheckpointError, EinthovenError
from einthoven.train.checkpoint import folder_name, steps_saved, verify
from einthoven.train.log import TIMES


class Crash(Exception):
    """What stands for the end of the process in tests that stay in one."""


class CrashingView(ToyView):
    """A view that crashes when it is asked for its n-th batch."""

    def __init__(self, at: int):
        super().__init__()
        self.at = at

    def __getitems__(self, indices):
        if len(self.asked) == self.at:
            raise Crash
        return super().__getitems__(indices)


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def same_run(one: Path, other: Path, step: int = 12) -> None:
    """Weights, optimiser, position, log and exported model are equal, byte for byte."""
    first, second = (folder / "checkpoints" / folder_name(step) for folder in (one, other))
    assert sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert metrics(one) == metrics(other)
    assert (one / "model" / "model.safetensors").read_bytes() == (other / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """The run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(folder)
    return folder


@pytest.mark.parametrize("at", range(0, 24, 3))
def test_a_run_that_crashed_before_any_batch_ends_the_same(at, straight, tmp_path):
    with pytest.raises(Crash):
        train(tmp_path, CrashingView(at))
    _, done = train(tmp_path, resume=True)
    assert done.step == 12
    same_run(straight, tmp_path)


def test_the_run_does_not_depend_on_how_often_it_saves_or_on_what_the_process_drew_before(straight, tmp_path):
    import torch

    for at in (3, 9, 15, 17):
        with pytest.raises(Crash):
            train(
                tmp_path, CrashingView(at - 2 * max(steps_saved(tmp_path / "checkpoints"), default=0)), resume=at > 3, save_every=1, keep=2
            )
        torch.rand(at)
    train(tmp_path, resume=True, save_every=1, keep=2)
    same_run(straight, tmp_path)


def test_a_resumed_run_asks_for_the_batches_that_were_left(straight, tmp_path):
    whole, rest = ToyView(), ToyView()
    train(tmp_path / "whole", whole)
    with pytest.raises(Crash):
        train(tmp_path / "cut", CrashingView(16))
    train(tmp_path / "cut", rest, resume=True)
    first = 24 - len(rest.asked)
    assert first % 2 == 0 and 6 <= first <= 16
    assert rest.asked == whole.asked[first:]


def test_average_patience_and_frozen_encoder_survive_a_crash_too(tmp_path):
    changes = {
        "ema": 0.9,
        "patience": 30,
        "frozen_steps": 5,
        "optim": {"lr": 0.01, "name": "adam_legacy", "head_lr": 0.02},
        "validate_every": 2,
    }
    train(tmp_path / "straight", **changes)
    with pytest.raises(Crash):
        train(tmp_path / "cut", CrashingView(15), **changes)
    train(tmp_path / "cut", resume=True, **changes)
    same_run(tmp_path / "straight", tmp_path / "cut")


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_last_good_one(name, how, straight, tmp_path):
    with pytest.raises(Crash):
        train(tmp_path, CrashingView(20))
    newest = max(steps_saved(tmp_path / "checkpoints").items())
    damage(newest[1] / name, how)
    train(tmp_path, resume=True)
    assert f"passing over a damaged checkpoint: {newest[1] / name}" in (tmp_path / "warnings.txt").read_text()
    same_run(straight, tmp_path)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content if how == "flipped" else content[: len(content) // 2])


def test_a_best_checkpoint_that_was_damaged_since_is_not_exported(tmp_path):
    worse_every_time = itertools.count()

    def judged(module):
        return {"loss": float(next(worse_every_time))}

    _, done = train(tmp_path, validate=judged, validate_every=3)
    assert done.best_step == 3
    best = tmp_path / "checkpoints" / "step-00000003"
    damage(best / "weights.safetensors", "flipped")
    with pytest.raises(CheckpointError, match=r"step-00000003/weights.safetensors is damaged.*It holds the run's best weights"):
        train(tmp_path, validate=judged, validate_every=3, resume=True)


def test_another_number_of_threads_is_said_when_a_run_goes_on(tmp_path):
    with pytest.raises(Crash):
        train(tmp_path, CrashingView(20))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        train(tmp_path, resume=True)
    finally:
        torch.set_num_threads(before)
    assert f"goes on with threads {before + 1}, its checkpoint was written with {before}" in (tmp_path / "warnings.txt").read_text()


def test_where_every_checkpoint_is_damaged_a_person_decides(tmp_path):
    with pytest.raises(Crash):
        train(tmp_path, CrashingView(20))
    for folder in steps_saved(tmp_path / "checkpoints").values():
        damage(folder / "weights.safetensors", "flipped")
    with pytest.raises(CheckpointError, match=r"every checkpoint .* is damaged"):
        train(tmp_path, resume=True)


def test_a_resumed_run_refuses_other_data_and_another_optimiser(tmp_path):
    with pytest.raises(Crash):
        train(tmp_path, CrashingView(20))
    with pytest.raises(CheckpointError, match="items 40, now 30"):
        train(tmp_path, ToyView(30), resume=True)
    with pytest.raises(CheckpointError, match="optimiser is AdamW, the run's is LegacyAdam"):
        train(tmp_path, resume=True, optim={"name": "adam_legacy", "lr": 0.01})


def test_a_finished_run_is_not_begun_again_and_resuming_it_changes_nothing(straight, tmp_path):
    train(tmp_path)
    with pytest.raises(EinthovenError, match=r"already holds a run; go on with it by `einthoven resume"):
        train(tmp_path)
    _, done = train(tmp_path, resume=True)
    assert done.step == 12
    same_run(straight, tmp_path)


# ------------------------------------------------------------------------------------------------------------------ SIGKILL


def start(context, folder: Path, workers: int = 0):
    """A process that trains, saving at every update; returns when it is about to begin."""
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=train_and_tell, args=(folder, (folder / "recipe.json").exists(), workers, told))
    process.start()
    assert heard.poll(60) and heard.recv() == "beginning"
    return process


def ended_within(process, seconds: float) -> bool:
    """``join`` with a time would also wait for the reading processes that a killed one leaves behind for some seconds."""
    end = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < end:
        time.sleep(0.002)
    return not process.is_alive()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL")
@pytest.mark.parametrize(("workers", "n_wanted"), [(0, 24), (1, 4)])
def test_killed_at_random_moments_and_resumed_it_is_the_same_run(workers, n_wanted, straight, tmp_path):
    """Most of the time of these runs goes into writing checkpoints: most kills fall into the middle of one."""
    context = multiprocessing.get_context("fork")  # a new interpreter would spend seconds on importing torch, each time
    undisturbed = start(context, tmp_path / "undisturbed", workers)
    begun = time.monotonic()
    ended_within(undisturbed, 60)
    seconds = time.monotonic() - begun
    same_run(straight, tmp_path / "undisturbed")
    draw, n_kills, n_half_written, n_runs = random.Random(1), 0, 0, 0
    while n_kills < n_wanted:
        folder = tmp_path / f"run{n_runs}"
        n_runs += 1
        for _ in range(4):
            process = start(context, folder, workers)
            if ended_within(process, draw.uniform(0, 0.8) * seconds):
                seconds *= 0.9  # the machine was busier when the undisturbed run was timed
            else:
                process.kill()
                n_kills += 1
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            n_half_written += any((folder / "checkpoints").glob(".unfinished*"))
        finish = start(context, folder, workers)
        assert ended_within(finish, 60) and finish.exitcode == 0
        same_run(straight, folder)
        for checkpoint in steps_saved(folder / "checkpoints").values():
            verify(checkpoint)
        assert not any((folder / "checkpoints").glob(".unfinished*"))
        assert n_runs < 20
    assert n_half_written > 0 or workers


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_exits_with_130_and_goes_on(number, straight, tmp_path):
    class Asking(ToyView):
        def __getitems__(self, indices):
            if len(self.asked) == 9:
                os.kill(os.getpid(), number)
            return super().__getitems__(indices)

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path, Asking(), save_every=100)
    assert stopped.value.code == 130
    assert signal.getsignal(number) is before
    assert max(steps_saved(tmp_path / "checkpoints")) < 12
    train(tmp_path, resume=True)
    same_run(straight, tmp_path)


def test_killed_between_the_first_two_files_of_a_run_it_begins_again_and_is_whole(straight, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "environment.json").write_text((straight / "environment.json").read_text())
    train(folder, save_every=1, keep=2)
    assert (folder / "recipe.json").exists()
    same_run(straight, folder)
