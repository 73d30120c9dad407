"""Whether millions of recordings cost what thousands cost: opening a store, reading at random, memory, ingest on several workers, and every format.

The large store is simulated: a real table of its number of rows, written as ingest writes it, over shards of 1,024 recordings (12 leads × 10 s,
123 MB) that are hard links of one file, so that it takes one shard and one table of disk. What is measured is therefore this code and
not a disk; the small store is made in the same way. Each store is opened in a fresh process, with imports done. Memory is what belongs to
the process alone (RssAnon), not the page cache.

opening            Store, the training view, and its first batch of 64 windows
random access      64 windows of 5 s from anywhere, in µs per window, after the shards were opened: windows that nobody read before, as in an
                   epoch, and the same ones again
one record         store[row] from anywhere, in µs: words of the table as well as the signal; the first 200, and after 1,200
memory             at the first batch, and after 2,000 more
ingest, memory     of the ingesting process, with a corpus that costs nothing to read; and what its last step takes (the table and its split),
                   which is all that grows with the number of recordings
ingest, dask       two local workers, one of them killed half-way: the bytes of the store are those of one process
formats            recordings per second of reading, 12 leads × 10 s at 500 Hz as our writers write them, and the files under EINTHOVEN_DATA

Goals: opening under 1 s; random access within 1.5 times that of 10,000 rows; memory flat while reading.

    python benchmarks/scale.py [--rows 2500000] [--refs 240000] [--only opening ingest dask formats]
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef

SMALL, PER_SHARD, FS, SECONDS, BATCH = 10_000, 1024, 500, 10, 64
N_SAMPLES = FS * SECONDS
PARTS = ("opening", "ingest", "dask", "formats")


# ------------------------------------------------------------------------------------------------------- a simulated store


def make_store(path: Path, n_rows: int, shard: Path) -> None:
    """A finished store of ``n_rows`` recordings whose shards are all the same file."""
    from einthoven import __version__
    from einthoven.store.finish import signal_facts, write_table
    from einthoven.store.layout import FACTS, FORMAT, REJECTED, TABLE, VERSION, schema, shard_path

    n_shards = -(-n_rows // PER_SHARD)
    (path / "shards").mkdir(parents=True)
    for number in range(n_shards):
        os.link(shard, shard_path(path, number))
    columns = schema().with_metadata({"split": json.dumps({"strategy": "random"})})
    write_table(path / TABLE, rows(n_rows), columns)
    (path / REJECTED).write_text("file,record,reason\n")
    facts = {
        "format": FORMAT, "version": VERSION, "signal": signal_facts(float(FS), "polyphase"), "source": asdict(Facts("simulated")),
        "recipe": {}, "code": {"einthoven": __version__}, "counts": {"listed": n_rows, "records": n_rows, "rejected": 0, "patients": n_rows // 3},
        "shards": [PER_SHARD * len(TWELVE) * N_SAMPLES] * n_shards,
    }  # fmt: skip
    (path / FACTS).write_text(json.dumps(facts))


def rows(n_rows: int, at_once: int = 65_536) -> Iterator[Any]:
    import pyarrow as pa

    from einthoven.store.layout import schema

    kinds = schema()
    codes = [("426783006", "164889003", "270492004")[:n] for n in (1, 2, 3)]
    rng = np.random.default_rng(0)
    for first in range(0, n_rows, at_once):
        number = np.arange(first, min(n_rows, first + at_once))
        n = len(number)
        edges = np.arange(0, 12 * n + 1, 12, dtype=np.int32)
        words = {
            "source": "simulated", "leads": " ".join(TWELVE), "label_system": "SNOMED CT", "sex": "female", "flat": "", "clipped": "",
            "derived": "", "interrupted": "",
        }  # fmt: skip
        table = {name: pa.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), pa.array([word])) for name, word in words.items()}
        split = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2], dtype=np.int32)[number // 3 % 10]
        table |= {
            "split": pa.DictionaryArray.from_arrays(split, pa.array(["train", "valid", "test"])),
            "fold": pa.DictionaryArray.from_arrays((number // 3 % 10).astype(np.int32), pa.array([str(fold + 1) for fold in range(10)])),
            "record": pa.array([f"rec{one:08d}" for one in number]),
            "patient": pa.array([f"p{one // 3}" for one in number]),
            "path": pa.array([f"files/{one // 1000:05d}/rec{one:08d}.hea" for one in number]),
            "fs": np.full(n, float(FS)), "source_fs": np.full(n, float(FS)), "n_samples": np.full(n, N_SAMPLES),
            "shard": (number // PER_SHARD).astype(np.int32), "offset": number % PER_SHARD * (12 * N_SAMPLES),
            "microvolt_per_count": np.ones(n, dtype=np.float32), "age": (18 + number % 80).astype(np.float32),
            "time": pa.array(number * 10**9, pa.timestamp("us")), "n_filled": np.zeros(n, dtype=np.int64),
            "limb_residual": np.zeros(n, dtype=np.float32),
            "mean": pa.ListArray.from_arrays(edges, rng.normal(0, 0.01, 12 * n).astype(np.float32)),
            "sd": pa.ListArray.from_arrays(edges, rng.uniform(0.1, 0.3, 12 * n).astype(np.float32)),
            "labels": pa.array([[(code, 1.0) for code in codes[one % 3]] for one in number], kinds.field("labels").type),
            "meta": pa.array([f'{{"device": "MAC 5500", "report": "sinus rhythm, number {one} of many", "ventricular_rate": {one % 90 + 40}}}' for one in number]),
        }  # fmt: skip
        yield pa.table({name: table[name] for name in kinds.names}).cast(kinds)


def own_memory() -> float:
    """MB that belong to this process alone."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1e3
    raise SystemExit("memory is read from /proc/self/status, which is not here")


