"""The labels of a store: what they are called, which vocabularies they are of, and how many recordings have each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from einthoven.report.corpora import number_of_part
from einthoven.store.layout import SPLITS

if TYPE_CHECKING:
    from einthoven.store.read import Store

RARE = 10
"""Recordings; with fewer, a code is called rare."""


def bearers(which: np.ndarray, sets: Sequence[Mapping[str, float] | None]) -> Counter[str]:
    """Code -> number of recordings that have it, from what ``Store.label_sets`` gives."""
    counts: Counter[str] = Counter()
    for labels, n in zip(sets, np.bincount(which, minlength=len(sets)).tolist()):
        counts.update({code: n for code, value in (labels or {}).items() if value == 1.0 and n})
    return counts


def bearers_by_part(store: Store, which: np.ndarray, sets: Sequence[Mapping[str, float] | None]) -> dict[str, Counter[str]]:
    """Of each of SPLITS, code -> number of its recordings that have it."""
    part = number_of_part(store)
    return {name: bearers(which[part == number], sets) for number, name in enumerate(SPLITS)}


def systems_of_codes(store: Store, which: np.ndarray, sets: Sequence[Mapping[str, float] | None]) -> dict[str, set[str]]:
    """Code -> the vocabularies in which recordings of the store have it."""
    codes, words = store.codes("label_system")
    said: dict[str, set[str]] = {}
    for pair in np.unique(which * len(words) + codes).tolist():
        for code in sets[pair // len(words)] or {}:
            said.setdefault(code, set()).add(str(words[pair % len(words)]))
    return said


def names_of_labels(store: Store) -> dict[str, str]:
    """What the codes of a store mean, as far as their own vocabularies say; nothing for one that two vocabularies of the store spell alike."""
    from einthoven.sources.vocabulary import SCP, SNOMED, scp_names, snomed_names

    known = {SNOMED: snomed_names(), SCP: scp_names()}
    said = systems_of_codes(store, *store.label_sets())
    own = {code: next(iter(systems)) for code, systems in said.items() if len(systems) == 1}
    return {code: known[system][code] for code, system in own.items() if code in known.get(system, {})}


def label_lines(store: Store, n_labels: int) -> list[tuple[str, str]]:
    """(what, value) of the labels of a store, with the ``n_labels`` most frequent codes."""
    which, sets = store.label_sets()
    times = np.bincount(which, minlength=len(sets)).tolist()
    unlabelled = sum(n for labels, n in zip(sets, times) if labels is None)
    if unlabelled == len(store):
        return [("labels", "none")]
    counts, said = bearers(which, sets), systems_of_codes(store, which, sets)
    n_codes = Counter(system for code in counts for system in said[code])
    systems = ", ".join(f"{system} ({n:,})" if len(n_codes) > 1 else system for system, n in n_codes.most_common())
    few = [code for code, n in counts.items() if n < RARE]
    first = f"{len(counts):,} codes{f' of {systems}' if systems else ''}" + (
        f"; {unlabelled:,} recordings unlabelled" if unlabelled else ""
    )
    lines = [("labels", first)]
    if few:
        lines.append(("", f"of these codes, {len(few):,} are in fewer than {RARE} recordings"))
    by_part = bearers_by_part(store, which, sets)
    lacking = [f"{part} {n:,}" for part, there in by_part.items() if there and (n := sum(not there[code] for code in counts))]
    if lacking:
        lines.append(("", f"codes without a recording in {', in '.join(lacking)}"))
    names = names_of_labels(store)
    for code, n in counts.most_common(n_labels):
        system = f"{'/'.join(sorted(said[code]))} " if len(n_codes) > 1 else ""
        lines.append(("", f"{n:>9,}  {system}{code}  {names.get(code, '')}".rstrip()))
    if 0 < n_labels < len(counts):
        lines.append(("", f"        …  {len(counts) - n_labels:,} codes more"))
    return lines
