"""WFDB records written: ``X.hea`` and ``X.dat`` in format 16, a gain for each lead, NaN as the count that means "not recorded".

Source: header(5) and signal(5) of the WFDB applications' guide. The samples appear before the header, so that who sees a record finds it whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.quantise import counts_of, step_of_lead
from einthoven.io.wfdb_samples import INVALID
from einthoven.record import Record
from einthoven.whole import appearing
from einthoven.whole import write as write_whole

FORMAT = "16"
_OWN = re.compile(r"<?\s*(?:age|sex|dx|patient id|recording time|report|device)\s*>?\s*:", re.IGNORECASE)
"""Comments of an earlier header that are written anew, from what the record holds now."""


def checksum(counts: np.ndarray) -> int:
    """The sum of a lead's samples as a signed 16-bit number: WFDB's check that a file is whole."""
    return int((int(counts.astype(np.int64).sum()) + 0x8000) % 0x10000 - 0x8000)


def signal_line(file: str, encoding: str, gain: str, counts: np.ndarray, name: str) -> str:
    """One lead of a header: where its samples are, counts per unit (``1000/mV``), first value, checksum, name."""
    return f"{file} {encoding} {gain} 16 0 {int(counts[0]) if len(counts) else 0} {checksum(counts)} 0 {name}"


def header_text(record_line: str, signal_lines: Iterable[str], comments: Iterable[str]) -> str:
    return "\n".join([record_line, *signal_lines, *(f"#{comment}" for comment in comments)]) + "\n"


def write(record: Record, path: Path) -> None:
    """Write a recording as ``path`` (``X.hea``) and ``X.dat`` beside it.

    Steps are the finest of 0.1, 0.2, 0.5, 1, … µV in which a lead fits into 16 bits. Patient, age, sex, time, SNOMED CT codes and the report
    stand in the comments. Raises FormatError for a name that WFDB does not take, no leads, no samples, or infinite values.
    """
    path = path.with_suffix(".hea")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", path.stem):
        raise FormatError(f"{path}: expected a record name of letters, digits, - and _, which is all that WFDB takes; choose another name.")
    n_leads, n_samples = record.signal.shape
    if not n_leads or not n_samples:
        raise FormatError(f"{path}: expected a recording with leads and samples; it has {n_leads} leads and {n_samples} samples.")
    units = record.meta.get("units", {})
    counts, lines = np.empty((n_leads, n_samples), dtype="<i2"), []
    for row, values, name in zip(counts, record.signal, record.leads):
        step = step_of_lead(path, name, values)
        row[:] = counts_of(values, step, INVALID[FORMAT])
        unit = re.sub(r"\s+", "_", units.get(name, "mV").strip()) or "NU"
        lines.append(signal_line(f"{path.stem}.dat", FORMAT, f"{1 / step:.10g}/{unit}", row, " ".join(name.split())))
    time = record.meta.get("time")
    start = f" {time:%H:%M:%S}.{time.microsecond // 1000:03d} {time:%d/%m/%Y}" if isinstance(time, datetime) and time.year >= 1000 else ""
    text = header_text(f"{path.stem} {n_leads} {record.fs!r} {n_samples}{start}".replace(".0 ", " ", 1), lines, comments(record))
    write_whole(path.with_suffix(".dat"), lambda file: file.write(np.ascontiguousarray(counts.T).tobytes()))
    with appearing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def comments(record: Record) -> list[str]:
    """What a header says of the person and the diagnosis, in the way of the PhysioNet/CinC Challenge."""
    meta: Mapping[str, Any] = record.meta
    lines = []
    if (age := meta.get("age")) is not None:
        lines.append(f"Age: {age:g}")
    if sex := meta.get("sex"):
        lines.append(f"Sex: {str(sex).capitalize()}")
    if record.labels is not None and record.label_system == "SNOMED CT":
        lines.append(f"Dx: {','.join(code for code, value in record.labels.items() if value == 1)}")
    if record.patient is not None:
        lines.append(f"Patient ID: {record.patient}")
    if isinstance(time := meta.get("time"), datetime):
        lines.append(f"Recording time: {time.isoformat()}")
    if device := meta.get("device"):
        lines.append(f"Device: {device}")
    lines += [f"Report: {line}" for line in str(meta.get("report") or "").splitlines() if line.strip()]
    lines += [str(line) for line in meta.get("comments", ()) if not _OWN.match(str(line))]
    return [" ".join(line.split()) for line in lines]
