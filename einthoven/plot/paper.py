"""A tracing on ECG paper as a page to print: exact millimetres, the pink grid, 25 mm/s and 10 mm/mV unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import canonical
from einthoven.plot.caption import one_line, person, scale, when
from einthoven.plot.sheet import Sheet, Strip, lay_out
from einthoven.record import Record
from einthoven.whole import appearing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MM = 1 / 25.4  # inch
POINT = 25.4 / 72  # mm: matplotlib's line widths and font sizes are points
DPI = 254  # 10 pixels per mm: every grid line falls on whole pixels
PAPER, FINE, COARSE, INK, GREY = "#fffbfa", "#f7cfd2", "#e79aa2", "#000000", "#6b6b6b"
FONT = "DejaVu Sans"
SUFFIXES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Mark:
    """A word at one moment (a beat's class, an onset), above one lead or above all of them."""

    second: float
    text: str
    lead: str | None = None


@dataclass(frozen=True)
class Span:
    """A stretch of time that is shaded, on one lead or on all; ``strength`` from 0 to 1."""

    start: float
    stop: float
    lead: str | None = None
    colour: str = "#2f6fb0"
    strength: float = 0.25


def draw_paper(
    record: Record,
    *,
    speed: float = 25.0,
    gain: float = 10.0,
    layout: str | None = None,
    rhythm: Sequence[str] = ("II",),
    start: float = 0.0,
    seconds: float | None = None,
    title: str | None = None,
    annotations: Sequence[Mark] = (),
    highlight: Sequence[Span] = (),
) -> Figure:
    """A tracing on paper, A4 landscape where it fits; a record of 10 s in 3 x 4 with a rhythm strip by default.

    speed, gain, layout, rhythm, start, seconds : as ``lay_out`` takes them; what is cut off or changed for drawing is said at the foot
    title       : the large line; None: the record's id
    annotations : words above moments, in seconds of the record
    highlight   : shaded stretches
    Raises EinthovenError as ``lay_out`` does.
    """
    from matplotlib.figure import Figure

    sheet = lay_out(record, speed=speed, gain=gain, layout=layout, rhythm=rhythm, start=start, seconds=seconds)
    figure = Figure(figsize=(sheet.width * MM, sheet.height * MM), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, sheet.width), ylim=(sheet.height, 0))  # data coordinates are mm from the upper left corner
    axes.axis("off")
    draw_grid(axes, sheet)
    for span in highlight:
        shade(axes, sheet, span)
    draw_traces(axes, sheet)
    for mark in annotations:
        point_out(axes, sheet, mark)
    draw_words(axes, record, sheet, title)
    return figure


def draw_pages(record: Record, *, start: float = 0.0, seconds: float | None = None, n_pages: int = 50, **options: Any) -> list[Figure]:
    """A whole record on successive pages, each as ``draw_paper`` draws it; at most ``n_pages``, and then EinthovenError.

    seconds : per page; None: as much as fits on one
    """
    first = lay_out(
        record, start=start, seconds=seconds, **{key: options[key] for key in ("speed", "gain", "layout", "rhythm") if key in options}
    )
    step = first.stop - first.start
    starts = np.arange(start, record.seconds - 0.5 / record.fs, step)
    if len(starts) > n_pages:
        raise EinthovenError(
            f"{record.seconds:g} s need {len(starts)} pages of {step:g} s, more than {n_pages}: more seconds on each page, a slower speed or a later start make them fewer"
        )
    return [draw_paper(record, start=float(moment), seconds=step, **options) for moment in starts]


