"""A corpus of simulated records in the layout of the PhysioNet/CinC Challenge 2021, with its truth.

``folder/training/synthetic/g1/S00001.hea``, ``.mat``, ``.atr``; at most 1000 records in a ``g`` folder, whose names stand in its
``RECORDS``; ``folder/truth.csv`` has a row per record. Record k is a function of (seed, k, patients) alone: not of the number of
workers, nor of how often the writing was interrupted.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.simulate.heart import simulate
from einthoven.simulate.wfdb_record import is_whole, read_labels, write_record
from einthoven.whole import appearing

PER_FOLDER = 1000
COLUMNS = (
    "record",
    "patient",
    "visit",
    "time",
    "age",
    "sex",
    "rhythm",
    "findings",
    "codes",
    "hr",
    "pr",
    "qrs",
    "qt",
    "qtc",
    "axis",
    "beats",
)
_SETTINGS = "simulate.json"


@dataclass(frozen=True)
class CorpusSummary:
    """What ``write_corpus`` left: how many records and patients there are, how many it wrote now, cases per finding."""

    folder: Path
    records: int
    patients: int
    written: int
    cases: dict[str, int]


def assign(records: int, patients: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whose record k is, and which of his or her visits: (record,), (record,). The first ``patients`` records are first visits."""
    patient = np.arange(records) % max(patients, 1)
    for k in range(patients, records):
        patient[k] = np.random.default_rng([seed, 9, k]).integers(patients)
    seen = np.zeros(patients, dtype=np.int64)
    visit = np.zeros(records, dtype=np.int64)
    for k, who in enumerate(patient):
        visit[k] = seen[who]
        seen[who] += 1
    return patient, visit


def recording_time(seed: int, patient: int, visit: int) -> datetime:
    """First visit somewhere in ten years; the next ones hours to years later, as in a hospital's archive."""
    rng = np.random.default_rng([seed, 8, patient])
    time = datetime(2010, 1, 1) + timedelta(days=int(rng.integers(3650)), hours=int(rng.integers(7, 19)), minutes=int(rng.integers(60)))
    for _ in range(visit):
        time += timedelta(minutes=int(60 * 24 * np.exp(rng.normal(np.log(10.0), 2.0))) + 20)
    return time


def write_corpus(
    folder: str | Path,
    records: int,
    patients: int,
    seed: int,
    *,
    seconds: float = 10.0,
    fs: float = 500.0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Write ``records`` recordings of ``patients`` simulated persons under ``folder``; interrupted, it goes on when called again.

    workers  : processes; the bytes do not depend on it
    progress : called with (records done, records)
    Raises ValueError when there are fewer records than patients, or when the folder holds a corpus made with other settings.
    """
    if not 1 <= patients <= records:
        raise ValueError(f"expected 1 <= patients <= records, so that everybody has a record; got patients={patients}, records={records}")
    if workers < 1:
        raise ValueError(f"expected at least 1 worker; got {workers}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # The number of records is not among them: a corpus may be lengthened.
    _hold_settings(
        folder / _SETTINGS, {"version": 1, "seed": int(seed), "patients": int(patients), "seconds": float(seconds), "fs": float(fs)}
    )

    patient, visit = assign(records, patients, seed)
    jobs = [(k, int(patient[k]), int(visit[k])) for k in range(records)]
    for part in range(0, records, PER_FOLDER):
        _folder_of(folder, part).mkdir(parents=True, exist_ok=True)
    work = partial(_write_one, folder, seed, seconds, fs)
    rows: list[dict[str, Any]] = []
    written = 0
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        results = map(work, jobs) if pool is None else pool.map(work, jobs, chunksize=8)
        for row, new in results:
            rows.append(row)
            written += new
            if progress is not None:
                progress(len(rows), records)

    for part in range(0, records, PER_FOLDER):
        names = "".join(f"{row['record']}\n" for row in islice(rows, part, part + PER_FOLDER))
        with appearing(_folder_of(folder, part) / "RECORDS", synced=False) as path:
            path.write_text(names, encoding="ascii", newline="\n")
    with appearing(folder / "truth.csv", synced=False) as path:
        with open(path, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    cases: dict[str, int] = {}
    for row in rows:
        for name in row["findings"].split("; "):
            cases[name] = cases.get(name, 0) + 1
    ordered = dict(sorted(cases.items(), key=lambda item: (-item[1], item[0])))
    return CorpusSummary(folder, records, patients, written, ordered)


def _folder_of(folder: Path, k: int) -> Path:
    return folder / "training" / "synthetic" / f"g{k // PER_FOLDER + 1}"


def _hold_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write the settings beside the corpus, or compare them with those that are there."""
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != settings:
            changed = ", ".join(
                f"{key}={there.get(key)} there, {value} asked" for key, value in settings.items() if there.get(key) != value
            )
            raise ValueError(f"{path.parent} holds a corpus made with other settings ({changed}): choose another folder or delete this one")
        return
    with appearing(path, synced=False) as part:
        part.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _write_one(folder: Path, seed: int, seconds: float, fs: float, job: tuple[int, int, int]) -> tuple[dict[str, Any], bool]:
    """Simulate record k, write it unless it is there, and give its row of the truth."""
    k, patient, visit = job
    name, place = f"S{k + 1:05d}", _folder_of(folder, k)
    record, truth = (made := simulate(seed, person=patient, visit=visit, seconds=seconds, fs=fs)).record, made.truth
    time = recording_time(seed, patient, visit)
    new = not is_whole(place, name, *record.signal.shape)
    if new:
        write_record(place, name, record, truth, f"P{patient + 1:05d}", time)
    numbers = {key.lower(): "" if np.isnan(value) else f"{value:.1f}" for key, value in truth.intervals.items()}
    row = {
        "record": name,
        "patient": f"P{patient + 1:05d}",
        "visit": visit,
        "time": time.isoformat(),
        "age": record.meta["age"],
        "sex": record.meta["sex"],
        "rhythm": truth.rhythm,
        "findings": read_labels(sorted(truth.findings)),
        "codes": ",".join(sorted(record.labels or {})),
        "beats": len(truth.symbols),
    }
    return row | numbers, new
