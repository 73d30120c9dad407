"""Checkpoints: folders of tensors and JSON that are whole or are not there.

``checkpoints/step-00001000/`` holds ``*.safetensors``, ``state.json`` and ``manifest.json`` with size and SHA-256 of every
other file. It is written beside its place, brought to the disk, and appears by one rename; so a process killed at any
instant leaves the last checkpoint as it was. What is damaged afterwards is recognised and passed over. Nothing is a pickle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from einthoven import whole
from einthoven.errors import CheckpointError

MANIFEST, STATE = "manifest.json", "state.json"
_NAME = re.compile(r"^step-(\d{8,})$")
_UNFINISHED = ".unfinished-"


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def unfinished_folder(checkpoints: Path, step: int) -> Path:
    """Where a checkpoint is written before it appears; made where it is not there."""
    folder = checkpoints / f"{_UNFINISHED}{folder_name(step)}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_checkpoint(checkpoints: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write one checkpoint; it appears whole, by rename, or not at all. What already is in its unfinished folder becomes part of it.

    tensors : file name without ending -> name -> tensor
    state   : what goes into state.json
    """
    unfinished = unfinished_folder(checkpoints, step)
    for name, entries in tensors.items():
        save_file(_own_storage(entries), unfinished / f"{name}.safetensors")
    whole.write_json(unfinished / STATE, state, lasting=False)
    files = sorted(path for path in unfinished.rglob("*") if path.is_file() and path.name != MANIFEST)
    facts = {str(path.relative_to(unfinished)): {"bytes": path.stat().st_size, "sha256": whole.sha256(path)} for path in files}
    whole.write_json(unfinished / MANIFEST, {"format": "einthoven checkpoint", "version": 1, "step": step, "files": facts}, lasting=False)
    for path in (*files, unfinished / MANIFEST, *(path for path in unfinished.rglob("*") if path.is_dir()), unfinished):
        whole.sync(path)
    final = checkpoints / folder_name(step)
    if final.exists():  # only a damaged one can stand here: a run that had a good one went on from it
        shutil.rmtree(final)
    os.rename(unfinished, final)
    whole.sync(checkpoints)
    return final


def verify(folder: Path) -> None:
    """Raise CheckpointError, naming the file, unless every file of the checkpoint is as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): (int(facts["bytes"]), str(facts["sha256"])) for name, facts in manifest["files"].items()}
        version, step = manifest["version"], int(manifest["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / MANIFEST} is missing or damaged ({type(error).__name__})") from error
    if version != 1:
        raise CheckpointError(f"{folder} is a checkpoint of version {version}; this einthoven reads version 1")
    if folder.name != folder_name(step):
        raise CheckpointError(f"{folder} says in its manifest that it is {folder_name(step)}; a checkpoint folder keeps its name")
    if STATE not in files:
        raise CheckpointError(f"{folder / MANIFEST} is damaged: it does not list {STATE}")
    for name, (n_bytes, sha256) in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing")
        if path.stat().st_size != n_bytes:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes, {n_bytes} were written")
        if whole.sha256(path) != sha256:
            raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one that was written")


def steps_saved(checkpoints: Path) -> dict[int, Path]:
    """The checkpoints of a run by step, in order, whether they are whole or not."""
    if not checkpoints.is_dir():
        return {}
    found = {int(match[1]): path for path in checkpoints.iterdir() if path.is_dir() and (match := _NAME.match(path.name))}
    return dict(sorted(found.items()))


def latest(checkpoints: Path, say: Callable[[str], None]) -> Path | None:
    """The last whole checkpoint, or None where there is none at all; ``say`` is told of each one that is passed over.

    Raises CheckpointError where there are checkpoints and all are damaged: beginning anew is for a person to decide.
    """
    found = steps_saved(checkpoints)
    problems = []
    for folder in reversed(found.values()):
        try:
            verify(folder)
        except CheckpointError as error:
            problems.append(str(error))
            say(f"passing over a damaged checkpoint: {error}")
            continue
        return folder
    if problems:
        raise CheckpointError(f"every checkpoint in {checkpoints} is damaged (last: {problems[0]}); remove that folder to begin anew")
    return None


def read_state(folder: Path) -> dict[str, Any]:
    """state.json of a verified checkpoint."""
    return json.loads((folder / STATE).read_text(encoding="utf-8"))


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """One safetensors file of a checkpoint, on the CPU."""
    path = folder / f"{name}.safetensors"
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); go on from another checkpoint") from error


def prune(checkpoints: Path, keep: int, best: int | None, saved: int) -> None:
    """Remove all but the best checkpoint and the ``keep`` newest ones up to ``saved``, the step that was saved just now.

    A later one is damaged: the run had passed it over when it went on from an earlier one.
    """
    found = steps_saved(checkpoints)
    kept = {best, *[step for step in found if step <= saved][-keep:]}
    for step, folder in found.items():
        if step not in kept:
            _remove(folder)


def remove_unfinished(checkpoints: Path) -> None:
    """Remove what a killed process left half-written or half-removed."""
    if checkpoints.is_dir():
        for path in checkpoints.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path)


def _remove(folder: Path) -> None:
    """Renamed first, so that a half-removed checkpoint never stands under a checkpoint's name."""
    doomed = folder.with_name(f"{_UNFINISHED}removing-{folder.name}")
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def _own_storage(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors of which no two share memory, as safetensors wants them (tied weights are written twice)."""
    seen: set[int] = set()
    result = {}
    for name, tensor in entries.items():
        plain = tensor.detach().contiguous()
        storage = plain.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != plain.numel() * plain.element_size()
        seen.add(storage.data_ptr())
        result[name] = plain.clone() if shared else plain
    return result
