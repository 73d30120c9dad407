"""What was added to a store becomes part of it: more shards, more rows, nothing of what is there is written again but the table.

What a store holds is said by one file, store.json, that appears by one rename. Until then the store is the old one: new shards lie
behind the old ones, new rows behind the old rows, and a reader takes as many rows as store.json says. An append that was killed at
any moment and is run again ends with the same bytes.

Of a corpus that was there and has grown, what came since is a further part. Everything of it that was rejected before has been tried again,
so that all of its lines of rejected.csv are now the new part's, and its older parts have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven import __version__
from einthoven.errors import StoreError
from einthoven.ingest.continued_split import continue_split, rule_of
from einthoven.ingest.finish import (
    appear,
    count_patients,
    counts_of,
    parts_of_shards,
    read_parts,
    rejected_in,
    remove_strays,
    with_split,
    words,
    write_rejected,
    write_table,
)
from einthoven.ingest.plan import give_up, settle
from einthoven.ingest.shard import Made
from einthoven.store.corpora import Part, one_of_each, parts
from einthoven.store.layout import COUNTED, REJECTED, TABLE, UNFINISHED, parts_of, schema
from einthoven.store.rejections import lines_in
from einthoven.store.split import data_sets_of

if TYPE_CHECKING:
    import pyarrow as pa

_OF_A_SPLIT = ["record", "source", "patient", "fold", "n_samples", "mean", "sd"]


def finish_append(
    path: Path,
    old: Mapping[str, Any],
    recipe: Mapping[str, Any],
    source: Any,
    made: list[Made],
    n_listed: int,
    own: Sequence[Part] = (),
) -> Mapping[str, Any]:
    """Join new parts to a finished store: the table, then store.json, which is returned and with which they are there, then rejected.csv.

    old : store.json as it is; it is returned, and the store is as it was, when a corpus that has grown brought nothing new
    own : the parts that are this corpus already; none of a new one

    Raises StoreError, and leaves the store as it was, when not one of the recordings of a new corpus could be used.
    """
    counts = counts_of(made, n_listed)
    parts_made = parts_of_shards(path, made)
    if counts["records"] == 0 and not own:
        file, _, reason = next(rejected_in(parts_made))
        give_up(path, old)
        raise StoreError(
            f"none of the {counts['listed']} recordings under {recipe['root']} can be used; the first, {file}: {reason}. {path} is as it was"
        )
    if counts["records"] == 0 and set(map(tuple, rejected_in(parts_made))) <= set(lines_in(path, *(part.lines for part in own))):
        give_up(path, old)
        return old
    numbers = {part.number for part in own}
    others = [part.lines for part in parts(old) if part.number not in numbers]
    write_rejected(path / UNFINISHED / REJECTED, [*(lines_in(path, *others) if others else ()), *rejected_in(parts_made)])
    n_patients, n_new_patients = old["counts"]["patients"], 0
    if counts["records"]:
        n_patients, n_new_patients = _add_rows(path, old, recipe, parts_made, counts["records"])
    else:
        made = []
    remove_strays(path, len(old["shards"]) + len(made))
    new = {
        "source": asdict(source),
        "recipe": recipe,
        "code": {"einthoven": __version__},
        "counts": {**counts, "patients": n_new_patients},
        "n_shards": len(made),
    }
    parts_now = [_without_rejected(one) if number in numbers else one for number, one in enumerate(parts_of(old))] + [new]
    facts = {
        **old,
        "source": _joined(one_of_each((one["recipe"], one["source"]) for one in parts_now)),
        "counts": {**{name: sum(one["counts"][name] for one in parts_now) for name in counts}, "patients": n_patients},
        "shards": [*old["shards"], *(one.n_counts for one in made)],
        "parts": parts_now,
    }
    appear(path, facts)
    settle(path, facts)
    return facts


def _without_rejected(part: Mapping[str, Any]) -> dict[str, Any]:
    counts = part["counts"]
    return {**part, "counts": {**counts, "listed": counts["records"], "rejected": 0}}


def _add_rows(path: Path, old: Mapping[str, Any], recipe: Mapping[str, Any], made: Sequence[Path], n_new: int) -> tuple[int, int]:
    """Put new rows behind the old ones in the table: (patients of all rows, patients of the new ones)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_old = old["counts"]["records"]
    file = pq.ParquetFile(path / TABLE)
    there = file.schema_arrow
    metadata = dict(there.metadata or {})
    columns = there
    for field in schema():
        if field.name not in there.names:  # of a store that an earlier version made
            columns = columns.append(field)
    was = file.read(columns=[*_OF_A_SPLIT, "split"]).slice(0, n_old)
    now = pa.concat_tables(pq.read_table(part, columns=_OF_A_SPLIT) for part in made).replace_schema_metadata(None)
    ids = pa.concat_tables([was.select(_OF_A_SPLIT).replace_schema_metadata(None).cast(now.schema), now]).unify_dictionaries()

    def data_sets() -> list[str]:
        return data_sets_of(pa.concat_tables(pq.read_table(part, columns=["source", "meta"]) for part in made))

    rule = rule_of(json.loads(metadata.get(b"split", b"{}")), n_old)
    split, rule = continue_split(ids, was["split"].combine_chunks(), rule, recipe, data_sets)
    n_patients, n_new_patients = count_patients(ids), count_patients(ids.slice(n_old))
    del was, now, ids

    def rows() -> Iterator[pa.Table]:
        first = 0
        for group in range(file.metadata.num_row_groups):
            piece = file.read_row_group(group).slice(0, n_old - first).replace_schema_metadata(None)
            first += len(piece)
            if len(piece):
                yield piece

    metadata |= {b"split": json.dumps(rule).encode(), COUNTED: json.dumps([n_old, n_old + n_new]).encode()}
    new = with_split(read_parts(made), words(split))
    write_table(path / TABLE, (piece for pieces in (rows(), new) for piece in pieces), columns.with_metadata(metadata))
    return n_patients, n_new_patients


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
