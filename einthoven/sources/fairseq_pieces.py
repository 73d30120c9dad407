"""Which files of fairseq-signals are one recording: ``<stem>_0.mat``, ``<stem>_1.mat`` … are its windows, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from einthoven.errors import EinthovenError
from einthoven.sources.fairseq_manifest import Listed

WHOLE = ("org", "preprocessed")
"""Folders of whole recordings: a number at the end of a name there is the recording's own."""

_MANY = 1000
"""And so is a number from here on, wherever it stands."""


@dataclass(frozen=True)
class Found:
    """A recording: its first file, how many segments follow one another from it, and what its manifest says."""

    path: Path
    name: str
    n_segments: int
    split: str | None
    person: str | None


def segment_of(stem: str) -> tuple[str, int | None]:
    """``E07500_1`` -> (``E07500``, 1); no number that begins with a nought, or is as large as a record's own."""
    found = re.fullmatch(r"(.+)_(0|[1-9]\d*)", stem)
    return (found[1], int(found[2])) if found and int(found[2]) < _MANY else (stem, None)


def grouped(listed: Iterable[Listed], *, join: bool, keep_split: bool) -> list[Found]:
    """Files as recordings, in the order of their first files."""
    groups: dict[tuple[Path, str], dict[int | None, Listed]] = {}
    for one in listed:
        stem, number = (one.path.stem, None) if one.path.parent.name in WHOLE else segment_of(one.path.stem)
        known = groups.setdefault((one.path.parent, stem), {})
        if number in known and known[number].split != one.split and keep_split:
            raise EinthovenError(f"{one.path}: stands in the manifests of {known[number].split} and of {one.split}; a file has one side.")
        known[number] = one
    found, torn = [], []
    for (_, stem), pieces in groups.items():
        sides = {one.split for number, one in pieces.items() if number is not None}
        if len(sides) > 1 and keep_split:
            torn.append(f"{stem} ({' and '.join(sorted(str(side) for side in sides))})")
            continue
        whole = pieces.pop(None, None)
        if whole is not None:
            found.append(Found(whole.path, stem, 1, whole.split if keep_split else None, whole.person))
        numbers = sorted(number for number in pieces if number is not None)
        if join and numbers and numbers == list(range(len(numbers))) and whole is None:
            first = pieces[0]
            found.append(Found(first.path, stem, len(numbers), first.split if keep_split else None, first.person))
            continue
        for number in numbers:
            one = pieces[number]
            # Windows of one recording are of one person, whoever that is.
            same = one.person or (f"of {stem}" if len(numbers) > 1 else None)
            found.append(Found(one.path, one.path.stem, 1, one.split if keep_split else None, same))
    if torn:
        raise EinthovenError(
            f"{len(torn)} recordings have segments on two sides of the split, for one {torn[0]}: it was drawn by segment, so "
            "that a test would meet recordings of the training; say split=new, and ingest divides by patient."
        )
    return found


def pieces_of(first: Path, n_segments: int) -> list[Path]:
    stem = segment_of(first.stem)[0]
    return [first] if n_segments < 2 else [first.with_name(f"{stem}_{number}{first.suffix}") for number in range(n_segments)]
