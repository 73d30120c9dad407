"""A folder that a store is exported to: its plan stands in it from the first moment, so that an export that was stopped goes on, and
nothing of another kind is written over."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.store.read import Store

PLAN = ".export.json"
"""Hidden, so that the folder can be taken for a corpus again."""

Tell = Callable[[int, int], None]
"""Is told how many recordings are done, and of how many."""


@dataclass(frozen=True)
class Exported:
    """What an export did.

    n_records : recordings that are in it
    n_files   : files of signals
    left_out  : reason -> recordings of the store that are not in it
    notes     : what the other system should be told, a sentence each
    was_there : a finished export of the same store and options was found, and left as it is
    """

    folder: Path
    n_records: int
    n_files: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()
    was_there: bool = False

    def __str__(self) -> str:
        out = "".join(f"; {n} left out: {reason}" for reason, n in self.left_out.items())
        there = " (was there already, left as it is)" if self.was_there else ""
        return f"{self.n_records} recordings, {self.n_files} files of signals in {self.folder}{out}{there}" + "".join(
            f"\n{note}" for note in self.notes
        )


def begin(folder: Path, store: Store, kind: str, options: Mapping[str, Any]) -> Exported | None:
    """Claim a folder for an export, new or as it was left; what was done, where it is finished.

    Raises StoreError where something else is in the folder.
    """
    plan = json.loads(json.dumps({"kind": kind, "store": _identity(store), "options": dict(options)}))
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; name a folder to export to")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if PLAN not in there:
        if there:
            raise StoreError(
                f"{folder} holds {', '.join(there[:3])}{' …' if len(there) > 3 else ''}; name a new or empty folder to export to"
            )
        whole.write_json(folder / PLAN, {"plan": plan})
        return None
    try:
        state = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        known = state["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / PLAN} is damaged; name another folder to export to, or remove this one") from error
    if known != plan:
        raise StoreError(f"{folder} holds another export ({_difference(known, plan)}); name another folder, or remove this one")
    done = state.get("finished")
    if done is None:
        return None
    return Exported(folder, done["n_records"], done["n_files"], done["left_out"], tuple(done["notes"]), was_there=True)


def finish(exported: Exported) -> Exported:
    """Say in the folder that the export is whole, once all of its bytes are on the disk."""
    path = exported.folder / PLAN
    if hasattr(os, "sync"):
        os.sync()  # once, instead of once for each of millions of files
    for one in [exported.folder, *(one for one in exported.folder.rglob("*") if one.is_dir())]:
        whole.sync(one)
    state = json.loads(path.read_text(encoding="utf-8"))
    state["finished"] = {
        "n_records": exported.n_records,
        "n_files": exported.n_files,
        "left_out": dict(exported.left_out),
        "notes": list(exported.notes),
    }
    whole.write_json(path, state)
    return exported


def _identity(store: Store) -> dict[str, Any]:
    """What a store is, wherever it lies: what is in it, and how it is divided."""
    digest = hashlib.sha256()
    for name in ("source", "record", "patient", "n_samples", "split"):
        digest.update(repr(store.column(name).tolist()).encode())
    digest.update(repr([(None if one is None else sorted(one.items())) for one in store.label_sets()[1]]).encode())
    return {"source": store.facts["source"]["name"], "records": len(store), "fs": store.fs, "content": digest.hexdigest()}


def _difference(known: Any, wanted: dict[str, Any]) -> str:
    if not isinstance(known, dict) or known.get("kind") != wanted["kind"]:
        return f"of the kind {known.get('kind') if isinstance(known, dict) else known!r}"
    if known.get("store") != wanted["store"]:
        return "of another store, or of this one with another split"
    before, now = known.get("options", {}), wanted["options"]
    return (
        ", ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in now if before.get(name) != now[name]) or "other options"
    )


def put(path: Path, content: bytes) -> None:
    """A file that appears whole; one that is there in full length is left, since it is from this very export.

    Not brought to the disk at once: there are millions of them. ``finish`` does so.
    """
    try:
        if path.stat().st_size == len(content):
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole.appearing(path, synced=False) as part:
        part.write_bytes(content)


@contextmanager
def writing_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A CSV file that appears whole when the block ends well; what is given is called with each row, column -> value. Written as it comes:
    memory does not grow with the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole.appearing(path, lasting=False) as part, open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        yield lambda row: writer.writerow([cell(row.get(name)) for name in columns])


def table_text(columns: Sequence[str], rows: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> str:
    """The same as text, for small tables."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row.get(name)) for name in columns] for row in rows)
    return out.getvalue()


def cell(value: Any) -> str:
    """A value as pandas writes it into CSV: nothing for what is not known, ``True``, the shortest decimal number, a list as Python prints
    it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def whole_number(value: float | None) -> int | float | None:
    """78.0 as 78."""
    return None if value is None or math.isnan(value) else int(value) if float(value).is_integer() else float(value)
