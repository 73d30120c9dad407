"""What a view of a store is asked for, as row numbers, samples and places of leads. StoreError for what the store cannot give."""

from __future__ import annotations

from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.layout import SPLITS
from einthoven.store.read import Store


def refuse_unknown(name: str, value: str, known: tuple[str, ...]) -> None:
    """StoreError for a word that is none of an option's."""
    if value not in known:
        raise StoreError(f"expected {name} as one of {', '.join(known)}; got {value!r}")


def rows_of(store: Store, rows: Any) -> np.ndarray:
    """(n,) int64 row numbers from a split's name, row numbers, a mask over the table's rows, or None for all."""
    if rows is None:
        return np.arange(len(store))
    if isinstance(rows, str):
        refuse_unknown("a split", rows, SPLITS)
        found = store.where(split=rows)
        if not len(found):
            raise StoreError(f"{store.path} has no recordings in its {rows} split; give the store another split")
        return found
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (len(store),):
            raise StoreError(f"expected a mask over {len(store)} rows; got shape {rows.shape}")
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64)
    if rows.size and not (0 <= rows.min() and rows.max() < len(store)):
        raise StoreError(f"rows {rows.min()} to {rows.max()} of a store with {len(store)}")
    return rows


def place_of(index: int, n: int, what: str) -> int:
    """An item's number from the first one on, where it may have been counted from the last (-1)."""
    if not -n <= index < n:
        raise IndexError(f"{what} {index} of a view with {n}")
    return index % n


def lead_plans(codes: np.ndarray, words: np.ndarray, wanted: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which stored lead each wanted one is, once for each set of leads, since millions of recordings have few.

    codes, words : ``Store.codes("leads")`` of the rows of the view
    returns      : the plan of each row (row,); of each plan the numbers of its stored leads (plan, lead), -1 for one that it has not; and how
                   many leads it stores (plan,)
    """
    there = np.flatnonzero(np.bincount(codes, minlength=len(words)))
    place = np.zeros(len(words), dtype=np.int64)
    place[there] = np.arange(len(there))
    plan = place[codes]
    leads = [names.split() for names in words[there]]
    table = [[names.index(lead) if lead in names else -1 for lead in wanted] for names in leads]
    return plan, np.array(table, dtype=np.int64).reshape(len(leads), len(wanted)), np.array([len(names) for names in leads], dtype=np.int64)


def n_samples_of(name: str, seconds: float, fs: float) -> int:
    """Samples in so many seconds, at least one; ``name`` is what the person who asked calls them."""
    if not round(seconds * fs) > 0:
        raise StoreError(f"expected {name} of at least one sample ({1 / fs:g} s); got {seconds}")
    return round(seconds * fs)


def corpus_moments(scaling: str, mean: Any, std: Any, n_leads: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and SD of the corpus in mV, (lead,) float32 each; None where another scaling is asked for."""
    if scaling != "corpus":
        if mean is not None or std is not None:
            raise StoreError(f"mean and std go with scaling corpus, not with {scaling}")
        return None
    if mean is None or std is None or not len(mean) == len(std) == n_leads or not min(std) > 0:
        raise StoreError(f"scaling corpus needs a mean and a std above 0 for each of {n_leads} leads, in mV; got {mean} and {std}")
    return np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
