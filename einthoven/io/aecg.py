"""HL7 version 3 annotated ECG (aECG, ``PORT_MT020001``): XML whose root is ``AnnotatedECG``, the form of FDA submissions.

A ``series`` is a recording; its ``sequenceSet``s are pieces of it, each a sequence of times and one of integers per lead, of which
``origin + scale × digit`` is the voltage. The rhythm is read, never a ``derivedSeries`` (the representative beat). Lead names are MDC codes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.aecg_describe import describe
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.demographics import stamp
from einthoven.io.pieces import Piece, together
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt
from einthoven.io.xml_leads import numbers_in
from einthoven.io.xml_tree import as_number, read_tree
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record

ROOT = "AnnotatedECG"
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIMES = ("TIME_ABSOLUTE", "TIME_RELATIVE")


@dataclass(frozen=True, eq=False)
class _Set:
    """One sequence set: leads that were recorded together."""

    begin: datetime | None  # as the clock showed it, where the file says so
    start: float  # s after ``begin``, or after the series began
    fs: float
    leads: dict[str, np.ndarray]  # (time,) in mV, or in the unit of ``units``
    units: dict[str, str]

    @property
    def seconds(self) -> float:
        return max(lead.size for lead in self.leads.values()) / self.fs


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """The rhythm of an annotated ECG, in mV.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    Of several rhythm series the longest is read, and how many there are besides stands in ``meta["further_waveforms"]``; sets at another rate than
    the longest set are left out. Raises FormatError.
    """
    path = Path(path)
    root = read_tree(path, ROOT)
    found = [(series, sets) for series in root.iterfind("component/series") if _is_rhythm(series) and (sets := _sets(path, series))]
    if not found:
        raise FormatError(f"{path}: expected a series of rhythm with leads in it; came none; export the recording itself.")
    series, sets = max(found, key=lambda one: sum(part.seconds for part in one[1]))
    longest = max(sets, key=lambda part: part.seconds)
    sets = [longest, *(part for part in sets if part is not longest and part.fs == longest.fs)]
    zero = min((part.begin for part in sets if part.begin is not None), default=None)
    pieces = [
        Piece(name, part.start + ((part.begin - zero).total_seconds() if part.begin is not None and zero is not None else 0.0), lead)
        for part in sets
        for name, lead in part.leads.items()
    ]
    signal, names = together(pieces, longest.fs, path)
    patient, meta = describe(root, series, zero)
    if units := {name: unit for part in sets for name, unit in part.units.items()}:
        meta["units"] = units
    if len(found) > 1:
        meta["further_waveforms"] = len(found) - 1
    record = Record(signal, longest.fs, names, record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def _is_rhythm(series: Element) -> bool:
    code = series.find("code")
    return code is None or code.get("code", "").upper() != "REPRESENTATIVE_BEAT"


def _sets(path: Path, series: Element) -> list[_Set]:
    sets = (_set(path, element) for element in series.iterfind("component/sequenceSet"))
    return [one for one in sets if one is not None]


def _set(path: Path, element: Element) -> _Set | None:
    """A sequence set; None where it holds no samples."""
    begin, start, fs = None, 0.0, None
    names: list[str] = []
    rows: list[tuple[np.ndarray, str | None]] = []
    for sequence in element.iterfind("component/sequence"):
        code, value = sequence.find("code"), sequence.find("value")
        if code is None or value is None:
            continue
        if code.get("code") in _TIMES:
            begin, start, fs = _times(path, value)
            continue
        name = _lead_name(code)
        names.append(name)
        rows.append(_samples(path, name, value))
    lengths = {row.size for row, _ in rows} - {0}
    if not lengths:
        return None
    if len(lengths) > 1:
        raise FormatError(f"{path}: expected leads of one length in a sequence set; came {sorted(lengths)} samples; export it again.")
    if fs is None:
        raise FormatError(
            f"{path}: expected the times of a sequence set (TIME_ABSOLUTE or TIME_RELATIVE); came none: its rate is not known; export the ECG again."
        )
    names = unique_names(names)
    empty = np.full(lengths.pop(), np.nan, dtype=np.float32)
    leads = {name: row if row.size else empty for name, (row, _) in zip(names, rows)}
    return _Set(begin, start, fs, leads, {name: unit for name, (_, unit) in zip(names, rows) if unit is not None})


def _times(path: Path, value: Element) -> tuple[datetime | None, float, float]:
    """When a set begins (a clock time, or seconds), and its rate."""
    head, increment = value.find("head"), value.find("increment")
    text = increment.get("value", "") if increment is not None else ""
    unit = increment.get("unit", "s") if increment is not None else ""
    try:
        step = Decimal(text.strip())
    except InvalidOperation:
        step = Decimal(0)
    if unit not in _SECONDS or not step.is_finite() or step <= 0 or not is_rate(1 / max(float(step), 1e-99) / _SECONDS[unit]):
        raise FormatError(
            f"{path}: expected the time between two samples in s, ms or us; came {text[:40]!r} {unit[:10]!r}; export it again."
        )
    fs = rate(step, unit)
    if head is None:
        return None, 0.0, fs
    if (begin := stamp(head.get("value"))) is not None and head.get("unit", "s") == "s" and value.get("type", "").endswith("TS"):
        return begin, 0.0, fs
    seconds = as_number(head.get("value"))
    is_relative = value.get("type", "").endswith("PQ") and seconds is not None and head.get("unit", "s") in _SECONDS
    return None, seconds * _SECONDS[head.get("unit", "s")] if is_relative and seconds is not None else 0.0, fs


def rate(step: Decimal, unit: str = "s") -> float:
    """Hz of an increment. A step that is 1/n s as far as its decimals go (0.00277778 s) is n Hz, if it has three of them that count."""
    if unit != "s":
        step = step * Decimal(repr(_SECONDS[unit]))
    fs = 1.0 / float(step)
    n = Decimal(max(round(fs), 1))
    exponent = step.as_tuple().exponent
    if isinstance(exponent, int) and len(step.as_tuple().digits) > 3 and exponent > -30:
        if (1 / n).quantize(Decimal(1).scaleb(exponent)) == step:
            return float(n)
    return float(f"{fs:.9g}")


def _lead_name(code: Element) -> str:
    """By the MDC code, or a vendor's that ends like one (``MINDRAY_ECG_LEAD_V3R``), or the name that is displayed."""
    stated = code.get("code", "")
    name = canonical(re.sub(r"^.*_LEAD_", "", stated))
    shown = canonical(code.get("displayName", ""))
    if name not in TWELVE and (shown in TWELVE or code.get("codeSystemName") == "Einthoven"):
        return shown
    return name or shown


