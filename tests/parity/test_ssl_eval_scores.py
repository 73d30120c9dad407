"""Scores of ecg-selfsupervised's evaluation, with its ways to count classes that have no positive."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.metrics.fmax import SampleCentric
from einthoven.metrics.multilabel import macro, n_counted, scores


def by_class(values: dict) -> np.ndarray:
    return np.array([np.nan if value is None else value for name, value in values.items() if name.startswith("k")], dtype=float)


@pytest.mark.parametrize("case", ssl_cases("ssl_eval_scores"))
def test_auroc_and_average_precision_are_those_of_the_old_evaluation(case):
    golden, config = case.arrays, case.config
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    ours, area, precision = scores(golden["p"], golden["y"]), config["label_AUC"], config["label_AP"]
    np.testing.assert_allclose(ours["auroc"], by_class(area), **close)
    np.testing.assert_allclose([macro(ours["auroc"], "half"), ours["micro_auroc"]], [area["macro"], area["micro"]], **close)
    assert len(ours["auroc"]) - n_counted(ours["auroc"]) == area["macro_nans"]
    # There, a class without positives has an average precision of 0; here it has none, and the mean passes it over.
    np.testing.assert_allclose(np.nan_to_num(ours["auprc"]), by_class(precision), **close)
    np.testing.assert_allclose([macro(ours["auprc"], "zero"), ours["micro_auprc"]], [precision["macro"], precision["micro"]], **close)


@pytest.mark.parametrize("case", ssl_cases("ssl_eval_scores"))
def test_the_sample_centric_curve_is_that_of_the_old_evaluation(case):
    golden, config = case.arrays, case.config
    close = {"rtol": config["rtol"], "atol": config["atol"]}
    scorer = SampleCentric(golden["p"], golden["y"], golden["thresholds"])
    curve = {name: value[0] for name, value in scorer.curve().items()}
    for ours, theirs in (
        ("precision", "precision"),
        ("recall", "recall"),
        ("coverage", "coverage"),
        ("false_positive_rate", "fpr_called_specificity"),
    ):
        np.testing.assert_allclose(curve[ours], golden[theirs], **close, err_msg=theirs)
    best = {name: value[0] for name, value in scorer(np.ones((1, len(golden["y"])))).items()}
    expected = [config[name] for name in ("Fmax", "threshold_at_Fmax", "precision_at_Fmax", "recall_at_Fmax")]
    np.testing.assert_allclose([best[f"sample_{name}"] for name in ("f_max", "threshold", "precision", "recall")], expected, **close)
    at = int(np.flatnonzero(golden["thresholds"] == best["sample_threshold"])[0])
    assert curve["coverage"][at] == pytest.approx(config["coverage_at_Fmax"], rel=config["rtol"])
