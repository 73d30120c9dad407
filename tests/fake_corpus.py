"""A corpus without files: recordings of every awkward kind, made from their number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef

SINUS, FIBRILLATION = "426783006", "164889003"


@dataclass(frozen=True)
class Corpus:
    """``n`` recordings of about n/3 persons; every 20 of them hold one of each kind below.

    nap    : seconds that reading takes
    deadly : this recording kills the process that reads it
    once   : with a path: it does so only the first time, when the path is not there yet
    """

    n: int = 60
    nap: float = 0.0
    deadly: int | None = None
    once: Path | None = None
    FACTS = Facts("made up", version="1", licence="none", label_system="SNOMED CT")

    def records(self, root: Path, every: int = 1) -> Iterator[RecordRef]:
        for i in range(0, self.n, every):
            labels = (
                None if i % 20 == 13 else {FIBRILLATION: 1.0} if i % 7 == 0 else {SINUS: 1.0, FIBRILLATION: np.nan if i % 20 == 14 else 0.0}
            )
            yield RecordRef(
                path=Path(root) / f"g{i % 4}" / f"rec{i:04d}.dat",
                record=f"rec{i:04d}",
                patient=None if i % 20 == 15 else f"p{i // 3}",
                labels=labels,
                label_system=None if labels is None else "SNOMED CT",
                fold=str(i // 3 % 10 + 1),
                meta={
                    "age": 40.0 + i % 30,
                    "sex": "female" if i % 2 else "male",
                    "time": f"2021-03-{i % 28 + 1:02d}T08:00:00",
                    "device": "x",
                },
                problem="its table names no signal" if i % 20 == 16 else None,
            )

    def read(self, ref: RecordRef) -> Record:
        i = int(ref.record[3:])
        time.sleep(self.nap)
        if i == self.deadly and not (self.once is not None and self.once.exists()):
            if self.once is not None:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if i % 20 == 17:
            raise FormatError(f"{ref.path}: truncated")
        if i % 20 == 18:
            raise KeyError("a reader's mistake")
        return Record(make(i), rate(i), leads(i), ref.record, ref.patient, meta={"device": "of the file", "comments": ["a", "b"]})


def rate(i: int) -> float:
    return 400.0 if i % 20 == 4 else 500.0


def leads(i: int) -> tuple[str, ...]:
    if i % 20 == 5:
        return ("MLII",)
    if i % 20 == 6:
        return TWELVE[::-1]
    if i % 20 == 7:
        return ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    if i % 20 == 8:
        return ("V1", "X", "Lead II")
    return TWELVE


def make(i: int) -> np.ndarray:
    """(lead, time) mV: a random walk pulled back to zero, with its own length."""
    rng = np.random.default_rng(i)
    seconds = {1: 3.0, 2: 12.3, 3: 30.0}.get(i % 20, 10.0)
    steps = rng.normal(0, 0.1, size=(len(leads(i)), int(seconds * rate(i))))
    signal = np.cumsum(steps, axis=1)
    signal = (signal - np.linspace(0, 1, signal.shape[1]) * signal[:, -1:]).astype(np.float32)
    if i % 20 == 9:
        signal[3, 100:150] = np.nan  # 0.1 s
    if i % 20 == 10:
        signal[2], signal[7] = np.nan, 0.25
    if i % 20 == 11:
        signal[8] *= 40 / np.abs(signal[8]).max()  # beyond 32.767 mV
    if i % 20 == 12:
        signal[11, 1000:2000] = np.nan
    return signal
