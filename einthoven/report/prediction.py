"""What a model says about one file or many, as one self-contained page: the tracing, the findings, and how the signal was prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from einthoven.errors import EinthovenError
from einthoven.plot.caption import person, when
from einthoven.record import Record
from einthoven.report.page import NOTICE, as_float, facts, figure_of, notes, page, table, text

SUMMARY_FINDINGS = 4  # findings named in a file's row of the overview


@dataclass(frozen=True)
class Answer:
    """One input and what came of it.

    file     : as the person named it
    record   : what was read; None where nothing could be
    findings : mappings with ``name``, ``probability``, and ``code``, ``threshold``, ``positive`` where they are known
    notes    : the steps by which the signal was made to meet the model's contract
    reason   : why there is no answer; None where there is one
    truth    : what is known to be there (names), where it is known: shown beside the answer
    """

    file: str
    record: Record | None = None
    findings: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    reason: str | None = None
    truth: Sequence[str] | None = field(default=None)


def prediction_html(
    items: Sequence[Answer],
    *,
    model: Mapping[str, Any],
    title: str | None = None,
    n_tracings: int = 50,
    n_details: int = 1000,
    n_rows: int = 20_000,
) -> str:
    """The report of ``predict --html``.

    model      : what is to be said of the model: name -> value (name, data, labels, trained, …), in the order given
    n_tracings : files whose tracing is drawn; n_details : files with a section of their own; n_rows : rows of the overview.
                 What is left out is said; findings of all files belong into the JSON or CSV
    """
    items = list(items)
    refused = sum(item.reason is not None for item in items)
    count = f"{len(items)} file{'s' * (len(items) != 1)}" + (f", {refused} without an answer" if refused else "")
    heading = title or (items[0].file if len(items) == 1 else f"{len(items)} recordings")
    body = [f'<p class="notice">{NOTICE}</p>', facts(model)]
    if not items:
        body.append("<p>No file was given.</p>")
    if len(items) > 1:
        body.append(overview(items, n_details, n_rows))
    if len(items) > n_details:
        body.append(f'<p class="muted">Details follow for the first {n_details} of {len(items)} files.</p>')
    for i, item in enumerate(items[:n_details]):
        body.append(section(item, i, drawn=i < n_tracings, alone=len(items) == 1, limit=n_tracings))
    return page(heading, "\n".join(body), lead="" if len(items) == 1 and title is None else count, brand="Einthoven · ECG findings")


def overview(items: Sequence[Answer], n_details: int, n_rows: int) -> str:
    """A row per file: a link to its section, whose it is, and what was found or why nothing was."""
    rows = []
    for i, item in enumerate(items[:n_rows]):
        name = f'<a href="#file-{i + 1}">{text(item.file)}</a>' if i < n_details else text(item.file)
        who = text(person(item.record)) if item.record is not None else ""
        rows.append([str(i + 1), name, who, summary(item)])
    more = f'<p class="muted">{len(items) - n_rows} more files are not listed here.</p>' if len(items) > n_rows else ""
    return "<h2>Overview</h2>" + table(["", "file", "from", "found"], rows) + more


def summary(item: Answer) -> str:
    if item.reason is not None:
        return f'<span class="mark">no answer:</span> {text(item.reason)}'
    found = [finding for finding in in_order(item.findings) if finding.get("positive")]
    words = [
        f"{text(finding['name'])}&#160;<span class={chr(34)}unit{chr(34)}>{figure_of(finding.get('probability'), 2)}</span>"
        for finding in found
    ]
    more = f", and {len(words) - SUMMARY_FINDINGS} more" if len(words) > SUMMARY_FINDINGS else ""
    return ", ".join(words[:SUMMARY_FINDINGS]) + more if words else '<span class="muted">nothing above its threshold</span>'


def section(item: Answer, i: int, *, drawn: bool, alone: bool, limit: int) -> str:
    """One file: facts, tracing, findings, steps."""
    parts = [f'<section class="record" id="file-{i + 1}">', "" if alone else f"<h2>{text(item.file)}</h2>"]
    if item.record is not None:
        parts.append(facts(record_facts(item.record)))
    if item.reason is not None:
        parts.append(f'<p class="refused"><span class="mark">No answer.</span> {text(item.reason)}</p>')
    if item.record is not None:
        parts.append(tracing(item.record) if drawn else f'<p class="muted small">Tracings are drawn for the first {limit} files.</p>')
    if item.reason is None:
        parts.append(findings_table(item.findings))
    if item.truth is not None:
        parts.append(f"<p><strong>Known to be there:</strong> {text(', '.join(item.truth) or 'nothing')}</p>")
    if item.notes:
        parts.append("<h3>How the signal was prepared</h3>" + notes(item.notes))
    return "\n".join([*filter(None, parts), "</section>"])


def tracing(record: Record, **options: Any) -> str:
    """The tracing as SVG, or why it cannot be drawn (a record without samples)."""
    from einthoven.plot.svg import svg_tracing

    try:
        return svg_tracing(record, **options)
    except EinthovenError as error:
        return f'<p class="refused">The tracing cannot be drawn: {text(error)}</p>'


def record_facts(record: Record) -> dict[str, Any]:
    return {
        "Record": record.record,
        "Person": person(record),
        "Recorded": when(record.meta),
        "Signal": f"{len(record.leads)} lead{'s' * (len(record.leads) != 1)}, {record.seconds:.4g} s at {record.fs:g} Hz",
        "Report in the file": record.meta.get("report"),
    }


def in_order(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Positive findings first, then by falling probability; a finding without one stands last."""

    def key(finding: Mapping[str, Any]) -> tuple[bool, float, str]:
        probability = as_float(finding.get("probability"))
        return not finding.get("positive"), -1.0 if probability is None else -probability - 1.0, str(finding.get("name"))

    return sorted(findings, key=key)


def findings_table(findings: Sequence[Mapping[str, Any]]) -> str:
    """Findings with bars; the tick on a bar is the threshold above which the finding counts as present."""
    if not findings:
        return '<p class="muted">The model names no findings.</p>'
    rows, classes = [], []
    for finding in in_order(findings):
        classes.append("found" if finding.get("positive") else "")
        code = finding.get("code")
        rows.append([
            text(finding.get("name", "")),
            f'<span class="unit small">{text(code)}</span>' if code is not None else "",
            figure_of(finding.get("probability")),
            bar(finding.get("probability"), finding.get("threshold")),
            figure_of(finding.get("threshold")),
        ])  # fmt: skip
    return table(["finding", "code", "probability", "", "threshold"], rows, numbers=(2, 4), classes=classes)


def bar(probability: Any, threshold: Any) -> str:
    share, limit = as_float(probability), as_float(threshold)
    fill = "" if share is None else f'<i style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></i>'
    tick = "" if limit is None else f'<b style="left:{100 * min(max(limit, 0.0), 1.0):.1f}%"></b>'
    return f'<span class="bar">{fill}{tick}</span>'
