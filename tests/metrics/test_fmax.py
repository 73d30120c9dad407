"""Sample-centric scores, F and G with shared records, thresholds and resamples, against loops written plainly."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.metrics.bootstrap import basic_interval, bootstrap, draws_with_every_class, interval, weights_of
from einthoven.metrics.fmax import SampleCentric, Weighted, decide, g_beta_thresholds, sample_f_max, youden_thresholds
from einthoven.metrics.multilabel import macro


def predictions(n: int = 60, n_classes: int = 4, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    label = (generator.random((n, n_classes)) < 0.35).astype(float)
    label[np.arange(n), generator.integers(0, n_classes, n)] = 1
    return np.clip(0.6 * label + generator.normal(0.2, 0.25, label.shape), 0, 1).round(2), label


def plain_f_max(p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    best = (-1.0, 0.0)
    for threshold in np.linspace(0, 1, 101):
        precision, recall = [], []
        for said, true in zip(p >= threshold, y == 1):
            if said.any():
                precision.append((said & true).sum() / said.sum())
            recall.append((said & true).sum() / true.sum())
        if precision and np.mean(precision) + np.mean(recall) > 0:
            f = 2 * np.mean(precision) * np.mean(recall) / (np.mean(precision) + np.mean(recall))
            best = max(best, (f, -threshold))
    return best[0], -best[1]


def test_f_max_is_that_of_the_plain_loop_over_records():
    p, y = predictions()
    f, threshold = plain_f_max(p, y)
    ours = SampleCentric(p, y)(np.ones((1, len(y))))
    assert ours["sample_f_max"][0] == pytest.approx(f) and ours["sample_threshold"][0] == pytest.approx(threshold)
    assert sample_f_max(p, y) == pytest.approx(f)


def test_a_record_drawn_twice_is_a_record_that_is_there_twice():
    p, y = predictions()
    rows = np.random.default_rng(1).integers(0, len(y), len(y))
    weight = weights_of(rows[None], len(y))
    assert SampleCentric(p, y)(weight)["sample_f_max"][0] == pytest.approx(sample_f_max(p[rows], y[rows]))
    positive = decide(p, 0.5)
    repeated = Weighted(positive[rows], y[rows])(np.ones((1, len(y))))
    for name, value in Weighted(positive, y)(weight).items():
        np.testing.assert_allclose(value, repeated[name])


def test_what_is_not_known_is_neither_found_nor_missed():
    p, y = predictions()
    wider = np.concatenate([y, np.full((len(y), 1), np.nan)], axis=1)
    said = np.concatenate([p, np.ones((len(y), 1))], axis=1)
    assert sample_f_max(said, wider) == pytest.approx(sample_f_max(p, y))


def test_a_record_without_findings_counts_in_precision_alone():
    p, y = np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    curve = SampleCentric(p, y, np.array([0.5])).curve()
    assert curve["precision"][0, 0] == 0.5 and curve["recall"][0, 0] == 1.0 and curve["false_positive_rate"][0, 0] == 0.25


def test_f_and_g_share_a_record_among_its_findings():
    p, y = predictions()
    positive, ours = decide(p, 0.5), Weighted(decide(p, 0.5), y)(np.ones((1, len(y))))
    for column in range(y.shape[1]):
        tp = fp = fn = 0.0
        for said, true in zip(positive, y == 1):
            share = 1 / true.sum()
            tp += share * (said[column] and true[column])
            fp += share * (said[column] and not true[column])
            fn += share * (not said[column] and true[column])
        assert ours["f_beta"][0, column] == pytest.approx(5 * tp / (5 * tp + fp + 4 * fn))
        assert ours["g_beta"][0, column] == pytest.approx(tp / (tp + fp + 2 * fn))
    assert ours["f_beta_macro"][0] == pytest.approx(ours["f_beta"].mean())
    assert np.isnan(Weighted(np.zeros((2, 1)), np.zeros((2, 1)))(np.ones((1, 2)))["g_beta"][0, 0])


def test_every_record_gets_a_finding_where_it_must_have_one():
    p = np.array([[0.1, 0.3, 0.2], [0.5, 0.6, 0.1]])
    assert decide(p, 0.5).tolist() == [[False, True, False], [False, True, False]]
    assert decide(p, 0.5, at_least_one=False).any(axis=1).tolist() == [False, True]


def test_the_threshold_for_g_is_the_first_best_of_the_steps():
    p, y = predictions(seed=8)
    for column, ours in enumerate(g_beta_thresholds(p, y)):
        scored = []
        for step in np.linspace(0, 1, 100):
            said, true = p[:, column] > step, y[:, column] == 1
            tp, fp, fn = (said & true).sum(), (said & ~true).sum(), (~said & true).sum()
            scored.append(tp / (tp + fp + 2 * fn))
        assert ours == np.linspace(0, 1, 100)[int(np.argmax(scored))]


def test_youdens_threshold_gives_its_operating_point_under_the_strict_comparison():
    p, y = predictions(seed=5)
    between, point = youden_thresholds(p, y), youden_thresholds(p, y, between=False)
    for column in range(y.shape[1]):
        true, given = y[:, column] == 1, p[:, column]
        gains = [(given[true] >= value).mean() - (given[~true] >= value).mean() for value in np.unique(given)]
        assert (given[true] > between[column]).mean() - (given[~true] > between[column]).mean() == pytest.approx(max(gains))
        assert point[column] in given and between[column] < point[column]
    assert youden_thresholds(p, np.zeros_like(y), default=0.3).tolist() == [0.3] * y.shape[1]
    assert youden_thresholds(1 - y, y, default=0.3).tolist() == [0.3] * y.shape[1]


def test_the_conventions_for_classes_without_positives_differ_by_name():
    assert macro([0.8, np.nan]) == 0.8
    assert macro([0.8, np.nan], "half") == 0.65 and macro([0.8, np.nan], "zero") == 0.4
    assert np.isnan(macro([0.8, np.nan], "nan"))
    with pytest.raises(ValueError, match="drop, half, zero, nan"):
        macro([0.8], "skip")


def test_resamples_have_a_positive_of_every_class_or_say_that_there_is_none():
    y = np.zeros((40, 2))
    y[:20, 0], y[3, 1] = 1, 1
    ids = draws_with_every_class(y, draws=20, seed=1)
    assert ids.shape == (20, 40) and all((y[rows] == 1).any(axis=0).all() for rows in ids)
    with pytest.raises(ValueError, match="class 1 has no positive"):
        draws_with_every_class(np.array([[1, 0], [1, 0]]))
    with pytest.raises(ValueError, match="row numbers from 0 to 4"):
        weights_of(np.array([[5]]), 5)


def test_the_basic_interval_mirrors_the_percentile_interval_at_the_point():
    p, y = predictions()
    drawn = bootstrap(SampleCentric(p, y), len(y), draws=200)["sample_f_max"]
    point = sample_f_max(p, y)
    (low, high), (basic_low, basic_high) = interval(drawn), basic_interval(point, drawn)
    assert (point - basic_low, basic_high - point) == pytest.approx((high - point, point - low))
    # Of a skewed statistic whose bias is known, the mirrored interval goes the other way.
    skewed = np.random.default_rng(0).exponential(size=2000)
    assert basic_interval(1.0, skewed)[0] < 0 < interval(skewed)[0]
