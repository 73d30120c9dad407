"""Measuring the rows of a store, chunk by chunk: the part of an audit that reads every signal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from einthoven.audit.duplicates import entries
from einthoven.audit.fingerprint import N_SAMPLES, Alphabet, Landmarks, kept, landmarks
from einthoven.audit.together import Together
from einthoven.signal.suspicion import Look, Suspicion

CHUNK = 256
"""Rows that one process looks at before it reports."""

LEARNED_FROM = 400
"""Recordings from whose beats the words of the fingerprints are learned, spread over all stores."""

NUMBERS = ("noise_uv", "baseline_uv", "mains_uv", "snr_db", "heart_rate")
"""What is measured of each recording; einthoven.store.quality_columns says what they are."""


@dataclass(eq=False)
class Chunk:
    """What was found of some rows of one store, from ``first`` on.

    numbers    : name -> (row,) float32, NaN where it could not be measured
    suspicions : of each row
    digests    : (row,) uint64, equal for equal counts; 0 where no lead has a signal
    words      : rows for ``einthoven.audit.duplicates.Words.add``
    """

    store: int
    first: int
    numbers: dict[str, np.ndarray]
    suspicions: list[tuple[Suspicion, ...]]
    digests: np.ndarray
    words: np.ndarray


def chunks(together: Together, alphabet: Alphabet) -> Iterator[tuple[Alphabet, int, int, int]]:
    """The jobs for ``measure`` that cover every row once."""
    for number, store in enumerate(together.stores):
        for first in range(0, len(store), CHUNK):
            yield alphabet, number, first, min(first + CHUNK, len(store))


def measure(together: Together, alphabet: Alphabet, number: int, first: int, stop: int) -> Chunk:
    """Rows ``first`` to ``stop`` of a store: a pure function, so that any process may do it."""
    numbers = {name: np.full(stop - first, np.nan, dtype=np.float32) for name in NUMBERS}
    suspicions, words = [], [entries(0, np.empty((0, 1), np.uint64), np.empty(0))]
    digests = np.zeros(stop - first, dtype=np.uint64)
    store, begin = together.stores[number], int(together.begins[number])
    for at, row in enumerate(range(first, stop)):
        record = together.load(begin + row)
        look = Look(record.signal, record.fs, record.leads)
        suspicions.append(look.suspicions)
        for name, value in _numbers(look).items():
            numbers[name][at] = value
        if look.live.any():
            digests[at] = int.from_bytes(hashlib.blake2b(store.counts(row).tobytes(), digest_size=8).digest(), "little")
            for channel in landmarks(record.signal, record.fs, look.leads):
                forms = alphabet.of(channel.shapes)
                chosen = kept(forms, record.seconds)
                words.append(entries(begin + row, forms[chosen], channel.times[chosen]))
    return Chunk(number, first, numbers, suspicions, digests, np.concatenate(words))


def _numbers(look: Look) -> dict[str, float]:
    """The NUMBERS of one recording: those of the middle lead among those that move, the signal over noise of the worst."""
    seen = look.interference
    if seen is None:
        return {}
    live = seen.together.diagonal() > 0
    if not live.any():
        return {"heart_rate": look.beats.rate}
    middle = {name: float(np.median(value[live])) for name, value in zip(NUMBERS, (seen.noise, seen.baseline, seen.mains))}
    return {**middle, "snr_db": float(seen.snr[live].min()), "heart_rate": look.beats.rate}


def alphabet_of(together: Together) -> Alphabet:
    """Words that fit these recordings: learned from the first minute of LEARNED_FROM of them."""
    found: list[Landmarks] = []
    for number in np.unique(np.linspace(0, len(together) - 1, min(len(together), LEARNED_FROM)).astype(int)).tolist():
        record = together.load(number)
        found += landmarks(record.signal[:, : round(60 * record.fs)], record.fs, record.leads)
    shapes = [one.shapes for one in found if len(one.shapes)]
    return Alphabet.learned(np.concatenate(shapes) if shapes else np.empty((0, N_SAMPLES)))
