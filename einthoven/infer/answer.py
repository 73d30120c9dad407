"""``einthoven predict``: answers for files, on the screen, as JSON or CSV, and as a report with the tracings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.infer.evaluate import facts_of
from einthoven.infer.files import predict_files, write_csv, write_json
from einthoven.infer.model import Model
from einthoven.whole import write_text

WRITERS = {".json": write_json, ".csv": write_csv}


def answer(
    name: str | Path,
    files: Sequence[Path],
    *,
    out: Path | None = None,
    html: Path | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    n_tracings: int = 50,
) -> list[dict[str, Any]]:
    """An answer, or the reason why there is none, for every file; written to ``out`` (.json or .csv) and ``html``.

    n_tracings : so many tracings are drawn into the report
    Raises EinthovenError where the model cannot answer at all; a file that cannot be answered does not stop the others.
    """
    if out is not None and out.suffix.lower() not in WRITERS:
        raise EinthovenError(f"--out {out}: expected a name that ends in {' or '.join(WRITERS)}")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise EinthovenError(f"--html {html}: expected a name that ends in .html")
    for path in (out, html):
        if path is not None:
            refuse_unwritable(path)
    model = Model.from_pretrained(name, device)
    if not model.classes:
        raise EinthovenError(
            f"{name} is an encoder without a head and names no findings; fine-tune it first: einthoven finetune diagnosis init={name}"
        )
    answers = predict_files(model, files, progress)
    if out is not None:
        WRITERS[out.suffix.lower()](out, answers)
    if html is not None:
        write_text(html, report(model, answers, n_tracings))
    return answers


def refuse_unwritable(path: Path) -> None:
    """Raise EinthovenError where a file cannot be written, before hours of answers are lost to it."""
    folder = next((parent for parent in path.absolute().parents if parent.exists()), path.absolute().parent)
    if path.is_dir():
        raise EinthovenError(f"{path}: is a folder; give the name of a file in it")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise EinthovenError(f"{path}: cannot be written: {folder} {'may not be written to' if folder.is_dir() else 'is no folder'}")


def report(model: Model, answers: Sequence[dict[str, Any]], n_tracings: int = 50) -> str:
    """The HTML report of some answers; recordings are read again, so that memory does not hold them all."""
    from einthoven.io import read
    from einthoven.report.prediction import Answer, prediction_html
    from einthoven.report.table import titled

    items = []
    for position, item in enumerate(answers):
        record = None
        if "reason" not in item and position < n_tracings:
            record = read(item["file"], **({"record": item["which"]} if "which" in item else {}))
        items.append(
            Answer(titled(item), record, item.get("findings", ()), [*item.get("steps", ()), *item.get("notes", ())], item.get("reason"))
        )
    return prediction_html(items, model={"model": model.name, **facts_of(model)}, n_tracings=n_tracings)