def measure_store(path: str, n_repeats: int = 2000) -> dict[str, float]:
    """In a fresh process: see above."""
    import pyarrow.parquet  # noqa: F401  imported before the clock runs

    from einthoven.store.read import Store
    from einthoven.store.views import Segments

    before, began = own_memory(), time.perf_counter()
    store = Store(path)
    view = Segments(store, "train", seconds=5.0)
    view.__getitems__(np.arange(BATCH))
    found = {"opening, s": time.perf_counter() - began, "memory at first batch, MB": own_memory() - before}
    rng = np.random.default_rng(0)
    for shard in range(len(store.facts["shards"])):
        store.shard(shard)
    once = rng.permutation(len(view))[: 40 * BATCH].reshape(40, BATCH)
    found["random window, first time, µs"] = median_of(view, once)
    held = own_memory()
    found["random window, again, µs"] = min(median_of(view, once) for _ in range(5))
    median_of(view, rng.integers(0, len(view), (n_repeats, BATCH)))
    found["memory after 2,000 batches more, MB"] = own_memory() - held
    picked = rng.integers(0, len(store), 1000).tolist()
    start = time.perf_counter()
    for row in picked[:200]:
        store[row]
    found["one record, the first 200, µs"] = 1e6 * (time.perf_counter() - start) / 200
    for row in picked:
        store[row]
    start = time.perf_counter()
    for row in picked:
        store[row]
    found["one record, µs"] = 1e6 * (time.perf_counter() - start) / len(picked)
    start = time.perf_counter()
    for row in range(len(store) // 2, len(store) // 2 + 300):
        store[row]
    found["one record, in order, µs"] = 1e6 * (time.perf_counter() - start) / 300
    for name, ask in (("labels", store.label_sets), ("split by patient", lambda: split_of(store))):
        start = time.perf_counter()
        ask()
        found[f"{name}, s"] = time.perf_counter() - start
    found["memory after all of this, MB"] = own_memory() - before
    return found


def median_of(view: Any, batches: np.ndarray) -> float:
    """µs for a window, batch by batch."""
    times = []
    for indices in batches:
        start = time.perf_counter()
        view.__getitems__(indices)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times)) / BATCH


def split_of(store: Any) -> np.ndarray:
    from einthoven.store.split import split

    return split(store)


