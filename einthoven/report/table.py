"""Tables for the terminal: an evaluation, an answer, a store; and the rows of an evaluation for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from einthoven.plot.caption import one_line
from einthoven.report.corpora import Corpus, corpora
from einthoven.report.inside import store_lines
from einthoven.report.page import as_float, figure_of, interval
from einthoven.report.prediction import in_order
from einthoven.store.layout import SPLITS

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from einthoven.store.read import Store

SUMMARY = {  # name in an evaluation -> what a person calls it; the order of the lines
    "macro_auroc": "AUROC, mean of classes",
    "micro_auroc": "AUROC, all entries",
    "macro_auprc": "AUPRC, mean of classes",
    "micro_auprc": "AUPRC, all entries",
    "macro_f1": "F1, mean of classes",
    "micro_f1": "F1, all entries",
    "macro_f_max": "best F1 over thresholds, mean of classes",
    "sample_f_max": "best F over thresholds, mean of records (F_max)",
    "challenge2021": "CinC 2021 score",
    "cinc2021": "CinC 2021 score",
    "accuracy": "entries right",
    "exact_match": "records with every label right",
    "macro_brier": "Brier score, mean of classes",
    "macro_ece": "calibration error, mean of classes",
}
NUMBERS = ("auroc", "auprc", "f1")


class Judged(Protocol):
    """What ``einthoven.metrics.evaluation.Evaluation`` gives: ``summary`` name -> number or {value, low, high, n_classes}; a mapping per class."""

    @property
    def summary(self) -> Mapping[str, Any]: ...

    @property
    def per_class(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...


def by_auroc(per_class: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Classes from the best AUROC to the worst; those without one stand last."""

    def key(row: Mapping[str, Any]) -> tuple[float, str]:
        auroc = as_float(row.get("auroc"))
        return math.inf if auroc is None else -auroc, str(row.get("name"))

    return sorted(per_class, key=key)


def cells(row: Mapping[str, Any]) -> list[str]:
    """class, code, positives, known, AUROC, AUPRC, F1 as words; an en dash for what is not defined."""
    counts = [
        "–" if as_float(row.get(key)) is None else f"{int(row[key]):,}" for key in ("n_positive", "n_known" if "n_known" in row else "n")
    ]
    return [str(row.get("name", "")), str(row.get("code") or ""), *counts, *(interval(row, number) for number in NUMBERS)]


def summary_lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value with interval) of the summary's scores, the known ones first and by their usual names."""
    names = [name for name in SUMMARY if name in summary]
    names += [name for name in summary if name not in SUMMARY and not name.startswith(("macro_", "micro_", "weighted_"))]
    return [(SUMMARY.get(name, name.replace("_", " ")), with_interval(summary[name])) for name in names]


def with_interval(score: Any) -> str:
    """``0.912 [0.881, 0.940]``, and of how many classes where some could not be counted."""
    if not isinstance(score, Mapping):
        return figure_of(score)
    row = {"score": score.get("value"), "score_low": score.get("low"), "score_high": score.get("high")}
    return interval(row, "score")


def level_of(evaluation: Judged) -> str:
    """``95 % CI``, or ``no intervals`` where none were drawn."""
    level = as_float(evaluation.settings.get("level"))
    drawn = evaluation.settings.get("bootstrap")
    return f"{100 * (level if level is not None else 0.95):g} % CI" if drawn is None or drawn else "no intervals"


