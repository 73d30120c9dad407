"""A further corpus goes into a store that is finished: more shards, more rows, nothing of what is there is written again but the table.

What a store holds is said by one file, store.json, that appears by one rename. Until then the store is the old one: new shards lie
behind the old ones, new rows behind the old rows, and a reader takes as many rows as store.json says. An append that was killed at
any moment and is run again ends with the same bytes.

Ids of two corpora may be equal, since ``source`` tells them apart. Under one ``source`` a patient id is one person and a record id
one recording: a second folder of one source is refused when it brings a record id that is there, unless it gets a name of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven import __version__
from einthoven.errors import StoreError
from einthoven.sources.facts import RecordRef
from einthoven.store.finish import (
    appear,
    count_patients,
    counts_of,
    parts_of_shards,
    read_parts,
    rejected_in,
    remove_strays,
    signal_facts,
    with_split,
    words,
    write_rejected,
    write_table,
)
from einthoven.store.layout import COUNTED, REJECTED, SPLITS, TABLE, UNFINISHED, parts_of, schema
from einthoven.store.patients import numbered, numbered_with_copies, places_by_hash, signals_of
from einthoven.store.shard import Made
from einthoven.store.split import default_split
from einthoven.store.split import split as divide

if TYPE_CHECKING:
    import pyarrow as pa

PLAN = "plan.json"


def refuse_unfit(path: Path, facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """StoreError where a corpus cannot go into this store: what is the same of all its recordings would not be, or it is in it."""
    there, wanted = facts["signal"], signal_facts(recipe["fs"], recipe["resampling"])
    different = [f"{key} {there.get(key)!r} there, {wanted[key]!r} asked for" for key in wanted if there.get(key) != wanted[key]]
    if different:
        raise StoreError(
            f"{path} is of another kind: {', '.join(different)}; every recording of a store is made in one way: ask for the same"
        )
    for part in parts_of(facts):
        if _corpus(part["recipe"]) == _corpus(recipe):
            changed = [key for key in {**part["recipe"], **recipe} if part["recipe"].get(key) != recipe.get(key)]
            raise StoreError(
                f"{recipe['source']} of {recipe['root']} is in {path} already, made with another {', '.join(changed)}; make a store of it anew"
            )


def _corpus(recipe: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(json.dumps(recipe.get(key), sort_keys=True) for key in ("source", "name", "root", "options"))


def settle(path: Path, facts: Mapping[str, Any]) -> None:
    """Clear up behind an ingest that was killed when its store.json was there already; one that is still to go on is left alone."""
    plan = path / UNFINISHED / PLAN
    if not plan.exists():
        return
    recipe = json.loads(plan.read_text(encoding="utf-8"))
    recipe.pop("after", None)
    if any({**part["recipe"], "tables": None} == {**recipe, "tables": None} for part in parts_of(facts)):
        staged = path / UNFINISHED / REJECTED
        if staged.exists():
            os.replace(staged, path / REJECTED)
        shutil.rmtree(path / UNFINISHED, ignore_errors=True)


class NewIds:
    """Passes recordings on whose ids the store has not yet under that source; eight bytes for each that it has.

    Raises StoreError at one that it has.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], source: str):
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self.path, self.source = path, source
        table = pq.read_table(path / TABLE, columns=["record", "source"]).slice(0, facts["counts"]["records"])
        self.there = table["record"].filter(pc.equal(table["source"].cast("string"), source))
        self.hashes = np.sort(np.fromiter((_hash(name.as_py()) for name in self.there), np.uint64, len(self.there)))

    def check(self, refs: Iterable[RecordRef]) -> Iterator[RecordRef]:
        import pyarrow.compute as pc

        for ref in refs:
            value = _hash(ref.record)
            place = int(np.searchsorted(self.hashes, value))
            if place < len(self.hashes) and self.hashes[place] == value and pc.index(self.there, ref.record).as_py() >= 0:
                raise StoreError(
                    f"{self.path} has a recording {ref.record} of {self.source} already, and {ref.path} is another; give this corpus a name of "
                    f"its own (name=…), under which its record and patient ids mean others"
                )
            yield ref


def _hash(record: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(record.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "little"))


# ------------------------------------------------------------------------------------------------------------------ finish


