"""Ids that stay: where recordings are called after their files, one that a store has keeps its id, whatever files came since.

A recording's id is the path of its file without the extension where no other file has that, and with it elsewhere (``a.xml`` is "a", but
"a.xml" beside ``a.pdf``). That is a function of the whole folder, so that a file that comes may change the id of one that is there. No rule
that looks at the folder alone can help: "a" must be ``a.xml`` where only that is, and ``a.csv`` where only that is. What a store knows helps:
under which id it has which file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from einthoven.sources.facts import RecordRef


def ids_of(root: Path, path: Path, which: str | int | None = None) -> tuple[str, str]:
    """The two ids that a recording of a file may have, without and with the file's extension; ``which`` is its place in a file of many."""
    whole = path.relative_to(root)
    behind = "" if which is None else f"/{which}"
    return f"{whole.with_suffix('').as_posix()}{behind}", f"{whole.as_posix()}{behind}"


def keep_ids(refs: Iterable[RecordRef], root: Path | str, file_of: Callable[[str], str | None]) -> Iterator[RecordRef]:
    """The recordings of a folder that is listed again, under the ids by which a store knows them; a new one gets an id that no other file has.

    root    : the folder, as ``records`` was given it
    file_of : id -> path below ``root`` of the file that the store has under it; None where it has no such id
    """
    root = Path(root).expanduser().absolute()
    return kept(refs, root, file_of, lambda ref: ids_of(root, ref.path, ref.told.get("record")))


def kept(
    refs: Iterable[RecordRef], root: Path, file_of: Callable[[str], str | None], both: Callable[[RecordRef], tuple[str, str]]
) -> Iterator[RecordRef]:
    """``keep_ids`` for ids of another form. ``both`` gives the two that a recording may have, of which the second is always its own."""
    for ref in refs:
        if not ref.path.is_relative_to(root):  # a row of somebody's table that names a file elsewhere
            yield ref
            continue
        here = ref.path.relative_to(root).as_posix()
        known = file_of(ref.record)
        if known != here:
            short, long = both(ref)
            other = long if ref.record == short else short
            if known is not None:  # of another file, which may be gone
                ref = replace(ref, record=long)
            elif file_of(other) == here:
                ref = replace(ref, record=other)
        yield ref
