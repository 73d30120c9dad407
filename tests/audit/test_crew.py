"""Processes of an audit: they give what one process gives, open a store once, and their death is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from planted_corpus import Planted

from einthoven.audit.crew import crew
from einthoven.audit.together import Together
from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.read import Store


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Together:
    folder = tmp_path_factory.mktemp("crew")
    for name, persons in (("one", 5), ("two", 3)):
        ingest(Planted(names=(), persons=persons), folder, folder / name, workers=1)
    return Together([Store(folder / "one"), Store(folder / "two")])


def height(together: Together, number: int) -> tuple[int, float, bool]:
    """Of the process, its answer, and whether it had read the table before."""
    known = "microvolt_per_count" in together.stores[together.place(number)[0]]._columns
    return os.getpid(), float(together.load(number).signal.max()), known


def die(together: Together, number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_recordings_of_two_stores_are_numbered_through(together):
    assert len(together) == 16 and together.place(9) == (0, 9) and together.place(10) == (1, 0) and together.rows(1) == slice(10, 16)
    record, own = together.load(12), together.stores[1].record(2)
    assert (record.signal == own.signal).all() and record.leads == own.leads and record.meta["source_fs"] == 500.0
    assert together.texts("record", np.array([11, 0, 9])) == ["r1", "r0", "again4"]
    assert together.texts("source", np.array([15])) == ["planted"] and together.texts("record", np.empty(0, dtype=np.int64)) == []


def test_two_processes_give_what_one_gives_in_the_same_order_and_read_a_table_once(together):
    jobs = [(number,) for number in range(10)]
    with crew(together, 1) as run:
        here = [value for _, value, _ in run(height, jobs)]
    with crew(together, 2) as run:
        there = list(run(height, jobs))
    assert [value for _, value, _ in there] == here
    processes = {process for process, _, _ in there}
    assert os.getpid() not in processes
    assert sum(not known for _, _, known in there) == len(processes)  # each of them once


def test_a_process_that_is_killed_is_told_in_one_line(together):
    with pytest.raises(StoreError, match=r"killed for memory.*fewer workers"), crew(together, 2) as run:
        list(run(die, [(number,) for number in range(20)]))


def test_a_script_without_a_main_guard_is_told_what_it_lacks(together, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"from einthoven.audit.run import audit\naudit({str(together.stores[0].path)!r}, workers=2, write=False)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=Path.cwd(), timeout=120)
    assert done.returncode and "if __name__ == '__main__':" in done.stderr.strip().splitlines()[-1]
