"""``einthoven predict``: answers for files, on the screen, as JSON or CSV, and as a report with the tracings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.infer.evaluate import facts_of, write
from einthoven.infer.files import predict_files, write_csv, write_json
from einthoven.infer.model import Model

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
    model = Model.from_pretrained(name, device)
    if not model.classes:
        raise EinthovenError(
            f"{name} is an encoder without a head and names no findings; fine-tune it first: einthoven finetune diagnosis init={name}"
        )
    answers = predict_files(model, files, progress)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[out.suffix.lower()](out, answers)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        write(html, report(model, answers, n_tracings))
    return answers


def report(model: Model, answers: Sequence[dict[str, Any]], n_tracings: int = 50) -> str:
    """The HTML report of some answers; recordings are read again, so that memory does not hold them all."""
    from einthoven.io import read
    from einthoven.report.prediction import Answer, prediction_html

    items = []
    for position, item in enumerate(answers):
        record = None
        if "reason" not in item and position < n_tracings:
            record = read(item["file"])
        items.append(
            Answer(item["file"], record, item.get("findings", ()), [*item.get("steps", ()), *item.get("notes", ())], item.get("reason"))
        )
    return prediction_html(items, model={"model": model.name, **facts_of(model)}, n_tracings=n_tracings)
