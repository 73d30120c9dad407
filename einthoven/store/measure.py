"""Measuring the rows of a store, chunk by chunk, in as many processes as are wanted: the part of an audit that reads the signals."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from einthoven.record import Record
from einthoven.signal.suspicion import Look, Suspicion
from einthoven.store.duplicates import Words
from einthoven.store.fingerprint import N_SAMPLES, Alphabet, Landmarks, kept, landmarks
from einthoven.store.read import Store

CHUNK = 256

LEARNED_FROM = 400
"""Recordings from whose beats the words of the fingerprints are learned, spread over all stores."""


@dataclass(eq=False)
class Chunk:
    """What one process found of some rows of one store; ``numbers``: name -> (row,) float32."""

    store: int
    first: int
    numbers: dict[str, np.ndarray]
    suspicions: list[tuple[Suspicion, ...]]
    records: list[str]
    digests: np.ndarray
    words: dict[int, list[np.ndarray]]


def measured(stores: list[Store], begins: np.ndarray, alphabet: Alphabet, workers: int) -> Iterator[Chunk]:
    """All chunks, in order of nothing; not more of them under way than are needed to keep everybody busy."""
    jobs = (
        (number, store, first, min(first + CHUNK, len(store)), int(begins[number]), alphabet)
        for number, store in enumerate(stores)
        for first in range(0, len(store), CHUNK)
    )
    if workers == 1:
        yield from itertools.starmap(measure, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[Chunk]] = {pool.submit(measure, *job) for job in itertools.islice(jobs, 2 * workers)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(measure, *job) for job in itertools.islice(jobs, len(done))}
            for future in done:
                yield future.result()


def measure(number: int, store: Store, first: int, stop: int, begin: int, alphabet: Alphabet) -> Chunk:
    """Rows ``first`` to ``stop`` of a store whose row 0 has the number ``begin``: a pure function, so that any process may do it."""
    names = ("noise_uv", "baseline_uv", "mains_uv", "snr_db", "heart_rate")
    numbers = {name: np.full(stop - first, np.nan, dtype=np.float32) for name in names}
    codes, leads = store.codes("leads")
    steps, records = store.column("microvolt_per_count"), store.column("record")
    suspicions, words = [], {}  # type: ignore[var-annotated]
    digests = np.zeros(stop - first, dtype=np.uint64)
    index = Words(Path())
    for at, row in enumerate(range(first, stop)):
        counts = store.counts(row)
        signal = counts * np.float32(steps[row] / 1000)
        look = Look(signal, store.fs, leads[codes[row]].split())
        suspicions.append(look.suspicions)
        if look.interference is not None:
            live = look.interference.together.diagonal() > 0
            for name, value in (
                ("noise_uv", look.interference.noise),
                ("baseline_uv", look.interference.baseline),
                ("mains_uv", look.interference.mains),
            ):
                numbers[name][at] = np.median(value[live]) if live.any() else np.nan
            numbers["snr_db"][at] = look.interference.snr[live].min() if live.any() else np.nan
            numbers["heart_rate"][at] = look.beats.rate
        if look.live.any():
            digests[at] = int.from_bytes(hashlib.blake2b(counts.tobytes(), digest_size=8).digest(), "little")
            for channel in landmarks(signal, store.fs, look.leads):
                forms = alphabet.of(channel.shapes)
                chosen = kept(forms, signal.shape[1] / store.fs)
                if chosen.any():
                    index.add(begin + row, forms[chosen], channel.times[chosen], words)
    return Chunk(number, first, numbers, suspicions, list(records[first:stop]), digests, words)


def alphabet_of(stores: list[Store], begins: np.ndarray) -> Alphabet:
    load = Loader(stores, begins)
    found: list[Landmarks] = []
    n = int(begins[-1])
    for number in np.unique(np.linspace(0, n - 1, min(n, LEARNED_FROM)).astype(int)).tolist():
        record = load(number)
        seconds = round(60 * record.fs)
        found += landmarks(record.signal[:, :seconds], record.fs, record.leads)
    shapes = [one.shapes for one in found if len(one.shapes)]
    return Alphabet.learned(np.concatenate(shapes) if shapes else np.empty((0, N_SAMPLES)))


class Loader:
    """A recording by its number over all stores, with as much as a comparison needs."""

    def __init__(self, stores: list[Store], begins: np.ndarray):
        self.stores, self.begins = stores, begins

    def place(self, number: int) -> tuple[int, int]:
        store = int(np.searchsorted(self.begins, number, side="right")) - 1
        return store, number - int(self.begins[store])

    def __call__(self, number: int) -> Record:
        at, row = self.place(number)
        store = self.stores[at]
        codes, leads = store.codes("leads")
        signal = store.counts(row) * np.float32(store.column("microvolt_per_count")[row] / 1000)
        return Record(signal, store.fs, tuple(leads[codes[row]].split()), meta={"source_fs": float(store.column("source_fs")[row])})
