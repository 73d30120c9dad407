"""What lies where a store is to be made: nothing, the beginning of it, the store, or something that must not be touched.

``unfinished/plan.json`` holds the recipe of what is being made; ``after`` in it is the number of shards behind which that goes.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.ingest.finish import remove_strays, signal_facts
from einthoven.ingest.recipe import differences, grown, has_other_tables, is_asked_again, is_same_work
from einthoven.store.corpora import Part, is_same, parts, parts_of_corpus
from einthoven.store.layout import FACTS, REJECTED, SHARDS, UNFINISHED, read_facts

PLAN = "plan.json"


def found(path: Path, recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[Part]] | None:
    """store.json and the parts of this corpus, where they are there already: for ``ingest`` without ``append``.

    Raises StoreError where something else is there, or the tables of the corpus are no longer those of the last ingest.
    """
    facts = read_facts(path) if (path / FACTS).exists() else None
    if facts is not None:
        own = parts_of_corpus(facts, recipe)
        if own and is_asked_again(own[-1].recipe, recipe):
            if names := has_other_tables(own[-1].recipe, recipe):
                raise StoreError(
                    f"{path} was made with another {' and '.join(names)}; delete it and ingest again, or give another folder; or add --append, "
                    "which takes what came since, if the table still says the same of the recordings that are there"
                )
            settle(path, facts)
            return facts, own
        raise StoreError(
            f"{path} is another store: {differences((own or parts(facts))[0].recipe, recipe)}; give another folder, delete this one, or add to it with append"
        )
    _refuse_foreign(path)
    _refuse_another_plan(path, recipe)
    return None


def to_append_to(path: Path) -> dict[str, Any]:
    """store.json of the store that something is to be added to."""
    facts = read_facts(path)
    settle(path, facts)
    return facts


def recipe_to_append(path: Path, facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[Part]]:
    """The recipe of what is to be added, and the parts of this corpus that are there: none of a new one.

    Raises StoreError where it cannot go into this store: what is the same of all its recordings would not be, the corpus is in it in another way,
    or something else is being added.
    """
    own = parts_of_corpus(facts, recipe)
    _refuse_unfit(path, facts, recipe, own)
    recipe = grown(recipe, len(own)) if own else dict(recipe)
    _refuse_another_plan(path, {**recipe, "after": len(facts["shards"])})
    return recipe, own


def _refuse_unfit(path: Path, facts: Mapping[str, Any], recipe: Mapping[str, Any], own: list[Part]) -> None:
    there, wanted = facts["signal"], signal_facts(recipe["fs"], recipe["resampling"])
    different = [f"{key} {there.get(key)!r} there, {wanted[key]!r} asked for" for key in wanted if there.get(key) != wanted[key]]
    if different:
        raise StoreError(
            f"{path} is of another kind: {', '.join(different)}; every recording of a store is made in one way: ask for the same"
        )
    for part in parts(facts):
        name = part.recipe.get("name")
        if name and "name" not in recipe and is_same({**part.recipe, "name": None}, recipe):  # all of it would be there twice
            raise StoreError(
                f"{recipe['root']} is in {path} already, as {name}; to add what came to it since, say so: name={name} (on the command line "
                f"--name {name}), or give it another name"
            )
    for part in own:
        if not is_asked_again(part.recipe, recipe):
            was = {key: value for key, value in part.recipe.items() if key not in ("tables", "growth")}
            changed = [key for key in {**was, **recipe} if key != "tables" and was.get(key) != recipe.get(key)]
            raise StoreError(
                f"{recipe['source']} of {recipe['root']} is in {path} already, made with another {', '.join(changed)}; make a store of it anew"
            )


def _refuse_foreign(path: Path) -> None:
    try:
        entries = set(os.listdir(path))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        entries = {path.name}
    if UNFINISHED not in entries and not entries <= {REJECTED}:
        raise StoreError(f"{path} is there and no store; give the name of a new folder")


def _refuse_another_plan(path: Path, wanted: Mapping[str, Any]) -> None:
    plan = path / UNFINISHED / PLAN
    if not plan.exists():
        return
    there = json.loads(plan.read_text(encoding="utf-8"))
    if not is_same_work(there, wanted):
        way_out = "finish that, or delete {0} to give it up" if "after" in wanted else "give another folder, or delete this one"
        raise StoreError(
            f"an unfinished ingest of something else is in {path}: {differences(there, wanted)}; {way_out.format(path / UNFINISHED)}"
        )


def begin(path: Path, plan: Mapping[str, Any]) -> None:
    """Say what is being made here; of several that begin at the same moment (a job array) one does, and the others find the same, or stop."""
    (path / UNFINISHED).mkdir(parents=True, exist_ok=True)
    (path / SHARDS).mkdir(exist_ok=True)
    place = path / UNFINISHED / PLAN
    if not place.exists():
        draft = path / UNFINISHED / f"plan.{secrets.token_hex(4)}.tmp"
        whole.write_json(draft, plan, lasting=False)
        try:
            os.link(draft, place)  # unlike a rename it fails where the name is taken, on network file systems as well
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(draft, place)
        draft.unlink(missing_ok=True)
    _refuse_another_plan(path, plan)


def settle(path: Path, facts: Mapping[str, Any]) -> None:
    """Clear up behind an ingest that was killed when its store.json was there already; one that is still to go on is left alone."""
    plan = path / UNFINISHED / PLAN
    if not plan.exists():
        return
    recipe = json.loads(plan.read_text(encoding="utf-8"))
    recipe.pop("after", None)
    if any(is_same_work(part.recipe, recipe) for part in parts(facts)):
        staged = path / UNFINISHED / REJECTED
        if staged.exists():
            os.replace(staged, path / REJECTED)
        shutil.rmtree(path / UNFINISHED, ignore_errors=True)


def give_up(path: Path, facts: Mapping[str, Any]) -> None:
    """Leave the store as it is: what was made for an append that brought nothing goes."""
    remove_strays(path, len(facts["shards"]))
    shutil.rmtree(path / UNFINISHED, ignore_errors=True)
