"""A comparison that is run: what it leaves behind, what it does when it is stopped, and what is chosen by which recordings."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import einthoven, one_line, start

from einthoven.bench import work
from einthoven.bench.grid import RANDOM, SCRATCH, Grid, show_grid
from einthoven.bench.plan import lines_of
from einthoven.bench.run import bench
from einthoven.bench.work import Place
from einthoven.errors import EinthovenError
from einthoven.objectives import SimCLR
from einthoven.store.read import Store

Done = tuple[Grid, Place, list[str]]


def table(folder: Path) -> dict:
    """The table without the only thing in it that depends on the clock."""
    values = json.loads((folder / "bench.json").read_text())
    for section in values["sections"]:
        for row in section["rows"]:
            del row["seconds"]
    return values


def answers(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "cells").glob("*.npz"))}


def copy_of(place: Place, folder: Path) -> Place:
    shutil.copytree(place.folder, folder)
    return replace(place, folder=folder)


def test_every_line_is_in_the_table_and_one_that_cannot_be_run_is_set_aside_with_its_reason(done: Done):
    _, place, said = done
    values = table(place.folder)
    for section in values["sections"]:
        found = {(row["method"], row["encoder"], row["judged"]) for row in section["rows"]}
        assert found == {
            ("simclr", "patches", None), ("cmsc", "waves", None),
            (RANDOM, "patches", None), (RANDOM, "waves", None), (SCRATCH, "patches", "full"), (SCRATCH, "waves", "full"),
        }  # fmt: skip
    assert [section["protocol"] for section in values["sections"]] == ["probe", "linear"]
    assert len(values["not_run"]) == 2 and all("st_mem on waves" in line and "hides patches" in line for line in values["not_run"])
    assert any("st_mem-waves-seed1 probe: not run" in line for line in said)
    assert "st_mem on waves" in (place.folder / "table.md").read_text() and "st_mem on waves" in (place.folder / "report.html").read_text()


def test_run_again_nothing_is_done_again_and_the_table_is_the_same(done: Done, monkeypatch: pytest.MonkeyPatch):
    grid, place, _ = done
    before = (table(place.folder), answers(place.folder), (place.folder / "table.md").read_text())
    monkeypatch.setattr(work, "finetune", lambda *_, **__: pytest.fail("a finished run was made again"))
    assert bench(grid, place, say=lambda text: None) is not None
    assert (table(place.folder), answers(place.folder), (place.folder / "table.md").read_text()) == before


def test_a_grid_that_grows_reuses_what_is_there(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    grid, place, _ = done
    place = copy_of(place, tmp_path / "grown")
    made: list[str] = []
    monkeypatch.setattr(work, "pretrain", lambda recipe, **_: pytest.fail(f"{recipe.name} was pretrained again"))
    finetune = work.finetune
    monkeypatch.setattr(work, "finetune", lambda recipe, **more: made.append(recipe.protocol) or finetune(recipe, **more))
    keep = tuple(method for method in grid.methods if method.recipe == "simclr")
    wider = grid.model_copy(update={"methods": keep, "protocols": ("probe", "full"), "bootstrap": 120})
    assert bench(wider, place, say=lambda text: None) is not None
    assert made == ["full", "full"]  # simclr's two rates; the baselines' and everybody's probe were there
    assert answers(place.folder).items() >= answers(done[1].folder).items()


def test_a_folder_holds_one_store(done: Done, tmp_path: Path, store: Path):
    grid, place, _ = done
    shutil.copytree(store, tmp_path / "other")
    assert einthoven("split other --seed 9", tmp_path).code == 0
    with pytest.raises(EinthovenError, match="another store, or its table has changed"):
        bench(grid, replace(place, data=tmp_path / "other"))


def test_a_store_without_validation_rows_is_refused_before_anything_is_run(store: Path, tmp_path: Path):
    shutil.copytree(store, tmp_path / "other")
    assert einthoven("split other --fractions 0.5,0,0.5", tmp_path).code == 0
    one_line(einthoven("bench quick data=other run=out", tmp_path), "no recordings in its valid split", "einthoven split")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_inside_a_run_and_between_runs_the_table_comes_out_the_same_bit_for_bit(done: Done, tmp_path: Path):
    grid, place, _ = done
    (tmp_path / "small.yaml").write_text(show_grid(grid))
    words = f"bench small.yaml data={place.data} run=out device=cpu"
    inside = start(words, tmp_path)
    deadline = time.monotonic() + 100
    while not any((tmp_path / "out" / "runs").glob("*pretrain*/checkpoints/step-*")) and time.monotonic() < deadline:
        assert inside.poll() is None, inside.communicate()
        time.sleep(0.01)
    inside.send_signal(signal.SIGKILL)
    inside.communicate()
    (run,) = (path.parent for path in (tmp_path / "out" / "runs").glob("*pretrain*/checkpoints"))
    assert not (run / "model").exists() and not list((tmp_path / "out").glob("table*"))  # it was killed in the middle

    again = Place(tmp_path / "out", place.data, "cpu")

    def stop_between(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(grid, again, say=stop_between)
    assert bench(grid, again, say=lambda text: None) is not None
    assert table(again.folder) == table(place.folder) and answers(again.folder) == answers(place.folder)


@pytest.mark.slow
def test_shards_and_several_jobs_make_the_same_table(done: Done, tmp_path: Path):
    grid, place, _ = done
    fewer = grid.model_copy(update={"methods": grid.methods[:1], "protocols": ("probe",)})
    there = copy_of(place, tmp_path / "copy")
    assert bench(fewer, there, say=lambda text: None) is not None
    parts = replace(place, folder=tmp_path / "parts")
    said: list[str] = []
    assert bench(fewer, parts, shards=(2, 3), jobs=2, say=said.append) is None
    assert said[-1].startswith("2 of 3 lines are still to be run: random_encoder-patches-seed1, from_scratch-patches-seed1")
    assert bench(fewer, parts, shards=(0, 3), say=said.append) is None
    assert bench(fewer, parts, shards=(1, 3), say=said.append) is not None
    assert table(parts.folder) == table(there.folder)


def test_what_could_not_be_run_is_tried_again_and_not_remembered_for_ever(done: Done, tmp_path: Path):
    grid, place, _ = done
    fewer = grid.model_copy(update={"methods": grid.methods[:1], "protocols": ("probe",)})
    there = replace(copy_of(place, tmp_path / "copy"), device="cuda:77")
    for path in (there.folder / "cells").glob("simclr*-probe-*"):
        path.unlink()
    made = bench(fewer, there, say=lambda text: None)
    assert made is not None and len(made.not_run) == 1 and "cuda:77" in made.not_run[0]
    made = bench(fewer, replace(there, device="cpu"), say=lambda text: None)
    assert made is not None and made.not_run == ()
    assert answers(there.folder) == answers(place.folder)


def test_no_test_recording_is_looked_at_before_everything_is_chosen(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    grid, place, _ = done
    there = copy_of(place, tmp_path / "copy")
    events: list[str] = []
    test = set(np.flatnonzero(Store(place.data).column("split") == "test").tolist())

    def watch(name: str, which) -> None:
        function = getattr(work, name)

        def watched(*arguments, **options):
            events.append(which(arguments))
            return function(*arguments, **options)

        monkeypatch.setattr(work, name, watched)

    watch("vectors_of", lambda given: "test" if test & set(given[2].tolist()) else "other")
    watch("_answers", lambda given: "test" if test & set(given[2].tolist()) else "other")
    for line in lines_of(grid):
        if line.title != "simclr":
            continue
        for path in (there.folder / "cells").glob(f"{line.key}*"):
            path.unlink()
        work.do_line(grid, line, there, lambda text: None)
    # Two pretraining rates on train and valid; the probe's own choice, then its test recordings; two rates of linear, then test.
    assert events == ["other"] * 4 + ["other", "other", "test"] + ["other", "other", "test"]


def test_the_rates_are_chosen_by_validation_alone(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    grid, place, _ = done
    (line,) = (line for line in lines_of(grid) if line.title == "simclr")
    store = Store(place.data)
    for favoured in grid.pretraining.lr:
        values = iter([0.9 if lr == favoured else 0.4 for lr in grid.pretraining.lr])
        monkeypatch.setattr(work, "_probe_scores", lambda *_, values=values: ({}, next(values)))
        chosen = work._chosen_pretraining(grid, line, work._pretrained(grid, line, place), store, place)
        assert chosen.lr == favoured and f"lr{favoured:g}-" in str(chosen.folder)
    monkeypatch.undo()
    # The same with fine-tuning: whichever answers the validation recordings better, also where the other were better on test.
    valid = store.column("split") == "valid"
    answered = work._answers
    for favoured in grid.finetuning.lr:

        def judged(model, store, rows, *more, favoured=favoured):
            _, label, which = answered(model, store, rows, *more)
            right = (f"lr{favoured:g}-" in model.name) == bool(valid[rows].all())  # on test it is the worse one
            return np.where(label == 1, 0.9, 0.1) if right else np.where(label == 1, 0.1, 0.9), label, which

        monkeypatch.setattr(work, "_answers", judged)
        chosen = work._chosen_pretraining(grid, line, work._pretrained(grid, line, place), store, place)
        *_, facts = work._finetuned(grid, line, chosen, "linear", 1.0, store, place)
        assert facts["lr"] == favoured and facts["valid"] == 1.0


def test_ctrl_c_loses_nothing(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A run that is asked to stop saves a checkpoint and ends the command; what was asked for is in the folder.
    grid, place, _ = done
    there = replace(place, folder=tmp_path / "out")
    fewer = grid.model_copy(update={"methods": grid.methods[:1], "protocols": ("probe",)})
    pretrain = work.pretrain

    def stopped(recipe, **more):
        monkeypatch.setattr(SimCLR, "after_update", lambda self, step, total: step == 1 and signal.raise_signal(signal.SIGINT))
        return pretrain(recipe, **more)

    monkeypatch.setattr(work, "pretrain", stopped)
    with pytest.raises(SystemExit) as ending:
        bench(fewer, there, say=lambda text: None)
    assert ending.value.code == 130
    monkeypatch.undo()
    (run,) = (path for path in (there.folder / "runs").glob("*pretrain*"))
    assert (run / "checkpoints" / "step-00000002").exists() and not (run / "model").exists()
    assert bench(fewer, there, say=lambda text: None) is not None
    full = answers(place.folder)
    assert all(full[name] == content for name, content in answers(there.folder).items())


def test_the_command_runs_a_comparison_and_says_where_the_table_is(done: Done, tmp_path: Path):
    grid, place, _ = done
    copy_of(place, tmp_path / "out")
    (tmp_path / "small.yaml").write_text(show_grid(grid))
    outcome = einthoven(f"bench small.yaml data={place.data} run=out device=cpu", tmp_path)
    assert outcome.code == 0, outcome.err
    for part in ("simclr", "random encoder", "out/table.md", "out/report.html"):
        assert part in outcome.out
