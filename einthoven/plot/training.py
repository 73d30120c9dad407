"""Learning curves from what a run logged: ``metrics.jsonl``, a JSON object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.plot.canvas import SERIES, canvas, name, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 400  # per curve; a longer one is averaged over neighbouring steps for drawing
WHICH = ("split", "phase", "kind", "subset", "event")  # fields that say of which part of the data a line speaks
PLAIN = {"", "train", "step", "training", "update"}
LATER = (
    "lr",
    "learning_rate",
    "grad_norm",
    "scale",
    "samples_per_second",
    "utilisation",
    "eta",
    "time",
    "epoch",
    "seconds",
    "weight",
    "memory",
)


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity over the updates of a run: ``step`` and ``value``, each (point,)."""

    name: str
    step: np.ndarray
    value: np.ndarray


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """The curves of a ``metrics.jsonl`` (or of the run folder that holds it), by name; ``valid/auroc`` is of the split ``valid``.

    Every number of a line that has a ``step`` is a point; mappings inside a line are opened (``parts/accuracy``). A step that
    was logged twice (a run resumed from before it) counts as it was logged last. An unfinished last line, which a killed run
    leaves, is passed over; a damaged line anywhere else raises EinthovenError.
    """
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise EinthovenError(f"{path} is not there: learning curves are read from the metrics.jsonl of a run folder")
    points: dict[str, dict[float, float]] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            if i == len(lines) - 1:
                break
            raise EinthovenError(f"{path}, line {i + 1}: expected a JSON object; got {line[:60]!r}") from None
        if not isinstance(row, Mapping) or not isinstance(row.get("step"), int | float):
            continue
        which = next((str(row[key]) for key in WHICH if isinstance(row.get(key), str)), "")
        for key, value in flat(row):
            if key != "step":
                key = key.removeprefix("train/")
                points.setdefault(key if which in PLAIN else f"{which}/{key}", {})[float(row["step"])] = value
    return {key: Curve(key, *(np.array(axis) for axis in zip(*sorted(of_step.items())))) for key, of_step in points.items()}


def flat(row: Mapping[str, Any], before: str = "") -> list[tuple[str, float]]:
    """(path, number) of all finite numbers of nested mappings."""
    found = []
    for key, value in row.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{before}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found.append((f"{before}{key}", float(value)))
    return found


def learning_curves(curves: Mapping[str, Curve], *, only: Sequence[str] | None = None, columns: int = 3, most: int = 9) -> Figure:
    """A panel per quantity, training and validation in one: the loss first, then scores, then the machinery.

    only : quantities to show (their last name: ``loss``, ``accuracy``, ``auroc``), in this order
    """
    panels: dict[str, list[Curve]] = {}
    for curve in curves.values():
        panels.setdefault(curve.name.rsplit("/", 1)[-1], []).append(curve)
    wanted = [key for key in only if key in panels] if only is not None else sorted(panels, key=importance)
    wanted = [key for key in wanted if max(curve.step.size for curve in panels[key]) > 1 or only is not None][:most]
    if not wanted:
        return nothing("The run has logged no curve yet.")
    columns = min(columns, len(wanted))
    rows = math.ceil(len(wanted) / columns)
    figure, axes = canvas(86 * columns + 4, 54 * rows + 2, rows, columns)
    for i, one in enumerate(axes.flat):
        if i >= len(wanted):
            one.axis("off")
            continue
        several = len(panels[wanted[i]]) > 1
        for curve, colour in zip(sorted(panels[wanted[i]], key=lambda curve: curve.name.count("/")), SERIES):
            step, value = thinned(curve)
            label = curve.name.rsplit("/", 1)[0] if "/" in curve.name else "train"
            one.plot(step, value, color=colour, linewidth=1.2, marker="o" if step.size < 12 else None, markersize=2.5, label=label)
        name(one, wanted[i].replace("_", " "), "step" if i >= len(wanted) - columns else "")
        if several:
            one.legend(fontsize=6.5, frameon=False, labelcolor="linecolor", handlelength=1.2)
    return figure


def importance(key: str) -> tuple[int, str]:
    """The loss, then its parts and scores, then rates and speeds."""
    return (0 if key == "loss" else 3 if key in LATER else 1 if "accuracy" in key or "auroc" in key or "auprc" in key else 2, key)


def thinned(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Means over neighbouring points, so that at most POINTS are drawn."""
    per = math.ceil(curve.step.size / POINTS)
    if per == 1:
        return curve.step, curve.value
    starts = np.arange(0, curve.step.size, per)
    n = np.diff(np.append(starts, curve.step.size))
    return np.add.reduceat(curve.step, starts) / n, np.add.reduceat(curve.value, starts) / n
