"""What a model is worth, as one page: the scores with their intervals, class by class, and how well its probabilities are calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from einthoven.report.page import facts, figure_of, page, picture, table, text, tiles
from einthoven.report.table import Judged, by_auroc, cells, level_of, summary_lines, with_interval


def evaluation_html(
    evaluation: Judged,
    *,
    probability: np.ndarray | None = None,
    label: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    model: Mapping[str, Any] | None = None,
    title: str = "Evaluation",
    baselines: Sequence[Mapping[str, Any]] = (),
    figures: Mapping[str, Any] | None = None,
) -> str:
    """The report of ``evaluate``.

    evaluation  : scores over all and per class (``einthoven.metrics.evaluation.Evaluation``)
    probability, label, names : (record, class) twice and (class,), for ROC curves and calibration; None: without those
    model       : what is to be said of model and data, name -> value
    baselines   : other models as rows with ``name``, ``auroc``, ``auroc_low``, ``auroc_high``; shown beside this one
    figures     : further matplotlib figures, title -> figure
    """
    body = [facts(model or {}), tiles(headline(evaluation))]
    if baselines:
        body += ["<h2>Beside other models</h2>", compared(evaluation, baselines)]
    body += ["<h2>Class by class</h2>", class_figure(evaluation), class_table(evaluation), how(evaluation)]
    body += [
        "<h2>Over all classes</h2>",
        table(["score", f"value ({level_of(evaluation)})"], [[text(a), text(b)] for a, b in summary_lines(evaluation.summary)]),
    ]
    if probability is not None and label is not None:
        from einthoven.plot.evaluation import calibration, roc_curves

        own = list(names) if names is not None else [str(row["name"]) for row in evaluation.per_class]
        body += ["<h2>ROC curves</h2>", picture(roc_curves(probability, label, own), "ROC curve of each class, with its AUROC")]
        caption = "All classes together, in bins of equal count; whiskers are 95 % Wilson intervals. On the diagonal, a probability means what it says."
        body += ["<h2>Calibration</h2>", picture(calibration(probability, label), "observed against predicted frequency", caption)]
    for name, figure in (figures or {}).items():
        body += [f"<h2>{text(name)}</h2>", picture(figure, name)]
    return page(title, "\n".join(body), brand="Einthoven · evaluation")


def headline(evaluation: Judged) -> dict[str, str]:
    """The few numbers one asks for first."""
    settings, numbers = evaluation.settings, {}
    for key, name in (("n_records", "records"), ("n_patients", "patients"), ("n_classes", "classes")):
        if settings.get(key) is not None:
            numbers[name] = f"{settings[key]:,}"
    for key, name in (
        ("macro_auroc", "AUROC, mean of classes"),
        ("macro_auprc", "AUPRC, mean of classes"),
        ("macro_f1", "F1, mean of classes"),
    ):
        if key in evaluation.summary:
            score = evaluation.summary[key]
            numbers[name] = figure_of(score["value"] if isinstance(score, Mapping) else score)
    return numbers


def how(evaluation: Judged) -> str:
    """One sentence on how intervals and thresholds came about."""
    settings, parts = evaluation.settings, []
    if settings.get("bootstrap"):
        parts.append(
            f"In brackets: {level_of(evaluation)} of {settings['bootstrap']:,} bootstrap draws of {settings.get('drawn', 'records')}."
        )
    if settings.get("thresholds"):
        parts.append(f"Thresholds: {settings['thresholds']}.")
    parts.append("A dash: not defined, since every known label of the class has the same value. Unknown labels are left out.")
    return f'<p class="muted small">{text(" ".join(parts))}</p>'


def class_figure(evaluation: Judged) -> str:
    from einthoven.plot.evaluation import whiskers

    return (
        picture(whiskers(evaluation.per_class), "AUROC and AUPRC of each class with intervals")
        if evaluation.per_class
        else "<p>There is no class.</p>"
    )


def class_table(evaluation: Judged) -> str:
    rows = [[text(cell) for cell in cells(row)] for row in by_auroc(evaluation.per_class)]
    for row in rows:
        row[1] = f'<span class="unit small">{row[1]}</span>'
    return table(["class", "code", "positive", "known", "AUROC", "AUPRC", "F1"], rows, numbers=(2, 3, 4, 5, 6))


def compared(evaluation: Judged | None, baselines: Sequence[Mapping[str, Any]], *, name: str = "this model", metric: str = "auroc") -> str:
    """Figure and table of models beside one another; ``evaluation`` adds this model's macro score as the last row."""
    from einthoven.plot.evaluation import TITLES, comparison

    rows = [dict(row) for row in baselines]
    if evaluation is not None and isinstance(score := evaluation.summary.get(f"macro_{metric}"), Mapping):
        rows.append({"name": name, metric: score.get("value"), f"{metric}_low": score.get("low"), f"{metric}_high": score.get("high")})
    lines = []
    for row in rows:
        score = {"value": row.get(metric), "low": row.get(f"{metric}_low"), "high": row.get(f"{metric}_high")}
        lines.append([text(row.get("name", "")), text(with_interval(score)), text(row.get("note", ""))])
    ours = [("ours" if row.get("name") == name else "") for row in rows]
    label = TITLES.get(metric, metric)
    return picture(comparison(rows, metric, ours=name), f"{label} of each model with its interval") + table(
        ["", label, ""], lines, numbers=(1,), classes=ours
    )
