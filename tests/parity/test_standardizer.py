"""The PTB-XL benchmark's one mean and one SD for everything, as a signal contract."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.signal.contract import SignalContract
from einthoven.signal.scale import moments, pooled_moments

N_TRAIN = 4  # of the case's records, as its note says


@pytest.mark.parametrize("case", ssl_cases("standardizer"))
def test_every_sample_is_standardised_by_the_numbers_of_the_training_records(case):
    config, close = case.config, {"rtol": case.config["rtol"], "atol": case.config["atol"]}
    x, y = (case.arrays[name].transpose(0, 2, 1) for name in ("x", "y"))
    parts = moments(x[:N_TRAIN])
    mean, sd = pooled_moments(np.full(parts[0].shape, x.shape[-1]), *parts)
    np.testing.assert_allclose([mean, sd, sd**2], [config["mean"][0], config["scale"][0], config["var"][0]], **close)
    contract = SignalContract(fs=100, scaling="corpus", mean=(mean,) * 12, std=(sd,) * 12, seconds=x.shape[-1] / 100)
    gain, offset = contract.affine(np.zeros(12), np.ones(12))
    np.testing.assert_allclose(x * gain[:, None] + offset[:, None], y, **close)
    for signal, expected in zip(x, y):  # a record is float32
        np.testing.assert_allclose(contract.apply(Record(signal, 100, TWELVE)).signal, expected, rtol=1e-5, atol=1e-6)
