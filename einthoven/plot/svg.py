"""A tracing as a compact SVG for a page: exact millimetres, sharp at any size, self-contained, written by hand.

A path holds whole numbers, hundredths of a millimetre, each relative to the one before. What no eye and no printer could
tell apart is left out: the line stays within 0.02 mm of every sample; where more than four samples share a tenth of a
millimetre, of the first, the last, the lowest and the highest of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from einthoven.plot.caption import markup, person, scale
from einthoven.plot.paper import COARSE, FINE, GREY, PAPER, Span, separators
from einthoven.plot.sheet import LINE, Sheet, lay_out
from einthoven.record import Record

TOLERANCE = 0.012  # mm between a sample and the drawn line, before rounding to 0.01 mm adds up to 0.007
COLUMN = 0.1  # mm: of the samples within such a column the first, the last, the lowest and the highest are kept


def svg_tracing(
    record: Record,
    *,
    speed: float = 25.0,
    gain: float = 10.0,
    layout: str | None = None,
    rhythm: Sequence[str] = ("II",),
    start: float = 0.0,
    seconds: float | None = None,
    highlight: Sequence[Span] = (),
    caption: bool = True,
    standalone: bool = False,
    pitch: float = 22.0,
    width: float = LINE,
) -> str:
    """A tracing as ``<svg>…</svg>``, one ``<path class="lead">`` per strip; arguments as ``draw_paper`` takes them.

    caption    : write speed, gain, rate and what has to be known about the drawing below the grid
    standalone : with the XML namespace, for a file of its own; inside an HTML page none is needed
    pitch      : mm between two rows; more where traces would touch
    width      : mm of signal for which there is room at least
    Raises EinthovenError as ``lay_out`` does.
    """
    foot = 5.0 if caption else 0.0
    sheet = lay_out(
        record, speed=speed, gain=gain, layout=layout, rhythm=rhythm, start=start, seconds=seconds,
        header=0.0, footer=foot, side=0.0, height=None, pitch=(pitch, pitch), width=width,
    )  # fmt: skip
    _, _, across, height = sheet.box
    words = f"ECG {record.record}".strip() + (f", {person(record)}" if person(record) else "")
    parts = [
        f'<svg{" xmlns=" + chr(34) + "http://www.w3.org/2000/svg" + chr(34) if standalone else ""} class="ecg" role="img" aria-label="{markup(words)}" '
        f'width="{sheet.width:g}mm" height="{sheet.height:g}mm" viewBox="0 0 {sheet.width:g} {sheet.height:g}" '
        f"font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">",
        f'<rect width="{across:g}" height="{height:g}" fill="{PAPER}"/>',
        grid(across, height, 1, FINE, 0.1),
        grid(across, height, 5, COARSE, 0.16),
        *(shaded(sheet, span) for span in highlight),
        '<g fill="none" stroke="#000" stroke-width="0.25" stroke-linejoin="round" stroke-linecap="round">',
        *(
            f'<path class="pulse" transform="scale(.01)" stroke-width="25" d="{path(points[:, 0], points[:, 1])}"/>'
            for points in sheet.pulses
        ),
    ]
    for strip in sheet.strips:
        if strip.recorded:
            parts.append(
                f'<path class="lead" data-lead="{markup(strip.lead)}" transform="scale(.01)" stroke-width="25" d="{trace(strip.trace_x, strip.trace_y)}"/>'
            )
    for strip in separators(sheet):
        parts.append(f'<path stroke-width="0.18" d="M{strip.x:.2f} {strip.baseline - 5.5:g}v3m0 5v3"/>')
    parts.append(f'</g><g font-size="2.9" font-weight="bold" stroke="{PAPER}" stroke-width="0.6" paint-order="stroke">')
    parts += [f'<text x="{strip.label[0]:.2f}" y="{strip.label[1]:.2f}">{markup(strip.text)}</text>' for strip in sheet.strips]
    parts.append("</g>")
    for strip in sheet.strips:
        if not strip.recorded:
            middle = strip.x + strip.width / 2
            parts.append(
                f'<text x="{middle:.2f}" y="{strip.baseline:.2f}" font-size="2.7" font-style="italic" text-anchor="middle" fill="{GREY}">not recorded</text>'
            )
    if caption:
        line = scale(record, sheet).replace("   ", " · ")
        parts.append(f'<text x="0" y="{height + 3.8:g}" font-size="2.6" fill="#333">{markup("; ".join([line, *sheet.notes]))}</text>')
    return "\n".join([*parts, "</svg>"])


def grid(width: float, height: float, every: int, colour: str, line: float) -> str:
    """Lines every ``every`` mm as two paths; patterns would need ids, which may meet others on a page."""
    across = "".join(f"M{x} 0v{height:g}" for x in range(0, int(width) + 1, every))
    down = "".join(f"M0 {y}h{width:g}" for y in range(0, int(height) + 1, every))
    return f'<path stroke="{colour}" stroke-width="{line:g}" d="{across}{down}"/>'


def shaded(sheet: Sheet, span: Span) -> str:
    boxes = []
    for strip in sheet.strips:
        start, stop = max(span.start, strip.start), min(span.stop, strip.stop)
        if stop > start and span.lead in (None, strip.lead):
            x, wide = sheet.x_of(strip, start), (stop - start) * sheet.speed
            boxes.append(
                f'<rect x="{x:.2f}" y="{strip.baseline - 8:g}" width="{wide:.2f}" height="13" fill="{markup(span.colour)}" fill-opacity="{span.strength:.3g}"/>'
            )
    return "".join(boxes)


def trace(x: np.ndarray, y: np.ndarray) -> str:
    """Path data of a trace in mm; a gap (NaN) is not joined, a sample alone is a dot."""
    known = np.isfinite(y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    pieces = []
    for first, stop in edges.reshape(-1, 2):
        kept = first + simplify(x[first:stop], y[first:stop])
        pieces.append(path(x[kept], y[kept]))
    return "".join(pieces)


def path(x: np.ndarray, y: np.ndarray) -> str:
    """``M`` and relative ``l`` steps through the points, in hundredths of a millimetre. Rounding does not add up: each point is rounded by itself."""
    points = np.rint(np.stack([x, y], axis=-1) * 100).astype(int)
    steps = np.diff(points, axis=0).tolist()
    if not steps:
        return f"M{points[0, 0]} {points[0, 1]}h0"
    return f"M{points[0, 0]} {points[0, 1]}l" + " ".join(f"{dx}{dy}" if dy < 0 else f"{dx} {dy}" for dx, dy in steps)


def simplify(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the samples through which a line passes within TOLERANCE (vertically) of all samples, first and last included."""
    kept = extremes(x, y)
    return kept[within(x[kept].tolist(), y[kept].tolist(), TOLERANCE)]


