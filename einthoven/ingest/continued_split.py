"""The split of rows that are added to a store: who is there keeps their side, and whoever is new goes by the rule that made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.store.layout import SPLITS
from einthoven.store.patients import numbered, numbered_with_copies, places_by_hash, signals_of
from einthoven.store.split import default_split, names_of, side_of_fold
from einthoven.store.split import split as divide

if TYPE_CHECKING:
    import pyarrow as pa

AT_RANDOM: Mapping[str, Any] = {"strategy": "random", "fractions": [0.8, 0.1, 0.1], "seed": 1}


def continue_split(
    ids: pa.Table,
    there: pa.Array,
    rule: Mapping[str, Any],
    recipe: Mapping[str, Any],
    data_sets: Callable[[], Sequence[str]] = list,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of new rows, (new row,) of text, and the rule with what was done for them; rows that are there keep theirs.

    ids   : record, source, patient, fold, n_samples, mean and sd of the old rows and then of the new ones
    there : (old row,) the old rows' split
    recipe : of the corpus that the new rows are; one that has grown goes on with the rule by which its first part was divided
    data_sets : the data set of each new row, for a rule that tests with whole data sets

    A person who is there, or a copy of whose recording is, goes where that is. Of the others, a random split puts each by the hash of
    seed and person, the one by which it ordered them; a split by folds takes the folds of the new corpus where it has them; after any
    other (a split that somebody gave, say) the new corpus gets what it would get alone. Where there are no folds: at random.
    """
    new = ids.slice(len(there))
    keys, of_row = numbered_with_copies(new)
    of_key = _places_there(ids, there, keys, of_row)
    part, how, is_by_rule = _grown(new, rule, recipe, data_sets) if "growth" in recipe else (*_joined(new, rule), False)
    at_random = dict(AT_RANDOM) | {key: how[key] for key in ("fractions", "seed") if how["strategy"] == "random" and key in how}
    share = np.cumsum(np.asarray(at_random["fractions"], dtype=np.float64))
    drawn = np.searchsorted(share[:-1] / share[-1], places_by_hash(keys, at_random["seed"]), side="right")[of_row]
    part = np.where(part >= 0, part, drawn)
    part = np.where(of_key[of_row] >= 0, of_key[of_row], part)
    if "growth" in recipe:  # folds, or data sets, may part a person who is new: the first recording says where
        part = part[np.unique(of_row, return_index=True)[1]][np.unique(of_row, return_inverse=True)[1]]
    said = {**_name(recipe), **how}
    if is_by_rule or ("growth" in recipe and any(said.items() <= one.items() for one in rule.get("appended", []))):
        return np.array(SPLITS)[part], dict(rule)
    return np.array(SPLITS)[part], {**rule, "appended": [*rule.get("appended", []), {**said, "first_row": len(there)}]}


def rule_of(rule: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    """The rule of the first so many rows of a table: without what an append that was killed behind them has noted."""
    appended = [one for one in rule.get("appended", []) if one.get("first_row", 0) < n_rows]
    return {key: value for key, value in rule.items() if key != "appended"} | ({"appended": appended} if appended else {})


def _name(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {"source": recipe.get("name", recipe["source"]), "root": recipe["root"]}


def _places_there(ids: pa.Table, there: pa.Array, keys: pa.Array, of_row: np.ndarray) -> np.ndarray:
    """(key,) the part in which each person of the new rows is already, or a copy of a recording is; -1 of the others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    n_old = len(there)
    old_part = np.array([SPLITS.index(name) if name in SPLITS else -1 for name in there.to_pylist()], dtype=np.int64)
    is_placed = old_part >= 0  # a person may have recordings in no part beside those that are in one
    old_keys, old_of_row = numbered(ids.slice(0, n_old))
    of_old_key = np.full(len(old_keys), -1, dtype=np.int64)
    of_old_key[old_of_row[is_placed]] = old_part[is_placed]
    known = pc.index_in(keys, value_set=pa.array(old_keys)).fill_null(-1).to_numpy(zero_copy_only=False)
    of_key = np.where(known >= 0, of_old_key[known], -1)

    signal = signals_of(ids)
    of_signal = np.full(int(signal.max()) + 1, -1, dtype=np.int64)
    of_signal[signal[:n_old][is_placed][::-1]] = old_part[is_placed][::-1]
    copied = of_signal[signal[n_old:]]
    rows = np.flatnonzero((copied >= 0) & (of_key[of_row] < 0))[::-1]
    of_key[of_row[rows]] = copied[rows]
    return of_key


def _joined(new: pa.Table, rule: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Of another corpus: (row,) the part of each row, -1 where it is to be drawn; and the rule."""
    nowhere = np.full(len(new), -1)
    if rule.get("strategy") in ("random", "stratified"):
        return nowhere, _random(rule)
    if rule.get("strategy") == "fold":
        how = {key: rule[key] for key in ("strategy", "valid_fold", "test_fold") if key in rule}
        try:
            column = divide(new, **how)
        except StoreError:  # no folds here, or others
            column, how = None, default_split(new)[1]
    else:
        column, how = default_split(new)
    if column is None or how["strategy"] != "fold":
        return nowhere, {**AT_RANDOM, **({"folds_not_used": how["folds_not_used"]} if "folds_not_used" in how else {})}
    return np.select([column == name for name in SPLITS], range(len(SPLITS))), how


def _grown(
    new: pa.Table, rule: Mapping[str, Any], recipe: Mapping[str, Any], data_sets: Callable[[], Sequence[str]]
) -> tuple[np.ndarray, dict[str, Any], bool]:
    """Of a corpus that is there and has grown: as ``_joined``, and whether the rule by which its first part was divided says it all.

    What came in a night need not have every fold, nor every data set.
    """
    own = [one for one in rule.get("appended", []) if all(one.get(key) == value for key, value in _name(recipe).items())]
    how: Mapping[str, Any] = own[-1] if own else rule
    nowhere = np.full(len(new), -1)
    if how.get("strategy") in ("random", "stratified"):
        return nowhere, _random(how), True
    if how.get("strategy") == "fold":
        sides = side_of_fold(how.get("valid_fold", 9), how.get("test_fold", 10))
        part = np.array([-1 if fold is None else sides(fold) for fold in new["fold"].to_pylist()], dtype=np.int64)
        return part, {"strategy": "fold"}, True
    if how.get("strategy") == "source":
        valid, test = (names_of(how.get(name, ())) for name in ("valid_source", "test_source"))
        shares = [*how.get("fractions", AT_RANDOM["fractions"])[:2], 0.0]
        rest = 0 if valid or not sum(shares) else -1  # without validation sets, validation is drawn from the rest
        part = np.array([2 if name in test else 1 if name in valid else rest for name in data_sets()], dtype=np.int64)
        return part, {"strategy": "random", "fractions": shares, "seed": how.get("seed", 1)}, True
    return *_joined(new, rule), False


def _random(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "strategy": "random",
        "fractions": rule.get("fractions", AT_RANDOM["fractions"]),
        "seed": rule.get("seed", AT_RANDOM["seed"]),
    }
