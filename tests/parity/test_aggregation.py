"""Windows to records: mean and maximum, as ecg-selfsupervised and the PTB-XL benchmark take them."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.metrics.windows import by_record, labels_by_record


@pytest.mark.parametrize("case", ssl_cases("aggregation"))
def test_windows_become_records_as_there(case):
    golden, close = case.arrays, {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    for how in ("mean", "max"):
        records, values = by_record(golden["preds"], golden["idmap"], how)
        assert records.tolist() == sorted(set(golden["idmap"].tolist()))
        np.testing.assert_allclose(values, golden[f"{how}_preds"], **close)
    np.testing.assert_array_equal(labels_by_record(golden["targs"], golden["idmap"])[1], golden["agg_targs"])
