"""Resampling, scaling and quality, by laws that hold for every signal and by known defects put in on purpose."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from einthoven.leads import TWELVE, derive_limb_leads
from einthoven.signal.quality import check
from einthoven.signal.resample import METHODS, resample
from einthoven.signal.scale import moments, standardise


def tone(frequency: float, fs: float, seconds: float = 4.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * fs)) / fs)[None].astype(np.float32)


# ---------------------------------------------------------------- resampling


@pytest.mark.parametrize(("fs", "to_fs"), [(500, 250), (400, 500), (257, 500), (511.844, 500), (1000, 500), (360, 100)])
def test_a_slow_tone_stays_that_tone(fs, to_fs):
    out = resample(tone(5.0, fs), fs, to_fs)
    expected = np.sin(2 * np.pi * 5.0 * np.arange(out.shape[1]) / to_fs)
    edge = round(0.2 * to_fs)
    np.testing.assert_allclose(out[0, edge:-edge], expected[edge:-edge], atol=2e-3)


def test_polyphase_takes_out_what_the_new_rate_cannot_hold_and_linear_lets_it_alias():
    inside = slice(50, -50)
    assert np.std(resample(tone(200.0, 500), 500, 250)[0, inside]) < 1e-3
    assert np.std(resample(tone(200.0, 500), 500, 250, "linear")[0, inside]) > 0.3


@pytest.mark.parametrize(("fs", "to_fs"), [(500, 250), (400, 500), (257, 500)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_polyphase_is_scipys_own(fs, to_fs, dtype):
    signal = np.cumsum(np.random.default_rng(0).normal(size=(2, 700)), axis=1).astype(dtype)
    for _ in range(2):  # the second time with the filter of the first
        expected = resample_poly(signal, Fraction(to_fs, fs).numerator, Fraction(to_fs, fs).denominator, axis=-1, padtype="line")
        np.testing.assert_array_equal(resample(signal, fs, to_fs), expected)


def test_a_drifting_baseline_does_not_ring_at_the_ends():
    drift = np.linspace(0, 3, 5000, dtype=np.float32)[None]
    out = resample(drift, 500, 250)
    np.testing.assert_allclose(out[0], np.linspace(0, 3, 5000)[::2], atol=5e-3)
    assert np.abs(resample(drift, 500, 250, "fft")[0] - drift[0, ::2]).max() > 0.5  # why the FFT is not ours


@settings(max_examples=30, deadline=None)
@given(fs=st.floats(50, 2000), to_fs=st.floats(50, 2000), n=st.integers(1, 400), method=st.sampled_from(METHODS))
def test_the_duration_is_kept_to_a_sample(fs, to_fs, n, method):
    out = resample(np.ones((2, n), dtype=np.float32), fs, to_fs, method)
    assert out.shape[0] == 2 and out.dtype == np.float32
    assert abs(out.shape[1] - n * to_fs / fs) < 1.01
    assert np.isfinite(out).all()


@pytest.mark.parametrize("method", METHODS)
def test_missing_leads_and_gaps_stay_missing_and_harm_nobody(method):
    rng = np.random.default_rng(0)
    whole = np.cumsum(rng.normal(size=(3, 2000)), axis=1).astype(np.float32) * 0.01
    holed = whole.copy()
    holed[1] = np.nan
    holed[2, 900:910] = np.nan
    before = holed.copy()
    out, expected = resample(holed, 500, 250, method), resample(whole, 500, 250, method)
    np.testing.assert_array_equal(holed, before)
    np.testing.assert_array_equal(out[0], expected[0])
    assert np.isnan(out[1]).all()
    assert np.isnan(out[2, 450:455]).all() and np.isnan(out[2]).sum() <= 6
    far = np.r_[0:400, 505:1000]
    if method != "fft":  # a tone of the whole record feels a gap everywhere
        np.testing.assert_allclose(out[2, far], expected[2, far], atol=1e-4)


def test_resampling_up_and_back_returns_the_signal():
    signal = tone(7.0, 250) + tone(31.0, 250)
    back = resample(resample(signal, 250, 500), 500, 250)
    np.testing.assert_allclose(back[:, 50:-50], signal[:, 50:-50], atol=5e-3)  # amplitude 2, a ripple of 0.1 % in each direction


def test_equal_rates_and_empty_signals_come_back_as_they_are():
    signal = tone(5, 500)
    assert resample(signal, 500, 500) is signal
    assert resample(signal[:, :0], 500, 250).shape == (1, 0)
    with pytest.raises(ValueError, match="polyphase, linear"):
        resample(signal, 500, 250, "cubic")


# ---------------------------------------------------------------- scaling


def test_a_standardised_lead_has_mean_0_and_population_deviation_1():
    signal = np.random.default_rng(0).normal(3, 7, (2, 5, 100))
    out = standardise(signal)
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(out.std(-1), 1)
    np.testing.assert_allclose(standardise(5 * signal - 2), out, atol=1e-10)


@pytest.mark.parametrize("value", [0.1, 1.25, -3.3, 0.0])
def test_flat_leads_go_by_their_strategy_whatever_their_value(value):
    signal = np.random.default_rng(0).normal(size=(2, 777)).astype(np.float32)
    signal[1] = value
    assert (standardise(signal, "zero")[1] == 0).all()
    assert np.isnan(standardise(signal, "nan")[1]).all()
    np.testing.assert_allclose(standardise(signal, "constant")[1], 0, atol=1e-6)
    for flat in ("zero", "nan", "constant"):
        np.testing.assert_array_equal(standardise(signal, flat)[0], standardise(signal[:1])[0])


def test_moments_are_those_of_the_recorded_samples():
    signal = np.random.default_rng(0).normal(size=(3, 50))
    signal[0, ::7] = np.nan
    signal[1] = np.nan
    mean, sd = moments(signal)
    np.testing.assert_allclose(mean[[0, 2]], np.nanmean(signal[[0, 2]], axis=1))
    np.testing.assert_allclose(sd[[0, 2]], np.nanstd(signal[[0, 2]], axis=1))
    assert np.isnan([mean[1], sd[1]]).all()


# ---------------------------------------------------------------- quality


def heart(seconds: float = 10, fs: float = 500) -> np.ndarray:
    """Twelve leads of peaks and noise for which the limb laws hold."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * fs)) / fs
    beats = np.exp(-(((time % 0.8) - 0.4) ** 2) / 2e-4)
    eight = rng.normal(1, 0.3, (8, 1)) * beats + 0.02 * rng.normal(size=(8, len(time)))
    return np.concatenate([eight[:2], derive_limb_leads(eight[0], eight[1]), eight[2:]]).astype(np.float32)


