"""What an audit costs: time by stage, and how memory, disk and candidates for copies grow with the number of recordings.

stages     recordings per second of one core, of simulated hearts (12 leads × 10 s at 500 Hz), each stage by itself: looking at a recording (unit, rate,
           leads, noise), its words (beats, and their shapes as numbers of 64 bits), sorting everybody's words into candidates, and the proof of one
           candidate by the two signals
growth     a whole audit in one process, each size in a fresh one: recordings of one lead × 10 s at 100 Hz with beats, waves and a rhythm of their own,
           no two of them alike; of 100 the second half of the stores holds a copy. Most memory that was the process's own (RssAnon) beyond
           what it had after its imports, while measuring and in all; what measuring adds per recording in its second half (20 bytes are put
           aside at the beginning); the words' bytes on disk, candidates, copies found. What is sorted at once, which is 16 MB whatever the
           number, is taken as 1 MB here, so that it is full at these sizes already; the pieces of 65,536 rows in which a table is read and
           written are full beyond them only, so that "in all" grows until then
tables     what an audit asks of a table of millions of rows (labels, patients on two sides, the names of the doubted), and the column that it writes,
           without signals

Goals: measuring keeps at most 100 bytes a recording, and no step on a table takes more than 300 for a moment; every copy found, nothing else.

    python benchmarks/audit.py [--records 5000 10000 20000] [--rows 500000] [--only stages growth tables]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scale import fresh, own_memory
from scale import rows as rows_of_scale

from einthoven.record import Record
from einthoven.sources.facts import Facts

PARTS = ("stages", "growth", "tables")
FS, SECONDS, N_COPIES = 100.0, 10.0, 100


# ------------------------------------------------------------------------------------------------------- a synthetic store


def tracing(number: int, fs: float = FS, seconds: float = SECONDS) -> np.ndarray:
    """One lead of a person of his own: waves and rhythm are drawn by his number, (1, time) mV."""
    rng = np.random.default_rng(number)
    interval = 60 / float(np.clip(rng.normal(72, 14), 45, 120))
    n = int((seconds + 2) / interval) + 2
    beats = np.cumsum(interval * (1 + rng.uniform(0.01, 0.08) * rng.standard_normal(n))) - 1 - rng.uniform(0, interval)
    late = np.arange(-400, 800) / 1000  # P, Q, R, S, T
    centres = np.array([-0.16, -0.035, 0.0, 0.03, 0.28]) * rng.uniform(0.85, 1.15, 5)
    widths = np.array([0.025, 0.01, 0.011, 0.011, 0.045]) * rng.uniform(0.75, 1.3, 5)
    sizes = np.array([0.12, -0.1, 1.0, -0.25, 0.25]) * rng.uniform(0.2, 1.8, 5)
    beat = (sizes[:, None] * np.exp(-0.5 * ((late - centres[:, None]) / widths[:, None]) ** 2)).sum(axis=0)
    times = np.arange(round(seconds * fs)) / fs
    after = np.searchsorted(beats, times, side="right")
    shape = sum(np.interp(times - beats[place], late, beat, left=0, right=0) for place in (after - 1, after))
    return (shape + 0.01 * rng.standard_normal(len(times)))[None].astype(np.float32)


def make_store(path: Path, n: int, *, signals: bool = True, per_shard: int = 16_384) -> None:
    """A finished store of ``n`` recordings; every copy stands half the store after its original. Without signals: its table alone."""
    from einthoven import __version__
    from einthoven.ingest.finish import signal_facts, write_table
    from einthoven.store.layout import FACTS, FORMAT, REJECTED, TABLE, VERSION, schema, shard_path, write_header

    n_samples = round(FS * SECONDS)
    (path / "shards").mkdir(parents=True)
    sizes = []
    for shard, first in enumerate(range(0, n if signals else 0, per_shard)):
        own = range(first, min(first + per_shard, n))
        with open(shard_path(path, shard), "wb") as file:
            write_header(file, len(own) * n_samples)
            for number in own:
                who = number - n // 2 if 0 <= number - n // 2 < N_COPIES else number
                file.write(np.rint(1000 * tracing(who)).astype("<i2").tobytes())
        sizes.append(len(own) * n_samples)
    columns = schema().with_metadata({"split": json.dumps({"strategy": "random"})})
    write_table(path / TABLE, rows(n, n_samples, per_shard), columns)
    (path / REJECTED).write_text("file,record,reason\n")
    facts = {
        "format": FORMAT, "version": VERSION, "signal": signal_facts(FS, "polyphase"), "source": asdict(Facts("simulated")), "recipe": {},
        "code": {"einthoven": __version__}, "counts": {"listed": n, "records": n, "rejected": 0, "patients": n // 2}, "shards": sizes,
    }  # fmt: skip
    (path / FACTS).write_text(json.dumps(facts))


def rows(n: int, n_samples: int, per_shard: int) -> Iterator[Any]:
    """The table of benchmarks/scale.py with one lead, and of a thousand patients one on two sides of the split."""
    import pyarrow as pa

    first = 0
    for table in rows_of_scale(n):
        number = np.arange(first, first + len(table))
        first += len(table)
        part = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2])[number // 3 % 10]
        part = np.where((number // 3 % 1000 == 500) & (number % 3 == 2), 2, part)
        own = {
            "leads": pa.DictionaryArray.from_arrays(np.zeros(len(table), dtype=np.int32), pa.array(["II"])),
            "split": pa.DictionaryArray.from_arrays(part.astype(np.int32), pa.array(["train", "valid", "test"])),
            "fs": np.full(len(table), FS), "source_fs": np.full(len(table), FS), "n_samples": np.full(len(table), n_samples),
            "shard": number // per_shard, "offset": number % per_shard * n_samples,
        }  # fmt: skip
        for name, values in own.items():
            column = table.column_names.index(name)
            table = table.set_column(column, table.field(column), pa.array(values).cast(table.field(column).type))
        yield table


# ------------------------------------------------------------------------------------------------------------------ watching


def peak(task: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and the most MB that it took beyond what there was."""
    before, done = own_memory(), threading.Event()
    most = [before]

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = task()
    finally:
        done.set()
        watcher.join()
    return found, max(most[0], own_memory()) - before


