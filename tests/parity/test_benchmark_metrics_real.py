"""The published predictions of the PTB-XL benchmark give the published scores."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.metrics.bootstrap import interval, weights_of
from einthoven.metrics.fmax import sample_f_max
from einthoven.metrics.multilabel import Multilabel, macro
from einthoven.sources.vocabulary import CLASSES


@pytest.mark.parametrize("case", ssl_cases("benchmark_metrics_real"))
def test_published_predictions_give_the_published_table(case):
    golden, config = case.arrays, case.config
    n_records, n_classes = config["shape"]
    y = np.unpackbits(golden["y_packed"], axis=1)[:, :n_classes]
    assert y.shape == (n_records, n_classes) and [one.abbreviation for one in CLASSES["ptbxl_all"]] == config["classes"]
    scorer, published = Multilabel(golden["p"], y), config["published"]["macro_auc"]
    close = {"rel": config["rtol"], "abs": config["atol"]}
    point = scorer(np.ones((1, n_records), dtype=np.int32))
    assert macro(point["auroc"][0]) == pytest.approx(published["point"], **close)
    assert sample_f_max(golden["p"], y) == pytest.approx(config["recomputed_F_max"], **close)
    weight = weights_of(golden["bootstrap_ids"], n_records)
    drawn = np.concatenate([scorer(weight[at : at + 20])["macro_auroc"] for at in range(0, len(weight), 20)])
    low, high = interval(drawn, 0.9)
    assert [drawn.mean(), low, high] == pytest.approx([published[name] for name in ("mean", "lower", "upper")], **close)
