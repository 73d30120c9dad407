"""Answers for many files: one that cannot be answered gets its reason and the others go on; and the answers on disk."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einthoven.errors import EinthovenError
from einthoven.whole import write_text

if TYPE_CHECKING:
    from einthoven.infer.model import Model

Progress = Callable[[int, int], None]
"""Called as progress(done, total)."""


def predict_files(model: Model, paths: Iterable[str | Path], progress: Progress | None = None, batch: int = 64) -> list[dict[str, Any]]:
    """An answer for each input, in order: ``Prediction.to_dict()``, or {"file", "model", "reason"} where there is none; with "which" for a
    recording of a file that holds many.

    paths : recordings; a folder, or a file of many, stands for every recording in it
    Raises CheckpointError for an encoder without a head.
    """
    model.need_classes()
    inputs = list(expand(paths))
    answers: list[dict[str, Any] | None] = [None] * len(inputs)
    waiting: list[tuple[int, Any]] = []
    done = 0

    def report(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, len(inputs))

    def flush() -> None:
        for (position, _), prediction in zip(waiting, model.predict_many([ready for _, ready in waiting], batch), strict=True):
            answers[position] = prediction.to_dict() | inputs[position].which
        report(len(waiting))
        waiting.clear()

    for position, one in enumerate(inputs):
        try:
            if one.problem is not None:
                raise EinthovenError(one.problem)
            waiting.append((position, model.prepare(one.path, **one.told)))
        except (EinthovenError, OSError) as error:
            answers[position] = {"file": str(one.path), "model": model.name, "reason": without(str(error), one.path)} | one.which
            report(1)
        if sum(len(ready.signal) for _, ready in waiting) >= batch:
            flush()
    if waiting:
        flush()
    return [answer for answer in answers if answer is not None]


@dataclass(frozen=True)
class Input:
    """A recording that is meant. ``told`` goes to its reader; ``problem`` is known against it before it is read."""

    path: Path
    told: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def which(self) -> dict[str, Any]:
        return {"which": self.told["record"]} if "record" in self.told else {}


def expand(paths: Iterable[str | Path]) -> Iterator[Input]:
    """Each recording that is meant: those of a folder and below, and those of a file that holds many."""
    from einthoven.io.recognise import is_companion
    from einthoven.io.wfdb import header_path
    from einthoven.sources import folder

    for path in map(Path, paths):
        try:
            if path.is_dir() and header_path(path) is None:
                for ref in folder.records(path):
                    if not is_companion(ref.path):
                        yield Input(ref.path, ref.told, ref.problem)
            else:
                for told in _in_file(path):
                    yield Input(path, told)
        except EinthovenError as error:
            yield Input(path, problem=without(str(error), path))


def _in_file(path: Path) -> list[dict[str, Any]]:
    """What to tell the reader for each recording of a file: nothing where it holds one, or where reading it will say what is wrong."""
    from einthoven import io
    from einthoven.io.many import records_in

    try:
        names = records_in(path, io.recognise(path))
    except (EinthovenError, OSError):
        names = ()
    return [{"record": name} for name in names] or [{}]


def without(message: str, path: Path) -> str:
    """A reason that stands beside its file need not begin with it."""
    return message.removeprefix(f"{path}: ")


def write_json(path: str | Path, answers: Sequence[Mapping[str, Any]]) -> None:
    """All answers as a JSON list."""
    write_text(Path(path), json.dumps(list(answers), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, answers: Sequence[Mapping[str, Any]]) -> None:
    """A row per file and finding; a file without an answer has one row with its reason."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "record", "model", "name", "code", "probability", "threshold", "positive", "notes", "reason"])
    for answer in answers:
        head = [answer["file"], answer.get("record", ""), answer["model"]]
        if "reason" in answer:
            writer.writerow([*head, "", "", "", "", "", "", answer["reason"]])
            continue
        for one in answer["findings"]:
            values = [one["name"], one["code"] or "", f"{one['probability']:.6g}", f"{one['threshold']:.6g}", int(one["positive"])]
            writer.writerow([*head, *values, "; ".join(answer["notes"]), ""])
    write_text(Path(path), text.getvalue())