def extremes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the first, last, lowest and highest sample of every column of COLUMN mm."""
    if x.size < 3 or (x[-1] - x[0]) / COLUMN > x.size / 4:
        return np.arange(x.size)
    column = np.floor((x - x[0]) / COLUMN).astype(int)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(column) > 0]))
    order = np.lexsort((y, column))  # within a column from its lowest to its highest
    ends = np.concatenate([starts[1:], [x.size]]) - 1
    return np.unique(np.concatenate([starts, ends, order[starts], order[ends]]))


def within(x: list[float], y: list[float], tolerance: float) -> list[int]:
    """The greedy cone: go on while one line from the last kept point passes within ``tolerance`` of every point between.

    Each kept point is a sample itself, so a line that ends in it must lie inside the cone of those before it.
    """
    kept, anchor, low, high = [0], 0, -np.inf, np.inf
    for i in range(1, len(x)):
        run = x[i] - x[anchor]
        slope = (y[i] - y[anchor]) / run
        if not low <= slope <= high:
            anchor = i - 1
            kept.append(anchor)
            run, low, high = x[i] - x[anchor], -np.inf, np.inf
            slope = (y[i] - y[anchor]) / run
        low, high = max(low, slope - tolerance / run), min(high, slope + tolerance / run)
    if len(x) > 1:
        kept.append(len(x) - 1)
    return kept
