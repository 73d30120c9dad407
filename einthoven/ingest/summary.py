"""What an ingest did, in numbers and in a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven.store.corpora import Part
from einthoven.store.layout import REJECTED, TABLE, shard_bytes
from einthoven.store.rejections import grouped, lines_in


@dataclass(frozen=True)
class Summary:
    """What an ingest did. Every recording that the corpus lists is a row of the table or a line of rejected.csv.

    n_refs    : recordings that the corpus lists; where it had grown, those of them that the store had not got
    n_bytes   : of the shards
    was_there : the corpus was in the store already, and nothing was done; the numbers are those of all of it
    differences : between what the corpus publishes of itself and what was found, a sentence each (einthoven.sources.checking)
    finished  : False after a part of a job array: run ingest once more without ``shards`` when all parts are done
    rejections : the reasons of those that were rejected, alike ones as one, with their numbers (einthoven.store.rejections)
    n_before  : recordings of this corpus that the store had before what came since was added; None where nothing was added to a corpus
    n_gone    : of those, how many the corpus has no longer: they stay in the store
    appended  : ``append`` was asked for
    """

    store: Path
    n_refs: int
    n_records: int
    n_rejected: int
    n_patients: int
    n_bytes: int
    seconds: float
    was_there: bool = False
    finished: bool = True
    differences: tuple[str, ...] = ()
    rejections: tuple[tuple[str, int], ...] = ()
    n_before: int | None = None
    n_gone: int = 0
    appended: bool = False

    def __str__(self) -> str:
        if not self.finished:
            return f"{self.n_refs} recordings of {self.store} converted in {self.seconds:.1f} s; run the same ingest without --shards when all parts are done"
        rejected = f"{self.n_rejected} rejected ({self.store / REJECTED})" if self.n_rejected else "none rejected"
        whose = f"{self.n_patients} patient{'s' * (self.n_patients != 1)}" if self.n_patients else "patients not known"
        room = f"{whose}, {self.n_bytes / 1e6:.1f} MB in {self.store}"
        gone = f"; {self.n_gone} that are in the store are in the corpus no longer" if self.n_gone else ""
        if self.was_there and self.appended:
            return f"nothing new: its {self.n_records} recordings were there already, {rejected}; {room}{gone}, {self.seconds:.1f} s"
        new = "" if self.n_before is None else f" beyond the {self.n_before} that were there"
        what = f"{self.n_refs} recording{'s' * (self.n_refs != 1)}{new}: {self.n_records} stored, {rejected}; {room}"
        if self.was_there:
            return f"{what} (was there already, left as it is: what came to the corpus since is not in it: add --append to take it)"
        return f"{what}{gone}, {self.seconds:.1f} s"


def summary_of(path: Path, facts: Mapping[str, Any], own: Sequence[Part], module: Any, seconds: float, **said: Any) -> Summary:
    """Of these parts of a store, which are one corpus or what was added to it. ``differences`` are those of the whole corpus, always.

    said : further fields of the summary
    """
    from einthoven.sources.checking import check_store

    listed, records, rejected = (sum(part.counts[name] for part in own) for name in ("listed", "records", "rejected"))
    n_patients = own[0].counts["patients"] if len(own) == 1 else _count_patients(path, own)
    n_bytes = sum(shard_bytes(facts["shards"][shard]) for part in own for shard in part.shards)
    differences = [*check_store(path, module, own[-1].number), *_folds_not_used(path, own)]
    reasons = grouped(reason for _, _, reason in lines_in(path, *(part.lines for part in own))) if rejected else ()
    return Summary(
        path, listed, records, rejected, n_patients, n_bytes, seconds, differences=tuple(differences), rejections=reasons, **said
    )


def _count_patients(path: Path, own: Sequence[Part]) -> int:
    """Different persons: one who came again stands in two parts."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path / TABLE, columns=["patient"])
    rows = pa.concat_tables(table.slice(part.rows.start, len(part.rows)) for part in own)
    return pc.count_distinct(rows["patient"], mode="only_valid").as_py()


def _folds_not_used(path: Path, own: Sequence[Part]) -> list[str]:
    """Why the folds that the corpus gives are not the split, where that is so."""
    import pyarrow.parquet as pq

    rule = json.loads((pq.read_schema(path / TABLE).metadata or {}).get(b"split", b"{}"))
    firsts = {part.rows.start for part in own}
    rules = [rule] if 0 in firsts else []
    rules += [one for one in rule.get("appended", []) if one.get("first_row") in firsts]
    return [
        f"its folds are not used: {one['folds_not_used']}; it is divided at random, whole patients (einthoven split makes another split)"
        for one in rules
        if "folds_not_used" in one
    ]
