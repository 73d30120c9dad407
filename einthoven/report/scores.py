"""Scores with intervals, as a page and as a table for the terminal; for tasks whose scores do not belong to classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from einthoven.report.page import facts, page, picture, table, text
from einthoven.report.table import with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


def scores_html(scores: Mapping[str, Mapping[str, float]], about: Mapping[str, str], figure: Figure) -> str:
    rows = [[text(name.replace("_", " ")), text(with_interval(value))] for name, value in scores.items()]
    body = [facts(about), picture(figure, "the scores as curves"), table(["score", "value (95 %)"], rows)]
    return page("Evaluation", "\n".join(body), brand="Einthoven · evaluation")


def scores_table(scores: Mapping[str, Mapping[str, float]], about: Mapping[str, str]) -> Table:
    """For the terminal; what the scores are of stands below them."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    said = escape("\n".join(f"{name}: {value}" for name, value in about.items()))
    made = RichTable("score", "value (95 %)", caption=said, caption_justify="left", min_width=100)
    for name, value in scores.items():
        made.add_row(name.replace("_", " "), with_interval(value))
    return made
