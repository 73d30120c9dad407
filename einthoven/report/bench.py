"""A comparison as people pass it on: Markdown for a paper's draft, CSV for a spreadsheet, one HTML page with its figure."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from einthoven.bench.result import Row, Section, Table

MEANING = {
    "probe": "frozen encoder, logistic regression on its pooled frames",
    "linear": "frozen encoder, linear layer trained by gradient descent",
    "attention": "frozen encoder, attention head",
    "head_first": "head first, then all weights",
    "full": "all weights fine-tuned",
    "lora": "low-rank additions",
}
HEAD = ("method", "encoder", "AUROC, mean of classes [95 %]", "to the best [95 %]", "to the random encoder [95 %]", "AUPRC", "min")


def title_of(section: Section) -> str:
    share = "" if section.label_share == 1 else f", {section.label_share:.0%} of the labels"
    return f"{section.protocol}: {MEANING[section.protocol]}{share}"


def cells_of(row: Row) -> list[str]:
    """A row as the table shows it."""

    def signed(value: float | None, low: float | None, high: float | None) -> str:
        return "–" if value is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"

    seeds = "" if row.seed_sd is None else f", SD of {row.seeds} seeds {row.seed_sd:.3f}"
    return [
        row.method if row.judged is None else f"{row.method} ({row.judged})", row.encoder, f"{row.auroc:.3f} [{row.low:.3f}, {row.high:.3f}]{seeds}",
        "best" if row.behind is None else signed(row.behind, row.behind_low, row.behind_high),
        signed(row.over_random, row.over_random_low, row.over_random_high), f"{row.auprc:.3f}", f"{row.seconds / 60:.1f}",
    ]  # fmt: skip


def notes_of(table: Table) -> list[str]:
    """What the numbers are, and what is not among them."""
    lines = []
    shares = {section.label_share: section for section in table.sections}  # sections of one share have the same recordings and classes
    for share, section in shares.items():
        where = "" if len(shares) == 1 else f"With {share:.0%} of the labels: "
        lines.append(
            f"{where}{section.n_records} test recordings of {section.n_persons} persons; {len(section.classes)} classes: {', '.join(section.classes)}."
        )
        if section.left_out:
            lines.append(f"{where}Left out, too few recordings: {', '.join(section.left_out)}.")
    if len({section.classes for section in shares.values()}) > 1:
        lines.append("Shares of labels that teach different classes are not to be compared with each other by these means.")
    lines.append(
        "Brackets: 95 % of bootstrap draws of persons; differences are paired, on the same draws. Everything was chosen on validation recordings."
    )
    lines += [f"{name}: {value}." for name, value in table.about.items()]
    return lines + [f"Not run: {line}." for line in table.not_run]


def as_markdown(table: Table) -> str:
    """One table a section, and the notes under them."""
    lines = [f"# {table.name}", ""]
    for section in table.sections:
        lines += [f"## {title_of(section)}", "", f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
        lines += [f"| {' | '.join(cell.replace('|', '/') for cell in cells_of(row))} |" for row in section.rows]
        lines.append("")
    return "\n".join(lines + [f"- {line}" for line in notes_of(table)]) + "\n"


def as_csv(table: Table) -> str:
    """A line per row with its plain numbers."""
    from dataclasses import asdict

    text = io.StringIO()
    names = ["protocol", "label_share", *(asdict(table.sections[0].rows[0]))]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for section in table.sections:
        for row in section.rows:
            values = {
                key: "" if value is None else f"{value:.6g}" if isinstance(value, float) else value for key, value in asdict(row).items()
            }
            writer.writerow({"protocol": section.protocol, "label_share": section.label_share, **values})
    return text.getvalue()


def as_html(table: Table) -> str:
    """The page: for each section its figure and its table."""
    from einthoven.plot.bench import dots
    from einthoven.report.page import notes, page, picture, text
    from einthoven.report.page import table as html_table

    body = []
    for section in table.sections:
        caption = "Points and 95 % intervals over persons; hollow: the two lines that are always there. Dashed: the random encoder."
        body += [f"<h2>{text(title_of(section))}</h2>", picture(dots(section.rows), f"AUROC by method, {section.protocol}", caption)]
        body.append(html_table(list(HEAD), [[text(cell) for cell in cells_of(row)] for row in section.rows], numbers=range(2, len(HEAD))))
    body += ["<h2>How to read it</h2>", notes(notes_of(table))]
    return page(table.name, "\n".join(body), brand="Einthoven · comparison")


def on_terminal(table: Table) -> list[RichTable]:
    """The sections for a terminal."""
    from rich.table import Table as RichTable

    made = []
    for section in table.sections:
        one = RichTable(*HEAD, title=title_of(section))
        for row in section.rows:
            one.add_row(*cells_of(row), style=None if row.above_random is None or row.above_random else "dim")
        made.append(one)
    return made
