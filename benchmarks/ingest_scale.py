"""What ingest costs when there are very many recordings, and when a worker dies.

memory             most MB of the ingesting process, with a corpus that costs nothing to read; and of its last step (the table and its split),
                   which is all that grows with the number of recordings
dask               two local workers, one of them killed half-way: the bytes of the store are those of one process

    python benchmarks/ingest_scale.py [--refs 240000] [--only memory dask]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scale import FS, N_SAMPLES, PER_SHARD, fresh, own_memory, rows

from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.facts import Facts, RecordRef

PARTS = ("memory", "dask")


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


def peak_of(task: Callable[[], object]) -> tuple[float, float]:
    """Most MB that were the process's own while it was at a task, beyond what it began with, and s."""
    before, most, over = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], own_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    task()
    seconds = time.perf_counter() - start
    over.set()
    thread.join()
    return most[0] - before, seconds


def peak_of_ingest(folder: str, n: int) -> tuple[float, float]:
    """Of a whole ingest, after a small one that imported everything."""
    import pyarrow.parquet  # noqa: F401

    from einthoven.ingest.run import ingest

    ingest(Free(10), folder, Path(folder) / f"first{n}", workers=1)
    return peak_of(lambda: ingest(Free(n), folder, Path(folder) / f"store{n}", workers=1))


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
    """Of the last step: ``n`` rows in parts become a table, with its split."""
    import pyarrow.parquet as pq

    from einthoven.ingest.finish import finish
    from einthoven.ingest.shard import Made

    path = Path(folder) / f"finish{n}"
    for name in ("unfinished", "shards"):
        (path / name).mkdir(parents=True)
    made = []
    for number, piece in enumerate(rows(n)):
        made.append(Made(number, len(piece), 0, 0, ""))
        piece = piece.replace_schema_metadata({"made": json.dumps(made[-1].__dict__), "rejected": "[]"})
        pq.write_table(piece, path / "unfinished" / f"{number:05d}.parquet", row_group_size=PER_SHARD)
    del piece
    return peak_of(lambda: finish(path, {"fs": float(FS), "resampling": "polyphase", "root": ""}, Facts("simulated"), made, n))


class Slow:
    """Recordings of twelve leads that take a while, so that there is a half-way."""

    FACTS = Facts("slow")

    def records(self, root: Path) -> Iterator[RecordRef]:
        return (RecordRef(Path(root) / str(i), str(i), str(i // 2)) for i in range(2000))

    def read(self, ref: RecordRef) -> Record:
        time.sleep(0.002)
        return Record(np.random.default_rng(int(ref.record)).normal(0, 0.3, size=(12, N_SAMPLES)), float(FS), TWELVE, ref.record)


def every_byte(folder: Path) -> dict[str, str]:
    from einthoven.whole import sha256

    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def dask(folder: Path) -> None:
    from einthoven.ingest.cluster import cluster
    from einthoven.ingest.run import ingest

    start = time.perf_counter()
    ingest(Slow(), folder, folder / "alone", shard_records=100, workers=1)
    alone = time.perf_counter() - start
    times = {}
    with cluster("local:2") as executor:
        client: Any = executor.client  # type: ignore[attr-defined]  # dask's
        for name in ("whole", "killed"):
            victims = [] if name == "whole" else list(client.run(os.getpid).values())[:1]

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refs", type=int, default=240_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if "memory" in arguments.only:
            ingest_memory(Path(folder), arguments.refs)
        if "dask" in arguments.only:
            dask(Path(folder))


if __name__ == "__main__":
    main()
