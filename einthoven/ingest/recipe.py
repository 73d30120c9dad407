"""What an ingest was asked for, in words that two runs of it have in common: store.json keeps them, and the plan of one that is at work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from einthoven.errors import StoreError
from einthoven.signal.resample import METHODS

_MAY_DIFFER = ("tables", "growth")


def recipe_of(
    source: str,
    module: Any,
    root: Path,
    fs: float,
    resampling: str,
    shard_records: int,
    options: Mapping[str, Any],
    name: str | None,
) -> dict[str, Any]:
    """The recipe of a corpus, as JSON gives it back.

    ``tables`` : SHA-256 of each table that somebody may still be writing (``module.tables(root)``, where a source has such): labels that were
    mended after the ingest must not be taken for ingested.
    """
    recipe = {
        "source": source,
        "version": module.FACTS.version,
        "root": str(root),
        "options": dict(options),
        "fs": fs,
        "resampling": resampling,
        "shard_records": shard_records,
    }
    if name is not None:
        recipe["name"] = name
    files = module.tables(root) if hasattr(module, "tables") else []
    if tables := {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}:
        recipe["tables"] = tables
    return json.loads(json.dumps(recipe, default=str))


def grown(recipe: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The recipe by which what came since goes into a store that has ``n`` parts of this corpus. The number is part of it, so that one that was
    killed finds its own work, and the next one is another."""
    return {**recipe, "growth": n}


def is_asked_again(recipe: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether two recipes differ in nothing but what their tables hold and how often the corpus has grown."""
    return _without(recipe, *_MAY_DIFFER) == _without(wanted, *_MAY_DIFFER)


def is_same_work(recipe: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether shards that were begun by the one serve the other. Those made with another table are found out one by one, and made again."""
    return _without(recipe, "tables") == _without(wanted, "tables")


def has_other_tables(recipe: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the tables whose content differs."""
    there, now = recipe.get("tables", {}), wanted.get("tables", {})
    return sorted(name for name in {**there, **now} if there.get(name) != now.get(name))


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What differs between two recipes, for people."""
    return ", ".join(
        f"{key} {there.get(key)!r} there, {wanted.get(key)!r} asked for" for key in {**wanted, **there} if there.get(key) != wanted.get(key)
    )


def refuse_wrong(
    fs: float, resampling: str, shard_records: int, workers: int | None, shards: tuple[int, int] | None, name: str | None
) -> None:
    """StoreError for what no store can be made with; nothing has been written then."""
    if not fs > 0:
        raise StoreError(f"expected a sampling frequency above 0 Hz; got fs={fs}")
    if shard_records < 1 or (workers is not None and workers < 1):
        raise StoreError(f"expected at least one recording per shard and one worker; got shard_records={shard_records}, workers={workers}")
    if shards is not None and not 0 <= shards[0] < shards[1]:
        raise StoreError(f"expected shards=(i, n) with 0 <= i < n; got {shards}")
    if resampling not in METHODS:
        raise StoreError(f"expected a resampling method among {', '.join(METHODS)}; got {resampling!r}")
    if name is not None and not name.strip():
        raise StoreError("expected a name of at least one letter for the corpus; got an empty one")


def _without(recipe: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key not in keys}
