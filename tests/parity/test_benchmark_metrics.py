"""Scores and thresholds of the PTB-XL benchmark on synthetic predictions."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.metrics.bootstrap import draws_with_every_class, interval, weights_of
from einthoven.metrics.fmax import Weighted, decide, g_beta_thresholds, sample_f_max, youden_thresholds
from einthoven.metrics.multilabel import Multilabel, auroc, macro

KINDS = {"youden": lambda p, y: youden_thresholds(p, y, between=False), "gbeta": g_beta_thresholds}


def f_and_g(positive, label, weight=None) -> dict[str, np.ndarray]:
    return Weighted(positive, label)(np.ones((1, len(label))) if weight is None else weight)


@pytest.mark.parametrize("case", ssl_cases("benchmark_metrics"))
def test_scores_thresholds_and_resamples_are_the_benchmarks(case):
    golden, config = case.arrays, case.config
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    y, p, train = golden["y"], golden["p"], (golden["p_train"], golden["y_train"])
    np.testing.assert_allclose(auroc(p, y), config["per_class_auc"], **close)
    assert macro(auroc(p, y)) == pytest.approx(config["macro_auc"], rel=config["rtol"])
    assert sample_f_max(p, y) == pytest.approx(config["F_max"], rel=config["rtol"])
    assert sample_f_max(*train) == pytest.approx(config["F_max_train"], rel=config["rtol"])
    for name, fit in KINDS.items():
        thresholds = fit(*train)
        np.testing.assert_allclose(thresholds, config[f"thresholds_{name}"], **close)
        # In the precision in which the probabilities are stored: a threshold that is one of them must not fall below itself.
        positive = decide(p, thresholds.astype(p.dtype) if name == "youden" else thresholds)
        np.testing.assert_array_equal(positive, golden[f"binary_{name}"])
        expected = config[f"eval_{name}"]
        for key in ("F_beta", "G_beta"):
            np.testing.assert_allclose(f_and_g(positive, y)[f"{key.lower()}_macro"][0], expected[f"{key}_macro"], **close)
    for column, expected in enumerate(config["single_class_at_half"]):
        one = f_and_g(p[:, [column]] > 0.5, y[:, [column]])
        np.testing.assert_allclose(
            [one["f_beta"][0, 0], one["g_beta"][0, 0]], [expected["F_beta_macro"], expected["G_beta_macro"]], **close
        )


@pytest.mark.parametrize("case", ssl_cases("benchmark_metrics"))
def test_the_resamples_and_their_quantiles_are_the_benchmarks(case):
    golden, config = case.arrays, case.config
    y, p, ids = golden["y"], golden["p"], golden["bootstrap_ids"]
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    np.testing.assert_array_equal(draws_with_every_class(y, draws=len(ids), seed=config["seed"]), ids)
    weight = weights_of(ids, len(y))
    # Which of the two decisions the rows were made with is not written there: the rows tell it.
    statistics = {name: f_and_g(golden[f"binary_{name}"], y, weight)["f_beta_macro"] for name in KINDS}
    which = min(KINDS, key=lambda name: np.abs(statistics[name] - golden["bootstrap_rows"][:, 0]).max())
    positive = golden[f"binary_{which}"]
    drawn = f_and_g(positive, y, weight) | {"macro_auc": Multilabel(p, y)(weight)["macro_auroc"]}
    rows = np.stack([drawn[name.lower() if name != "macro_auc" else name] for name in config["bootstrap"]["columns"]], axis=1)
    np.testing.assert_allclose(rows, golden["bootstrap_rows"], **close)
    low, high = interval(rows, 0.9)
    np.testing.assert_allclose(rows.mean(axis=0), config["bootstrap"]["mean"], **close)
    np.testing.assert_allclose(low, config["bootstrap"]["lower"], **close)
    np.testing.assert_allclose(high, config["bootstrap"]["upper"], **close)