def finish_append(
    path: Path, old: Mapping[str, Any], recipe: Mapping[str, Any], source: Any, made: list[Made], n_listed: int
) -> dict[str, Any]:
    """Join new parts to a finished store: the table, then store.json, which is returned and with which they are there, then rejected.csv.

    Raises StoreError, and leaves the store as it was, when not one of the new recordings could be used.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = counts_of(made, n_listed)
    parts = parts_of_shards(path, made)
    n_old, n_shards = old["counts"]["records"], len(old["shards"])
    if counts["records"] == 0:
        file, _, reason = next(rejected_in(parts))
        remove_strays(path, n_shards)
        shutil.rmtree(path / UNFINISHED)
        raise StoreError(
            f"none of the {counts['listed']} recordings under {recipe['root']} can be used; the first, {file}: {reason}. {path} is as it was"
        )
    write_rejected(path / UNFINISHED / REJECTED, [*_lines(path / REJECTED, old["counts"]["rejected"]), *rejected_in(parts)])

    file = pq.ParquetFile(path / TABLE)
    there = file.schema_arrow
    metadata = dict(there.metadata or {})
    columns = there
    for field in schema():
        if field.name not in there.names:  # of a store that an earlier version made
            columns = columns.append(field)
    with_moments = ["record", "source", "patient", "fold", "n_samples", "mean", "sd"]
    was = file.read(columns=[*with_moments, "split"]).slice(0, n_old)
    now = pa.concat_tables(pq.read_table(part, columns=with_moments) for part in parts).replace_schema_metadata(None)
    ids = pa.concat_tables([was.select(with_moments).replace_schema_metadata(None).cast(now.schema), now]).unify_dictionaries()
    split, rule = continue_split(ids, was["split"].combine_chunks(), json.loads(metadata.get(b"split", b"{}")), recipe)
    n_patients, n_new_patients = count_patients(ids), count_patients(ids.slice(n_old))
    del was, now, ids

    def rows() -> Iterator[pa.Table]:
        first = 0
        for group in range(file.metadata.num_row_groups):
            piece = file.read_row_group(group).slice(0, n_old - first).replace_schema_metadata(None)
            first += len(piece)
            if len(piece):
                yield piece

    n_total = n_old + counts["records"]
    metadata |= {b"split": json.dumps(rule).encode(), COUNTED: json.dumps([n_old, n_total]).encode()}
    new = with_split(read_parts(parts), words(split))
    write_table(path / TABLE, (piece for pieces in (rows(), new) for piece in pieces), columns.with_metadata(metadata))
    remove_strays(path, n_shards + len(made))
    part = {
        "source": asdict(source),
        "recipe": recipe,
        "code": {"einthoven": __version__},
        "counts": {**counts, "patients": n_new_patients},
        "n_shards": len(made),
    }
    parts_now = [*parts_of(old), part]
    facts = {
        **old,
        "source": _joined([one["source"] for one in parts_now]),
        "counts": {**{name: old["counts"][name] + counts[name] for name in counts}, "patients": n_patients},
        "shards": [*old["shards"], *(one.n_counts for one in made)],
        "parts": parts_now,
    }
    appear(path, facts)
    settle(path, facts)
    return facts


def _lines(path: Path, n: int) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1 : n + 1]


def _joined(sources: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of several corpora in one: texts side by side, numbers summed where all are known."""
    joined: dict[str, Any] = {}
    for key in sources[0]:
        values = [source.get(key) for source in sources]
        if key in ("records", "patients"):
            joined[key] = None if None in values else sum(values)
        elif key == "fs":
            joined[key] = values[0] if len(set(values)) == 1 else None
        else:
            known = [str(value) for value in dict.fromkeys(values) if value is not None]
            joined[key] = " + ".join(known) if known else None
    return joined


# ------------------------------------------------------------------------------------------------------------------- split


def continue_split(ids: pa.Table, there: pa.Array, rule: Mapping[str, Any], recipe: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of new rows, (new row,) of text, and the rule with what was done for them; rows that are there keep theirs.

    ids   : record, source, patient, fold, n_samples, mean and sd of the old rows and then of the new ones
    there : (old row,) the old rows' split

    A person who is there, or a copy of whose recording is, goes where that is. Of the others, a random split puts each by the hash of
    seed and person, the one by which it ordered them; a split by folds takes the folds of the new corpus where it has them; after any
    other (a split that somebody gave, say) the new corpus gets what it would get alone. Where there are no folds: at random.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    n_old = len(there)
    new = ids.slice(n_old)
    old_part = np.array([SPLITS.index(name) if name in SPLITS else -1 for name in there.to_pylist()], dtype=np.int64)
    old_keys, old_of_row = numbered(ids.slice(0, n_old))
    of_old_key = np.full(len(old_keys), -1, dtype=np.int64)
    of_old_key[old_of_row] = old_part
    keys, of_row = numbered_with_copies(new)
    known = pc.index_in(keys, value_set=pa.array(old_keys)).fill_null(-1).to_numpy(zero_copy_only=False)
    of_key = np.where(known >= 0, of_old_key[known], -1)

    signal = signals_of(ids)
    of_signal = np.full(int(signal.max()) + 1, -1, dtype=np.int64)
    of_signal[signal[:n_old][::-1]] = old_part[::-1]
    copied = of_signal[signal[n_old:]]
    rows = np.flatnonzero((copied >= 0) & (of_key[of_row] < 0))[::-1]
    of_key[of_row[rows]] = copied[rows]

    strategy = rule.get("strategy")
    if strategy in ("random", "stratified"):
        part, how = None, {"strategy": "random", "fractions": rule.get("fractions", [0.8, 0.1, 0.1]), "seed": rule.get("seed", 1)}
    else:
        part, how = _by_folds(new, rule)
    if part is None:
        share = np.cumsum(np.asarray(how["fractions"], dtype=np.float64))
        part = np.searchsorted(share[:-1] / share[-1], places_by_hash(keys, how["seed"]), side="right")[of_row]
    part = np.where(of_key[of_row] >= 0, of_key[of_row], part)
    appended = {"source": recipe.get("name", recipe["source"]), "root": recipe["root"], **how}
    return np.array(SPLITS)[part], {**rule, "appended": [*rule.get("appended", []), appended]}


def _by_folds(new: pa.Table, rule: Mapping[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
    at_random = {"strategy": "random", "fractions": [0.8, 0.1, 0.1], "seed": 1}
    if rule.get("strategy") == "fold":
        how = {key: rule[key] for key in ("strategy", "valid_fold", "test_fold") if key in rule}
        try:
            column = divide(new, **how)
        except StoreError:  # no folds here, or others
            return None, at_random
    else:
        column, how = default_split(new)
        if how["strategy"] != "fold":
            return None, at_random
    return np.select([column == name for name in SPLITS], range(len(SPLITS))), how
