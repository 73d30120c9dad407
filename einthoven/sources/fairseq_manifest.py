"""Manifests (.tsv) of fairseq-signals: plain, of pairs (CMSC, CLOCS), and of persons to be identified.

The first line is the folder of the files, an absolute path on the machine where it was written, with or without a tab before it. Of pairs
the second line is the files' ending. Rows are ``path <tab> samples``, ``path <tab> samples <tab> person``, or ``stem <tab> samples <tab> 0
<tab> first,second``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from einthoven.errors import EinthovenError

SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
_TRIED = 5
"""Rows whose files are looked for where a folder is found again."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a manifest names; ``split`` and ``person`` where it says them."""

    path: Path
    split: str | None
    person: str | None


def read_manifest(path: Path, files: Path | None = None) -> Iterator[Listed]:
    """Every file of a manifest, in its order, each once.

    files : where the files are now; None: the folder that the manifest names, or where that is gone, the same files below one of the
            folders above the manifest

    Raises EinthovenError where it is no manifest, or its files are nowhere.
    """
    split = SPLITS.get(path.stem.split("_")[0])
    lines = _lines(path)
    root = next(lines, "").strip("\t\r\n ")
    first = next(lines, "").rstrip("\r\n")
    if not root:
        raise EinthovenError(f"{path}: expected a manifest of fairseq-signals, whose first line is a folder; that line is empty.")
    ending = None if "\t" in first or not first.strip() else first.strip()
    if ending is None:
        lines = itertools.chain([first], lines)
    rows = _rows(path, lines, ending, split)
    begin = list(itertools.islice(rows, _TRIED))
    if not begin:
        raise EinthovenError(f"{path}: expected a manifest of fairseq-signals (a folder in the first line, then files); it has no files.")
    folder = _folder(path, root, [name for name, _ in begin], files)
    seen = set()
    for name, person in itertools.chain(begin, rows):
        if name not in seen:
            seen.add(name)
            yield Listed(folder / name, split, person)


def is_there(path: Path) -> bool:
    """Whether there is such a file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise EinthovenError(f"{path}: cannot be read as a manifest of fairseq-signals ({error}); expected text in UTF-8.") from error


def _rows(path: Path, lines: Iterator[str], ending: str | None, split: str | None) -> Iterator[tuple[str, str | None]]:
    """(path below the folder, person)"""
    at = 2 if ending is None else 3
    for number, line in enumerate(lines, start=at):
        cells = line.rstrip("\r\n").split("\t")
        if cells == [""]:
            continue
        name = cells[0].replace("\\", "/")
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        numbers = cells[3].split(",") if ending is not None and len(cells) == 4 else []
        if not (name and inside) or len(cells) not in ((2, 3) if ending is None else (4,)) or not all(one.isdecimal() for one in numbers):
            expected = "path, samples[, person]" if ending is None else "stem, samples, 0, first,second"
            raise EinthovenError(f"{path}, line {number}: expected {expected}, separated by tabs; got {line.strip()[:80]!r}.")
        if ending is None:
            yield name, f"{split or path.stem} {cells[2]}" if len(cells) == 3 else None
        else:
            yield from ((f"{name}_{one}.{ending}", None) for one in numbers)


def _folder(path: Path, root: str, names: list[str], files: Path | None) -> Path:
    """The folder below which the first files of a manifest are."""
    wanted = PureWindowsPath(root) if "\\" in root else PurePosixPath(root)
    parts = [part for part in wanted.parts if part != wanted.anchor]
    above = [path.parent, *path.parent.parents][:5] if files is None else [files]
    ends = [Path(*parts[at:]) for at in range(len(parts) + 1)]
    tried = [Path(root)] if files is None else []
    tried += [place / end for place in above for end in ends]
    for folder in tried:
        if any(is_there(folder / name) for name in names):
            return folder
    if files is None and Path(root).is_dir():
        return Path(root)
    raise EinthovenError(
        f"{path}: its files lie in {root}, where {names[0]} is not, nor below {files or path.parent}; say files=FOLDER, where they are now."
    )
