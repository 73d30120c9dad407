"""Where the golden values and the real recordings are; None where they are not."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared"


def folder(variable: str, name: str) -> Path | None:
    """The folder that an environment variable names, by default the one beside the checkout; None where there is none."""
    path = Path(os.environ.get(variable) or SHARED / name)
    return path if path.is_dir() else None


PARITY_ROOT = folder("EINTHOVEN_PARITY", "parity")
DATA_ROOT = folder("EINTHOVEN_DATA", "data")
