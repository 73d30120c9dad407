"""Comparisons are tested on one small store, and on one comparison that was run once."""

from __future__ import annotations

from pathlib import Path

import pytest

from einthoven.bench.grid import Grid
from einthoven.bench.work import Place

WORDS = {
    "name": "small",
    "methods": [
        {"recipe": "simclr", "encoders": ["patches"]},
        {"recipe": "cmsc", "encoders": ["waves"], "set": ["seconds=4"]},
        {"recipe": "st_mem", "encoders": ["waves"], "set": ["seconds=4"]},  # cannot be run: this encoder has no patches to hide
    ],
    "variants": {
        "patches": "vit_tiny encoder.depth=1 encoder.dim=16 encoder.heads=2 encoder.patch=25",
        "waves": "tiny encoder.depth=1 encoder.dim=16 encoder.heads=2 encoder.ffn=16 encoder.conv_layers=[[8,4,4],[8,4,4]] encoder.conv_pos=8",
    },
    "protocols": ["probe", "linear"],
    "pretraining": {"steps": 3, "batch": 8, "lr": [1e-3, 1e-2]},
    "finetuning": {"steps": 2, "batch": 8, "lr": [1e-3, 1e-2]},
    "min_positives": 3,
    "bootstrap": 100,
    "set": ["scaling=none", "schedule.warmup=1"],
}  # fmt: skip
"""A comparison in which everything occurs: two encoders, pairs, two rates, a method that cannot be run."""


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 recordings of 24 persons at 100 Hz, half of them for training."""
    from command_line import einthoven

    folder = tmp_path_factory.mktemp("bench")
    for words in (
        "simulate corpus --records 48 --patients 24 --seed 5 --fs 100 -j 1",
        "ingest physionet2021 corpus store --fs 100 -j 1",
        "split store --fractions 0.5,0.25,0.25",
    ):
        assert einthoven(words, folder).code == 0
    return folder / "store"


@pytest.fixture(scope="session")
def done(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, Place, list[str]]:
    """The comparison, run once from beginning to end; and what was said."""
    from einthoven.bench.run import bench

    grid, place = Grid.model_validate(WORDS), Place(tmp_path_factory.mktemp("small") / "bench", store, "cpu")
    said: list[str] = []
    assert bench(grid, place, say=said.append) is not None
    return grid, place, said
