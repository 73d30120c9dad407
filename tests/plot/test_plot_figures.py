"""The numbers that evaluation figures and learning curves are drawn from, against independent computations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from einthoven.errors import EinthovenError
from einthoven.plot.evaluation import calibration, comparison, reliability, roc, roc_curves, whiskers
from einthoven.plot.training import learning_curves, read_metrics


def predictions(n=400, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    label = (rng.random((n, n_classes)) < 0.3).astype(float)
    probability = 1 / (1 + np.exp(-(2 * label + rng.normal(size=label.shape) - 1.5)))
    label[rng.random(label.shape) < 0.1] = np.nan
    return probability, label


def test_the_roc_curve_is_scikit_learns():
    from sklearn.metrics import roc_auc_score, roc_curve

    probability, label = predictions(150)
    probability = probability.round(2)  # ties
    for p, y in zip(probability.T, label.T):
        known = np.isfinite(y)
        x, h = roc(p, y)
        alarm, hit, _ = roc_curve(y[known], p[known], drop_intermediate=False)
        np.testing.assert_allclose(
            np.interp(alarm, x, h, left=0),
            np.maximum.reduceat(hit, np.unique(alarm, return_index=True)[1])[np.unique(alarm, return_inverse=True)[1]],
        )
        assert np.trapezoid(h, x) == pytest.approx(roc_auc_score(y[known], p[known]))


def test_a_long_roc_curve_is_thinned_and_keeps_its_area():
    from sklearn.metrics import roc_auc_score

    probability, label = predictions(20_000, 1)
    known = np.isfinite(label[:, 0])
    x, h = roc(probability[:, 0], label[:, 0])
    assert len(x) <= 200
    assert np.trapezoid(h, x) == pytest.approx(roc_auc_score(label[known, 0], probability[known, 0]), abs=2e-3)


def test_a_class_of_one_value_has_no_roc_curve_and_its_panel_says_so():
    assert roc(np.array([0.1, 0.9]), np.array([0.0, np.nan])) is None
    probability, label = predictions()
    label[:, 1] = 0
    panels = roc_curves(probability, label, ["a", "b $1", "c"]).axes
    assert ["one value only" in [text.get_text() for text in panel.texts] for panel in panels] == [False, True, False]


def test_probabilities_that_are_true_lie_on_the_diagonal_of_the_calibration():
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    y = (rng.random(50_000) < p).astype(float)
    predicted, observed, low, high = reliability(p, y, 10)
    assert len(predicted) == 10
    assert np.mean((low < predicted) & (predicted < high)) >= 0.8
    np.testing.assert_allclose(predicted, observed, atol=0.03)


def test_wilson_intervals_are_scipys():
    from scipy.stats import binomtest

    p = np.repeat([0.1, 0.6], [40, 60])
    y = np.concatenate([np.repeat([1.0, 0.0], [3, 37]), np.repeat([1.0, 0.0], [60, 0])])
    _, observed, low, high = reliability(p, y, 2)
    for i, (k, n) in enumerate([(3, 40), (60, 60)]):
        expected = binomtest(k, n).proportion_ci(method="wilson")
        assert observed[i] == pytest.approx(k / n)
        np.testing.assert_allclose([low[i], high[i]], [expected.low, expected.high], atol=1e-6)


def test_whiskers_stand_at_their_scores_the_best_on_top_and_undefined_ones_below():
    rows = [
        {"name": "middling", "auroc": 0.7, "auroc_low": 0.6, "auroc_high": 0.8},
        {"name": "none", "auroc": float("nan"), "auroc_low": None},
        {"name": "best", "auroc": 0.9, "auprc": 0.5},
    ]
    axes = whiskers(rows).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "middling", "none"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.9, 0.7, np.nan])
    np.testing.assert_allclose(axes.collections[0].get_segments()[1], [[0.6, 1], [0.8, 1]])
    assert [text.get_text() for text in axes.texts] == ["not defined"]


@pytest.mark.filterwarnings("error")
def test_figures_of_nothing_say_so_and_do_not_fail(tmp_path):
    nan = {"name": "a", "auroc": float("nan")}
    empty = np.zeros((0, 1))
    for figure in (
        whiskers([]),
        whiskers([nan]),
        comparison([]),
        comparison([nan]),
        calibration(empty, empty),
        roc_curves(empty, empty, []),
        learning_curves({}),
    ):
        figure.savefig(tmp_path / "a.svg")
        assert [text for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()]]


def test_many_classes_are_cut_off_and_this_is_said():
    assert "of 90 classes" in whiskers([{"name": str(i), "auroc": 0.5} for i in range(90)]).axes[0].get_title(loc="left")


def write(path, rows, tail=""):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n" + tail)
    return path


def test_curves_are_read_by_split_and_a_resumed_step_counts_once(tmp_path):
    rows = [
        {"kind": "train", "step": step, "loss": float(step), "parts": {"accuracy": 0.5}, "note": "x", "bad": None}
        for step in (1, 2, 3, 2, 3, 4)
    ]
    rows[4]["loss"] = 30.0
    rows.append({"kind": "valid", "step": 4, "loss": 1.5, "done": True})
    curves = read_metrics(write(tmp_path / "metrics.jsonl", rows, '{"kind": "train", "st').parent)
    assert set(curves) == {"loss", "parts/accuracy", "valid/loss"}
    assert curves["loss"].step.tolist() == [1, 2, 3, 4] and curves["loss"].value.tolist() == [1, 2, 30, 4]
    panels = learning_curves(curves).axes
    assert panels[0].get_title(loc="left") == "loss"
    assert [line.get_label() for line in panels[0].lines] == ["train", "valid"]


def test_a_long_curve_is_averaged_not_sampled(tmp_path):
    rows = [{"step": step, "loss": float(step % 2)} for step in range(10_000)]
    (line,) = learning_curves(read_metrics(write(tmp_path / "metrics.jsonl", rows))).axes[0].lines
    assert len(line.get_xdata()) <= 400
    assert np.ptp(line.get_ydata()) < 0.1 and np.mean(line.get_ydata()) == pytest.approx(0.5, abs=0.02)


def test_a_missing_or_damaged_log_is_named(tmp_path):
    with pytest.raises(EinthovenError, match="not there"):
        read_metrics(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(EinthovenError, match="line 2: expected a JSON object; got 'rubbish'"):
        read_metrics(path)
