"""Text tables of signals: CSV, TSV, semicolons or blanks, with a header or with what it lacks told from outside.

A row is an instant, a column a lead; or, where a line has fifty and more numbers, a row is a lead. The header names the leads, each with its
unit (``II (mV)``, ``II [uV]``); a time column gives the rate, and rows that it leaves out become NaN, as do empty cells. What the table does not say is
asked for by name (``sidecar.py``): a rate, a unit and an order of leads cannot be seen in numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bare_array import finished
from einthoven.io.cut import with_limb_leads
from einthoven.io.rates import is_rate
from einthoven.io.sidecar import Told, agreed, ask_for, told
from einthoven.io.table_layout import CLOCK, MISSING, Column, Layout, column_of, is_generic, is_table, layout_of, split
from einthoven.io.table_times import rate_of
from einthoven.io.texts import decoded
from einthoven.io.units import in_millivolt, to_millivolt
from einthoven.record import Record

__all__ = ["is_table", "read", "record_of"]

MAX_BYTES = 2**29
"""A longer text is refused: ten times that is in memory while it is read. WFDB, EDF and Parquet hold the same in a tenth."""

_HEAD = 65_536


def read(
    path: Path | str,
    *,
    leads: Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    fs: float | None = None,
    unit: str | None = None,
    names: Sequence[str] | None = None,
) -> Record:
    """A table in mV.

    fs, unit, names : what the table does not say itself, else they come from a JSON file beside it; ``names`` are those of its columns,
                      "time" for one of times in s

    Raises FormatError where something is neither said nor told, or is said and told differently, and for a table that is no signal.
    """
    path = Path(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise FormatError(f"{path}: a text of {size} bytes is too long to be read at once; split it, or write it as WFDB, EDF or Parquet.")
    text = decoded(path.read_bytes())
    layout = layout_of(text[:_HEAD], is_cut=len(text) > _HEAD)
    if layout is None:
        raise FormatError(
            f"{path}: expected rows of numbers under a header that names leads, such as 'time (s),I (mV),II (mV)'; it has none; name its columns, or tell their names (names=)."
        )
    given = told(path, fs, unit, names)
    columns, values = _wide_rows(path, text, layout) if layout.is_wide else (layout.columns, _long_rows(path, text, layout))
    return finished(path, record_of(path, columns, values, given), leads, start, stop)


def record_of(path: Path, columns: Sequence[Column] | None, values: np.ndarray, given: Told) -> Record:
    """A recording from columns of numbers, (column, row), and what is known about them. Raises FormatError for what is not."""
    if columns is None or all(column.kind != "lead" or is_generic(column.name) for column in columns):
        columns = _named(path, columns, len(values), given)
    elif given.leads is not None:
        found = tuple(column.name for column in columns if column.kind == "lead")
        agreed(path, "leads are", " ".join(found), " ".join(name for name in given.leads if column_of(name).kind == "lead"))
    at = [row for row, column in enumerate(columns) if column.kind == "lead"]
    times = [row for row, column in enumerate(columns) if column.kind == "time"]
    if len(times) > 1 or not at:
        raise FormatError(
            f"{path}: expected leads and at most one column of times; it has {', '.join(column.name or '?' for column in columns)}."
        )
    for row, column in enumerate(columns):
        if column.kind == "index" and (np.diff(values[row]) != 1).any():
            raise FormatError(
                f"{path}: column {column.name or row + 1!r} looks like a sample's number, but does not count by one; name it, or remove it."
            )
    fs, place = given.fs, np.arange(values.shape[1])
    if times:
        try:
            said, place = rate_of(values[times[0]], columns[times[0]].unit)
        except ValueError as error:
            raise FormatError(f"{path}: {error}; mend that column.") from None
        fs = agreed(path, "rate is", said, fs)
    for row in at:
        said_unit, told_unit = (None if unit is None else in_millivolt(unit) for unit in (columns[row].unit, given.unit))
        if None not in (said_unit, told_unit) and said_unit != told_unit:
            agreed(path, f"{columns[row].name} is in", columns[row].unit, given.unit)
    units = [columns[row].unit or given.unit for row in at]
    missing = (["rate"] if fs is None else []) + (["unit"] if None in units else [])
    if missing or fs is None:
        raise ask_for(path, missing)
    if not is_rate(fs):
        raise FormatError(f"{path}: expected a sampling frequency up to 1 MHz; its times give {fs:g} Hz.")
    rows, unique, others = to_millivolt(path, values[at], [columns[row].name for row in at], [unit or "" for unit in units])
    if place[-1] + 1 != rows.shape[1]:
        spread = np.full((len(rows), int(place[-1]) + 1), np.nan, dtype=np.float32)
        spread[:, place] = rows
        rows = spread
    return with_limb_leads(Record(rows, fs, unique, record=path.stem, meta={"units": others} if others else {}))


def _named(path: Path, columns: Sequence[Column] | None, n_columns: int, given: Told) -> list[Column]:
    """The columns of a table whose own names say nothing, by the names that were told: of all columns, or of those that are leads."""
    if given.leads is None:
        missing = [
            *(["rate"] if given.fs is None and not any(c.kind == "time" for c in columns or ()) else []),
            *(["unit"] if given.unit is None and not any(c.unit for c in columns or () if c.kind == "lead") else []),
        ]
        raise ask_for(path, [*missing, "lead names"])
    named = [column_of(name) for name in given.leads]
    if columns is None and len(named) == n_columns:
        return [Column(c.name, c.unit or ("s" if c.kind == "time" else None), c.kind) for c in named]
    at = [row for row, column in enumerate(columns or ()) if column.kind == "lead"]
    if len(named) != len(at):
        raise FormatError(
            f"{path}: expected a name for each of its {len(at) or n_columns} columns; {len(named)} were told: {' '.join(given.leads)}."
        )
    out = list(columns or ())
    for row, column in zip(at, named):
        out[row] = Column(column.name, out[row].unit or column.unit, column.kind)
    return out


def _long_rows(path: Path, text: str, layout: Layout) -> np.ndarray:
    """(column, row) float64; NaN for empty cells."""
    import pyarrow as pa
    import pyarrow.csv

    body = re.split(r"\r\n|\r|\n", text, maxsplit=layout.first)[-1] if layout.first else text
    n_columns = len(split(re.split(r"[\r\n]", body, maxsplit=1)[0], layout.separator))
    if layout.separator is None:
        body = re.sub(r"(?m)^ | $", "", re.sub(r"[ \t]+", " ", re.sub(r"\r\n?", "\n", body)))
    if layout.is_clock:
        body = re.sub(rf"(?m)^[ \t]*['\"]?{CLOCK.pattern}['\"]?", partial(_seconds, layout.decimal), body)
    if "+" in body:
        body = re.sub(r"(?<![eE])\+(?=[\d.,])", "", body)
    try:
        table = pyarrow.csv.read_csv(
            BytesIO(body.encode("utf-8")),
            read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=True),
            parse_options=pyarrow.csv.ParseOptions(delimiter={None: " ", "": "\t"}.get(layout.separator, layout.separator)),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={f"f{k}": pa.float64() for k in range(n_columns)}, null_values=list(MISSING), decimal_point=layout.decimal
            ),
        )
    except (pa.ArrowException, ValueError) as error:
        last = body.rstrip().rpartition("\n")[2]
        said = " ".join(str(error).split())[:200]
        if (n_cells := len(split(last, layout.separator))) < n_columns:
            said = f"truncated: its last row has {n_cells} of {n_columns} cells ({last[:40]!r}); copy it again, whole, or remove that row"
        raise FormatError(f"{path}: cannot be read as a table of numbers: {said}.") from None
    out = np.empty((table.num_columns, table.num_rows))
    for row, column in zip(out, table.columns):
        row[:] = column.to_numpy()
    return out


def _seconds(decimal: str, clock: re.Match[str]) -> str:
    """``1:02:03.004`` as seconds."""
    hours, minutes, seconds = clock.groups()
    return f"{3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(',', '.')):.9f}".replace(".", decimal)


def _wide_rows(path: Path, text: str, layout: Layout) -> tuple[Sequence[Column] | None, np.ndarray]:
    """The same of a table in which a row is a lead, whose name may stand first."""
    columns: list[Column] = []
    rows: list[list[float]] = []
    n_named = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip():
            continue
        cells = split(line, layout.separator)
        column = column_of(cells[0])
        try:
            float(cells[0].replace(layout.decimal, "."))
            columns.append(Column(f"lead {number}", None, "lead"))
        except ValueError:
            columns.append(column if column.kind == "time" else Column(column.name, column.unit, "lead"))
            n_named += 1
            cells = cells[1:]
        try:
            rows.append([np.nan if cell in MISSING else float(cell.replace(layout.decimal, ".")) for cell in cells])
        except ValueError as error:
            raise FormatError(f"{path}, line {number}: {' '.join(str(error).split())[:200]}; expected numbers.") from None
        if len(rows[-1]) != len(rows[0]):
            raise FormatError(
                f"{path}, line {number}: has {len(rows[-1])} numbers, the first line {len(rows[0])}; expected as many in each lead; mend that row."
            )
    if n_named not in (0, len(rows)):
        raise FormatError(f"{path}: {n_named} of {len(rows)} rows begin with a name; expected all or none; name all of them.")
    return columns if n_named else None, np.array(rows)
