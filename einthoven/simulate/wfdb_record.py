"""One simulated record as files: header, signal and annotation of WFDB, laid out as in the PhysioNet/CinC Challenge 2021.

The signal file is a MATLAB v4 matrix ``val`` of int16 whose 24-byte header WFDB skips (format ``16+24``).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from einthoven.io import wfdb_annotations
from einthoven.io.wfdb_write import header_text, signal_line
from einthoven.record import Record
from einthoven.simulate.heart import Truth
from einthoven.whole import appearing

GAIN = 1000  # counts per mV: 1 µV


def counts(signal: np.ndarray) -> np.ndarray:
    """(lead, time) mV -> int16 at GAIN, saturated as a machine would; −32768 is kept free, WFDB reads it as missing."""
    return np.clip(np.rint(np.asarray(signal, dtype=np.float64) * GAIN), -32767, 32767).astype("<i2")


def write_mat(path: Path, val: np.ndarray) -> None:
    """MATLAB level-4 file with the int16 matrix ``val`` (lead, time): 20 bytes of header, the name, then columns."""
    with appearing(path, synced=False) as part:
        with open(part, "wb") as file:
            file.write(struct.pack("<5i", 30, val.shape[0], val.shape[1], 0, 4))
            file.write(b"val\x00")
            file.write(np.ascontiguousarray(val.T).tobytes())


def write_header(path: Path, name: str, record: Record, val: np.ndarray, patient: str, time: datetime) -> None:
    """The ``.hea`` of a record, with the comment lines of the Challenge and two more: patient and time."""
    fs = f"{record.fs:.10g}"
    lines = [signal_line(f"{name}.mat", "16+24", f"{GAIN}/mV", row, lead) for lead, row in zip(record.leads, val, strict=True)]
    comments = [f"Age: {record.meta['age']}", f"Sex: {record.meta['sex'].capitalize()}", f"Dx: {','.join(sorted(record.labels or {}))}"]
    comments += ["Rx: Unknown", "Hx: Unknown", "Sx: Unknown", f"Patient ID: {patient}", f"Recording time: {time.isoformat()}"]
    comments += ["Source: synthetic heart, no person (einthoven simulate)"]
    with appearing(path, synced=False) as part:
        text = header_text(f"{name} {val.shape[0]} {fs} {val.shape[1]}", lines, comments)
        part.write_text(text, encoding="ascii", newline="\n")


def truth_marks(truth: Truth) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Samples, symbols and numbers of a truth, in order of time.

    Waves as in the QT database: ``(`` onset, ``p`` or ``t`` or a beat code peak, ``)`` offset; the number of a bracket says of
    which wave: 0 P, 1 QRS, 2 T.
    """
    marks: list[tuple[int, int, str, int]] = []
    for number, (wave, peak) in enumerate((("P", "p"), ("QRS", ""), ("T", "t"))):
        rows = truth.marks[wave] if wave != "P" else np.concatenate([truth.marks["P"], truth.p_alone])
        for row, (onset, top, offset) in enumerate(rows):
            code = peak or str(truth.symbols[row])
            for order, sample, symbol in ((0, onset, "("), (1, top, code), (2, offset, ")")):
                if sample >= 0:
                    marks.append((int(sample), 3 * number + order, symbol, number if symbol in "()" else 0))
    marks.sort()
    return np.array([mark[0] for mark in marks], dtype=np.int64), [mark[2] for mark in marks], np.array([mark[3] for mark in marks])


def write_annotations(folder: Path, name: str, truth: Truth, fs: float) -> None:
    """``name.atr`` with every beat and wave boundary of the truth."""
    samples, symbols, numbers = truth_marks(truth)
    if not len(samples):
        samples, symbols, numbers = np.array([0]), ["~"], np.array([0])  # a file without a mark is no annotation file
    wfdb_annotations.write(folder / f"{name}.atr", samples, symbols, numbers, fs)


def is_whole(folder: Path, name: str, n_leads: int, n_samples: int) -> bool:
    """Whether all three files of a record are there. They appear by rename, the header last."""
    signal = folder / f"{name}.mat"
    return (
        (folder / f"{name}.hea").is_file()
        and (folder / f"{name}.atr").is_file()
        and signal.is_file()
        and signal.stat().st_size == 24 + 2 * n_leads * n_samples
    )


def write_record(folder: Path, name: str, record: Record, truth: Truth, patient: str, time: datetime) -> None:
    """Signal, annotation, then header: who sees the header finds the rest."""
    val = counts(record.signal)
    write_mat(folder / f"{name}.mat", val)
    write_annotations(folder, name, truth, record.fs)
    write_header(folder / f"{name}.hea", name, record, val, patient, time)


def read_labels(names: Sequence[str]) -> str:
    """Findings as one field of a table."""
    return "; ".join(sorted(names))