def evaluation_table(evaluation: Judged, *, title: str = "", n_classes: int | None = None) -> Table:
    """A ``rich`` table that fits 80 columns: class, positives, AUROC with its interval, AUPRC and F1; the summary below.

    n_classes : show the best so many classes only, and say how many there are; None: all
    """
    from rich.table import Table
    from rich.text import Text

    rows = by_auroc(evaluation.per_class)
    shown = rows if n_classes is None else rows[:n_classes]
    more = f"{len(shown)} of {len(rows)} classes; " if len(shown) < len(rows) else ""
    caption = f"{more}positive: of the records whose label is known" + (
        "" if level_of(evaluation) == "no intervals" else f"; in brackets: {level_of(evaluation)}"
    )
    table = Table(
        title=Text(one_line(title, 76)) if title else None,
        caption=Text(caption),
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("class", overflow="fold", min_width=16)
    for head in ("positive", "AUROC", "AUPRC", "F1"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in shown:
        name, _, positive, known, auroc, *_ = cells(row)
        # Text: a name like [red] is no markup
        numbers = [auroc, figure_of(row.get("auprc")), figure_of(row.get("f1"))]
        table.add_row(
            Text(one_line(name, 60)), f"{positive}/{known}", *numbers, style="" if as_float(row.get("auroc")) is not None else "dim"
        )
    table.add_section()
    for words, kind in (("mean of classes", "macro"), ("all entries", "micro")):
        if any(f"{kind}_{score}" in evaluation.summary for score in NUMBERS):
            scores = [evaluation.summary.get(f"{kind}_{score}") for score in NUMBERS]
            table.add_row(
                words,
                "",
                with_interval(scores[0]),
                *(figure_of(score.get("value") if isinstance(score, Mapping) else score) for score in scores[1:]),
                style="bold",
            )
    return table


def titled(answer: Mapping[str, Any]) -> str:
    """The file of an answer and, of a file that holds many, the recording."""
    return f"{answer.get('file', '')}" + (f" · {answer['which']}" if "which" in answer else "")


def prediction_table(answer: Mapping[str, Any], *, n_findings: int = 12) -> Table:
    """A ``rich`` table of one answer: what is found first, then the most probable of the rest; or why there is no answer.

    answer : ``file`` (and ``which``, of many), and ``findings`` (mappings with ``name``, ``probability``, ``threshold``, ``positive``) or ``reason``; ``notes`` or ``steps``
    """
    from rich.table import Table
    from rich.text import Text

    steps = answer.get("notes") or answer.get("steps") or ()
    table = Table(
        title=Text(one_line(titled(answer), 76), style="bold"), title_justify="left", header_style="dim", box=None, pad_edge=False
    )
    table.caption = Text("; ".join(one_line(step, 120) for step in steps), style="dim") if steps else None
    table.caption_justify = "left"
    if answer.get("reason"):
        table.show_header = False
        table.add_column("reason", overflow="fold")
        table.add_row(Text("no answer: " + one_line(answer["reason"], 1000), style="red"))
        return table
    table.add_column("finding", overflow="fold", min_width=20)
    for head in ("code", "probability", "threshold"):
        table.add_column(head, justify="right", no_wrap=True)
    findings = in_order(answer.get("findings") or ())
    shown = max(n_findings, sum(bool(finding.get("positive")) for finding in findings))
    for finding in findings[:shown]:
        words = [one_line(finding.get("name", ""), 60), one_line(finding.get("code") or "", 30)]
        numbers = [figure_of(finding.get("probability")), figure_of(finding.get("threshold"))]
        table.add_row(*map(Text, [*words, *numbers]), style="bold" if finding.get("positive") else "dim")
    if len(findings) > shown:
        table.add_row(f"… and {len(findings) - shown} less probable", style="dim")
    return table


def store_table(store: Store, *, n_labels: int = 15) -> Group:
    """What a store holds, as ``rich`` tables: ``inside.store_lines``, and where it has several corpora or data sets, a row for each."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column("what", style="dim", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in store_lines(store, n_labels):
        table.add_row(name, Text(value))
    title = Text(one_line(store.remote.url if store.remote else store.path, 76), style="bold")
    rows = corpora(store)
    return Group(title, table, "", corpora_table(rows)) if len(rows) > 1 else Group(title, table)


def corpora_table(rows: Sequence[Corpus]) -> Table:
    """A ``rich`` table that fits 80 columns, a line for each corpus and below it one for each of its data sets."""
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="dim", box=None, pad_edge=False)
    table.add_column("corpus", no_wrap=True)
    for head in ("recordings", "patients", "hours", *SPLITS):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("Hz", overflow="fold")
    for row in rows:
        numbers = [row.n_records, row.n_patients, row.hours, *row.splits]
        rates = ", ".join(f"{rate:g}" for rate in sorted(row.rates))
        table.add_row(Text(f"{'  ' if row.is_part else ''}{one_line(row.name, 24)}"), *map(number_of, numbers), rates)
    return table


def number_of(value: float | None) -> str:
    """12,345 or 1,234.5; an en dash for what is not known."""
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