def _samples(path: Path, name: str, value: Element) -> tuple[np.ndarray, str | None]:
    """The samples of a lead in mV (time,), and its unit where that is no voltage; no samples where the lead was not recorded."""
    digits = value.find("digits")
    text = (digits.text or "").strip() if digits is not None else ""
    kind = value.get("type", "").rpartition(":")[2]
    if not text and (kind.startswith("SLIST") or not kind):
        return np.empty(0, dtype=np.float32), None
    if not kind.startswith("SLIST"):
        raise FormatError(f"{path}: expected the samples of {name} as SLIST_PQ; came {kind[:40] or 'none'}; export it again.")
    try:
        counts = numbers_in(text, " ")
    except ValueError:
        raise FormatError(
            f"{path}: expected numbers separated by spaces as the digits of {name}; came something else; export it again."
        ) from None
    (scale, scale_unit), (origin, origin_unit) = _quantity(value, "scale"), _quantity(value, "origin")
    gain = in_millivolt(scale_unit)
    if name in TWELVE and (gain is None or not scale):
        raise FormatError(
            f"{path}: expected lead {name} in uV, mV or V per digit; came {scale} {scale_unit[:20]!r}: its amplitude is not known; export the ECG again."
        )
    offset = origin * (in_millivolt(origin_unit) or gain or 1.0) if origin is not None else 0.0
    signal = counts * ((1.0 if scale is None else scale) * (gain or 1.0)) + offset
    with np.errstate(over="ignore"):
        return signal.astype(np.float32), None if gain is not None else scale_unit or "counts"


def _quantity(value: Element, tag: str) -> tuple[float | None, str]:
    found = value.find(tag)
    return (as_number(found.get("value")), found.get("unit", "")) if found is not None else (None, "")
