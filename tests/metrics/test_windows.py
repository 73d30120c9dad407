"""Windows to records, against a loop over records."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.metrics.windows import by_record, labels_by_record


def windows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    return generator.random((20, 3)), generator.choice([3, 7, 1, 12], 20)


@pytest.mark.parametrize("how", ["mean", "max", ["mean", "max", "mean"]])
def test_each_record_has_the_mean_or_maximum_of_its_own_windows_in_whatever_order(how):
    values, record = windows()
    records, ours = by_record(values, record, how)
    ways = [how] * 3 if isinstance(how, str) else how
    for name, row in zip(records, ours):
        mine = values[record == name]
        assert row == pytest.approx([mine[:, at].max() if way == "max" else mine[:, at].mean() for at, way in enumerate(ways)])
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_allclose(by_record(values[order], record[order], how)[1], ours)


def test_logits_average_to_the_geometric_mean_of_the_odds_and_their_maximum_is_the_same():
    values, record = windows()
    records, ours = by_record(values, record, "mean", "logit")
    odds = values / (1 - values)
    for name, row in zip(records, ours):
        mine = odds[record == name]
        np.testing.assert_allclose(row / (1 - row), mine.prod(axis=0) ** (1 / len(mine)))
    np.testing.assert_allclose(by_record(values, record, "max", "logit")[1], by_record(values, record, "max")[1])
    assert np.isfinite(by_record(np.array([[1.0], [0.0]]), [0, 0], "mean", "logit")[1]).all()


def test_parts_that_do_not_fit_are_refused():
    values, record = windows()
    for arguments in ((values[:5], record), (values, record, "median"), (values, record, ["mean"]), (values, record, "mean", "odds")):
        with pytest.raises(ValueError, match="expected"):
            by_record(*arguments)
    with pytest.raises(ValueError, match="those of 3 differ"):
        labels_by_record(np.array([[1.0], [0.0]]), [3, 3])
    np.testing.assert_array_equal(labels_by_record(np.array([[np.nan], [1.0], [np.nan]]), ["b", "a", "b"])[1], [[1.0], [np.nan]])
    assert by_record(np.zeros((0, 2)), [])[1].shape == (0, 2)
