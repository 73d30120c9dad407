"""The resize of ecg-selfsupervised, as a formula and by its laws."""

from __future__ import annotations

import numpy as np
import pytest

from einthoven.signal.resample import resample


def tone(frequency: float, fs: float = 500.0, seconds: float = 8.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(fs * seconds)) / fs)[None]


@pytest.mark.parametrize("frequency", [5.0, 15.0, 30.0, 40.0])
def test_a_tone_is_weakened_as_the_gaussian_says(frequency):
    # From 500 to 100 Hz: SD (500/100 - 1)/2 = 2 samples = 4 ms, whose transfer is exp(-2 (pi f SD)^2): a quarter is lost at 30 Hz.
    expected = np.exp(-2 * (np.pi * frequency * 0.004) ** 2)
    out = resample(tone(frequency), 500, 100, "image")[0, 100:-100]
    assert np.std(out) * np.sqrt(2) == pytest.approx(expected, rel=0.02)
    assert np.std(resample(tone(frequency), 500, 100, "spline")[0, 100:-100]) * np.sqrt(2) == pytest.approx(1, rel=0.03)


def test_the_new_samples_lie_in_the_middle_of_what_they_replace():
    # Like pixels: new sample k covers old samples 5k to 5k + 4, so that a ramp keeps its value there.
    ramp = np.arange(500, dtype=np.float64)[None]
    np.testing.assert_allclose(resample(ramp, 500, 100, "image")[0, 10:-10], 5 * np.arange(100)[10:-10] + 2, atol=1e-6)
    np.testing.assert_allclose(resample(ramp, 500, 100, "spline")[0], np.linspace(0, 499, 100), atol=1e-4)


def test_nothing_leaves_the_range_of_the_lead_and_leads_do_not_mix():
    generator = np.random.default_rng(0)
    steps = np.repeat(generator.normal(size=(3, 25)), 20, axis=1)
    out = resample(steps, 500, 200, "image")
    assert (out.max(axis=1) <= steps.max(axis=1)).all() and (out.min(axis=1) >= steps.min(axis=1)).all()
    for method in ("image", "spline"):
        whole = resample(steps, 500, 200, method)
        np.testing.assert_array_equal(whole[1], resample(steps[1:2], 500, 200, method)[0])


@pytest.mark.parametrize("method", ["image", "spline"])
def test_gaps_stay_gaps_and_lengths_are_rounded_down(method):
    signal = np.random.default_rng(1).normal(size=(2, 1203)).astype(np.float32)
    signal[0, 600:605], signal[1] = np.nan, np.nan
    out = resample(signal, 500, 100, method)
    assert out.shape == (2, 240) and out.dtype == np.float32
    assert np.isnan(out[1]).all() and 1 <= np.isnan(out[0]).sum() <= 4 and np.isnan(out[0, 120])
