"""Why recordings were rejected, in a few lines: rejected.csv of a store, its reasons grouped by what they say."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from os import PathLike
from pathlib import Path

from einthoven.store.layout import REJECTED, local_folder, read_facts

Line = tuple[str, str, str]
"""File, record, reason."""

_DIFFERS = re.compile(
    r"""
    '[^']*' | "[^"]*" | `[^`]*`         # names in quotation marks
    | [^\s,;:()]*[\d/\\][^\s,;:()]*     # whatever has a number in it, and paths
    | \S+\.[A-Za-z]\w{0,4}(?=[\s,;:)]|$)  # files
    """,
    re.VERBOSE,
)
_AGAIN = re.compile(r"#(?:[\s,;]+(?:and\s+|or\s+)?#)+")  # a list of them, however long


def rejections(store: Path | str | PathLike[str]) -> tuple[tuple[str, int], ...]:
    """The reasons for which recordings of a store were rejected, with their numbers, most frequent first.

    Reasons that differ only in paths, names in quotation marks, and words with numbers in them are one; the first that was met stands for all,
    in full. Of an ingest that used none of its recordings there is no store, but its reasons are read as well. Raises StoreError where
    neither is.
    """
    path = local_folder(store, "looked through")
    if not (path / REJECTED).exists():
        read_facts(path)  # says what is missing
    return grouped(reason for _, _, reason in lines_in(path))


def lines_in(path: Path, *which: range) -> Iterator[Line]:
    """The lines of a store's rejected.csv, of which the first after the header is 0; ``which``: only these, in their order."""
    with open(path / REJECTED, newline="", encoding="utf-8") as file:
        for number, line in enumerate(islice(csv.reader(file), 1, None)):
            if not which or any(number in lines for lines in which):
                yield line[0], line[1], line[2]


def grouped(reasons: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """(first reason, how many are like it), most frequent first; of equally frequent ones those that came first."""
    first: dict[str, str] = {}
    times: Counter[str] = Counter()
    for reason in reasons:
        gist = _AGAIN.sub("#", _DIFFERS.sub("#", reason))
        first.setdefault(gist, reason)
        times[gist] += 1
    return tuple((first[gist], n) for gist, n in times.most_common())
