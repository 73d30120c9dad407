"""The linear probe: what a frozen encoder's vectors say by a linear rule alone, the usual measure of a pretrained encoder.

Logistic regression per class on standardised vectors, by L-BFGS over all records at once; convex, so the result depends on no
random choice. The strength of the L2 penalty is chosen on validation records by the mean AUROC.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from einthoven.metrics.multilabel import auroc, mean_over_classes
from einthoven.tasks.diagnosis import masked_bce

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


def fit_linear(vectors: np.ndarray, label: np.ndarray, penalty: float, iterations: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Weights (class, dim) and bias (class,) that minimise the mean loss over known labels + penalty/2 · the mean squared weight of a class.

    vectors : (record, dim); label : (record, class) 1, 0 or NaN (left out)
    """
    x, y = torch.from_numpy(vectors).double(), torch.from_numpy(label).double()
    weight = torch.zeros(y.shape[1], x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(y.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total, n_known = masked_bce(x @ weight.T + bias, y)
        loss = total / n_known.clamp(min=1) + penalty / 2 * weight.square().sum() / len(weight)
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach().numpy(), bias.detach().numpy()


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    penalties: Sequence[float] = PENALTIES,
) -> np.ndarray:
    """Probabilities for ``test`` (record, dim) -> (record, class), from (vectors, label) of training and validation records."""
    mean, sd = train[0].mean(axis=0), train[0].std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)

    def scaled(vectors: np.ndarray) -> np.ndarray:
        return (vectors - mean) / sd

    best, chosen = -np.inf, None
    for penalty in penalties:
        weight, bias = fit_linear(scaled(train[0]), train[1], penalty)
        score = float(mean_over_classes(auroc(probability(scaled(valid[0]), weight, bias), valid[1])))
        if chosen is None or score > best:
            best, chosen = score, (weight, bias)
    assert chosen is not None
    return probability(scaled(test), *chosen)


def probability(vectors: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(vectors @ weight.T + bias, -50, 50)))
