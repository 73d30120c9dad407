"""Manifests of fairseq-signals: which files a part of the data is made of.

Plain       : the folder, then ``path <tab> samples``. The newer pipeline begins the first line with a tab, the older one does not; both
              read either.
Pairs       : the folder, the ending, then ``stem <tab> samples <tab> 0 <tab> first,second``: two segments of one recording that are
              positives of CMSC.
Identity    : the folder, then ``path <tab> samples <tab> person``; persons are counted from 0, in the training manifest and in the pair
              gallery and probe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from einthoven import whole
from einthoven.store.layout import SPLITS
from einthoven.store.pairs import adjacent_pairs


@dataclass(frozen=True)
class Pieces:
    """The segments of one recording: ``<stem>_0.mat`` … below the manifests' folder.

    person : number of the patient, None where not known
    """

    stem: str
    n_segments: int
    n_samples: int
    split: str
    person: int | None
    is_labelled: bool

    @property
    def files(self) -> list[str]:
        return [f"{self.stem}_{segment}.mat" for segment in range(self.n_segments)]


def plain(root: str, pieces: Iterable[Pieces], *, tab: bool) -> str:
    rows = [f"{file}\t{one.n_samples}" for one in pieces for file in one.files]
    return _text([("\t" if tab else "") + root, *rows])


def pairs(root: str, segments: Iterable[tuple[str, int, int]]) -> str:
    """Of (stem, number, samples) in the order of a plain manifest: recordings in the order in which they first appear; the samples are
    those of the segment that came last."""
    numbers: dict[str, list[int]] = {}
    n_samples: dict[str, int] = {}
    for stem, number, n in segments:
        numbers.setdefault(stem, []).append(number)
        n_samples[stem] = n
    rows = [f"{stem}\t{n_samples[stem]}\t0\t{first},{second}" for stem, there in numbers.items() for first, second in adjacent_pairs(there)]
    return _text([root, "mat", *rows])


def identity(root: str, pieces: Sequence[Pieces]) -> dict[str, str]:
    """``train``, and of each other part a gallery and probes, for persons with two recordings or more.

    A person who is trained on gives every segment; another one the first segment of the first recording to the gallery, and of the second
    as probe.
    """
    recordings: dict[tuple[str, int], list[Pieces]] = {}
    for one in pieces:
        if one.person is not None:
            recordings.setdefault((one.split, one.person), []).append(one)
    rows: dict[str, list[str]] = {}
    persons = dict.fromkeys(SPLITS, 0)
    for (split, _), of_person in recordings.items():
        if len(of_person) < 2:
            continue
        number = persons[split]
        persons[split] += 1
        if split == "train":
            rows.setdefault("train", []).extend(f"{file}\t{one.n_samples}\t{number}" for one in of_person for file in one.files)
        else:
            for role, one in zip(("gallery", "probe"), of_person):
                rows.setdefault(f"{split}_{role}", []).append(f"{one.files[0]}\t{one.n_samples}\t{number}")
    return {name: _text([root, *lines]) for name, lines in rows.items()}


def write_manifests(folder: Path, root: str, pieces: Sequence[Pieces], *, tab: bool) -> None:
    """``<split>.tsv``, ``cmsc/<split>.tsv``, ``identify/*.tsv``, and ``labelled/<split>.tsv`` where some recordings are labelled and some
    are not."""
    some_labelled = 0 < sum(one.is_labelled for one in pieces) < len(pieces)
    for split in SPLITS:
        mine = [one for one in pieces if one.split == split]
        if not mine:
            continue
        whole.write_text(folder / f"{split}.tsv", plain(root, mine, tab=tab), lasting=False)
        segments = ((one.stem, number, one.n_samples) for one in mine for number in range(one.n_segments))
        whole.write_text(folder / "cmsc" / f"{split}.tsv", pairs(root, segments), lasting=False)
        if some_labelled:
            text = plain(root, [one for one in mine if one.is_labelled], tab=tab)
            whole.write_text(folder / "labelled" / f"{split}.tsv", text, lasting=False)
    for name, text in identity(root, pieces).items():
        whole.write_text(folder / "identify" / f"{name}.tsv", text, lasting=False)


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
