"""The signal contract: named steps, refusals, windows, and one affine step that gives the same from stored numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from einthoven.errors import ContractError
from einthoven.leads import INDEPENDENT, TWELVE, derive_limb_leads
from einthoven.record import Record
from einthoven.signal.contract import LEGACY_MV, LEGACY_ZSCORE, SignalContract
from einthoven.signal.resample import resample
from einthoven.signal.scale import moments


def record(leads=TWELVE, fs: float = 500, seconds: float = 10, seed: int = 0) -> Record:
    rng = np.random.default_rng(seed)
    eight = np.cumsum(rng.normal(size=(8, round(fs * seconds))), axis=1) * 0.01 + 0.2
    twelve = np.concatenate([eight[:2], derive_limb_leads(eight[0], eight[1]), eight[2:]])
    return Record(twelve[[TWELVE.index(name) for name in leads]], fs, leads, record="r7")


def test_a_record_that_meets_the_contract_is_left_alone():
    prepared = SignalContract().apply(record())
    np.testing.assert_array_equal(prepared.signal, record().signal)
    assert prepared.steps == () and prepared.lead_present.all() and prepared.signal.dtype == np.float32


def test_leads_are_ordered_derived_and_left_out_and_it_is_said():
    shuffled = ("V6", "II", "I", "V1", "V3", "V2", "V4", "V5", "X")
    given = Record(np.concatenate([record(shuffled[:-1]).signal, np.ones((1, 5000))]), 500, shuffled)
    prepared = SignalContract().apply(given)
    np.testing.assert_allclose(prepared.signal, record().signal, atol=1e-6)
    steps = " / ".join(prepared.steps)
    assert "derived III aVR aVL aVF from I and II" in steps and "left out X" in steps and "order" in steps
    assert prepared.lead_present.all()


def test_missing_leads_are_zero_and_said_or_refused():
    one = record(("V2",))
    prepared = SignalContract(scaling="record_zscore").apply(one)
    assert prepared.lead_present.tolist() == [name == "V2" for name in TWELVE]
    assert (prepared.signal[~prepared.lead_present] == 0).all() and prepared.signal[7].std() == pytest.approx(1, abs=1e-5)
    assert "missing leads set to 0: I II III aVR aVL aVF V1 V3 V4 V5 V6" in prepared.steps
    with pytest.raises(ContractError, match="r7 lacks I II III aVR aVL aVF V1 V3"):
        SignalContract(missing="refuse").apply(one)
    assert SignalContract(missing="refuse").apply(record(INDEPENDENT)).lead_present.all()
    with pytest.raises(ContractError, match="none of the leads"):
        SignalContract(leads=("V1",)).apply(one)


def test_a_lead_of_nothing_but_nan_is_missing_and_a_gap_is_filled_and_said():
    signal = record().signal.copy()
    signal[6] = np.nan
    signal[0, 100:120] = np.nan
    prepared = SignalContract().apply(Record(signal, 500, TWELVE))
    assert not prepared.lead_present[6] and prepared.lead_present.sum() == 11
    assert (prepared.signal[0, 100:120] == 0).all() and np.isfinite(prepared.signal).all()
    assert any("filled 20 missing samples of I with 0" in step for step in prepared.steps)


def test_rate_and_unit_are_converted_and_said():
    prepared = SignalContract(fs=250, unit="uV").apply(record())
    assert prepared.signal.shape == (12, 2500)
    np.testing.assert_allclose(prepared.signal, 1000 * resample(record().signal, 500, 250), rtol=1e-5)
    assert prepared.steps == ("resampled from 500 to 250 Hz (polyphase)", "converted from mV to uV")


def test_corpus_scaling_uses_the_corpus_numbers_in_the_contract_s_unit():
    contract = SignalContract(scaling="corpus", unit="uV", mean=tuple(range(12)), std=tuple(range(1, 13)))
    prepared = contract.apply(record())
    expected = (1000 * record().signal.astype(np.float64) - np.arange(12)[:, None]) / np.arange(1, 13)[:, None]
    np.testing.assert_allclose(prepared.signal, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("scaling", ["none", "record_zscore", "corpus"])
def test_stored_counts_scaled_by_the_affine_step_are_the_applied_record(scaling):
    corpus = {"mean": (0.1,) * 12, "std": (0.4,) * 12} if scaling == "corpus" else {}
    contract = SignalContract(scaling=scaling, **corpus)
    given = record()
    given.signal[4] = 0.75  # a flat lead
    counts = np.round(given.signal * 1000).astype(np.int16)
    stored = counts.astype(np.float32) / 1000
    gain, offset = contract.affine(*moments(stored))
    loaded = stored * gain[:, None] + offset[:, None]
    np.testing.assert_allclose(loaded, contract.apply(given).signal, atol=1.01 * float(np.abs(gain).max()) * 1e-3)


def test_windows_are_neighbours_and_a_short_record_is_padded():
    contract = SignalContract(seconds=3)
    prepared = contract.apply(record())
    windows = contract.windows(prepared)
    assert windows.signal.shape == (3, 12, 1500) and windows.valid.all()
    np.testing.assert_array_equal(np.concatenate(list(windows.signal), axis=1), prepared.signal[:, :4500])
    short = contract.windows(contract.apply(record(seconds=1.5)))
    assert short.signal.shape == (1, 12, 1500) and short.valid.sum() == 750 and short.valid[0, :750].all()
    assert (short.signal[0, :, 750:] == 0).all()


def test_a_contract_survives_json():
    for contract in (LEGACY_MV, LEGACY_ZSCORE, SignalContract(leads=("I", "v1"), scaling="corpus", mean=(0, 1), std=(1, 2))):
        assert SignalContract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract
    assert SignalContract(leads=("i", "AVR")).leads == ("I", "aVR")


@pytest.mark.parametrize(
    "wrong",
    [{"fs": 0}, {"fs": "500"}, {"fs": float("nan")}, {"seconds": -1}, {"leads": ()}, {"leads": "II"}, {"leads": ("I", "i")}, {"unit": "counts"}, {"scaling": "zscore"}, {"missing": "guess"}, {"resampling": "cubic"},
     {"scaling": "corpus"}, {"mean": (0,) * 12, "std": (1,) * 12}, {"scaling": "corpus", "mean": (0,), "std": (1,)}, {"scaling": "corpus", "mean": (0,) * 12, "std": (0,) * 12}],
)  # fmt: skip
def test_contradictions_are_refused(wrong):
    with pytest.raises(ContractError):
        SignalContract(**wrong)


def test_an_unknown_name_in_a_stored_contract_is_refused():
    with pytest.raises(ContractError, match="no rate; it has fs, leads"):
        SignalContract.from_dict({"rate": 500})


@pytest.mark.parametrize("fs", [250.0, 257.0, 400.0])
def test_a_flat_lead_stays_flat_when_it_is_resampled(fs):
    """A filter leaves a ripple on a constant; a z-score would make a signal of it, and the store, which rounds to 1 µV, has none."""
    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.normal(size=(3, 2000)), axis=1).astype(np.float32) / 50
    signal[1] = 0.1234
    prepared = SignalContract(leads=("I", "II", "V1"), scaling="record_zscore").apply(Record(signal, fs, ("I", "II", "V1")))
    assert (prepared.signal[1] == 0).all() and prepared.lead_present[1]
    assert prepared.signal[0].std() == pytest.approx(1, abs=1e-3)
