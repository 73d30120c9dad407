"""Which recordings are copies of one another: candidates by equal words, in files that are sorted part by part, then proof by the signals
(``einthoven.store.comparison``).

Linear in the number of recordings, and memory is bounded by one part: a word that very many recordings share (a pacemaker's regular rhythm) is
compared with its neighbours only, and a true copy has other words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from einthoven.record import Record
from einthoven.store.comparison import Copy, compare

_ENTRY = np.dtype([("word", "<u8"), ("record", "<u4"), ("time", "<f4"), ("own", "?")])
_VOTE = np.dtype([("first", "<u4"), ("second", "<u4"), ("lag", "<f4"), ("time", "<f4")])

PARTS = 64
CROWD = 12
"""Entries of one word that are compared each with each; in a larger crowd each with the next so many only."""

TOLERANCE = 0.03
"""Seconds by which the distance of two recordings may differ from beat to beat: what finding a beat at 100 and at 500 Hz differs."""


# ------------------------------------------------------------------------------------------------------------- candidates


class Words:
    """The words of all recordings, on disk, in PARTS files by their value. ``folder`` must be empty; it may be deleted afterwards."""

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, record: int, words: np.ndarray, times: np.ndarray, out: dict[int, list[np.ndarray]]) -> None:
        """Take words (beat, form) at ``times`` (beat,) into ``out``: part -> entries, which ``write`` brings to the files."""
        entries = np.empty(words.shape, dtype=_ENTRY)
        entries["word"], entries["record"], entries["time"], entries["own"] = words, record, times[:, None], False
        entries["own"][:, 0] = True
        flat = entries.ravel()
        part = (flat["word"] % np.uint64(PARTS)).astype(np.int64)
        for number in np.unique(part).tolist():
            out.setdefault(number, []).append(flat[part == number])

    def write(self, out: dict[int, list[np.ndarray]]) -> None:
        for number, entries in out.items():
            with open(self.folder / f"{number:02d}.words", "ab") as file:
                np.concatenate(entries).tofile(file)

    def candidates(self) -> Iterator[tuple[int, int, float]]:
        """Pairs of recordings that share two words at the same distance in time: (first, second, lag), first < second; what is at ``t`` in the second
        is at ``t + lag`` in the first."""
        votes = [_votes(np.fromfile(path, dtype=_ENTRY)) for path in sorted(self.folder.glob("*.words"))]
        vote = np.concatenate(votes) if votes else np.empty(0, dtype=_VOTE)
        if not len(vote):
            return
        vote = vote[np.lexsort((vote["time"], vote["lag"], vote["second"], vote["first"]))]
        pair = (vote["first"][1:] != vote["first"][:-1]) | (vote["second"][1:] != vote["second"][:-1])
        begins = np.concatenate([[True], pair | (np.diff(vote["lag"]) > TOLERANCE)])
        cluster = np.cumsum(begins) - 1
        # One beat in several forms is one vote: count the different beats of each cluster.
        order = np.lexsort((vote["time"], cluster))
        new = np.concatenate([[True], (np.diff(cluster[order]) > 0) | (np.diff(vote["time"][order]) > 0.1)])
        size = np.bincount(cluster[order][new], minlength=cluster[-1] + 1)
        places = np.flatnonzero(begins)
        best: dict[tuple[int, int], tuple[int, float]] = {}
        for number in np.flatnonzero(size >= 2).tolist():
            row = vote[places[number]]
            key, last = (int(row["first"]), int(row["second"])), places[number + 1] if number + 1 < len(places) else len(vote)
            lag = float(np.median(vote["lag"][places[number] : last]))
            if key not in best or size[number] > best[key][0]:
                best[key] = (int(size[number]), lag)
        for (first, second), (_, lag) in sorted(best.items()):
            yield first, second, lag


def _votes(entries: np.ndarray) -> np.ndarray:
    """Pairs of entries of one word, of different recordings, one of them in its own form."""
    entries = entries[np.lexsort((entries["time"], entries["record"], entries["word"]))]
    same = np.concatenate([[False], entries["word"][1:] == entries["word"][:-1], [False]])
    run = np.cumsum(~same[:-1])
    found = []
    for step in range(1, min(CROWD, len(entries) - 1) + 1):
        a, b = entries[:-step], entries[step:]
        pairs = (run[:-step] == run[step:]) & (a["record"] != b["record"]) & (a["own"] | b["own"])
        if not pairs.any() and not (run[:-step] == run[step:]).any():
            break
        a, b = a[pairs], b[pairs]
        vote = np.empty(len(a), dtype=_VOTE)
        vote["first"], vote["second"], vote["lag"], vote["time"] = a["record"], b["record"], a["time"] - b["time"], a["time"]
        found.append(vote)
    return np.concatenate(found) if found else np.empty(0, dtype=_VOTE)


# ------------------------------------------------------------------------------------------------------------------ proof


def prove(pairs: Iterable[tuple[int, int, float]], load: Callable[[int], Record]) -> Iterator[Copy]:
    """Those of the candidates that are copies. ``load`` gives a recording by its number; its ``meta["source_fs"]`` is the rate at which it was
    recorded, where that is known."""
    last: tuple[int, Record] | None = None
    for first, second, lag in pairs:
        if last is None or last[0] != first:
            last = (first, load(first))
        copy = compare(last[1], load(second), lag)
        if copy is not None:
            yield Copy(first, second, *copy)
