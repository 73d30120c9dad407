"""Features of the PTB-XL benchmark's wavelet baseline."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.signal.wavelet import wavelet_features


@pytest.mark.parametrize("case", ssl_cases("wavelet_features"))
def test_features_are_the_benchmarks(case):
    config = case.config
    ours = wavelet_features(case.arrays["x"].transpose(0, 2, 1))
    assert list(ours.shape) == config["shape"]
    np.testing.assert_allclose(ours, case.arrays["features"], rtol=config["rtol"], atol=config["atol"])
