"""What of a record goes onto a sheet: which leads, which stretch of time, in which rows, and what has to be changed to draw it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import LIMB, TWELVE, canonical, select
from einthoven.record import Record

ROWS = {"3x4": 3, "6x2": 6, "12x1": None}  # None: as many rows as leads, one column
LINE = 250.0  # mm of signal on one line of an A4 sheet in landscape
EXCURSION = 60.0  # mm above or below its baseline, beyond which a trace is drawn flat, and this is said
OFFSET = 0.5  # mV: a larger constant offset (electrode potential, no high-pass) is taken out for drawing, and this is said


def shown_leads(record: Record) -> tuple[list[str], np.ndarray, list[str]]:
    """The leads of a sheet in the field's order, their signal (lead, time), and what was computed.

    A record with most of the twelve leads is shown as a twelve-lead ECG: what follows from I and II is computed (some
    machines store eight leads only), what is missing stands there as not recorded.
    """
    if record.signal.shape[1] == 0 or not record.leads:
        raise EinthovenError(f"{record.record or 'the record'} has no samples: there is nothing to draw")
    own = [canonical(name) for name in record.leads]
    others = [name for name in own if name not in TWELVE]
    standard = [name for name in TWELVE if name in own]
    names = [*(TWELVE if len(standard) >= 7 else standard), *others]
    signal = select(record.signal, own, names)
    limb = [name for name in LIMB[2:] if name in names and name not in own and np.isfinite(signal[names.index(name)]).any()]
    return names, signal, [f"{', '.join(limb)} computed from I and II"] if limb else []


def stretch(
    record: Record, names: Sequence[str], layout: str | None, speed: float, start: float, seconds: float | None
) -> tuple[float, float, int]:
    """First and last second to show, and the number of columns."""
    if layout is not None and layout not in ROWS:
        near = difflib.get_close_matches(layout, ROWS, n=1)
        raise EinthovenError(
            f"there is no layout {layout!r}; the layouts are {', '.join(ROWS)}" + (f" (did you mean {near[0]}?)" if near else "")
        )
    if not 0 <= start < record.seconds:
        raise EinthovenError(f"cannot start at {start:g} s: {record.record or 'the record'} lasts from 0 to {record.seconds:g} s")
    if seconds is not None and not seconds > 0:
        raise EinthovenError(f"expected a length above 0 s to show; got {seconds:g} s")
    line = LINE / speed
    if layout is None:
        short = min(seconds or line, record.seconds - start) < 0.4 * line
        layout = "12x1" if len(names) < 7 or short else "3x4"
    rows = ROWS[layout]
    columns = math.ceil(len(names) / rows) if rows else 1
    if seconds is None:
        seconds = line * (max(1, 6 // len(names)) if columns == 1 else 1)
    return start, min(start + seconds, record.seconds), columns


def arrange(
    names: Sequence[str], first: float, last: float, columns: int, layout: str | None, speed: float
) -> list[list[tuple[str, float, float]]]:
    """Rows of (lead, start, stop): down the columns first, as on every printed ECG."""
    if columns > 1:
        n_rows = ROWS[layout or "3x4"] or 1
        edges = np.linspace(first, last, columns + 1)
        return [
            [(names[i], edges[c], edges[c + 1]) for c in range(columns) if (i := c * n_rows + r) < len(names)]
            for r in range(n_rows)
            if r < len(names)
        ]
    step = LINE / speed
    n_lines = max(1, math.ceil((last - first) / step - 1e-9))
    return [[(name, first + k * step, min(first + (k + 1) * step, last))] for k in range(n_lines) for name in names]


def drawable(signal: np.ndarray, names: Sequence[str], gain: float, part: slice) -> tuple[np.ndarray, list[str]]:
    """The signal without large constant offsets and without what would leave the sheet; and words for both."""
    out = np.where(np.isfinite(signal), signal, np.nan).astype(np.float64)
    notes, beyond, still = [], [], []
    for row, name in enumerate(names):
        seen = out[row, part][np.isfinite(out[row, part])]
        if seen.size == 0:
            continue
        if seen.size > 1 and np.ptp(seen) == 0:
            still.append(name)
        offset = float(np.median(seen))
        if abs(offset) > OFFSET:
            out[row] -= offset
            notes.append(f"{name} drawn without its offset of {offset:+.2f} mV")
        if np.abs(seen - (offset if abs(offset) > OFFSET else 0.0)).max() * gain > EXCURSION:
            beyond.append(name)
    if len(notes) > 3:
        notes = [f"{len(notes)} leads drawn without their constant offset"]
    if still:
        notes.insert(0, f"no signal but a constant in {', '.join(still)}")
    if beyond:
        notes.append(f"{', '.join(beyond)} drawn flat beyond ±{EXCURSION / gain:g} mV")
    return np.clip(out, -EXCURSION / gain, EXCURSION / gain), notes
