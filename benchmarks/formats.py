"""How many recordings a second each format is read at: 12 leads × 10 s at 500 Hz as our writers write them, and the files under EINTHOVEN_DATA.

python benchmarks/formats.py
"""

from __future__ import annotations

import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from einthoven.leads import TWELVE
from einthoven.record import Record

FS, SECONDS = 500, 10


def per_second(path: Path, seconds: float = 0.5) -> float:
    from einthoven.io import read

    read(path)
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        read(path)
        n += 1
    return n / (time.perf_counter() - start)


def formats(folder: Path) -> None:
    from einthoven.errors import EinthovenError
    from einthoven.io import SUFFIXES, WRITERS, read, recognise

    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.normal(0, 0.01, size=(12, FS * SECONDS)), axis=1)
    signal = np.round(signal - signal.mean(axis=1, keepdims=True), 3).astype(np.float32)
    signal[2], signal[3] = signal[1] - signal[0], -(signal[0] + signal[1]) / 2
    signal[4], signal[5] = signal[0] - signal[1] / 2, signal[1] - signal[0] / 2
    print("\n| format, 12 leads × 10 s | files read per s | KB |\n| --- | --- | --- |")
    for name, write in WRITERS.items():
        path = folder / f"record{next(suffix for suffix, kind in SUFFIXES.items() if kind == name)}"
        write(Record(signal, float(FS), TWELVE, "record"), path)
        print(f"| {name} | {per_second(path):.0f} | {sum(one.stat().st_size for one in folder.glob('record.*')) / 1e3:.0f} |", flush=True)
        for one in folder.glob("record.*"):
            one.unlink()
    root = Path(os.environ.get("EINTHOVEN_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (root / "records.csv").is_file():
        return
    taken: dict[str, Path] = {}
    with open(root / "records.csv", newline="", encoding="utf-8") as file:
        paths = [root / row["path"] for row in csv.DictReader(file)]
    for path in paths:
        try:
            name = recognise(path)
            if name not in taken:
                read(path)
                taken[name] = path
        except (EinthovenError, OSError):
            continue
    print("\n| format, first real file | files read per s | thousand values per s |\n| --- | --- | --- |")
    for name, path in sorted(taken.items()):
        record, speed = read(path), per_second(path, 0.3)
        print(
            f"| {name}, {path.relative_to(root)}, {len(record.leads)} × {record.signal.shape[1]} | {speed:.0f} | {speed * record.signal.size / 1e3:.0f} |"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        formats(Path(folder))


if __name__ == "__main__":
    main()
