"""A model on disk: a folder with ``model.safetensors`` and ``config.json``, the layout of the Hugging Face hub.

config.json says what the model is (format, version, kind, encoder), what it must be given (the signal contract), what it
answers (diagnosis: classes with codes, thresholds, how the windows of a record are put together; regression: targets and their units;
identification: vectors), where it comes from (provenance), and the SHA-256 of the weights. The folder appears by one rename
after everything is on the disk. Nothing in it is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

import einthoven
from einthoven.errors import CheckpointError, ContractError
from einthoven.metrics.windows import HOW as AGGREGATIONS
from einthoven.signal.contract import SignalContract
from einthoven.whole import sync

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT, VERSION = "einthoven-model", 1
KINDS = ("encoder", "diagnosis", "identification", "regression")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def describe(
    encoder: nn.Module,
    contract: SignalContract,
    *,
    task: nn.Module | None = None,
    classes: Sequence[Mapping[str, Any]] = (),
    thresholds: Sequence[float] | None = None,
    aggregation: Sequence[str] | str = "mean",
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration of a model, ready for ``save_model``.

    task       : a task of TASKS around the encoder; None for an encoder alone
    classes    : of a diagnosis, per class {"name", "codes", "system", …}, in the order of the task's outputs; other tasks have none
    thresholds : per class; None where none were tuned (then 0.5 is used, and said to be uncalibrated)
    aggregation: how the probabilities of a record's windows become one: "mean" or "max", one word or one per class
    provenance : data, recipe, seeds, …; the version of the code is added

    Raises CheckpointError when the parts contradict one another.
    """
    from einthoven.models import ENCODERS
    from einthoven.tasks import TASKS

    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "encoder" if task is None else _name_of(task, TASKS),
        "encoder": {"name": _name_of(encoder, ENCODERS), **encoder.config()},  # type: ignore[operator]
        "contract": contract.to_dict(),
    }
    if task is not None:
        config["task"] = task.config()  # type: ignore[operator]
    if config["kind"] == "diagnosis" or classes or thresholds is not None:
        config["classes"] = [{**one, "codes": list(one.get("codes", ()))} for one in classes]
        config["thresholds"] = None if thresholds is None else [float(one) for one in thresholds]
        config["aggregation"] = [aggregation] * len(classes) if isinstance(aggregation, str) else list(aggregation)
    config["provenance"] = {"einthoven": einthoven.__version__, **(provenance or {})}
    _check(config, "this configuration")
    return config


