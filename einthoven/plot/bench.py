"""Methods side by side: a point and an interval each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from einthoven.plot.canvas import ACCENT, FAINT, MUTED, canvas, name, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from einthoven.bench.result import Row

BASELINES = ("random encoder", "from scratch")


def dots(rows: Sequence[Row]) -> Figure:
    """AUROC with its interval, a line per row, in the order given from the top; the baselines hollow, the random encoder dashed through."""
    figure, grid = canvas(170, 16 + 6.5 * len(rows))
    axes = grid[0, 0]
    for place, row in enumerate(rows):
        baseline = row.method in BASELINES
        colour = MUTED if baseline else ACCENT
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(row.auroc, place, "o", color=colour, markerfacecolor="white" if baseline else colour, markersize=5)
        if row.method == BASELINES[0]:
            axes.axvline(row.auroc, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    one_encoder = len({row.encoder for row in rows}) == 1
    axes.set_yticks(range(len(rows)), [row.method if one_encoder else f"{row.method} · {row.encoder}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    quiet(axes, grid="x")
    name(axes, x="AUROC, mean of classes")
    return figure
