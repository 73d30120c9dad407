"""Folds of ecg-selfsupervised and the benchmark, with and without groups."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.store.stratify import stratify


@pytest.mark.parametrize("case", ssl_cases("stratify"))
def test_folds_are_those_of_the_old_algorithm_draw_for_draw(case):
    config = case.config
    fold = stratify(config["data"], config["classes"], config["ratios"], sizes=config["samples_per_group"])
    for number, items in enumerate(config["folds"]):
        assert np.flatnonzero(fold == number).tolist() == items, f"fold {number}"
    assert [bool(one) for one in config["data"]] == (fold >= 0).tolist()