def save_model(folder: str | Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    """Write a model folder; it appears whole, or not at all. A model that stands there already is replaced.

    config : as ``describe`` gives it
    Raises CheckpointError when the configuration is wrong, or when the folder holds something else than a model.
    """
    folder = Path(folder)
    _check(config, "this configuration")
    if folder.exists() and not _replaceable(folder):
        raise CheckpointError(f"{folder} exists and is no model folder; choose another place, or move it away")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unfinished-{uuid.uuid4().hex[:8]}")
    unfinished.mkdir()
    try:
        save_file(
            {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in state.items()}, unfinished / WEIGHTS, {"format": "pt"}
        )
        whole = {**config, "files": {WEIGHTS: _sha256((unfinished / WEIGHTS).read_bytes())}}
        (unfinished / CONFIG).write_text(json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        for path in (unfinished / WEIGHTS, unfinished / CONFIG, unfinished):
            sync(path)
        if folder.exists():
            # A folder cannot be renamed onto another; the old one steps aside and is removed when the new one is there.
            old = folder.with_name(f".{folder.name}.old-{uuid.uuid4().hex[:8]}")
            os.rename(folder, old)
            try:
                os.rename(unfinished, folder)
            except OSError:
                os.rename(old, folder)
                raise
            shutil.rmtree(old)
        else:
            os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    sync(folder.parent)
    return folder


def load_model(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and configuration of a model folder, or of a hub id such as ``org/name``.

    Raises CheckpointError, naming the file, for a model that is missing, damaged, of another version or contradictory.
    """
    folder = locate(folder)
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); expected a model folder with {CONFIG} and {WEIGHTS}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: is no JSON ({error}); the model is damaged, fetch or write it again") from error
    _check(config, str(path))
    weights = folder / WEIGHTS
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{weights}: cannot be read ({error.strerror}); the model is incomplete") from error
    files = config.get("files")
    if not isinstance(files, dict) or _sha256(data) != files.get(WEIGHTS):
        raise CheckpointError(
            f"{weights}: its SHA-256 is not the one in {CONFIG}; one of the two is damaged, fetch or write the model again"
        )
    try:
        return load(data), config
    except SafetensorError as error:
        raise CheckpointError(f"{weights}: is no safetensors file ({error})") from error


def locate(name: str | Path) -> Path:
    """The folder that a path or a hub id means."""
    folder = Path(name)
    if folder.exists() or not _HUB_ID.match(str(name)):
        return folder
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise CheckpointError(
            f"{name}: there is no such folder, and to fetch it as a model of the Hugging Face hub needs another package: pip install huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(str(name), allow_patterns=[WEIGHTS, CONFIG]))
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise CheckpointError(f"{name}: neither a folder nor to be had from the Hugging Face hub ({str(error).splitlines()[0]})") from error


def build(config: Mapping[str, Any]) -> nn.Module:
    """The module that a configuration describes, with random weights: an encoder, or a task around one."""
    from einthoven.models import ENCODERS
    from einthoven.tasks import TASKS

    def make(table: Mapping[str, Any], values: Mapping[str, Any], name: str, *arguments: Any) -> nn.Module:
        if name not in table:
            raise CheckpointError(f"this einthoven knows no {name!r}, only {', '.join(table)}; the model may be of a later version")
        try:
            return table[name](*arguments, **values)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the configuration of {name} is wrong: {error}") from error

    values = dict(config["encoder"])
    encoder = make(ENCODERS, values, values.pop("name"))
    if config["kind"] == "encoder":
        return encoder
    arguments = [[one["name"] for one in config["classes"]]] if config["kind"] == "diagnosis" else []
    return make(TASKS, config["task"], config["kind"], encoder, *arguments)


def load_weights(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> nn.Module:
    """Fill a module with exactly these tensors. Raises CheckpointError, in one line, where names or shapes differ."""
    own = module.state_dict()
    problems = []
    if missing := [name for name in own if name not in state]:
        problems.append(f"{len(missing)} missing ({some(missing)})")
    if extra := [name for name in state if name not in own]:
        problems.append(f"{len(extra)} unexpected ({some(extra)})")
    if other := [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]:
        problems.append(f"{len(other)} of another shape ({some(other)})")
    if problems:
        raise CheckpointError(
            f"{origin}: its tensors do not fit the model: {'; '.join(problems)}; it was made by another architecture or is incomplete"
        )
    module.load_state_dict(dict(state))
    return module


def open_model(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The module of a model folder with its weights, in evaluation mode, and its configuration."""
    state, config = load_model(folder)
    return load_weights(build(config), state, str(folder)).eval(), config


def some(names: Sequence[str], n: int = 3) -> str:
    """The first few names, for a line that must stay one line."""
    return ", ".join(names[:n]) + (", …" if len(names) > n else "")


def _name_of(module: nn.Module, table: Mapping[str, type]) -> str:
    for name, kind in table.items():
        if type(module) is kind:
            return name
    raise CheckpointError(f"a {type(module).__name__} has no name among {', '.join(table)}; give it one in that table")


def _check(config: Any, where: str) -> None:
    """Raise CheckpointError unless the configuration is whole and does not contradict itself."""

    def need(holds: bool, what: str) -> None:
        if not holds:
            raise CheckpointError(f"{where}: {what}")

    need(
        isinstance(config, Mapping) and config.get("format") == FORMAT,
        f"is no configuration of an einthoven model (no format {FORMAT!r} in it)",
    )
    version, kind = config.get("version"), config.get("kind")
    need(
        version == VERSION,
        f"is of version {version!r}; this einthoven reads version {VERSION}: install the einthoven that wrote it, or save the model again",
    )
    need(kind in KINDS, f"is a model of kind {kind!r}; this einthoven knows {', '.join(KINDS)}")
    encoder = config.get("encoder")
    need(isinstance(encoder, Mapping) and isinstance(encoder.get("name"), str), "lacks the encoder's name and sizes")
    need(isinstance(config.get("contract"), Mapping), "lacks the signal contract")
    try:
        contract = SignalContract.from_dict(config["contract"])
    except (ContractError, TypeError) as error:
        raise CheckpointError(f"{where}: its signal contract is wrong: {error}") from error
    for name, ours in (("leads", list(contract.leads)), ("fs", contract.fs)):
        theirs = encoder.get(name)
        theirs = list(theirs) if isinstance(theirs, list | tuple) else theirs
        need(theirs is None or theirs == ours, f"contradicts itself: the encoder has {name} {theirs}, the signal contract {ours}")
    need(isinstance(config.get("provenance"), Mapping), "lacks its provenance")
    if kind != "diagnosis":
        need("classes" not in config and "thresholds" not in config, f"names classes or thresholds, which a model of kind {kind} has not")
    if kind == "encoder":
        return
    need(isinstance(config.get("task"), Mapping), "lacks the task's settings")
    if kind == "identification":
        patients = config["task"].get("patients")
        need(
            isinstance(patients, int) and not isinstance(patients, bool) and patients > 1,
            "lacks the number of persons that it was trained on",
        )
        return
    if kind == "regression":
        lists = [config["task"].get(name) for name in ("targets", "units", "mean", "std")]
        need(
            all(isinstance(one, list) and 0 < len(one) == len(lists[0]) for one in lists),
            "needs a unit, a mean and an SD for each of its targets",
        )
        return
    classes, thresholds, aggregation = config.get("classes"), config.get("thresholds"), config.get("aggregation")
    need(isinstance(classes, list) and len(classes) > 0, "lacks its classes")
    need(
        all(isinstance(one, Mapping) and isinstance(one.get("name"), str) and isinstance(one.get("codes"), list) for one in classes),
        "has a class without a name or codes",
    )
    need(len({one["name"] for one in classes}) == len(classes), "names a class twice")
    fit = thresholds is None or (
        isinstance(thresholds, list) and len(thresholds) == len(classes) and all(_is_probability(one) for one in thresholds)
    )
    need(fit, f"needs a threshold from 0 to 1 for each of its {len(classes)} classes, or null")
    known = isinstance(aggregation, list) and len(aggregation) == len(classes) and all(one in AGGREGATIONS for one in aggregation)
    need(known, f"needs {' or '.join(AGGREGATIONS)} as the aggregation of each of its {len(classes)} classes")


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def _replaceable(folder: Path) -> bool:
    """Whether a folder is empty or a model of ours."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or {CONFIG, WEIGHTS} <= names


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