def save(figure: Figure | Sequence[Figure], path: str | Path) -> Path:
    """Write one figure as PNG, PDF or SVG, by the suffix, at its exact size; several figures as the pages of one PDF.

    The file appears whole or not at all, and is the same bytes for the same picture.
    Raises EinthovenError for another suffix.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise EinthovenError(f"cannot write {path.name}: a tracing is written as .png, .pdf or .svg, by the file's suffix")
    pages = [figure] if not isinstance(figure, Sequence) else list(figure)
    if kind != ".pdf" and len(pages) != 1:
        raise EinthovenError(f"cannot write {len(pages)} pages into {path.name}: several pages need a .pdf")
    with appearing(path, synced=False) as unfinished:
        if kind == ".pdf":
            from matplotlib.backends.backend_pdf import PdfPages

            with PdfPages(unfinished, metadata={"CreationDate": None}) as book:
                for page in pages:
                    book.savefig(page)
        elif kind == ".svg":
            pages[0].savefig(unfinished, format="svg", metadata={"Date": None})
        else:
            pages[0].savefig(unfinished, format="png", dpi=DPI, metadata={"Software": "Einthoven"})
    return path


def draw_grid(axes, sheet: Sheet) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    x, y, width, height = sheet.box
    axes.add_patch(Rectangle((x, y), width, height, facecolor=PAPER, edgecolor="none", zorder=0))
    for every, colour, line, order in ((1, FINE, 0.1, 1), (5, COARSE, 0.16, 2)):
        across = [[(x + i, y), (x + i, y + height)] for i in range(0, round(width) + 1, every)]
        down = [[(x, y + i), (x + width, y + i)] for i in range(0, round(height) + 1, every)]
        lines = LineCollection([*across, *down], colors=colour, linewidths=line / POINT, zorder=order, capstyle="butt")
        lines.set_snap(True)
        axes.add_collection(lines)


def draw_traces(axes, sheet: Sheet) -> None:
    ink = {"color": INK, "linewidth": 0.25 / POINT, "solid_joinstyle": "round", "solid_capstyle": "round", "zorder": 5}
    for points in sheet.pulses:
        axes.plot(*points.T, **ink | {"solid_joinstyle": "miter"})
    for strip in sheet.strips:
        write(axes, *strip.label, one_line(strip.text, 20), size=2.9, weight="bold", halo=True)
        if strip.recorded:
            axes.plot(strip.trace_x, strip.trace_y, **ink)
            alone = lonely(strip.trace_y)
            axes.plot(strip.trace_x[alone], strip.trace_y[alone], ".", color=INK, markersize=0.4 / POINT, zorder=5)
        else:
            write(
                axes,
                strip.x + strip.width / 2,
                strip.baseline,
                "not recorded",
                size=2.7,
                colour=GREY,
                across="center",
                style="italic",
                halo=True,
            )
    for strip in separators(sheet):
        for side in (-1, 1):
            axes.plot(
                [strip.x] * 2, [strip.baseline + side * 2.5, strip.baseline + side * 5.5], color=INK, linewidth=0.18 / POINT, zorder=4
            )


def separators(sheet: Sheet) -> list[Strip]:
    """The strips that begin where another one ends: a short bar stands between the two."""
    return [after for before, after in zip(sheet.strips, sheet.strips[1:]) if before.row == after.row]


def lonely(trace: np.ndarray) -> np.ndarray:
    """Samples with nothing recorded on either side: a line would not show them."""
    known = np.concatenate([[False], np.isfinite(trace), [False]])
    return known[1:-1] & ~known[:-2] & ~known[2:]


def shade(axes, sheet: Sheet, span: Span) -> None:
    from matplotlib.patches import Rectangle

    for strip in sheet.strips:
        start, stop = max(span.start, strip.start), min(span.stop, strip.stop)
        if stop > start and span.lead in (None, strip.lead):
            x, top = sheet.x_of(strip, start), strip.baseline - 8
            axes.add_patch(
                Rectangle((x, top), (stop - start) * sheet.speed, 13, facecolor=span.colour, alpha=span.strength, linewidth=0, zorder=3)
            )


def point_out(axes, sheet: Sheet, mark: Mark) -> None:
    for strip in sheet.strips:
        if strip.start <= mark.second < strip.stop and (mark.lead is None or canonical(mark.lead) == strip.lead):
            x = sheet.x_of(strip, mark.second)
            near = strip.trace_y[(np.abs(strip.trace_x - x) < 2.5) & np.isfinite(strip.trace_y)]
            top = min(float(near.min(initial=strip.baseline)), strip.baseline) - 1.2
            write(axes, x, top, one_line(mark.text, 40), size=2.2, colour="#1f4e79", across="center", halo=True)


def draw_words(axes, record: Record, sheet: Sheet, title: str | None) -> None:
    x, y, width, height = sheet.box
    right = x + width
    write(axes, x, 11.0, one_line(title if title is not None else record.record or "ECG", 70), size=4.2, weight="bold")
    write(axes, x, 16.5, one_line(person(record), 110), size=2.9)
    write(axes, right, 11.0, one_line(when(record.meta), 40), size=2.9, across="right")
    if record.meta.get("report"):
        write(axes, x, 21.0, "Report: " + one_line(str(record.meta["report"]), 130), size=2.6, colour=GREY)
    foot = y + height
    write(axes, x, foot + 4.2, scale(record, sheet), size=2.6)
    write(axes, right, foot + 4.2, "Einthoven · research use, not a medical device", size=2.2, colour=GREY, across="right")
    write(axes, x, foot + 8.0, one_line("; ".join(sheet.notes), 170), size=2.4, colour=GREY)


def write(axes, x, y, text, *, size, colour=INK, weight="normal", style="normal", across="left", halo=False) -> None:
    """Text whose base line stands at (x, y) mm; ``size`` is the em in mm. A ``$`` in a file's text is a dollar, not mathematics."""
    from matplotlib.patheffects import withStroke

    effects = [withStroke(linewidth=0.7 / POINT, foreground=PAPER)] if halo else []
    axes.text(
        x, y, text, fontsize=size / POINT, color=colour, fontweight=weight, fontstyle=style, fontfamily=FONT,
        ha=across, va="baseline", parse_math=False, path_effects=effects, zorder=6,
    )  # fmt: skip