def test_a_sound_recording_has_no_problem():
    found = check(heart(), 500, TWELVE)
    assert found.problem is None and not (found.flat_leads or found.missing_leads or found.clipped_leads)
    assert found.limb_residual is not None and found.limb_residual < 1e-6 and found.nan_share == 0


def test_defects_of_single_leads_are_named_and_are_no_problem():
    signal = heart()
    signal[3], signal[4, :100], signal[7] = np.nan, np.nan, 0.5
    signal[9] = np.clip(signal[9] * 5, -1, 1.0)
    signal[9, 1000:1200] = 1.0
    found = check(signal, 500, TWELVE)
    assert (found.missing_leads, found.flat_leads, found.clipped_leads) == (("aVR",), ("V2",), ("V4",))
    assert found.nan_share == pytest.approx((5000 + 100) / 60000) and found.problem is None


def test_a_limb_lead_of_twice_its_gain_breaks_its_law_by_itself():
    signal = heart()
    expected = np.sqrt(np.mean(signal[2].astype(np.float64) ** 2))
    signal[2] *= 2
    assert check(signal, 500, TWELVE).limb_residual == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "fs", "words"),
    [
        (lambda x: x * 0, 500, "all 12 recorded leads are flat"),
        (lambda x: x * 0 + 3, 500, "flat"),
        (lambda x: x * np.nan, 500, "all NaN"),
        (lambda x: x[:, :400], 500, "0.8 s long"),
        (lambda x: x[:, :0], 500, "0 s long"),
        (lambda x: x * 1000, 500, "implausible amplitude"),
        (lambda x: x / 1000, 500, "implausible amplitude"),
        (lambda x: x, 5, "sampled at 5 Hz"),
        (lambda x: x, 50_000, "sampled at 50000 Hz"),
        (lambda x: np.where(np.arange(12)[:, None] < 6, np.nan, 0 * x), 500, "all 6 recorded leads are flat"),
    ],
)
def test_a_recording_that_cannot_be_used_says_why(change, fs, words):
    problem = check(change(heart()), fs, TWELVE).problem
    assert problem is not None and words in problem


@pytest.mark.data
def test_real_recordings_are_found_usable_unless_they_were_broken(data_root):
    from einthoven import io

    paths = [path for folder in ("cinc2021", "ptb-xl", "code15-wfdb") for path in sorted((data_root / folder).rglob("*.hea"))][::3]
    paths += sorted((data_root / "code15-wfdb").glob("*all_data_is_zero.hea"))
    for path in paths:
        if "low_sample_rate" in path.name:
            continue
        record = io.read(path)
        problem = check(record.signal, record.fs, record.leads).problem
        assert ("flat" in problem) if "is_zero" in path.name else problem is None, (path, problem)
