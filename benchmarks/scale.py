"""Whether millions of recordings cost what thousands cost: opening a store, reading at random, choosing rows, memory.

The large store is simulated: a real table of its number of rows, written as ingest writes it, over shards of 1,024 recordings (12 leads × 10 s,
123 MB) that are hard links of one file, so that it takes one shard and one table of disk. What is measured is therefore this code and
not a disk; the small store is made in the same way. Each store is opened in a fresh process, with imports done. Memory is what belongs to
the process alone (RssAnon), not the page cache.

opening            Store, the training view, and its first batch of 64 windows
random access      64 windows of 5 s from anywhere, in µs per window, after the shards were opened: windows that nobody read before, as in an
                   epoch, and the same ones again; by either access, of which a store takes one by itself, by its size (einthoven.store.shards)
one record         store[row] from anywhere, in µs: words of the table as well as the signal; the first 200, and after 1,200
where              rows by a condition: on columns; on a field of meta with one value, and with ninety; on one with another value in each row
memory             at the first batch; what 2,000 batches more add, with the page tables that the kernel keeps of what was mapped

Goals: opening under 1 s; random access within 1.5 times that of 10,000 rows by the same access; a condition on meta under 1 s; memory flat while reading.

    python benchmarks/scale.py [--rows 2500000]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.leads import TWELVE
from einthoven.sources.facts import Facts

SMALL, PER_SHARD, FS, SECONDS, BATCH = 10_000, 1024, 500, 10, 64
N_SAMPLES = FS * SECONDS
CONDITIONS = {
    "where, columns": "age >= 60 and sex == female and split == train",
    "where, meta, one value": "device == 'MAC 5500'",
    "where, meta, 90 values": "ventricular_rate > 100",
    "where, meta, all differ": "report == 'sinus rhythm, number 77 of many'",
}


# ------------------------------------------------------------------------------------------------------- a simulated store


def make_store(path: Path, n_rows: int, shard: Path) -> None:
    """A finished store of ``n_rows`` recordings whose shards are all the same file."""
    from einthoven import __version__
    from einthoven.ingest.finish import signal_facts, write_table
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


def own_memory(page_tables: bool = False) -> float:
    """MB that belong to this process alone."""
    wanted = ("RssAnon", "VmPTE") if page_tables else ("RssAnon",)
    found = [int(line.split()[1]) / 1e3 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(wanted)]
    if len(found) != len(wanted):
        raise SystemExit("memory is read from /proc/self/status, which is not here")
    return sum(found)


def measure_store(path: str) -> dict[str, float]:
    """In a fresh process: see above."""
    import pyarrow.parquet  # noqa: F401  imported before the clock runs

    from einthoven.store.read import Store
    from einthoven.store.split import split
    from einthoven.store.views import Segments
    from einthoven.store.where import select

    before, began = own_memory(), time.perf_counter()
    store = Store(path)
    view = Segments(store, "train", seconds=5.0)
    view.__getitems__(np.arange(BATCH))
    found = {"opening, s": time.perf_counter() - began, "memory at first batch, MB": own_memory() - before}
    picked = np.random.default_rng(0).integers(0, len(store), 1000).tolist()
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
    asked: dict[str, Any] = {name: lambda condition=condition: select(store, condition) for name, condition in CONDITIONS.items()}
    for name, ask in {**asked, "labels": store.label_sets, "split by patient": lambda: split(store)}.items():
        start = time.perf_counter()
        ask()
        found[f"{name}, s"] = time.perf_counter() - start
    found["memory after all of this, MB"] = own_memory() - before
    return found


def measure_windows(path: str, access: str, n_repeats: int = 2000) -> dict[str, float]:
    """In a fresh process: windows from anywhere, by one access."""
    from einthoven.store.read import Store
    from einthoven.store.views import Segments

    store = Store(path, access=access)
    view = Segments(store, "train", seconds=5.0)
    for shard in range(len(store.facts["shards"])):
        store.read(shard, 0, 1)
    rng = np.random.default_rng(0)
    once = rng.permutation(len(view))[: 40 * BATCH].reshape(40, BATCH)
    found = {f"window by {access}, first time, µs": median_of(view, once)}
    held = own_memory(page_tables=True)
    found[f"window by {access}, again, µs"] = min(median_of(view, once) for _ in range(5))
    median_of(view, rng.integers(0, len(view), (n_repeats, BATCH)))
    found[f"memory of {n_repeats:,} batches more by {access}, MB"] = own_memory(page_tables=True) - held
    return found


def median_of(view: Any, batches: np.ndarray) -> float:
    """µs for a window, batch by batch."""
    times = []
    for indices in batches:
        start = time.perf_counter()
        view.__getitems__(indices)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times)) / BATCH


def access_of(path: str) -> str:
    from einthoven.store.read import Store

    return str(Store(path).shards.access)


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
        fresh(measure_windows, str(folder / str(n)), "pread", 20)  # warms the page cache
        found[n] = fresh(measure_store, str(folder / str(n)))
        for access in ("mmap", "pread"):
            found[n] |= fresh(measure_windows, str(folder / str(n)), access)
        print(f"  by itself it is read by {fresh(access_of, str(folder / str(n)))}", flush=True)
    print(f"\n| | {SMALL:,} rows | {n_rows:,} rows | ratio |\n| --- | --- | --- | --- |")
    for name, value in found[SMALL].items():
        ratio = f"{found[n_rows][name] / value:.2f}" if value > 0 and not name.startswith("memory") else ""
        print(f"| {name} | {value:.4g} | {found[n_rows][name]:.4g} | {ratio} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_500_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        opening(Path(folder), arguments.rows)


if __name__ == "__main__":
    main()
