"""A run on disk: ``recipe.json``, ``environment.json``, ``metrics.jsonl``, ``checkpoints/``, ``model/``; one process writes it at a time."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import einthoven
from einthoven import whole
from einthoven.errors import EinthovenError

if TYPE_CHECKING:
    from einthoven.train.distributed import Place

RECIPE, ENVIRONMENT, METRICS, WARNINGS = "recipe.json", "environment.json", "metrics.jsonl", "warnings.txt"
CHECKPOINTS, MODEL, LOCK = "checkpoints", "model", ".lock"


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run folder, made where it is not there; EinthovenError where another process has it.

    The lock is the operating system's and goes with the process, however it ends.
    """
    run.mkdir(parents=True, exist_ok=True)
    with open(run / LOCK, "a") as file:
        _lock(file, run)
        yield


def _lock(file: Any, run: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock: there, two processes in one run are the user's to avoid
        return
    try:
        # lockf, not flock: reading processes are forked from this one and would keep an flock alive after its death.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise EinthovenError(f"another process is training in {run}; wait for it, or choose another folder with run=FOLDER") from None


def refuse_taken(run: Path) -> None:
    """Raise EinthovenError for a folder that already holds a run."""
    if (run / RECIPE).exists() or (run / CHECKPOINTS).exists() or (run / METRICS).exists():
        raise EinthovenError(
            f"{run} already holds a run; go on with it by `einthoven resume {run}`, or choose another folder with run=FOLDER"
        )


def begin(run: Path, describe: Mapping[str, Any], place: Place, precision: str) -> None:
    """Write down what is run and where."""
    whole.write_json(run / ENVIRONMENT, {**environment(place, precision), "resumed": []})
    whole.write_json(run / RECIPE, describe)


def go_on(run: Path, place: Place, precision: str, step: int) -> None:
    """Note in environment.json where a run went on; cut the lines of metrics.jsonl that follow its checkpoint."""
    path = run / ENVIRONMENT
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    here = environment(place, precision)
    known.setdefault("resumed", []).append({"step": step, **{key: value for key, value in here.items() if known.get(key) != value}})
    whole.write_json(path, {**here, **known})
    cut_metrics(run / METRICS, step)


def cut_metrics(path: Path, step: int) -> None:
    """Keep the whole lines up to and with ``step``; a killed process may have left later ones, and half a line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if not line.endswith("\n") or json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line)
    whole.write_text(path, "".join(kept))


def environment(place: Place, precision: str) -> dict[str, Any]:
    """Versions and the kind of machine; nothing that names a machine, a person or a folder."""
    import numpy as np
    import torch

    device = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else platform.machine()
    return {
        "einthoven": einthoven.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.system(),
        "cores": os.cpu_count(),
        "device": f"{place.device.type}: {device}",
        "precision": precision,
        "processes": place.world,
        "threads": torch.get_num_threads(),
    }