# -------------------------------------------------------------------------------------------------------------------- stages


def stages(n: int) -> None:
    from einthoven.audit.duplicates import Words, entries, prove
    from einthoven.audit.fingerprint import Alphabet, landmarks
    from einthoven.signal.suspicion import suspicions
    from einthoven.simulate import simulate

    hearts = [simulate(1, person=person, seconds=10.0, fs=500.0).record for person in range(n)]
    twins = [Record(one.signal[:, 500:], one.fs, one.leads) for one in hearts]
    for warm in hearts[:3]:
        suspicions(warm.signal, warm.fs, warm.leads)

    def timed(name: str, unit: str, count: int, task: Callable[[], Any]) -> Any:
        start = time.process_time()  # of this process: others on the machine do not count
        found = task()
        taken = time.process_time() - start
        print(f"| {name} | {count / taken:,.0f} {unit} | {1e6 * taken / count:,.0f} µs |", flush=True)
        return found

    print("\n| stage, one core | per second | each |\n| --- | --- | --- |")
    timed("measure", "recordings", n, lambda: [suspicions(one.signal, one.fs, one.leads) for one in hearts])
    alphabet = Alphabet.learned(np.concatenate([own.shapes for one in hearts for own in landmarks(one.signal, one.fs, one.leads)]))

    def words_of(records: list[Record], first: int) -> list[np.ndarray]:
        return [
            entries(number, alphabet.of(own.shapes), own.times)
            for number, one in enumerate(records, start=first)
            for own in landmarks(one.signal, one.fs, one.leads)
        ]

    own = timed("words", "recordings", n, lambda: words_of(hearts, 0)) + words_of(twins, n)
    # Sorting is measured on as many words as 20,000 recordings have: those at hand, and others of as many bits.
    rng = np.random.default_rng(0)
    many = 20_000 // (2 * n)
    turned = np.concatenate([np.zeros(1, np.uint64), rng.integers(0, 2**63, many, dtype=np.uint64)])
    with tempfile.TemporaryDirectory() as folder:
        words = Words(Path(folder), 2 * n * many)
        for turn in range(many):
            for rows_ in own:
                copy = rows_.copy()
                copy["record"] += 2 * n * turn
                copy["word"] ^= turned[turn]
                words.add(copy)
        pairs = timed("candidates", "recordings", 2 * n * many, lambda: list(words.candidates()))
    pairs = [pair for pair in pairs if pair[1] < 2 * n]  # of those whose signals are at hand
    everybody = hearts + twins
    copies = timed("proof, of a candidate", "pairs", len(pairs), lambda: list(prove(pairs, everybody.__getitem__)))
    print(f"\n{len(pairs)} candidates, {len(copies)} copies of {n} that there are")


# -------------------------------------------------------------------------------------------------------------------- growth


