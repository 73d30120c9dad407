"""What a store knows of its recordings: labels, ages, sexes, persons; and persons who stand on two sides of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from einthoven.sources.vocabulary import SCP, SNOMED, scp_names, snomed_names
from einthoven.store.read import Store

if TYPE_CHECKING:
    import pyarrow as pa

ANONYMOUS = frozenset({"folder"})
"""Sources under whose name anybody's recordings go: equal patient ids in two stores are not one person."""


@dataclass(frozen=True)
class Coverage:
    """Counts of the recordings of one source in one store.

    unlabelled  : nobody labelled them; a recording whose labels are all absent (0) is labelled
    codes       : code -> recordings in which it is present, the most frequent first
    unknown     : those codes that their vocabulary does not have; None where we have no such vocabulary
    age, sex, patient, time : recordings of which it is known; odd_age: of which it is below 0 or above 110
    splits      : part -> recordings
    """

    source: str
    n_records: int
    unlabelled: int
    systems: dict[str, int]
    codes: dict[str, int]
    unknown: dict[str, int] | None
    age: int
    odd_age: int
    sex: int
    patient: int
    time: int
    splits: dict[str, int]


@dataclass(frozen=True)
class Leak:
    """A patient on several sides of a split: how many recordings in each part of each store."""

    source: str
    patient: str
    places: dict[str, int]


def called(store: Store) -> str:
    """A store's name: that of its folder, or the last part of its URL."""
    return store.remote.url.rsplit("/", 1)[-1] if store.remote else store.path.resolve().name


def of_store(store: Store) -> Iterator[Coverage]:
    """One for each source in it."""
    source, sources = store.codes("source")
    system, systems = store.codes("label_system")
    split, splits = store.codes("split")
    known = {name: np.asarray(store.take([name])[name].is_valid()) for name in ("sex", "patient", "time")}
    age = store.column("age")
    which, sets = store.label_sets()
    for number, name in enumerate(sources.tolist()):
        own = source == number
        if not own.any():
            continue
        codes: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        checked, unlabelled = False, 0
        pairs, times = np.unique(which[own] * len(systems) + system[own], return_counts=True)
        for pair, n in zip(pairs.tolist(), times.tolist()):
            labels, vocabulary = sets[pair // len(systems)], _vocabulary(systems[pair % len(systems)])
            unlabelled += n if labels is None else 0
            checked |= labels is not None and vocabulary is not None
            for code, value in (labels or {}).items():
                codes[code] += n if value > 0 else 0
                if vocabulary is not None and code not in vocabulary:
                    unknown[code] += n
        with np.errstate(invalid="ignore"):
            odd = int(((age[own] < 0) | (age[own] > 110)).sum())
        yield Coverage(
            str(name), int(own.sum()), unlabelled, _counted(system[own], systems), dict(codes.most_common()),
            dict(unknown.most_common()) if checked else None, int(np.isfinite(age[own]).sum()), odd,
            int(known["sex"][own].sum()), int(known["patient"][own].sum()), int(known["time"][own].sum()), _counted(split[own], splits),
        )  # fmt: skip


def _counted(codes: np.ndarray, words: np.ndarray) -> dict[str, int]:
    times = np.bincount(codes, minlength=len(words))
    return {str(words[at]): int(times[at]) for at in np.argsort(-times, kind="stable").tolist() if times[at] and words[at] is not None}


def _vocabulary(system: str | None) -> set[str] | None:
    return set(snomed_names()) if system == SNOMED else set(scp_names()) if system == SCP else None


def leaks(stores: Sequence[Store]) -> list[Leak]:
    """Patients with recordings in several parts of a split, within a store and, where both name the same corpus, across stores."""
    import pyarrow as pa
    import pyarrow.compute as pc

    named = Counter(name for store in stores for name in store.codes("source")[1][:-1].tolist())
    shared = {name for name, n in named.items() if n > 1} - ANONYMOUS
    places = pa.concat_tables([_places(number, store, shared) for number, store in enumerate(stores)])
    places = places.filter(pc.is_valid(places["patient"]))
    person = ["source", "patient", "realm"]
    persons = places.group_by(person).aggregate([("split", "min"), ("split", "max")])
    torn = persons.filter(pc.not_equal(persons["split_min"], persons["split_max"])).select(person)
    if not len(torn):
        return []
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for row in places.join(torn, keys=person, join_type="inner").to_pylist():
        name = row["split"] if len(stores) == 1 else f"{called(stores[row['store']])}: {row['split']}"
        found.setdefault(tuple(row[name] for name in person), {})[name] = row["n"]
    return [Leak(key[0], key[1], dict(sorted(found[key].items()))) for key in sorted(found)]


def _places(number: int, store: Store, shared: Collection[str]) -> pa.Table:
    """Persons and the parts in which they have recordings, a row for each part: those who stand in two, or who may stand in another store too. By
    numbers, so that no name is read of the many who stand in one.

    shared : sources that other stores have as well
    """
    import pyarrow as pa

    source, names = store.codes("source")
    split, parts = store.codes("split")
    known = np.flatnonzero(split < len(parts) - 1)
    key, first, n = np.unique(store.patient_number[known] * len(parts) + split[known], return_index=True, return_counts=True)
    again = np.flatnonzero(np.diff(key // len(parts)) == 0)
    kept = np.array([name in shared for name in names.tolist()], dtype=bool)[source[known[first]]]
    kept[again] = kept[again + 1] = True
    rows, n = known[first[kept]], n[kept]
    who = names[source[rows]].tolist()
    patient = store.take(["patient"])["patient"].cast(pa.string()).take(pa.array(rows)) if len(rows) else pa.array([], pa.string())
    return pa.table({
        "source": pa.array(who, pa.string()), "patient": patient, "store": np.full(len(rows), number),
        "realm": pa.array([str(number) if name in ANONYMOUS else "" for name in who], pa.string()),
        "split": pa.array(parts[split[rows]].tolist(), pa.string()), "n": n,
    })  # fmt: skip
