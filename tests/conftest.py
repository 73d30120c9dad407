"""Folders that hold what the project may not carry: golden values of the old systems, and real recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from real_folders import DATA_ROOT, PARITY_ROOT

# Small tensors gain nothing from threads, and the tests start processes that share the cores; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def parity_root() -> Path:
    if PARITY_ROOT is None:
        pytest.skip("no golden values here: set EINTHOVEN_PARITY to their folder")
    return PARITY_ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    if DATA_ROOT is None:
        pytest.skip("no real recordings here: set EINTHOVEN_DATA to their folder")
    return DATA_ROOT
