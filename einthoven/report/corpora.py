"""The corpora of a store, each with its data sets: recordings, patients, hours, rates, labels and parts of the split, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from einthoven.store.layout import SPLITS
from einthoven.store.meta_field import meta_field

if TYPE_CHECKING:
    from einthoven.store.read import Store


@dataclass(frozen=True)
class Corpus:
    """One corpus of a store, or one data set of a corpus.

    n_patients : of those who are known; None where nobody is
    rates      : Hz at which it was recorded -> recordings
    splits     : recordings in each of SPLITS
    is_part    : a data set of the corpus that was named before it
    """

    name: str
    n_records: int
    n_patients: int | None
    hours: float
    rates: Mapping[float, int]
    n_labelled: int
    splits: tuple[int, ...]
    is_part: bool = False


def corpora(store: Store) -> list[Corpus]:
    """The corpora of a store in the order of its rows, each followed by its data sets where it has several (``dataset`` in its meta)."""
    source, names = store.codes("source")
    dataset, names_of_sets = _datasets(store)
    which, sets = store.label_sets()
    columns = {
        "patient": store.patient_number,
        "known": is_known(store, "patient"),
        "seconds": store.column("n_samples") / store.fs,
        "rate": store.column("source_fs"),
        "labelled": np.array([one is not None for one in sets], dtype=bool)[which],
        "split": number_of_part(store),
    }
    out = []
    for number in dict.fromkeys(source.tolist()):
        own = source == number
        out.append(_corpus(str(names[number]), own, columns))
        there = np.unique(dataset[own]).tolist()
        if len(there) > 1:
            parts = [_corpus(names_of_sets[one], own & (dataset == one), columns, is_part=True) for one in there]
            out += sorted(parts, key=lambda part: -part.n_records)
    return out


def _datasets(store: Store) -> tuple[np.ndarray, list[str]]:
    """Which data set each recording is of, (row,) int64, and what they are called."""
    codes, values = meta_field(store.take(["meta"])["meta"], "dataset")
    place: dict[str, int] = {}
    number = [place.setdefault("of no data set" if value is None else str(value), len(place)) for value in values]
    return np.array(number, dtype=np.int64)[codes], list(place)


def _corpus(name: str, own: np.ndarray, columns: Mapping[str, np.ndarray], *, is_part: bool = False) -> Corpus:
    rates, n_of_rate = np.unique(columns["rate"][own], return_counts=True)
    splits = np.bincount(columns["split"][own], minlength=len(SPLITS) + 1)[: len(SPLITS)]
    return Corpus(
        name,
        int(own.sum()),
        n_different(columns["patient"][own & columns["known"]]) or None,
        float(columns["seconds"][own].sum()) / 3600,
        dict(zip(rates.tolist(), n_of_rate.tolist())),
        int(columns["labelled"][own].sum()),
        tuple(splits.tolist()),
        is_part,
    )


def n_different(patients: np.ndarray) -> int:
    """How many different ones there are among ``Store.patient_number``'s."""
    return int(np.count_nonzero(np.bincount(patients)))


def number_of_part(store: Store) -> np.ndarray:
    """(row,) which of SPLITS, len(SPLITS) for none."""
    codes, words = store.codes("split")
    return np.array([SPLITS.index(word) if word in SPLITS else len(SPLITS) for word in words.tolist()], dtype=np.int64)[codes]


def is_known(store: Store, name: str) -> np.ndarray:
    """(row,) whether a column says anything of a recording."""
    return np.asarray(store.take([name])[name].is_valid())
