"""Who is enrolled and who is asked: recordings of a store divided into a gallery and probes, to test identification.

A person with two recordings or more is enrolled with the first of them in time, and found again by the later ones: a model must know
the person, not the day. The recordings are told apart by time, or by their names where a person has one without time.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.layout import SPLITS
from einthoven.store.read import Store

Singles = Literal["leave_out", "distractors", "two_windows"]
SINGLES = ("leave_out", "distractors", "two_windows")
WHOLE = -1
"""``segment`` of a recording that is taken whole, with all of its windows."""


@dataclass(frozen=True, eq=False)
class Roles:
    """Rows of a store, each with the number of its window, or ``WHOLE``.

    gallery, probe                 : (n,) int64 rows of the store's table
    gallery_segment, probe_segment : (n,) int64
    gallery_person, probe_person   : (n,) int64, the store's numbers of the persons
    """

    gallery: np.ndarray
    gallery_segment: np.ndarray
    gallery_person: np.ndarray
    probe: np.ndarray
    probe_segment: np.ndarray
    probe_person: np.ndarray

    def __str__(self) -> str:
        persons, others = np.unique(self.probe_person), np.setdiff1d(self.gallery_person, self.probe_person)
        within = np.intersect1d(self.gallery[self.gallery_segment != WHOLE], self.probe)
        parts = [f"{len(self.probe)} probes of {len(persons)} persons against {len(self.gallery)} recordings enrolled"]
        if len(others):
            parts.append(f"{len(others)} persons are enrolled and never asked for")
        if len(within):
            parts.append(f"{len(within)} persons are to be found again within one recording, which is easier than on another day")
        return "; ".join(parts)


def gallery_and_probe(
    store: Store,
    rows: str | Sequence[int] | np.ndarray | None = "test",
    *,
    n_enrolled: int = 1,
    singles: Singles = "leave_out",
    seconds: float | None = None,
) -> Roles:
    """The roles of a store's recordings.

    rows       : a split's name, row numbers, or None for all
    n_enrolled : how many recordings of a person are enrolled at most; the last one is always a probe
    singles    : persons with one recording. "leave_out"; "distractors": they are enrolled, and nobody asks for them; "two_windows":
                 the first window of ``seconds`` is enrolled and the second is a probe. That asks whether two pieces of one
                 recording belong together (electrodes, noise and heart rate are the same), not whether a person is known again: report
                 it as such. Persons whose recording is shorter than two windows are left out
    seconds    : length of a window, for "two_windows"

    Recordings whose person is not known take no part: they might be anybody's. Raises StoreError where nobody can be asked for, or
    fewer than two persons are enrolled.
    """
    if singles not in SINGLES:
        raise StoreError(f"expected singles as one of {', '.join(SINGLES)}; got {singles!r}")
    if n_enrolled < 1 or (singles == "two_windows") != (seconds is not None):
        raise StoreError(
            f"expected n_enrolled of 1 or more, and seconds with singles=two_windows only; got {n_enrolled}, {seconds}, {singles}"
        )
    if isinstance(rows, str):
        if rows not in SPLITS:
            raise StoreError(f"expected a split among {', '.join(SPLITS)}, or row numbers; got {rows!r}")
        taken = store.where(split=rows)
    else:
        taken = np.arange(len(store)) if rows is None else np.asarray(rows, dtype=np.int64)
    named = np.array([patient is not None for patient in store.column("patient")], dtype=bool)
    taken = taken[named[taken]]
    recordings: dict[int, list[int]] = {}
    for row in taken.tolist():
        recordings.setdefault(int(store.patient_number[row]), []).append(row)

    time, name, n_samples = store.column("time"), store.column("record"), store.column("n_samples")
    gallery: list[tuple[int, int, int]] = []
    probe: list[tuple[int, int, int]] = []
    for person, own in recordings.items():
        if len(own) == 1:
            if singles == "distractors":
                gallery.append((own[0], WHOLE, person))
            elif seconds is not None and n_samples[own[0]] >= 2 * round(seconds * store.fs):
                gallery.append((own[0], 0, person))
                probe.append((own[0], 1, person))
            continue
        dated = not any(np.isnat(time[row]) for row in own)
        own = sorted(own, key=lambda row: (time[row], name[row], row)) if dated else sorted(own, key=lambda row: (name[row], row))
        first = min(n_enrolled, len(own) - 1)
        gallery += [(row, WHOLE, person) for row in own[:first]]
        probe += [(row, WHOLE, person) for row in own[first:]]
    if not probe or len({person for *_, person in gallery}) < 2:
        several = sum(len(own) > 1 for own in recordings.values())
        where = f"the {rows} rows of {store.path}" if isinstance(rows, str) else f"these rows of {store.path}"
        raise StoreError(
            f"identification needs two persons, one of them with two recordings; {where} have {len(recordings)} known persons, {several} of "
            f"them with two recordings or more: take other rows, or find pieces of one recording again with singles=two_windows"
        )
    return Roles(*np.array(gallery, dtype=np.int64).T, *np.array(probe, dtype=np.int64).T)


def old_manifest(person: Sequence[Hashable], share: float = 0.2, seed: int = 42) -> list[tuple[str, int] | None]:
    """The rule of fairseq-signals' ``manifest_identification``: per recording its part and class, or None where it is not used.

    person : of each recording, in the order in which the old script found the files
    share  : of the persons who validate (its ``--valid-percent``)
    returns: ("train", class), ("valid_gallery", class) or ("valid_probe", class); training and validation count classes of their own

    Persons are drawn one by one in the order of their first recording. Who validates gives the first file to the gallery and the
    second to the probes, whichever was recorded first; a single recording and everything after the second are not used. Ours goes by
    time, uses every recording, and takes the persons of a split, which depends neither on the order of files nor on the file system.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1; got {share}")
    draw = random.Random(seed)
    places: dict[Hashable, list[int]] = {}
    for place, one in enumerate(person):
        places.setdefault(one, []).append(place)
    parts: list[tuple[str, int] | None] = [None] * len(person)
    n_train = n_valid = 0
    for own in places.values():
        if draw.random() > share:
            for place in own:
                parts[place] = ("train", n_train)
            n_train += 1
        elif len(own) > 1:
            parts[own[0]], parts[own[1]] = ("valid_gallery", n_valid), ("valid_probe", n_valid)
            n_valid += 1
    return parts
