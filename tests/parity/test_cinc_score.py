"""The CinC 2021 score against the old code's sums and scores."""

import numpy as np
import pytest
from parity_cases import cases

from einthoven.metrics.challenge2021 import Rewards, read_rewards, reward_sums, scaled
from einthoven.metrics.multilabel import scores


def rewards_of(case) -> Rewards:
    return Rewards(tuple(tuple(codes) for codes in case.config["classes"]), case.arrays["in.weights"].astype(np.float64))


@pytest.mark.parametrize("case", cases("cinc_score"))
def test_the_three_sums_of_each_batch_and_the_score_are_the_old_codes(case):
    rewards, size = rewards_of(case), case.config["batch_size"]
    assert rewards.sinus_rhythm == case.config["sinus_rhythm_index"]
    sums = reward_sums(case.arrays["in.prob"] > case.config["threshold"], case.arrays["in.label"].astype(float), rewards)
    batches = np.array([sums[first : first + size].sum(axis=0) for first in range(0, len(sums), size)])
    for column, name in enumerate(("observed", "correct", "inactive")):
        np.testing.assert_allclose(batches[:, column], case.arrays[f"out.{name}"], rtol=1e-6)
    score = scaled(sums.sum(axis=0))
    np.testing.assert_allclose(score, case.expect["cinc_score"], rtol=1e-6)
    assert round(float(score), 3) == case.expect["reduced"]["cinc_score"]


@pytest.mark.parametrize("case", cases("cinc_score"))
def test_the_shipped_matrix_is_the_one_the_old_code_was_given(case):
    given, ours = rewards_of(case), read_rewards()
    np.testing.assert_allclose(ours.matrix, given.matrix, rtol=1e-6)
    assert ours.places(["|".join(codes) for codes in given.classes]) == list(range(len(given.classes)))


@pytest.mark.parametrize("case", cases("cinc_score"))
def test_the_metrics_beside_the_score_are_the_old_codes(case):
    """Its AUROC and AUPRC are micro averages, whatever its option says (objectives.md §8)."""
    ours, theirs = scores(case.arrays["in.prob"], case.arrays["in.label"], case.config["threshold"]), case.expect["reduced"]
    compared = {"accuracy": "accuracy", "em_accuracy": "exact_match", "precision": "micro_ppv", "recall": "micro_sensitivity"}
    for name, own in compared.items():
        if name in theirs:
            assert round(float(ours[own]), 5) == theirs[name] or (np.isnan(ours[own]) and theirs[name] == 0), name
    for name in ("auroc", "auprc"):
        if name in theirs:
            np.testing.assert_allclose(ours[f"micro_{name}"], theirs[name], rtol=1e-6, err_msg=name)
