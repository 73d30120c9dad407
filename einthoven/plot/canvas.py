"""A quiet canvas that all figures share: no frame, few ticks, four colours. No global setting of matplotlib is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE, FAINT = "#1b2430", "#5f6b78", "#dde2e7", "#aeb9c3"
ACCENT, FOUND, SECOND, THIRD = "#0f5c78", "#a1283c", "#c98a1b", "#5b7f4b"
SERIES = (ACCENT, FOUND, SECOND, THIRD, MUTED)


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options):
    """(figure, axes): a figure of so many millimetres, its axes (row, column) already quiet."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 25.4, height / 25.4), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        quiet(one)
    return figure, axes


def quiet(axes, grid: str = "y") -> None:
    """Left and lower edge only, small muted ticks, a light grid in one direction."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=MUTED, labelsize=7.5, length=2.5, width=0.6)
    axes.grid(False)
    axes.grid(axis=grid, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def name(axes, title: str = "", x: str = "", y: str = "") -> None:
    """Title and axis names, small, to the left. Class names come from files: a ``$`` is a dollar, not mathematics."""
    axes.set_title(title, fontsize=8.5, color=INK, loc="left", parse_math=False)
    axes.set_xlabel(x, fontsize=8, color=MUTED)
    axes.set_ylabel(y, fontsize=8, color=MUTED)


def nothing(words: str, width: float = 120, height: float = 24) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, axes = canvas(width, height)
    axes[0, 0].axis("off")
    axes[0, 0].text(0.0, 0.5, words, fontsize=8.5, color=MUTED, va="center", transform=axes[0, 0].transAxes, parse_math=False)
    return figure
