"""Which recordings are copies of one another: candidates by equal words, then proof by the signals (``einthoven.audit.comparison``).

Words and votes lie on disk and are sorted range by range (``einthoven.audit.spill``), so that memory does not grow with the recordings. The words take
N recordings × beats × 2 channels × 8 forms × 17 bytes: of 2.5 million recordings of 10 s, with some 9 beats each that have 3 s behind them, 6 GB,
where their signals have 300; ``room`` says it beforehand. A word that very many recordings share (a pacemaker's regular rhythm) is compared with its
neighbours only, which keeps the votes linear in N, and a true copy has other words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from einthoven.audit.comparison import Copy, compare
from einthoven.audit.fingerprint import AFTER, LONG, PROBED
from einthoven.audit.spill import Spill
from einthoven.record import Record

_ENTRY = np.dtype([("word", "<u8"), ("record", "<u4"), ("time", "<f4"), ("own", "?")])
_VOTE = np.dtype([("first", "<u4"), ("second", "<u4"), ("lag", "<f4"), ("time", "<f4")])

CROWD = 12
"""Entries of one word that are compared each with each; in a larger crowd each with the next so many only."""

TOLERANCE = 0.03
"""Seconds by which the distance of two recordings may differ from beat to beat: what finding a beat at 100 and at 500 Hz differs."""

Pair = tuple[int, int, float]
"""Two recordings, first < second, and a lag in s: what is at ``t`` in the second is at ``t + lag`` in the first."""


# ------------------------------------------------------------------------------------------------------------- candidates


def room(seconds: np.ndarray) -> int:
    """Bytes of disk that the words of recordings of these lengths, (record,), take, at 100 beats a minute. The votes come while the words go."""
    remembered = np.where(seconds > LONG, seconds / 8, np.maximum(seconds - AFTER, 0))
    return int(remembered.sum() * 100 / 60 * 2 * 2**PROBED * _ENTRY.itemsize)


def entries(record: int, words: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Words (beat, form) of a recording, found at ``times`` (beat,), as rows for ``Words.add``."""
    rows = np.empty(words.shape, dtype=_ENTRY)
    rows["word"], rows["record"], rows["time"], rows["own"] = words, record, times[:, None], False
    rows["own"][:, 0] = True
    return rows.ravel()


class Words:
    """The words of all recordings, on disk.

    folder     : an empty one; nothing in it is needed afterwards
    n_records  : beyond every number of a recording
    n_expected : bytes that will come, as ``room`` says
    """

    def __init__(self, folder: Path, n_records: int, n_expected: int = 0):
        self.folder, self.n_records = folder, n_records
        self._words = Spill(folder / "words", _ENTRY, "word", 2**64, n_expected=n_expected)

    @property
    def n_bytes(self) -> int:
        return self._words.n_bytes

    def add(self, rows: np.ndarray) -> None:
        self._words.add(rows)

    def candidates(self) -> Iterator[Pair]:
        """Pairs of recordings that share two words at the same distance in time, in rising order. To be asked for once."""
        votes = Spill(self.folder / "votes", _VOTE, "first", self.n_records, n_expected=self.n_bytes)
        for rows in self._words.parts():
            for some in _votes(rows):
                votes.add(some)
        for some in votes.parts():
            yield from _agreeing(some)


def _votes(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of entries of one word, of different recordings, one of them in its own form."""
    rows = rows[np.lexsort((rows["time"], rows["record"], rows["word"]))]
    run = np.cumsum(np.concatenate([[True], rows["word"][1:] != rows["word"][:-1]])[: len(rows)])
    for step in range(1, min(CROWD, len(rows) - 1) + 1):
        same = run[:-step] == run[step:]
        if not same.any():
            return
        a, b = rows[:-step], rows[step:]
        pairs = np.flatnonzero(same & (a["record"] != b["record"]) & (a["own"] | b["own"]))
        a, b = a[pairs], b[pairs]
        vote = np.empty(len(a), dtype=_VOTE)
        vote["first"], vote["second"], vote["lag"], vote["time"] = a["record"], b["record"], a["time"] - b["time"], a["time"]
        yield vote


def _agreeing(vote: np.ndarray) -> Iterator[Pair]:
    """Those pairs of which two votes and more name the same lag; the lag that most of them name."""
    vote = vote[np.lexsort((vote["time"], vote["lag"], vote["second"], vote["first"]))]
    pair = (vote["first"][1:] != vote["first"][:-1]) | (vote["second"][1:] != vote["second"][:-1])
    begins = np.concatenate([[True], pair | (np.diff(vote["lag"]) > TOLERANCE)])[: len(vote)]
    cluster = np.cumsum(begins) - 1
    # One beat in several forms is one vote: count the different beats of each cluster.
    order = np.lexsort((vote["time"], cluster))
    new = np.concatenate([[True], (np.diff(cluster[order]) > 0) | (np.diff(vote["time"][order]) > 0.1)])[: len(vote)]
    size = np.bincount(cluster[order][new])
    edges = np.append(np.flatnonzero(begins), len(vote))
    enough = np.flatnonzero(size >= 2)
    places = edges[enough]
    first, second = vote["first"][places], vote["second"][places]
    order = np.lexsort((enough, -size[enough], second, first))  # the largest cluster of each pair leads
    leads = np.concatenate([[True], (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)])[: len(order)]
    for at in order[leads].tolist():
        own = slice(edges[enough[at]], edges[enough[at] + 1])
        yield int(first[at]), int(second[at]), float(np.median(vote["lag"][own]))


# ------------------------------------------------------------------------------------------------------------------ proof


def prove(pairs: Iterable[Pair], load: Callable[[int], Record]) -> Iterator[Copy]:
    """Those of the candidates that are copies. ``load`` gives a recording by its number; its ``meta["source_fs"]`` is the rate at which it was
    recorded, where that is known."""
    last: tuple[int, Record] | None = None
    for first, second, lag in pairs:
        if last is None or last[0] != first:
            last = (first, load(first))
        copy = compare(last[1], load(second), lag)
        if copy is not None:
            yield Copy(first, second, *copy)
