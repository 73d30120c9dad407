"""How near predicted numbers come to measured ones: error, agreement (Bland and Altman) and correlation.

Everywhere ``predicted`` and ``measured`` are (record, target) in the target's own unit; NaN in ``measured`` is unknown and left out for
that target. A score is answered for weighted records, because a bootstrap draw is nothing but whole-number weights
(``metrics.bootstrap``): every one of them follows from weighted sums, so a draw costs one matrix product.

Source of the limits of agreement: Bland and Altman, Lancet 1986.
"""

from __future__ import annotations

import numpy as np

from einthoven.metrics.multilabel import ratio

DIMENSIONLESS = ("r2", "pearson")
"""Scores whose mean over targets of different units means something."""
LIMITS = 1.96
"""SDs from the bias to the limits of agreement: 95 % of the differences, where they are normally distributed."""


class Agreement:
    """Every score of this module for a set of predictions, under any weights of the records.

    Calling it with weights (draw, record) gives name -> (draw, target):

    n            : records of which the target is known
    mae, rmse    : mean absolute error, root of the mean squared error
    r2           : 1 - squared error / squared distance from the mean; below 0 where the mean would have been nearer
    pearson      : correlation
    bias, sd     : mean of predicted - measured, and its standard deviation (divisor n - 1)
    limit_low, limit_high : limits of agreement, bias ± 1.96 sd

    NaN where a score is not defined: nothing is known, or r2 and pearson where all measured (or predicted) values are equal.
    Raises ValueError for shapes that differ and for predictions that are not finite.
    """

    def __init__(self, predicted: np.ndarray, measured: np.ndarray):
        predicted, measured = np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)
        if predicted.ndim != 2 or predicted.shape != measured.shape:
            raise ValueError(
                f"expected predicted and measured values of one shape (record, target); got {predicted.shape} and {measured.shape}"
            )
        if not np.isfinite(predicted).all() or np.isinf(measured).any():
            raise ValueError("expected finite predictions, and measured values that are finite or NaN (unknown); got others among them")
        known = ~np.isnan(measured)
        self.n_records, self.n_targets = measured.shape
        error = np.where(known, predicted - measured, 0.0)
        # Sums of squares around the mean of all records: around 0, those of values far from 0 would lose their digits.
        y, x = (np.where(known, value - _mean(value, known), 0.0) for value in (measured, predicted))
        self.columns = np.stack([known.astype(np.float64), np.abs(error), error, error**2, y, y**2, x, x**2, x * y], axis=1)

    def __call__(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        weight = np.asarray(weight)
        if weight.ndim != 2 or weight.shape[1] != self.n_records:
            raise ValueError(f"expected weights of shape (draw, record={self.n_records}); got {weight.shape}")
        sums = weight.astype(np.float64) @ self.columns.reshape(self.n_records, -1)
        n, absolute, error, error2, y, y2, x, x2, xy = sums.reshape(len(weight), -1, self.n_targets).transpose(1, 0, 2)
        bias = ratio(error, n)
        sd = np.sqrt(np.maximum(ratio(error2 - n * bias**2, np.maximum(n - 1, 0)), 0))
        spread_y, spread_x = _spread(y, y2, n), _spread(x, x2, n)
        return {
            "n": n,
            "mae": ratio(absolute, n),
            "rmse": np.sqrt(ratio(error2, n)),
            "r2": 1 - ratio(error2, spread_y),
            "pearson": ratio(xy - ratio(x * y, n), np.sqrt(spread_x * spread_y)),
            "bias": bias,
            "sd": sd,
            "limit_low": bias - LIMITS * sd,
            "limit_high": bias + LIMITS * sd,
        }


def _mean(value: np.ndarray, known: np.ndarray) -> np.ndarray:
    return ratio(np.where(known, value, 0.0).sum(axis=0), known.sum(axis=0))


def _spread(total: np.ndarray, squares: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Sum of squared distances from the mean; exactly 0 where rounding is all there is."""
    spread = squares - np.where(n > 0, ratio(total**2, n), 0.0)
    return np.where(spread > 1e-12 * np.maximum(squares, 1e-300), spread, 0.0)


def agreement(predicted: np.ndarray, measured: np.ndarray) -> dict[str, np.ndarray]:
    """Every score of ``Agreement`` for the records as they are: name -> (target,)."""
    scores = Agreement(predicted, measured)
    return {name: value[0] for name, value in scores(np.ones((1, scores.n_records))).items()}