def one_audit(path: str) -> dict[str, float]:
    """In a fresh process: see above."""
    import pyarrow.parquet  # noqa: F401  imported before memory is taken as what there was
    import scipy.fft
    import scipy.signal  # noqa: F401

    from einthoven.audit import run as module
    from einthoven.audit import spill
    from einthoven.audit.duplicates import Words

    spill.LIMIT = spill.BUFFER = 1_000_000
    seen = {"candidates": 0, "words": 0}
    ask = Words.candidates

    def counted(self: Words) -> Iterator[Any]:
        seen["words"] = self.n_bytes
        for pair in ask(self):
            seen["candidates"] += 1
            yield pair

    Words.candidates = counted  # type: ignore[method-assign]
    before, measuring = own_memory(), {0: 0.0}

    def looked(done: int, _total: int) -> None:
        measuring[done] = own_memory() - before

    found, most = peak(lambda: module.audit(path, workers=1, progress=looked))
    half = next(done for done in measuring if 2 * done >= found.n_records)
    added = 1e6 * (measuring[found.n_records] - measuring[half]) / (found.n_records - half)
    right = {(at, at + found.n_records // 2) for at in range(N_COPIES)}
    pairs = {twin.rows for twin in found.twins}
    return {
        "s": found.seconds, "memory while measuring, MB": max(measuring.values()), "added per recording, bytes": added,
        "peak memory in all, MB": most, "words on disk, MB": seen["words"] / 1e6, "candidates": seen["candidates"],
        "copies found": len(pairs & right), "false copies": len(pairs - right),
    }  # fmt: skip


def growth(folder: Path, sizes: list[int]) -> None:
    found = {}
    for n in sizes:
        make_store(folder / f"{n}", n)
        found[n] = fresh(one_audit, str(folder / f"{n}"))
        print(f"audited {n:,} in {found[n]['s']:.0f} s", flush=True)
    print(f"\n| one lead, 100 Hz | {' | '.join(f'{n:,}' for n in sizes)} |\n| --- |{' --- |' * len(sizes)}")
    for name in found[sizes[0]]:
        print(f"| {name} | {' | '.join(f'{found[n][name]:,.4g}' for n in sizes)} |")
    share = [found[n]["candidates"] / n for n in sizes]
    print(f"| candidates per recording | {' | '.join(f'{one:.3g}' for one in share)} |")


# -------------------------------------------------------------------------------------------------------------------- tables


def of_table(path: str) -> dict[str, tuple[float, float]]:
    """In a fresh process: name -> (s, peak MB)."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    from einthoven.audit.coverage import leaks, of_store
    from einthoven.audit.files import Lines
    from einthoven.audit.measure import CHUNK, NUMBERS, Chunk
    from einthoven.audit.tally import Tally
    from einthoven.audit.together import Together
    from einthoven.signal.suspicion import Suspicion
    from einthoven.store.quality_columns import assign_quality
    from einthoven.store.read import Store

    store = Store(path)
    tally, n = Tally(Together([store])), len(store)
    doubt = (Suspicion("noise", ("II",), "a sentence with the numbers", "warn"),)

    def fill() -> None:
        with Lines(None) as lines:
            for first in range(0, n, CHUNK):
                size = min(CHUNK, n - first)
                numbers = {name: np.ones(size, dtype=np.float32) for name in NUMBERS}
                doubts = [doubt if at % 10 == 0 else () for at in range(size)]
                tally.take(Chunk(0, first, numbers, doubts, np.arange(first, first + size, dtype=np.uint64), np.empty(0)), lines)

    found = {}
    for name, task in (
        ("tally of what was measured", fill),
        ("labels, ages, persons", lambda: list(of_store(store))),
        ("patients on two sides", lambda: leaks([store])),
        ("the column quality", lambda: assign_quality(store.path, tally.columns(0))),
    ):
        start = time.perf_counter()
        _, most = peak(task)
        found[name] = time.perf_counter() - start, most
    return found


def tables(folder: Path, n: int) -> None:
    path = folder / "table"
    make_store(path, n, signals=False)
    print(f"\n| a table of {n:,} rows | s | peak memory, MB | bytes per row |\n| --- | --- | --- | --- |")
    for name, (seconds, most) in fresh(of_table, str(path)).items():
        print(f"| {name} | {seconds:.1f} | {most:,.0f} | {1e6 * most / n:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[5000, 10_000, 20_000], help="sizes of the stores of growth")
    parser.add_argument("--hearts", type=int, default=200, help="simulated hearts of stages")
    parser.add_argument("--rows", type=int, default=500_000, help="rows of the table of tables")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args()
    if min(chosen.records) < 4 * N_COPIES:
        raise SystemExit(f"expected stores of {4 * N_COPIES} recordings and more; got {chosen.records}")
    with tempfile.TemporaryDirectory() as name:
        if "stages" in chosen.only:
            stages(chosen.hearts)
        if "growth" in chosen.only:
            growth(Path(name), sorted(chosen.records))
        if "tables" in chosen.only:
            tables(Path(name), chosen.rows)


if __name__ == "__main__":
    main()
