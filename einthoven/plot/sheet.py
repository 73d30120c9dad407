"""Where everything stands on a sheet of ECG paper, in millimetres: one geometry for the printed page and for the SVG.

x runs to the right and y downwards from the sheet's upper left corner. One millimetre here is one millimetre on paper:
at 25 mm/s a second is 25 mm wide, at 10 mm/mV a millivolt is 10 mm high, whatever the rate and the length of the record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import canonical
from einthoven.plot.excerpt import LINE, arrange, drawable, shown_leads, stretch
from einthoven.record import Record

LEAD_IN, MARGIN = 15.0, 5.0  # mm inside the grid: room for the calibration pulse at the left; at the right
PULSE_SECONDS, PULSE_MV = 0.2, 1.0
LABEL_HEIGHT, AIR = 3.0, 1.5  # mm
MOST_WIDE, MOST_ROWS = 2000.0, 120  # mm and rows of one sheet: a Holter recording asked for in one piece would fill the memory


@dataclass(frozen=True, eq=False)
class Strip:
    """One lead over one stretch of time at one place.

    lead, row       : its name, and the row of the sheet in which it stands
    start, stop     : seconds in the record
    x, width        : mm; ``x`` is where ``start`` stands
    baseline        : mm; where 0 mV stands
    trace_x, trace_y: (sample,) mm; NaN in ``trace_y`` where nothing was recorded
    label           : (x, y) mm, the left end of the name's base line
    text            : the name as it is written there
    """

    lead: str
    row: int
    start: float
    stop: float
    x: float
    width: float
    baseline: float
    trace_x: np.ndarray
    trace_y: np.ndarray
    label: tuple[float, float]
    text: str

    @property
    def recorded(self) -> bool:
        return bool(np.isfinite(self.trace_y).any())


@dataclass(frozen=True, eq=False)
class Sheet:
    """A laid-out sheet: its size, the box that carries the grid, and the strips; all in mm.

    box    : (x, y, width, height) of the grid
    pulses : (point, 2) mm for each row: the calibration pulse
    start, stop, seconds : what is shown of the record, and how long the record is
    notes  : what the person who looks at the sheet has to know about it
    """

    width: float
    height: float
    box: tuple[float, float, float, float]
    speed: float
    gain: float
    strips: tuple[Strip, ...]
    pulses: tuple[np.ndarray, ...]
    start: float
    stop: float
    seconds: float
    notes: tuple[str, ...]

    def x_of(self, strip: Strip, second: float) -> float:
        """Where a moment of the record stands on a strip."""
        return strip.x + (second - strip.start) * self.speed


def lay_out(
    record: Record,
    *,
    speed: float = 25.0,
    gain: float = 10.0,
    layout: str | None = None,
    rhythm: Sequence[str] = ("II",),
    start: float = 0.0,
    seconds: float | None = None,
    header: float = 24.0,
    footer: float = 11.0,
    side: float = 13.5,
    height: float | None = 210.0,
    pitch: tuple[float, float] = (12.0, 45.0),
    width: float = LINE,
) -> Sheet:
    """Place a record on a sheet.

    speed, gain : mm/s, mm/mV
    layout  : "3x4", "6x2" (rows x columns of successive stretches), "12x1" (one row per lead, lines broken where the
              sheet ends); None: 3x4 for a twelve-lead record, else one row per lead. More leads make more columns
    rhythm  : leads shown once more below a layout of several columns, over the whole stretch; those not recorded are left out
    start, seconds : the stretch to show; None: 10 s (at 25 mm/s), up to six lines of a record of few leads
    header, footer, side : mm left free around the grid
    height  : mm of the sheet that the rows fill where they can (210: A4 landscape); it grows where traces would collide
    pitch   : mm, the least and the largest distance of two rows
    width   : mm of signal for which there is room at least
    Raises EinthovenError for a record without samples, a stretch outside it or too long for a sheet, and a layout that does not exist.
    """
    if not (speed > 0 and gain > 0):
        raise EinthovenError(f"paper speed and gain must be above 0; got {speed:g} mm/s and {gain:g} mm/mV")
    names, signal, notes = shown_leads(record)
    first, last, columns = stretch(record, names, layout, speed, start, seconds)
    rows = arrange(names, first, last, columns, layout, speed)
    if columns > 1:
        rows += [[(lead, first, last)] for lead in map(canonical, rhythm) if lead in names and np.isfinite(signal[names.index(lead)]).any()]
    line = max(width, *(sum(b - a for _, a, b in row) * speed for row in rows))
    if line > MOST_WIDE or len(rows) > MOST_ROWS:
        raise EinthovenError(
            f"{last - first:g} s of {len(names)} leads at {speed:g} mm/s do not fit on one sheet: show fewer seconds, or draw pages into a PDF"
        )
    written = [[lead if begin == first or columns > 1 else f"{lead} {begin:g} s" for lead, begin, _ in row] for row in rows]

    signal, said = drawable(signal, names, gain, slice(round(first * record.fs), max(round(last * record.fs), 1)))
    cells = [
        [
            place(signal[names.index(cell[0])] * gain, record.fs, cell, (cell[1] - row[0][1]) * speed, speed, label_width(text))
            for cell, text in zip(row, texts)
        ]
        for row, texts in zip(rows, written)
    ]
    above, below = zip(*(envelope(row, line, [label_width(text) for text in texts]) for row, texts in zip(cells, written)))
    available = height - header - footer if height is not None else 0.0
    baselines, box_height = distances(above, below, max(pitch[0], gain * PULSE_MV + AIR), pitch[1], available)

    left, strips, pulses = side + LEAD_IN, [], []
    for row, (baseline, content) in enumerate(zip(baselines, cells)):
        zero = header + baseline
        for cell, text, (x, trace_x, trace_y, label_y) in zip(rows[row], written[row], content):
            label = (left + x + 1, zero - label_y)
            strips.append(
                Strip(
                    cell[0], row, cell[1], cell[2], left + x, (cell[2] - cell[1]) * speed, zero, left + trace_x, zero - trace_y, label, text
                )
            )
        pulses.append(np.array([side, zero]) + pulse(speed, gain) * [1, -1])
    box = (side, header, line + LEAD_IN + MARGIN, box_height)
    return Sheet(
        box[2] + 2 * side, header + box_height + footer, box, speed, gain,
        tuple(strips), tuple(pulses), first, last, record.seconds, (*notes, *said),
    )  # fmt: skip


def label_width(text: str) -> float:
    """mm that a lead's name takes, and then some."""
    return 5.0 + 2.0 * len(text)


