"""What a store knows of its recordings: labels, ages, sexes, persons; and persons who stand on two sides of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from einthoven.sources.vocabulary import SCP, SNOMED, scp_names, snomed_names
from einthoven.store.read import Store

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

    tables = []
    for number, store in enumerate(stores):
        table = store.take(["source", "patient", "split"])
        columns = {name: table[name].cast(pa.string()).combine_chunks() for name in table.column_names}
        realm = (
            pc.if_else(pc.is_in(columns["source"], pa.array(sorted(ANONYMOUS))), f"{number}", "")
            if len(stores) > 1
            else pa.array([""] * len(table))
        )
        tables.append(pa.table({**columns, "realm": realm, "store": pa.array([called(store)] * len(table), pa.string())}))
    rows = pa.concat_tables(tables)
    rows = rows.filter(pc.and_(pc.is_valid(rows["patient"]), pc.is_valid(rows["split"])))
    persons = rows.group_by(["source", "patient", "realm"]).aggregate([("split", "min"), ("split", "max")])
    torn = persons.filter(pc.not_equal(persons["split_min"], persons["split_max"])).select(["source", "patient", "realm"])
    if not len(torn):
        return []
    places = rows.join(torn, keys=["source", "patient", "realm"], join_type="inner")
    counted = places.group_by(["source", "patient", "realm", "store", "split"]).aggregate([("split", "count")])
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in counted.to_pylist():
        name = row["split"] if len(stores) == 1 else f"{row['store']}: {row['split']}"
        found.setdefault((row["source"], row["patient"], row["realm"]), {})[name] = row["split_count"]
    return [Leak(source, patient, dict(sorted(found[source, patient, realm].items()))) for source, patient, realm in sorted(found)]
