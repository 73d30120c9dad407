"""Losses and logged values of the old criteria, as far as the diagnosis task has them; the others are named as not there yet."""

import math

import numpy as np
import pytest
import torch
from parity_cases import cases

from einthoven.metrics.multilabel import scores
from einthoven.tasks.diagnosis import masked_bce


def kind_of(case) -> str:
    """What the case is about, by its arrays: the old criteria do not name themselves in the configurations."""
    if "in.target_idx" in case.arrays:
        return "multi-head binary cross-entropy (grounding)"
    if case.arrays["in.target"].ndim < case.arrays["in.logits"].ndim:
        return "cross-entropy (segmentation)"
    if "correct" not in case.expect["batches"][0]:
        return "mean squared error"
    if not np.isin(case.arrays["in.target"], (0, 1)).all():
        return "a kind that no test knows yet"
    return "bce"


def bce_cases():
    out = []
    for parameter in cases("classification_losses"):
        case = parameter.values[0]
        kind = "bce" if case is None else kind_of(case)
        marks = (
            [*parameter.marks, pytest.mark.xfail(reason=f"no loss of ours yet: {kind}", run=False)] if kind != "bce" else parameter.marks
        )
        out.append(pytest.param(case, id=parameter.id, marks=marks))
    return out


def batches(case):
    for position, expected in enumerate(case.expect["batches"]):
        yield position, torch.from_numpy(case.arrays["in.logits"][position]), torch.from_numpy(case.arrays["in.target"][position]), expected


def asked(case) -> np.ndarray:
    """The labels that the old metrics look at; the others are what we call unknown."""
    label = case.arrays["in.target"].astype(float)
    if "in.valid_classes" in case.arrays:
        valid = np.zeros(label.shape, dtype=bool)
        for where in np.ndindex(*label.shape[:2]):
            classes = case.arrays["in.valid_classes"][where]
            valid[where][classes[classes >= 0]] = True
        label = np.where(valid, label, np.nan)
    return label


@pytest.mark.parametrize("case", bce_cases())
def test_the_summed_loss_of_each_batch_is_the_old_one(case):
    weight = case.config.get("pos_weight")
    weight = None if weight is None else torch.tensor(weight)
    total, n_terms = 0.0, 0.0
    for position, logits, target, expected in batches(case):
        loss, known = masked_bce(logits, target, weight)
        np.testing.assert_allclose(loss.item(), case.arrays["out.loss"][position], rtol=1e-5)
        # ``binary_cross_entropy`` divides by the number of positives (objectives.md §8 calls that a defect); we by the number of labels.
        assert expected["sample_size"] in (known.item(), target.sum().item())
        total, n_terms = total + loss.item(), n_terms + expected["sample_size"]
    assert abs(total / n_terms / math.log(2) - case.expect["reduced"]["loss"]) < 1.01e-3


@pytest.mark.parametrize("case", bce_cases())
def test_counts_and_metrics_after_all_batches_are_the_old_ones(case):
    label, threshold = asked(case), case.config.get("threshold", 0.5)
    probability = torch.from_numpy(case.arrays["in.logits"]).sigmoid().numpy()
    for position, expected in enumerate(case.expect["batches"]):
        known, says, true = ~np.isnan(label[position]), probability[position] > threshold, label[position] == 1
        ours = {"tp": true & says, "fp": known & ~true & says, "fn": true & ~says, "correct": known & (true == says), "count": known}
        for name, cells in ours.items():
            assert cells.sum() == expected[name], name
    ours = scores(probability.reshape(-1, probability.shape[-1]), label.reshape(-1, label.shape[-1]), threshold)
    names = {"accuracy": "accuracy", "em_accuracy": "exact_match", "precision": "micro_ppv", "recall": "micro_sensitivity"}
    reduced = case.expect["reduced"]
    for theirs, own in names.items():
        if theirs in reduced:
            assert round(float(ours[own]), 5) == reduced[theirs], theirs
    macro = "in.valid_classes" in case.arrays and case.config.get("auc_average") == "macro"
    average = "macro" if macro else "micro"  # without valid classes the old code averages micro, whatever its option says
    if "auroc" in reduced:
        np.testing.assert_allclose(ours[f"{average}_auroc"], reduced["auroc"], rtol=1e-6)
    # The old macro average of AUPRC counts classes that have one kind of label; ours, like its AUROC, passes them over.
    if "auprc" in reduced and (average == "micro" or not np.isnan(ours["auprc"]).any()):
        np.testing.assert_allclose(ours[f"{average}_auprc"], reduced["auprc"], rtol=1e-6)