def place(
    trace: np.ndarray, fs: float, cell: tuple[str, float, float], x: float, speed: float, label: float
) -> tuple[float, np.ndarray, np.ndarray, float]:
    """(x, trace x, trace height, label height) of one cell, in mm from the row's beginning and above its baseline."""
    _, start, stop = cell
    k = np.arange(math.ceil(start * fs - 1e-6), min(trace.size, math.floor(stop * fs + 1e-6) + 1))
    trace_x, trace_y = x + (k / fs - start) * speed, trace[k]
    under = trace_y[(trace_x <= x + label) & np.isfinite(trace_y)]
    return x, trace_x, trace_y, max(float(under.max(initial=0.0)) + AIR, 5.0)


def envelope(row: Sequence[tuple], line: float, labels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """How far a row reaches above and below its baseline, per mm along it, widened by 2 mm to either side."""
    n = math.ceil(line) + 2
    above, below = np.zeros(n), np.zeros(n)
    for (x, trace_x, trace_y, label), wide in zip(row, labels):
        known = np.isfinite(trace_y)
        column = np.clip(trace_x[known].astype(int), 0, n - 1)
        np.maximum.at(above, column, trace_y[known])
        np.maximum.at(below, column, -trace_y[known])
        name = slice(int(x), int(x + wide))
        above[name] = np.maximum(above[name], label + LABEL_HEIGHT)
    return tuple(np.lib.stride_tricks.sliding_window_view(np.pad(side, 2), 5).max(axis=1) for side in (above, below))


def distances(
    above: Sequence[np.ndarray], below: Sequence[np.ndarray], least: float, most: float, available: float
) -> tuple[list[float], float]:
    """Baselines (mm below the grid's upper edge, whole mm) and the grid's height (a multiple of 5 mm).

    No trace touches one of another row. Rows stand as evenly, and as far apart, as ``available`` and ``most`` allow.
    """
    need = [float((upper + lower).max()) + AIR for upper, lower in zip(below[:-1], above[1:])]

    def at(pitch: float) -> tuple[list[float], float]:
        baselines = [float(math.ceil(max(pitch / 2, above[0].max() + AIR, PULSE_MV * least)))]
        for between in need:
            baselines.append(baselines[-1] + math.ceil(max(pitch, between)))
        return baselines, 5.0 * math.ceil((baselines[-1] + max(pitch / 2, below[-1].max() + AIR)) / 5)

    for pitch in np.arange(math.floor(most), math.ceil(least), -1.0):
        if (placed := at(float(pitch)))[1] <= available:
            spare = available - placed[1] if pitch < math.floor(most) else 0.0  # fill the sheet, unless its rows would stand too far apart
            return [baseline + spare // 2 for baseline in placed[0]], placed[1] + spare
    return at(least)


def pulse(speed: float, gain: float) -> np.ndarray:
    """(point, 2) mm from the left end of a row and above its baseline: 1 mV for 200 ms, its rising edge on a 5 mm line at 25 mm/s."""
    wide, high = PULSE_SECONDS * speed, PULSE_MV * gain
    rise = max(LEAD_IN - 5.0 - wide, 1.0)
    return np.array(
        [[rise - min(2.5, rise - 0.5), 0], [rise, 0], [rise, high], [rise + wide, high], [rise + wide, 0], [rise + wide + 2.5, 0]]
    )
