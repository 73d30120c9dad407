"""Figures of an evaluation: scores per class with their intervals, ROC curves, calibration, and models beside one another."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.plot.canvas import ACCENT, FAINT, FOUND, INK, MUTED, canvas, name, nothing, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 60  # rows or panels in one figure; the table holds all of them
TITLES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1"}


def whiskers(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = ("auroc", "auprc"), *, by: str | None = None) -> Figure:
    """A dot per class and metric, its interval as a whisker, the best class on top.

    rows : mappings with ``name``, and ``<metric>``, ``<metric>_low``, ``<metric>_high`` where they are known
    by   : the metric that gives the order; None: the first. Classes that have no score stand below, empty and named
    """
    if not rows:
        return nothing("There is no class to show.")
    by = by or metrics[0]
    ordered = sorted(rows, key=lambda row: (not math.isfinite(score(row, by)), -score(row, by) if math.isfinite(score(row, by)) else 0.0))
    shown = ordered[:MOST_CLASSES]
    longest = max(len(short(row)) for row in shown)
    figure, axes = canvas(78 + 1.6 * min(longest, 40) + 84 * (len(metrics) - 1), 20 + 5.2 * len(shown), 1, len(metrics), sharey=True)
    place = np.arange(len(shown))
    for column, metric in enumerate(metrics):
        one = axes[0, column]
        quiet(one, grid="x")
        value = np.array([score(row, metric) for row in shown])
        low, high = (np.array([score(row, f"{metric}_{end}") for row in shown]) for end in ("low", "high"))
        one.hlines(place, low, high, color=ACCENT, linewidth=1.4, alpha=0.75)
        one.plot(value, place, "o", color=ACCENT, markersize=4.2)
        if metric == "auroc":
            one.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        for at in np.flatnonzero(np.isnan(value)):
            one.text(0.02, at, "not defined", fontsize=6.5, color=MUTED, va="center", transform=one.get_yaxis_transform())
        least = np.nanmin(np.concatenate([value, low, [1.0]]))
        one.set_xlim(max(0.0, math.floor(min(least, 0.45 if metric == "auroc" else 0.0) * 20) / 20 - 0.02), 1.02)
        name(one, x=TITLES.get(metric, metric))
        one.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(place, [short(row) for row in shown], fontsize=7.5, color=INK, parse_math=False)
    axes[0, 0].set_ylim(len(shown) - 0.4, -0.6)
    if len(ordered) > len(shown):
        name(axes[0, 0], f"The first {len(shown)} of {len(ordered)} classes", axes[0, 0].get_xlabel())
    return figure


def roc_curves(probability: np.ndarray, label: np.ndarray, names: Sequence[str], *, columns: int = 6) -> Figure:
    """Small multiples of ROC curves, a panel per class; entries whose label is unknown (NaN) are left out.

    probability, label : (record, class)
    """
    if not names:
        return nothing("There is no class to show.")
    shown = list(names)[:MOST_CLASSES]
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, axes = canvas(42 * columns + 6, 46 * rows + 6, rows, columns, sharex=True, sharey=True)
    for i, one in enumerate(axes.flat):
        if i >= len(shown):
            one.axis("off")
            continue
        curve = roc(probability[:, i], label[:, i])
        one.plot([0, 1], [0, 1], color=FAINT, linewidth=0.7, linestyle=(0, (3, 3)))
        if curve is None:
            one.text(0.5, 0.5, "one value only", fontsize=6.5, color=MUTED, ha="center", va="center")
        else:
            one.plot(*curve, color=ACCENT, linewidth=1.2)
            one.fill_between(*curve, color=ACCENT, alpha=0.08, linewidth=0)
            one.text(0.97, 0.05, f"{np.trapezoid(curve[1], curve[0]):.3f}", fontsize=8, color=INK, ha="right")
        one.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
        name(one)
        one.set_title(
            "\n".join(textwrap.wrap(shown[i], 24, max_lines=2, placeholder=" …")), fontsize=6.5, color=INK, loc="left", parse_math=False
        )
    figure.supxlabel("1 − specificity", fontsize=8, color=MUTED)
    figure.supylabel("sensitivity", fontsize=8, color=MUTED)
    return figure


def calibration(probability: np.ndarray, label: np.ndarray, *, n_bins: int = 10) -> Figure:
    """Observed against predicted frequency over all classes, in bins of equal count, with 95 % Wilson intervals; below, how
    often each probability was given (on a logarithmic scale: most findings are rare).
    """
    known = np.isfinite(label) & np.isfinite(probability)
    p, y = probability[known], label[known]
    if p.size == 0:
        return nothing("No label is known: there is nothing to calibrate against.")
    figure, axes = canvas(88, 104, 2, 1, height_ratios=(3.4, 1), sharex=True)
    above, below = axes[:, 0]
    predicted, observed, low, high = reliability(p, y, n_bins)
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    above.vlines(predicted, low, high, color=ACCENT, linewidth=1.2, alpha=0.75)
    above.plot(predicted, observed, "o-", color=ACCENT, markersize=4, linewidth=0.9)
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    name(above, y="observed frequency")
    edges = np.linspace(0, 1, 21)
    below.hist([p[y == 0], p[y == 1]], bins=edges, color=[FAINT, FOUND], label=["absent", "present"], rwidth=0.85)
    below.set_yscale("log")
    below.legend(fontsize=6.5, frameon=False, labelcolor=MUTED, ncols=2, loc="upper right", borderaxespad=0)
    name(below, x="predicted probability", y="count")
    return figure


def comparison(rows: Sequence[Mapping[str, Any]], metric: str = "auroc", *, ours: str | None = None) -> Figure:
    """Models beside one another on one metric, in the order given: ``name``, ``<metric>``, ``<metric>_low``, ``<metric>_high``."""
    if not rows:
        return nothing("There is no model to compare.")
    figure, axes = canvas(190, 20 + 9 * len(rows))
    one = axes[0, 0]
    quiet(one, grid="x")
    for at, row in enumerate(rows):
        colour = FOUND if row.get("name") == ours else MUTED
        one.hlines(at, score(row, f"{metric}_low"), score(row, f"{metric}_high"), color=colour, linewidth=2.2, alpha=0.7)
        one.plot(score(row, metric), at, "o", color=colour, markersize=6)
        if math.isfinite(score(row, metric)):
            one.annotate(
                f"{score(row, metric):.3f}",
                (score(row, metric), at),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=INK,
            )
    one.set_yticks(np.arange(len(rows)), [short(row) for row in rows], fontsize=8, color=INK, parse_math=False)
    one.set_ylim(len(rows) - 0.5, -0.7)
    one.tick_params(axis="y", length=0)
    if metric == "auroc":
        low = min((v for row in rows for v in (score(row, metric), score(row, "auroc_low")) if math.isfinite(v)), default=0.5)
        one.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        one.set_xlim(min(0.48, low - 0.02), 1.005)
    name(one, x=TITLES.get(metric, metric))
    return figure


def roc(score: np.ndarray, truth: np.ndarray, most: int = 200) -> tuple[np.ndarray, np.ndarray] | None:
    """(1 - specificity, sensitivity), equal scores as one step; None where all known labels have one value.

    Corners on a straight line are left out; a curve of more than ``most`` points is thinned for drawing.
    """
    known = np.isfinite(truth) & np.isfinite(score)
    score, positive = score[known], truth[known] > 0.5
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)
    hit, alarm = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    x, y = np.append(0, alarm) / alarm[-1], np.append(0, hit) / hit[-1]
    if x.size > most:
        turn = np.append(True, np.append(np.abs(np.diff(x)[1:] * np.diff(y)[:-1] - np.diff(y)[1:] * np.diff(x)[:-1]) > 0, True))
        x, y = x[turn], y[turn]
    if x.size > most:
        kept = np.unique(np.linspace(0, x.size - 1, most).round().astype(int))
        x, y = x[kept], y[kept]
    return x, y


def reliability(p: np.ndarray, y: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability and share of positives per bin of about equal count, with the ends of its Wilson interval."""
    first = np.unique(np.sort(p)[np.arange(n_bins) * p.size // n_bins])  # where each bin begins; equal probabilities share one
    at = np.searchsorted(first, p, side="right") - 1
    n = np.bincount(at).astype(float)
    predicted, observed = np.bincount(at, p) / n, np.bincount(at, y) / n
    z = 1.959964
    middle = (observed + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(observed * (1 - observed) / n + z**2 / (4 * n**2))
    return predicted, observed, middle - half, middle + half


def score(row: Mapping[str, Any], key: str) -> float:
    """A number of a row; NaN for None and for what is not there."""
    value = row.get(key)
    return math.nan if value is None else float(value)


def short(row: Mapping[str, Any]) -> str:
    return clip(str(row.get("name", "")), 44)


def clip(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"
