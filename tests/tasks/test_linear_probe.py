"""The linear probe against scikit-learn's logistic regression, and on labels that a line can or cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.tasks.linear_probe import fit_linear, linear_probe, probability


def test_the_fit_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    vectors, label = rng.normal(size=(200, 5)), (rng.random((200, 1)) < 0.4).astype(float)
    penalty = 0.05
    weight, bias = fit_linear(vectors, label, penalty)
    oracle = linear_model.LogisticRegression(C=1 / (penalty * len(vectors)), tol=1e-10, max_iter=1000).fit(vectors, label[:, 0])
    np.testing.assert_allclose(weight, oracle.coef_, atol=1e-4)
    np.testing.assert_allclose(bias, oracle.intercept_, atol=1e-4)


def test_unknown_labels_are_left_out():
    rng = np.random.default_rng(1)
    vectors, label = rng.normal(size=(100, 3)), (rng.random((100, 2)) < 0.5).astype(float)
    unknown = label.copy()
    unknown[60:, 0] = np.nan
    one, _ = fit_linear(vectors, unknown[:, :1], 0.01)
    other, _ = fit_linear(vectors[:60], label[:60, :1], 0.01)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_it_finds_the_direction_that_matters_and_ignores_the_vectors_scale():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(400, 4))
    label = (vectors[:, :1] > 0.3).astype(float)
    parts = (vectors[:200], label[:200]), (vectors[200:300], label[200:300]), vectors[300:]
    answer = linear_probe(*parts)
    assert ((answer[:, 0] > 0.5) == (label[300:, 0] == 1)).mean() > 0.95
    stretched = linear_probe((parts[0][0] * 7 + 3, parts[0][1]), (parts[1][0] * 7 + 3, parts[1][1]), parts[2] * 7 + 3)
    np.testing.assert_allclose(stretched, answer, atol=1e-3)


def test_probabilities_stay_between_0_and_1():
    answer = probability(np.array([[1e6], [-1e6]]), np.ones((1, 1)), np.zeros(1))
    assert ((answer >= 0) & (answer <= 1)).all()
