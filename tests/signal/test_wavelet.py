"""Daubechies' filter and transform by their defining properties; the features by loops."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from einthoven.signal.wavelet import FEATURES, SETS, daubechies, dwt, wavelet_features


@pytest.mark.parametrize("n", [1, 2, 4, 6, 8])
def test_the_filter_is_orthogonal_to_its_shifts_and_its_moments_vanish(n):
    low = daubechies(n)
    assert len(low) == 2 * n and low.sum() == pytest.approx(np.sqrt(2))
    for shift in range(n):
        assert low[: len(low) - 2 * shift] @ low[2 * shift :] == pytest.approx(float(shift == 0), abs=1e-9)
    high = low[::-1] * (-1.0) ** np.arange(len(low))
    for moment in range(n):
        assert high @ np.linspace(-1, 1, 2 * n) ** moment == pytest.approx(0, abs=1e-9)


def test_the_first_filters_are_haars_and_daubechies_of_two_moments():
    np.testing.assert_allclose(daubechies(1), [np.sqrt(0.5)] * 2)
    root = np.sqrt(3)
    np.testing.assert_allclose(daubechies(2), np.array([1 + root, 3 + root, 3 - root, 1 - root]) / (4 * np.sqrt(2)))


def test_a_polynomial_has_no_detail_inside_and_energy_is_kept():
    line = np.linspace(-1, 1, 200)[None] ** 5
    assert np.abs(dwt(line, levels=1)[1][0, 6:-6]).max() < 1e-10
    inside = np.zeros((1, 256))
    inside[0, 60:200] = np.random.default_rng(0).normal(size=140)
    assert sum((one**2).sum() for one in dwt(inside, levels=2)) == pytest.approx((inside**2).sum())


def test_lengths_halve_with_the_filters_overlap():
    sets = dwt(np.zeros((12, 1000)))
    assert [one.shape for one in sets] == [(12, n) for n in (41, 41, 72, 134, 258, 505)] and len(sets) == len(SETS)
    assert dwt(np.ones((1, 1)), levels=1)[0].shape == (1, 6)
    with pytest.raises(ValueError, match="at least one sample"):
        dwt(np.zeros((1, 0)))


def test_a_set_is_described_by_what_a_loop_counts():
    signal = np.random.default_rng(1).normal(size=(2, 300)).round(1)
    features = wavelet_features(signal).reshape(2, len(SETS), len(FEATURES))
    assert features.size == 144
    for at, values in enumerate(dwt(signal)):
        x = values[1]
        found = dict(zip(FEATURES, features[1, at]))
        counts = np.array(list(Counter(x).values())) / len(x)
        expected = {
            "entropy": -np.sum(counts * np.log(counts)),
            "zero_crossings": sum((a > 0) != (b > 0) for a, b in pairwise(x)),
            "mean_crossings": sum((a > x.mean()) != (b > x.mean()) for a, b in pairwise(x)),
            "p25": np.interp(0.25 * (len(x) - 1), np.arange(len(x)), np.sort(x)),
            "median": np.median(x),
            "sd": np.sqrt(np.mean((x - x.mean()) ** 2)),
            "mean_absolute": np.sqrt(x**2).mean(),
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert wavelet_features(np.zeros((3, 12, 400))).shape == (3, 864)


def test_a_lead_that_never_changes_has_no_entropy_whatever_its_level():
    features = wavelet_features(np.full((1, 777), 0.123)).reshape(len(SETS), len(FEATURES))
    assert (features[:, FEATURES.index("entropy")] == 0).all()
