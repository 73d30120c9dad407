"""The paired permutation test against swapping by hand, and its laws."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.metrics.fmax import SampleCentric
from einthoven.metrics.multilabel import Discrimination, Multilabel, auroc
from einthoven.metrics.permutation import holm, permutation_test


def models(n: int = 80, better: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    label = (generator.random((n, 2)) < 0.4).astype(float)
    first = 1 / (1 + np.exp(-((1 + better) * label + generator.normal(0, 1, label.shape))))
    return first, 1 / (1 + np.exp(-(label + generator.normal(0, 1, label.shape)))), label


def test_p_is_the_share_of_swaps_that_a_loop_counts():
    first, second, label = models()
    ours = permutation_test(first, second, label, permutations=60, seed=5, chunk=7)["macro_auroc"]
    seen = np.mean(auroc(first, label) - auroc(second, label))
    generator, n_as_large = np.random.default_rng(5), 0
    for start in range(0, 60, 7):
        for swap in generator.random((min(7, 60 - start), len(label))) < 0.5:
            one, two = np.where(swap[:, None], second, first), np.where(swap[:, None], first, second)
            n_as_large += abs(np.mean(auroc(one, label) - auroc(two, label))) >= abs(seen) - 1e-12
    assert ours["difference"] == pytest.approx(seen) and ours["p"] == pytest.approx((1 + n_as_large) / 61)


def test_a_much_better_model_is_found_and_equal_models_are_not():
    first, second, label = models(n=150, better=3.0)
    assert permutation_test(first, second, label, permutations=199)["macro_auroc"]["p"] == pytest.approx(1 / 200)
    same = permutation_test(second, second, label, permutations=50)["macro_auroc"]
    assert same["difference"] == 0 and same["p"] == 1


def test_the_order_of_the_two_models_changes_the_sign_alone():
    first, second, label = models(better=0.5)
    there, back = (permutation_test(*pair, label, permutations=100)["macro_auroc"] for pair in ((first, second), (second, first)))
    assert there["difference"] == pytest.approx(-back["difference"]) and there["p"] == back["p"]


def test_p_is_uniform_when_the_models_are_equally_good():
    p = [permutation_test(*models(n=40, seed=seed), permutations=39, score=SampleCentric)["sample_f_max"]["p"] for seed in range(120)]
    assert 0.4 < np.mean(p) < 0.62 and np.mean(np.array(p) <= 0.1) < 0.2


def test_patients_are_swapped_whole():
    first, second, label = models(n=30, better=0.6)
    records = permutation_test(first, second, label, permutations=400)["macro_auroc"]["p"]
    copied = [np.repeat(array, 4, axis=0) for array in (first, second, label)]
    patients = permutation_test(*copied, patient=np.repeat(np.arange(30), 4), permutations=400)["macro_auroc"]["p"]
    alone = permutation_test(*copied, permutations=400)["macro_auroc"]["p"]
    assert patients == records and alone < patients  # copies are no new witnesses, unless one forgets whose they are


def test_a_class_without_positives_has_no_p():
    first, second, label = models()
    label[:, 1] = 0
    p = permutation_test(first, second, label, permutations=10)["auroc"]["p"]
    assert np.isfinite(p[0]) and np.isnan(p[1])


def test_holm_multiplies_by_the_comparisons_that_are_left():
    assert holm([0.01, 0.04, 0.03, 0.5]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.2, np.nan, 0.9]).tolist()[::2] == pytest.approx([0.4, 0.9]) and np.isnan(holm([0.2, np.nan])[1])
    generator = np.random.default_rng(0)  # under no difference at all, some p is "significant" in at most 5 % of families
    false = [holm(generator.random(6)).min() <= 0.05 for _ in range(4000)]
    assert 0.04 < np.mean(false) < 0.06
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([1.2])
    with pytest.raises(ValueError, match="one shape"):
        permutation_test(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros((2, 1)))


def test_the_quick_scores_are_those_of_the_full_table():
    first, _, label = models()
    label[::7, 0] = np.nan
    weight = np.random.default_rng(0).integers(0, 3, (5, len(label)))
    full = Multilabel(first, label)(weight)
    for name, value in Discrimination(first, label)(weight).items():
        np.testing.assert_array_equal(value, full[name])
