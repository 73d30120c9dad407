"""The page that ``make demo`` ends with: what was simulated, what was learned from it, and what the model says, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from einthoven.plot.training import Curve, learning_curves
from einthoven.record import Record
from einthoven.report.evaluation import class_figure, class_table, compared, headline, how
from einthoven.report.page import facts, notes, page, picture, text, tiles
from einthoven.report.prediction import Answer, findings_table, record_facts, tracing
from einthoven.report.table import Judged

OURS = "pretrained, then fine-tuned"


def demo_html(
    *,
    simulated: Mapping[str, Any],
    examples: Sequence[tuple[Record, str]],
    pretraining: Mapping[str, Curve],
    finetuning: Mapping[str, Curve] | None = None,
    evaluation: Judged | None = None,
    baselines: Sequence[Mapping[str, Any]] = (),
    answers: Sequence[Answer] = (),
    commands: Sequence[str] = (),
    times: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    ours: str = OURS,
    title: str = "From raw recordings to an answer",
) -> str:
    """One self-contained page that tells a whole run.

    simulated   : counts, name -> number (records, patients, findings, hours)
    examples    : (record, caption): small tracings, four look best
    pretraining, finetuning : curves as ``einthoven.plot.training.read_metrics`` reads them from the run folders
    evaluation  : on records of patients that were never trained on
    baselines   : rows with ``name``, ``auroc``, ``auroc_low``, ``auroc_high`` and ``note``; ``ours`` names this model's own row
    answers     : two or three files with their ``truth``
    commands    : the commands that did it, one per chapter where there are so many
    times, about: what it took (name -> words); versions, seed, machine
    """
    body = [
        "<p>A synthetic heart was recorded, a model learned from the unlabelled recordings what an ECG looks like, a few labels taught it to name findings, "
        "and it was asked about recordings of people whom it had never seen. Everything below was made by this one run, on this machine.</p>"
    ]
    body += [tiles(times)] if times else []
    body += chapter_simulation(simulated, examples)
    body += ["<h2>2 · Learning without labels</h2>"]
    body.append(
        "<p>Spans of each recording are hidden, and the model has to tell the true continuation from others (wav2vec 2.0); two neighbouring segments of one "
        "patient are to be recognised as belonging together (CMSC); leads are taken away at random (RLM). No label is used.</p>"
    )
    body.append(picture(learning_curves(pretraining, most=6), "pretraining curves"))
    if finetuning:
        body += ["<h2>3 · Learning to name findings</h2>", "<p>The pretrained encoder is fine-tuned with labels.</p>"]
        body.append(picture(learning_curves(finetuning, most=3), "fine-tuning curves"))
    if evaluation is not None:
        body += [
            "<h2>4 · What it is worth</h2>",
            "<p>Measured on patients of the test split, of whom the model has seen nothing.</p>",
            tiles(headline(evaluation)),
        ]
        if baselines:
            body += ["<h3>Did pretraining help?</h3>", compared(evaluation, baselines, name=ours)]
        body += ["<h3>Finding by finding</h3>", class_figure(evaluation), class_table(evaluation), how(evaluation)]
    if answers:
        body += ["<h2>5 · Asked about single recordings</h2>", *(asked(answer) for answer in answers)]
    if commands:
        body += ["<h2>Do it yourself</h2>", f"<pre>{text(chr(10).join(commands))}</pre>"]
    if about:
        body += ["<h2>This run</h2>", facts(about)]
    return page(
        title,
        "\n".join(body),
        lead="The built-in synthetic heart · every number on this page was computed by the run that wrote it",
        brand="Einthoven · demonstration",
    )


def chapter_simulation(simulated: Mapping[str, Any], examples: Sequence[tuple[Record, str]]) -> list[str]:
    parts = [
        "<h2>1 · The recordings</h2>",
        "<p>A dipole model of the heart, seen from twelve leads: no person stands behind these tracings.</p>",
        tiles(simulated),
    ]
    small = []
    for record, caption in examples:
        # Half a page is 130 mm wide: 5 s, of each lead a beat or two, keep nearly their true size there.
        drawing = tracing(record, layout="3x4", seconds=5.0, caption=False, pitch=17.0, width=125.0)
        small.append(f"<figure>{drawing}<figcaption>{text(caption)}</figcaption></figure>")
    return [*parts, f'<div class="pair">{"".join(small)}</div>' if small else ""]


def asked(answer: Answer) -> str:
    """One recording: its tracing, what the model says, and what is true."""
    parts = [f'<section class="record"><h3>{text(answer.file)}</h3>']
    if answer.record is not None:
        parts += [facts(record_facts(answer.record)), tracing(answer.record)]
    if answer.truth is not None:
        right = {str(finding["name"]) for finding in answer.findings if finding.get("positive")}
        truth = set(answer.truth)
        said = [f"found {len(right & truth)} of {len(truth)}"] + ([f"{len(right - truth)} that are not there"] if right - truth else [])
        parts.append(
            f'<p><strong>Truth:</strong> {text(", ".join(answer.truth) or "nothing abnormal")} <span class="muted">({text(", ".join(said))})</span></p>'
        )
    parts.append(
        findings_table(answer.findings)
        if answer.reason is None
        else f'<p class="refused"><span class="mark">No answer.</span> {text(answer.reason)}</p>'
    )
    return "\n".join([*parts, notes(answer.notes), "</section>"])
