from __future__ import annotations

import numpy as np
import pytest
from fake_corpus import make
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import ContractError
from einthoven.ingest.counts import Unusable, convert
from einthoven.leads import TWELVE, from_vcg, limb_law_residual
from einthoven.record import Record
from einthoven.signal.quality import check


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    amplitude=st.floats(-4, 2).map(lambda power: 10**power),
    seconds=st.sampled_from([0.5, 1.0, 3.0]),
    fs=st.sampled_from([40.0, 100.0, 500.0, 2500.0]),
    ceiling=st.floats(0.3, 4),
    n_flat=st.sampled_from([0, 1, 7, 12]),
)
def test_the_quick_look_never_overrules_the_quality_check(seed, amplitude, seconds, fs, ceiling, n_flat):
    rng = np.random.default_rng(seed)
    signal = amplitude * np.cumsum(rng.normal(size=(12, int(seconds * fs))), axis=1) / np.sqrt(seconds * fs)
    signal[5] = np.minimum(signal[5], signal[5].mean() + ceiling * signal[5].std())  # clipped, more or less
    signal[:n_flat] = 0.125
    record = Record(signal, fs, TWELVE)
    verdict = check(record.signal, fs, TWELVE)
    try:
        row = convert(record, fs=fs).row
    except (Unusable, ContractError) as error:
        assert verdict.problem is not None or "peak" in str(error)
    else:
        assert verdict.problem is None
        missed = set(verdict.clipped_leads) - set(row["clipped"].split())
        assert not missed


def test_the_residual_of_the_limb_laws_is_that_of_the_stored_signal():
    signal = from_vcg(make(0)[:3])
    assert convert(Record(signal, 500, TWELVE), fs=500).row["limb_residual"] < 0.001  # rounding to 1 µV
    swapped = signal[[1, 0, *range(2, 12)]]
    converted = convert(Record(swapped, 500, TWELVE), fs=500)
    expected = max(limb_law_residual(converted.counts / 1000, TWELVE).values())
    assert expected > 0.1
    assert converted.row["limb_residual"] == pytest.approx(expected, rel=1e-4)
    assert convert(Record(signal[[0, 6]], 500, ("I", "V1")), fs=500).row["limb_residual"] is None


def test_a_flat_lead_has_a_deviation_of_exactly_zero_whatever_its_level():
    for level in (0.0, 0.1, -3.337, 31.0):
        signal = make(0)
        signal[4] = level
        row = convert(Record(signal, 500, TWELVE), fs=500).row
        assert row["sd"][4] == 0 and row["flat"] == "aVL"


def test_one_lead_twice_is_refused():
    with pytest.raises(Unusable, match="several leads of the name II"):
        convert(Record(make(0)[:2], 500, ("II", "Lead II")), fs=500)


def test_time_in_which_nothing_was_recorded_is_cut_off_at_both_ends():
    signal = make(0)
    signal[:, :700] = signal[:, 4200:] = np.nan
    converted = convert(Record(signal, 500, TWELVE), fs=500)
    assert converted.counts.shape == (12, 3500) and converted.row["n_filled"] == 0
    with pytest.raises(ContractError, match="nothing was recorded"):
        convert(Record(np.full((2, 50), np.nan), 500, ("I", "V1")), fs=500)
    with pytest.raises(ContractError, match=r"no lead without a gap longer than 0\.2 s"):
        signal[:, 2000:2200] = np.nan
        convert(Record(signal, 500, TWELVE), fs=500)


@pytest.mark.parametrize("order", ["C", "F"])
def test_counts_are_lead_major_whatever_the_reader_gives(order):
    converted = convert(Record(np.array(make(0), order=order), 500, TWELVE), fs=500)
    assert converted.counts.flags.c_contiguous
    np.testing.assert_allclose(converted.counts / 1000, make(0), atol=0.0005, rtol=1e-6)
