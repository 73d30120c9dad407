"""Scores of regression against scikit-learn and SciPy, under weights and with unknown values."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from einthoven.metrics.bootstrap import bootstrap, interval
from einthoven.metrics.regression import Agreement, agreement


def values(n=80, seed=0):
    rng = np.random.default_rng(seed)
    measured = np.stack([60 + 15 * rng.normal(size=n), 400 + 30 * rng.normal(size=n)], axis=1)
    predicted = measured + [[4, -10]] + rng.normal(size=(n, 2)) * [[8, 20]]
    measured[rng.random((n, 2)) < 0.2] = np.nan
    return predicted, measured


def test_scores_are_those_of_other_libraries():
    predicted, measured = values()
    ours = agreement(predicted, measured)
    for column in range(2):
        known = ~np.isnan(measured[:, column])
        x, y = predicted[known, column], measured[known, column]
        expected = {
            "n": known.sum(),
            "mae": mean_absolute_error(y, x),
            "rmse": root_mean_squared_error(y, x),
            "r2": r2_score(y, x),
            "pearson": pearsonr(x, y).statistic,
            "bias": np.mean(x - y),
            "sd": np.std(x - y, ddof=1),
            "limit_low": np.mean(x - y) - 1.96 * np.std(x - y, ddof=1),
            "limit_high": np.mean(x - y) + 1.96 * np.std(x - y, ddof=1),
        }
        assert {name: value[column] for name, value in ours.items()} == pytest.approx(expected, rel=1e-9)


def test_a_draw_is_the_score_of_the_records_drawn():
    predicted, measured = values()
    weight = np.random.default_rng(1).integers(0, 3, (5, len(measured)))
    drawn = Agreement(predicted, measured)(weight)
    for number, one in enumerate(weight):
        again = agreement(np.repeat(predicted, one, axis=0), np.repeat(measured, one, axis=0))
        for name, value in again.items():
            np.testing.assert_allclose(drawn[name][number], value, rtol=1e-9, err_msg=name)


def test_the_bootstrap_surrounds_the_score():
    predicted, measured = values()
    for name, drawn in bootstrap(Agreement(predicted, measured), len(measured), draws=300).items():
        low, high = interval(drawn)
        point = agreement(predicted, measured)[name]
        assert ((low < point) & (point < high)).all(), name


def test_what_is_not_defined_is_nan_and_never_a_number():
    predicted, measured = np.array([[1.0, 2, 3], [2, 2, 3], [4, 2, 3]]), np.array([[5.1, 1, np.nan], [5.1, 2, np.nan], [5.1, 4, np.nan]])
    ours = agreement(predicted, measured)
    assert np.isnan(ours["r2"][[0, 2]]).all() and np.isfinite(ours["r2"][1]) and np.isnan(ours["pearson"]).all()
    assert np.isnan(ours["mae"]).tolist() == [False, False, True] and ours["n"].tolist() == [3, 3, 0]
    one = agreement(predicted[:1], measured[:1])
    assert np.isnan(one["sd"]).all() and one["bias"][1] == 1


def test_a_draw_of_one_record_alone_has_no_correlation_whatever_rounding_leaves():
    predicted, measured = values()
    known = np.flatnonzero(~np.isnan(measured).any(axis=1))[:20]
    drawn = Agreement(predicted[known], measured[known])(7 * np.eye(len(known), dtype=int))
    assert np.isnan(drawn["r2"]).all() and np.isnan(drawn["pearson"]).all() and np.isfinite(drawn["mae"]).all()


def test_the_mean_as_answer_has_r2_of_zero():
    measured = values()[1][:, :1]
    constant = np.full_like(measured, np.nanmean(measured))
    assert agreement(constant, measured)["r2"] == pytest.approx(0, abs=1e-12)


def test_values_far_from_zero_keep_their_digits():
    predicted, measured = values()
    near, far = agreement(predicted, measured), agreement(predicted + 1e7, measured + 1e7)
    for name in ("r2", "pearson", "sd", "rmse"):
        np.testing.assert_allclose(far[name], near[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("predicted", "measured", "message"),
    [(np.ones((2, 1)), np.ones((3, 1)), "shape"), (np.ones(2), np.ones(2), "shape"), (np.full((2, 1), np.nan), np.ones((2, 1)), "finite")],
)
def test_what_cannot_be_scored_is_refused(predicted, measured, message):
    with pytest.raises(ValueError, match=message):
        Agreement(predicted, measured)
    with pytest.raises(ValueError, match="weights"):
        Agreement(np.ones((2, 1)), np.ones((2, 1)))(np.ones((1, 3)))
