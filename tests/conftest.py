"""Folders that hold what the project may not carry: golden values of the old systems, and real recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Small tensors gain nothing from threads, and the tests start processes that share the cores; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).parents[2] / "shared"


def folder(variable: str, name: str) -> Path | None:
    """The folder that an environment variable names, by default the one beside the checkout; None where there is none."""
    path = Path(os.environ.get(variable) or SHARED / name)
    return path if path.is_dir() else None


PARITY_ROOT = folder("EINTHOVEN_PARITY", "parity")
DATA_ROOT = folder("EINTHOVEN_DATA", "data")


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
