"""Resampling, lead order and standardisation of fairseq-signals, on its own outputs."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import cases

from einthoven.leads import TWELVE, select
from einthoven.signal.resample import resample
from einthoven.signal.scale import moments, standardise


@pytest.mark.parametrize("case", cases("signal_ops"))
def test_signal_operations_are_those_of_fairseq_signals(case):
    config, arrays = case.config, case.arrays
    signal = arrays["in.x"]
    if "from" in config:
        np.testing.assert_allclose(resample(signal, config["from"], config["to"], "linear"), arrays["out.y"], atol=1e-5)
    elif "names_in" in config:
        wanted = [TWELVE[index] for index in sorted({int(text) for text in config["leads"].split(",")})]
        ours = select(signal, config["names_in"], wanted, derive=False)
        np.testing.assert_array_equal(ours, arrays["out.y"])
        if case.has("expect.json"):
            # It lists what the file has and the selection wants, in the standard order.
            assert set(case.expect["available"]) <= set(config["names_in"])
    elif "strategy" in config:
        np.testing.assert_allclose(standardise(signal, config["strategy"]), arrays["out.y"], atol=1e-6)
        np.testing.assert_allclose(moments(signal)[1][:, None], arrays["out.std"], atol=1e-6)
    else:
        pytest.xfail(f"a signal operation that no test knows: {case.name} {config}")
