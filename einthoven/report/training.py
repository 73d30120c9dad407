"""How a run went, as one page: its learning curves, and the recipe that made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.plot.training import learning_curves, read_metrics
from einthoven.report.page import facts, page, picture, tiles


def training_html(run: str | Path, *, title: str | None = None) -> str:
    """The page of a run folder: ``metrics.jsonl`` as curves, ``recipe.json`` and ``environment.json`` as they stand there.

    Raises EinthovenError where the folder holds no run.
    """
    run = Path(run)
    curves = read_metrics(run)
    last = {
        name: curve.value[-1] for name, curve in curves.items() if name.rsplit("/", 1)[-1] in ("loss", "accuracy", "auroc", "macro_auroc")
    }
    steps = max((curve.step[-1] for curve in curves.values()), default=0)
    body = [
        tiles({"updates": f"{steps:,.0f}", **{f"{name.replace('_', ' ')}, last": f"{value:.4g}" for name, value in list(last.items())[:4]}})
    ]
    body.append(picture(learning_curves(curves), "learning curves", "A long curve is drawn as means over neighbouring updates."))
    for file, heading in (("recipe.json", "Recipe"), ("environment.json", "Environment")):
        if (run / file).is_file():
            body += [f"<h2>{heading}</h2>", facts(opened(read_json(run / file)))]
    return page(title or run.resolve().name, "\n".join(body), lead=str(run), brand="Einthoven · run")


def read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EinthovenError(f"{path}: expected JSON; {error}") from None
    return content if isinstance(content, Mapping) else {path.stem: content}


def opened(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings as ``optim.lr`` -> value; long lists are cut short, and this is seen."""
    lines: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines |= opened(value, f"{before}{key}.")
        elif isinstance(value, list):
            lines[f"{before}{key}"] = ", ".join(map(str, value[:20])) + (f", … ({len(value)})" if len(value) > 20 else "")
        else:
            lines[f"{before}{key}"] = value
    return lines