def fresh(task: Any, *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def opening(folder: Path, n_rows: int) -> None:
    from einthoven.store.layout import write_header

    shard = folder / "shard.npy"
    with open(shard, "wb") as file:
        write_header(file, PER_SHARD * len(TWELVE) * N_SAMPLES)
        counts = np.random.default_rng(0).normal(0, 200, size=(64, len(TWELVE), N_SAMPLES)).astype("<i2").tobytes()
        for _ in range(PER_SHARD // 64):
            file.write(counts)
    found = {}
    for n in (SMALL, n_rows):
        start = time.perf_counter()
        make_store(folder / str(n), n, shard)
        print(f"made a store of {n:,} rows in {time.perf_counter() - start:.0f} s", flush=True)
        fresh(measure_store, str(folder / str(n)), 20)  # warms the page cache
        found[n] = fresh(measure_store, str(folder / str(n)))
    print(f"\n| | {SMALL:,} rows | {n_rows:,} rows | ratio |\n| --- | --- | --- | --- |")
    for name, value in found[SMALL].items():
        ratio = f"{found[n_rows][name] / value:.2f}" if value > 0 and not name.startswith("memory") else ""
        print(f"| {name} | {value:.4g} | {found[n_rows][name]:.4g} | {ratio} |")


# ------------------------------------------------------------------------------------------------------------------- ingest


class Free:
    """``n`` recordings of one lead and one second, the same each time."""

    FACTS = Facts("free")
    SIGNAL = np.random.default_rng(0).normal(0, 0.3, size=(1, FS)).astype(np.float32)

    def __init__(self, n: int):
        self.n = n

    def records(self, root: Path) -> Iterator[RecordRef]:
        for i in range(self.n):
            meta = {"age": 50.0, "sex": "female", "device": "MAC 5500"}
            yield RecordRef(Path(root) / f"rec{i:08d}.dat", f"rec{i:08d}", f"p{i // 3}", {"426783006": 1.0}, "SNOMED CT", None, meta)

    def read(self, ref: RecordRef) -> Record:
        return Record(self.SIGNAL, float(FS), ("II",), ref.record)


def peak_of_ingest(folder: str, n: int) -> tuple[float, float]:
    """Most MB that were the process's own, beyond what it began with, and s."""
    import threading

    import pyarrow.parquet  # noqa: F401

    from einthoven.store.ingest import ingest

    ingest(Free(10), folder, Path(folder) / f"first{n}", workers=1)
    before, most, over = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], own_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    ingest(Free(n), folder, Path(folder) / f"store{n}", workers=1)
    seconds = time.perf_counter() - start
    over.set()
    thread.join()
    return most[0] - before, seconds


def ingest_memory(folder: Path, n_refs: int) -> None:
    few = n_refs // 2  # more than the 100,000 that are listed ahead in any case
    found = {n: fresh(peak_of_ingest, str(folder), n) for n in (few, n_refs)}
    ends = {n: fresh(peak_of_finish, str(folder), n) for n in (250_000, 1_000_000)}
    slope = (ends[1_000_000][0] - ends[250_000][0]) / 750_000
    print("\n| ingest, recordings | MB at most | s |\n| --- | --- | --- |")
    for n, (megabytes, seconds) in found.items():
        print(f"| {n:,} | {megabytes:.0f} | {seconds:.0f} |")
    for n, (megabytes, seconds) in ends.items():
        print(f"| the last step of {n:,} alone | {megabytes:.0f} | {seconds:.0f} |")
    print(f"\n{1e6 * slope:.0f} MB more for each million of recordings, in the last step")


def peak_of_finish(folder: str, n: int) -> tuple[float, float]:
    """Most MB of the process's own while ``n`` rows in parts become a table, with its split, and s."""
    import threading

    import pyarrow.parquet as pq

    from einthoven.store.finish import finish
    from einthoven.store.shard import Made

    path = Path(folder) / f"finish{n}"
    for name in ("unfinished", "shards"):
        (path / name).mkdir(parents=True)
    made = []
    for number, piece in enumerate(rows(n)):
        made.append(Made(number, len(piece), 0, 0, ""))
        piece = piece.replace_schema_metadata({"made": json.dumps(made[-1].__dict__), "rejected": "[]"})
        pq.write_table(piece, path / "unfinished" / f"{number:05d}.parquet", row_group_size=PER_SHARD)
    del piece
    before, most, over = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], own_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    finish(path, {"fs": float(FS), "resampling": "polyphase", "root": ""}, Facts("simulated"), made, n)
    seconds = time.perf_counter() - start
    over.set()
    thread.join()
    return most[0] - before, seconds


class Slow:
    """Recordings of twelve leads that take a while, so that there is a half-way."""

    FACTS = Facts("slow")

    def records(self, root: Path) -> Iterator[RecordRef]:
        return (RecordRef(Path(root) / str(i), str(i), str(i // 2)) for i in range(2000))

    def read(self, ref: RecordRef) -> Record:
        time.sleep(0.002)
        return Record(np.random.default_rng(int(ref.record)).normal(0, 0.3, size=(12, N_SAMPLES)), float(FS), TWELVE, ref.record)


def every_byte(folder: Path) -> dict[str, bytes]:
    from einthoven.whole import sha256

    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def dask(folder: Path) -> None:
    from einthoven.store.cluster import cluster
    from einthoven.store.ingest import ingest

    start = time.perf_counter()
    ingest(Slow(), folder, folder / "alone", shard_records=100, workers=1)
    alone = time.perf_counter() - start
    times = {}
    with cluster("local:2") as executor:
        for name in ("whole", "killed"):
            victims = [] if name == "whole" else list(executor.client.run(os.getpid).values())[:1]

            def watch(at: Any, victims: list[int] = victims) -> None:
                if victims and at.n_done >= 1000:
                    os.kill(victims.pop(), signal.SIGKILL)

            start = time.perf_counter()
            ingest(Slow(), folder, folder / name, shard_records=100, executor=executor, progress=watch)
            times[name] = time.perf_counter() - start
            assert not victims, "the ingest was over before a worker was killed"
    same = all(every_byte(folder / name) == every_byte(folder / "alone") for name in times)
    print(
        f"\n| ingest of 2,000 recordings | s |\n| --- | --- |\n| one process | {alone:.1f} |\n| dask, two local workers | {times['whole']:.1f} |"
    )
    print(
        f"| the same, one killed half-way | {times['killed']:.1f} |\n\nthe three stores are {'equal, byte by byte' if same else 'DIFFERENT'}"
    )
    assert same


# ------------------------------------------------------------------------------------------------------------------ formats


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
    signal = np.cumsum(rng.normal(0, 0.01, size=(12, N_SAMPLES)), axis=1)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_500_000)
    parser.add_argument("--refs", type=int, default=240_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if "opening" in arguments.only:
            opening(Path(folder), arguments.rows)
        if "ingest" in arguments.only:
            ingest_memory(Path(folder), arguments.refs)
        if "dask" in arguments.only:
            dask(Path(folder))
        if "formats" in arguments.only:
            formats(Path(folder))


if __name__ == "__main__":
    main()
