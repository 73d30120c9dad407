"""Figures of the tasks that are not diagnosis: persons found again, and numbers beside those that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from einthoven.plot.canvas import ACCENT, FAINT, MUTED, SECOND, canvas, name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def match_curves(cmc: np.ndarray, false: np.ndarray, true: np.ndarray) -> Figure:
    """Left: share of probes whose person is among the first k, (rank,). Right: genuine against impostor comparisons let in, (corner,) each."""
    figure, axes = canvas(170, 70, 1, 2)
    left, right = axes[0]
    ranks = np.arange(1, len(cmc) + 1)
    left.plot(ranks, cmc, "-o", color=ACCENT, markersize=2.6, linewidth=1.3)
    left.set_ylim(0, 1.02)
    name(left, "Identification", "the person is among the first k", "share of probes")
    right.plot(false, true, color=ACCENT, linewidth=1.3)
    right.plot([0, 1], [1, 0], color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    right.set_xlim(-0.01, 1.01)
    right.set_ylim(0, 1.02)
    name(right, "Verification (dashed: equal error)", "impostors let in", "genuine let in")
    return figure


def bland_altman(predicted: np.ndarray, measured: np.ndarray, names: Sequence[str], units: Sequence[str]) -> Figure:
    """For each target: predicted against measured, and their difference against their mean with bias and limits of agreement."""
    figure, axes = canvas(170, 64 * len(names), len(names), 2)
    for row, (target, unit) in enumerate(zip(names, units)):
        known = ~np.isnan(measured[:, row])
        x, y = measured[known, row], predicted[known, row]
        said = f"{target}{f', {unit}' if unit else ''}"
        scatter, bland = axes[row]
        scatter.plot(x, y, "o", color=ACCENT, markersize=2.4, alpha=0.6, markeredgewidth=0)
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            scatter.plot(ends, ends, color=FAINT, linewidth=0.9)
        name(scatter, said, "measured", "predicted")
        difference = y - x
        bland.plot((x + y) / 2, difference, "o", color=ACCENT, markersize=2.4, alpha=0.6, markeredgewidth=0)
        if len(x) > 1:
            bias, sd = difference.mean(), difference.std(ddof=1)
            bland.axhline(bias, color=SECOND, linewidth=1.1)
            for end in (bias - 1.96 * sd, bias + 1.96 * sd):
                bland.axhline(end, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
        name(bland, "bias and limits of agreement", "mean of both", "predicted − measured")
    return figure
