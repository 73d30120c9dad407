"""Our scores against scikit-learn's, which we do not use otherwise, and against the definitions written out."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from einthoven.metrics.multilabel import Multilabel, auroc, average_precision, best_thresholds, f_max, scores


def predictions(seed=0, n=300, classes=6, ties=False):
    generator = np.random.default_rng(seed)
    label = (generator.random((n, classes)) < np.linspace(0.03, 0.6, classes)).astype(float)
    probability = 1 / (1 + np.exp(-(generator.normal(size=(n, classes)) + 1.2 * label - 1)))
    return (np.round(probability, 1) if ties else probability), label


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_and_average_precision_are_scikit_learns_with_and_without_ties(ties):
    probability, label = predictions(ties=ties)
    for column in range(label.shape[1]):
        one, truth = probability[:, column], label[:, column]
        np.testing.assert_allclose(auroc(probability, label)[column], oracle.roc_auc_score(truth, one), rtol=1e-12)
        np.testing.assert_allclose(average_precision(probability, label)[column], oracle.average_precision_score(truth, one), rtol=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_means_over_classes_are_scikit_learns(average):
    probability, label = predictions(ties=True)
    ours, says = scores(probability, label, 0.35), probability > 0.35
    np.testing.assert_allclose(ours[f"{average}_auroc"], oracle.roc_auc_score(label, probability, average=average), rtol=1e-12)
    np.testing.assert_allclose(ours[f"{average}_auprc"], oracle.average_precision_score(label, probability, average=average), rtol=1e-12)
    np.testing.assert_allclose(ours[f"{average}_f1"], oracle.f1_score(label, says, average=average), rtol=1e-12)


def test_cells_brier_and_exact_match_are_scikit_learns():
    probability, label = predictions()
    thresholds = np.linspace(0.2, 0.7, label.shape[1])
    ours, says = scores(probability, label, thresholds), probability > thresholds
    np.testing.assert_allclose(ours["sensitivity"], oracle.recall_score(label, says, average=None), rtol=1e-12)
    np.testing.assert_allclose(ours["specificity"], oracle.recall_score(1 - label, ~says, average=None), rtol=1e-12)
    np.testing.assert_allclose(ours["ppv"], oracle.precision_score(label, says, average=None), rtol=1e-12)
    np.testing.assert_allclose(
        ours["brier"], [oracle.brier_score_loss(label[:, c], probability[:, c]) for c in range(label.shape[1])], rtol=1e-12
    )
    np.testing.assert_allclose(ours["exact_match"], oracle.accuracy_score(label, says), rtol=1e-12)
    np.testing.assert_allclose(ours["accuracy"], (label == says).mean(), rtol=1e-12)


def test_f_max_is_the_best_f1_over_every_threshold_there_is():
    probability, label = predictions(ties=True)
    for column in range(label.shape[1]):
        every = [oracle.f1_score(label[:, column], probability[:, column] >= cut) for cut in np.unique(probability[:, column])]
        np.testing.assert_allclose(f_max(probability, label)[column], max(every), rtol=1e-12)


def test_best_thresholds_reach_f_max_on_the_set_they_were_chosen_on_and_lie_between_two_probabilities():
    probability, label = predictions(ties=True)
    thresholds = best_thresholds(probability, label)
    np.testing.assert_allclose(scores(probability, label, thresholds)["f1"], f_max(probability, label), rtol=1e-12)
    assert not np.isin(thresholds, probability).any()
    label[:, 0], label[:, 1] = 0, 1
    assert best_thresholds(probability, label)[:2].tolist() == [0.5, 0.5]


def test_calibration_error_is_the_mean_gap_between_what_was_said_and_what_was_seen():
    probability, label = predictions(n=400)
    expected = []
    for p, y in zip(probability.T, label.T):
        gap = 0.0
        for low in range(15):
            inside = (p >= low / 15) & ((p < (low + 1) / 15) | (low == 14))
            if inside.any():
                gap += inside.mean() * abs(p[inside].mean() - y[inside].mean())
        expected.append(gap)
    np.testing.assert_allclose(scores(probability, label)["ece"], expected, rtol=1e-10)
    always_right = np.where(label == 1, 1.0, 0.0)
    assert scores(always_right, label)["ece"].max() == 0


def test_an_unknown_label_is_the_same_as_no_record_for_that_class():
    probability, label = predictions(ties=True)
    unknown = np.random.default_rng(1).random(label.shape) < 0.3
    partly = np.where(unknown, np.nan, label)
    ours = scores(probability, partly, 0.4)
    for column in range(label.shape[1]):
        known = ~unknown[:, column]
        alone = scores(probability[known, column : column + 1], label[known, column : column + 1], 0.4)
        for name in ("auroc", "auprc", "f_max", "f1", "sensitivity", "specificity", "ppv", "brier", "ece"):
            np.testing.assert_allclose(ours[name][column], alone[name][0], rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(ours["micro_auroc"], oracle.roc_auc_score(label[~unknown], probability[~unknown]), rtol=1e-12)
    np.testing.assert_allclose(ours["accuracy"], (label == (probability > 0.4))[~unknown].mean(), rtol=1e-12)


def test_a_class_with_one_kind_of_label_is_not_counted_instead_of_being_zero():
    probability, label = predictions()
    whole = scores(probability[:, 2:], label[:, 2:])
    label[:, 0], label[:, 1] = 0, np.nan
    ours = scores(probability, label)
    assert np.isnan(ours["auroc"]).tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(ours["macro_auroc"], whole["macro_auroc"], rtol=1e-12)
    np.testing.assert_allclose(ours["macro_auprc"], whole["macro_auprc"], rtol=1e-12)
    label[:] = 1
    assert np.isnan(scores(probability, label)["macro_auroc"])


def test_weights_are_copies_of_records():
    probability, label = predictions(n=80, ties=True)
    label[np.random.default_rng(3).random(label.shape) < 0.2] = np.nan
    generator = np.random.default_rng(2)
    weight = np.stack([np.bincount(generator.integers(0, 80, 80), minlength=80) for _ in range(4)])
    drawn = Multilabel(probability, label)(weight)
    for draw in range(4):
        rows = np.repeat(np.arange(80), weight[draw])
        copied = scores(probability[rows], label[rows])
        for name, value in copied.items():
            np.testing.assert_allclose(drawn[name][draw], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_the_order_of_the_records_does_not_matter():
    probability, label = predictions(ties=True)
    order = np.random.default_rng(5).permutation(len(label))
    one, two = scores(probability, label), scores(probability[order], label[order])
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-12)


@pytest.mark.parametrize(
    "probability, label, message",
    [
        (np.full((3, 2), 1.5), np.zeros((3, 2)), "sigmoid"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "from 0 to 1"),
        (np.zeros((3, 2)), np.full((3, 2), 2.0), "0, 1 or NaN"),
        (np.zeros((3, 2)), np.zeros((3, 1)), "one shape"),
    ],
)
def test_what_is_no_probability_or_label_is_refused(probability, label, message):
    with pytest.raises(ValueError, match=message):
        scores(probability, label)
