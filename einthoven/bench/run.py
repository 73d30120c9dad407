"""A comparison from its grid to its table: lines worked on one after the other, or many at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import einthoven
from einthoven import whole
from einthoven.bench.grid import Grid
from einthoven.bench.plan import Line, cells_of, lines_of
from einthoven.bench.result import Table, table_of
from einthoven.bench.work import Place, do_line
from einthoven.errors import EinthovenError
from einthoven.recipes.claim import fingerprint
from einthoven.store.read import Store

STORE = "store.json"


def bench(
    grid: Grid,
    place: Place,
    *,
    jobs: int = 1,
    devices: Sequence[str] = (),
    shards: tuple[int, int] | None = None,
    executor: Executor | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> Table | None:
    """Run what is missing of a grid, and write ``bench.json``, ``table.md``, ``table.csv`` and ``report.html`` into its folder.

    jobs     : lines at once, each in a process of its own; devices : one per process, in turn, such as cuda:0, cuda:1
    shards   : (i, n): only every n-th line from the i-th on (a job array); the table is written by whoever finds all lines done
    executor : any ``concurrent.futures.Executor`` instead of processes of this machine (dask's, for a cluster)
    returns  : the table, None where lines of other shards are still missing

    A line is a function of grid and store, and leaves what is finished as it is: stopped at any moment and run again, it goes on. Raises
    EinthovenError, before anything is run, where the grid has no sense, or where the folder holds a comparison on another store.
    """
    lines = lines_of(grid)
    store = Store(place.data)
    split = store.column("split")
    if without := [name for name in ("train", "valid", "test") if not (split == name).any()]:
        raise EinthovenError(
            f"a comparison trains, chooses and judges on different persons, and {store.path} has no recordings in its {' and '.join(without)} split: "
            "einthoven split makes all three"
        )
    _claim(place, fingerprint(store))
    mine = lines if shards is None else lines[shards[0] :: shards[1]]
    done = 0
    if jobs == 1 and executor is None:
        for line in mine:
            do_line(grid, line, replace(place, device=devices[0]) if devices else place, say)
            done += 1
            if progress is not None:
                progress(done, len(mine))
    else:
        pool = executor or ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_one_thread)
        with pool if executor is None else nullcontext(pool):
            waiting = {
                pool.submit(_do_one, grid, line, replace(place, device=devices[number % len(devices)]) if devices else place): line
                for number, line in enumerate(mine)
            }
            try:
                for future in as_completed(waiting):
                    for text in future.result():
                        say(text)
                    done += 1
                    if progress is not None:
                        progress(done, len(mine))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    if missing := list(dict.fromkeys(line.key for path, line in cells_in(grid, lines, place).items() if not path.exists())):
        say(f"{len(missing)} of {len(lines)} lines are still to be run: {', '.join(missing[:4])}{' …' if len(missing) > 4 else ''}")
        return None
    return write_table(grid, place)


def _do_one(grid: Grid, line: Line, place: Place) -> list[str]:
    said: list[str] = []
    do_line(grid, line, place, said.append)
    return said


def _one_thread() -> None:
    """Several processes share the cores: two threads each would wait for one another."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def cells_in(grid: Grid, lines: Sequence[Line], place: Place) -> dict[Path, Line]:
    """The files that tell of a grid's cells, whether or not they are there yet."""
    return {place.folder / "cells" / f"{name}.json": line for line in lines for name in cells_of(grid, line).values()}


def write_table(grid: Grid, place: Place) -> Table:
    """Judge what was answered, and write the table as JSON, Markdown, CSV and HTML."""
    from einthoven.report.bench import as_csv, as_html, as_markdown

    store = Store(place.data)
    table = table_of(grid, cells_in(grid, lines_of(grid), place), store.patient_number, about(grid, store))
    whole.write_text(place.folder / "bench.json", table.to_json())
    whole.write_text(place.folder / "table.md", as_markdown(table))
    whole.write_text(place.folder / "table.csv", as_csv(table))
    whole.write_text(place.folder / "report.html", as_html(table))
    return table


def about(grid: Grid, store: Store) -> dict[str, str]:
    """What a reader of the table must know."""
    source = store.facts["source"]
    budget = grid.pretraining
    said = {
        "store": f"{' '.join(str(source[key]) for key in ('name', 'version') if source.get(key))}, {len(store)} recordings at {store.fs:g} Hz",
        "pretraining": f"{budget.steps} updates of {budget.batch} windows, learning rates {', '.join(f'{lr:g}' for lr in budget.lr)}",
        "seeds": ", ".join(str(seed) for seed in grid.seeds),
        "einthoven": einthoven.__version__,
    }
    tuned = grid.finetuning  # training from scratch is always there
    said["fine-tuning"] = f"{tuned.steps} updates of {tuned.batch} windows, learning rates {', '.join(f'{lr:g}' for lr in tuned.lr)}"
    if grid.set:
        said["every run"] = " ".join(grid.set)
    return said


def _claim(place: Place, records_sha256: str) -> None:
    """A folder holds comparisons on one store: another one, or the same one changed, is refused."""
    path = place.folder / STORE
    if not path.exists():
        place.folder.mkdir(parents=True, exist_ok=True)
        whole.write_json(path, {"records_sha256": records_sha256})
    elif json.loads(path.read_text(encoding="utf-8")).get("records_sha256") != records_sha256:
        raise EinthovenError(
            f"{place.folder} holds a comparison on another store, or its table has changed since: choose another folder with run="
        )
