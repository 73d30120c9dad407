"""What is added to an ECG: as much as was asked for, at the frequencies that were asked for, in the leads where physics has it."""

import math

import numpy as np
import pytest
import torch

from einthoven.augment import (
    BaselineShift,
    BaselineWander,
    ChannelResize,
    ElectrodeNoise,
    EMGNoise,
    EMNoise,
    GaussianNoise,
    PowerlineNoise,
)
from einthoven.augment.augment import add_millivolts
from einthoven.augment.baseline_shift import shifted
from einthoven.augment.cosines import cosines
from einthoven.augment.sources import add_course, add_noise, free_leads, mixing
from einthoven.augment.white_noise import white_noise
from einthoven.leads import TWELVE
from einthoven.objectives.step import Moment


def added(augment, n_rows=200, n_samples=500, leads=TWELVE, seed=0):
    """What it adds to silence, in mV: (row, lead, time)."""
    return augment({"ecg": torch.zeros(n_rows, len(leads), n_samples)}, Moment(seed=seed))["ecg"]


def spectrum(signal, fs):
    """Frequencies in Hz and amplitudes in mV."""
    n = signal.shape[-1]
    return np.fft.rfftfreq(n, 1 / fs), np.abs(np.fft.rfft(signal.double().numpy())) * 2 / n


def test_a_sum_of_cosines_is_the_sum_of_cosines():
    rng = np.random.default_rng(0)
    amplitude, phase, hz = rng.uniform(size=(3, 4)), rng.uniform(0, 2 * np.pi, size=(3, 4)), rng.uniform(0.01, 60, size=(3, 4))
    t = np.arange(2501) / 500
    each = sum(amplitude[:, k, None] * np.cos(2 * np.pi * hz[:, k, None] * t + phase[:, k, None]) for k in range(4))
    got = cosines(*(torch.from_numpy(it) for it in (amplitude, hz, phase)), 2501, 500.0)
    np.testing.assert_allclose(got, each, atol=2e-6)
    alike = sum(amplitude[:, k, None] * np.cos(2 * np.pi * hz[0, k] * t + phase[:, k, None]) for k in range(4))
    np.testing.assert_allclose(cosines(*(torch.from_numpy(it) for it in (amplitude, hz[0], phase)), 2501, 500.0), alike, atol=2e-6)


@pytest.mark.parametrize("limb_laws", [True, False])
@pytest.mark.parametrize("leads", [TWELVE, ("V6", "aVF", "II", "I", "III"), ("III", "aVR")])
def test_sources_are_added_as_add_millivolts_adds_the_noise_of_each_lead(leads, limb_laws):
    generator = torch.Generator().manual_seed(0)
    ecg, noise = torch.randn(2, 3, len(leads), 50, generator=generator)
    batch = {"ecg": ecg, "scale": 0.1 + torch.rand(3, len(leads), generator=generator)}
    free = list(free_leads(leads, limb_laws))
    amplitude, course = torch.rand(3, len(leads), generator=generator), torch.randn(3, 50, generator=generator)
    expected = add_millivolts(batch, amplitude[:, :, None] * noise, leads, limb_laws=limb_laws)
    got = add_noise(batch, noise[:, free], amplitude[:, free], mixing(leads, limb_laws, ecg))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-5)
    expected = add_millivolts(batch, amplitude[:, :, None] * course[:, None], leads, limb_laws=limb_laws)
    torch.testing.assert_close(add_course(batch, course, amplitude[:, free], leads, limb_laws=limb_laws), expected, atol=1e-4, rtol=1e-5)


def test_white_noise_is_normal_and_nothing_in_it_depends_on_anything_else():
    noise = white_noise(Moment(seed=3), "it", 40, 8, 1251).double()  # 400,320 numbers
    assert noise.mean().abs() < 4 / math.sqrt(noise.numel())
    assert noise.var().item() == pytest.approx(1, abs=4 * math.sqrt(2 / noise.numel()))
    assert (noise**4).mean().item() == pytest.approx(3, abs=0.08)
    assert 4.2 < noise.abs().max() < 4.4
    for deviation in (0.5, 1.0, 2.0, 3.0):
        beyond = math.erfc(deviation / math.sqrt(2))
        assert (noise.abs() > deviation).double().mean().item() == pytest.approx(beyond, abs=4 * math.sqrt(beyond / noise.numel()))
    # No echo: neither of the next numbers (two of a hash, and its neighbours), nor of another source, row or name.
    flat, bound = noise.flatten(1), 4.5 / math.sqrt(noise.numel())
    for lag in (1, 2, 3, 4, 64, 1250, 1251, 1252):
        assert (flat[:, lag:] * flat[:, :-lag]).mean().abs() < bound
        assert (flat[:, lag:].abs() - 0.8).mul(flat[:, :-lag].abs() - 0.8).mean().abs() < bound
    between_rows = np.corrcoef(flat.numpy()) - np.eye(40)
    assert np.abs(between_rows).max() < 4.5 / math.sqrt(flat.shape[1])
    other = white_noise(Moment(seed=3), "other", 40, 8, 1251).double()
    assert (noise * other).mean().abs() < bound
    power = np.abs(np.fft.rfft(flat.numpy(), axis=1)) ** 2 / flat.shape[1]
    assert np.abs(power.mean(axis=0) - 1).max() < 6 / math.sqrt(40)  # white


def test_white_noise_of_any_rows_is_that_of_all_rows_and_of_any_length_its_beginning():
    whole = white_noise(Moment(seed=1), "it", 9, 1, 101)
    assert torch.equal(white_noise(Moment(seed=1, first_row=4, n_rows=9), "it", 3, 1, 101), whole[4:7])
    assert torch.equal(white_noise(Moment(seed=1), "it", 9, 1, 40), whole[:, :, :40])


def test_gaussian_noise_has_its_deviation():
    noise = added(GaussianNoise(sd=0.02, limb_laws=False))
    assert noise.std().item() == pytest.approx(0.02, rel=0.01)
    lawful = added(GaussianNoise(sd=0.02)).std(dim=(0, 2)) / 0.02
    # What the laws make of two independent noises: II - I, -(I + II)/2, I - II/2, II - I/2.
    torch.testing.assert_close(lawful[:6], torch.tensor([1, 1, 2, 0.5, 1.25, 1.25]).sqrt(), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", [EMGNoise, EMNoise])
def test_muscle_noise_has_an_amplitude_between_the_two_per_lead_or_for_all(kind):
    amplitude = added(kind(smallest=0.1, largest=0.3, limb_laws=False), n_rows=60).std(dim=2)
    assert 0.09 < amplitude.min() < 0.12 and 0.28 < amplitude.max() < 0.33
    assert amplitude.mean().item() == pytest.approx(0.2, abs=0.025)
    apart = (amplitude.amax(dim=1) - amplitude.amin(dim=1)).mean()
    assert apart < 0.05 if kind is EMNoise else apart > 0.1
    with_laws = added(kind(smallest=0.1, largest=0.3))
    torch.testing.assert_close(with_laws[:, 0] + with_laws[:, 2], with_laws[:, 1])
    without = added(kind(smallest=0.1, largest=0.3, limb_laws=False))
    assert (without[:, 0] + without[:, 2] - without[:, 1]).std() > 0.2


def test_noise_of_an_electrode_is_in_its_leads_only_and_obeys_every_law():
    noise = added(ElectrodeNoise(smallest=0.1, largest=0.1), n_rows=100).double()
    i, ii, iii, avr, avl, avf = noise[:, :6].unbind(dim=1)
    torch.testing.assert_close(i + iii, ii)
    torch.testing.assert_close(avr + avl + avf, torch.zeros_like(i), atol=1e-6, rtol=0)
    covariance = np.cov(noise.permute(1, 0, 2).reshape(12, -1).numpy()) / 0.01
    # Unit noise on nine electrodes: each of I, II, III has two of them; a chest lead has its own and three by a third.
    np.testing.assert_allclose(covariance[[0, 1, 2], [0, 1, 2]], 2, atol=0.1)
    np.testing.assert_allclose(covariance[0, 1], 1, atol=0.1)
    np.testing.assert_allclose(covariance[6:, 6:], np.eye(6) + 1 / 3, atol=0.1)
    np.testing.assert_allclose(covariance[:3, 6:], 0, atol=0.1)
    with pytest.raises(ValueError, match="nine electrodes; got X"):
        ElectrodeNoise(leads=("II", "X"))


@pytest.mark.parametrize("fs", [100.0, 500.0])
def test_the_comb_of_baseline_wander_has_every_hundredth_of_a_hertz_and_no_constant(fs):
    wander = added(BaselineWander(fs=fs, smallest=0.1, largest=0.1, lowest=0.05, highest=0.3), n_rows=30, n_samples=round(100 * fs))
    hz, amplitude = spectrum(wander[:, 1], fs)
    teeth = (hz > 0.045) & (hz < 0.295)
    assert amplitude[:, ~teeth].max() < 1e-4 and teeth.sum() == 25
    assert 0.095 < amplitude[:, teeth].max() < 0.1001  # each is a share of the amplitude
    assert amplitude[:, teeth].mean() == pytest.approx(0.05, abs=0.005)
    torch.testing.assert_close(wander[:, 1], wander[:, 8])  # all leads alike …
    assert wander[:, 2].abs().max() < 1e-6  # … so that III = II - I has none
    alike = added(BaselineWander(fs=fs, limb_laws=False), n_rows=3)
    torch.testing.assert_close(alike, alike[:, :1].expand_as(alike))


def test_the_tones_of_baseline_wander_are_few_and_lie_where_they_were_asked_for():
    wander = added(BaselineWander(form="tones", fs=100.0, smallest=0.4, largest=0.5, lowest=1.0, highest=2.0, n_tones=2), 50, 10_000)
    hz, amplitude = spectrum(wander[:, 0] * torch.hann_window(10_000) * 2, 100.0)
    assert amplitude[:, (hz < 0.9) | (hz > 2.1)].max() < 1e-3
    assert 0.3 < np.sqrt((amplitude**2).sum(axis=1) / 1.5).mean() / math.sqrt(2) < 0.6  # a window of Hann's spreads a line by 1.5
    assert wander.abs().amax(dim=2).max() <= 2 * 0.5
    fewer = added(BaselineWander(form="tones", fs=100.0, smallest=0.5, largest=0.5, n_tones=1), 50, 10_000)
    assert fewer[:, 0].abs().amax(dim=1).max() == pytest.approx(0.5, abs=1e-4)


def test_unlike_leads_wander_by_a_factor_around_one():
    wander = added(BaselineWander(unlike=0.5, limb_laws=False), n_rows=400)
    factor = wander[:, 1:] / wander[:, :1]
    own = (wander * wander.mean(dim=1, keepdim=True)).sum(dim=2) / wander.mean(dim=1, keepdim=True).square().sum(dim=2)
    torch.testing.assert_close(factor.std(dim=2).median(), torch.tensor(0.0), atol=1e-3, rtol=0)
    assert own.std(dim=1).mean().item() == pytest.approx(0.5, abs=0.08)
    assert own.mean().item() == pytest.approx(1.0, abs=1e-4)


def test_mains_hum_is_at_the_mains_frequency_and_its_multiples_below_half_the_sampling_frequency():
    hum = added(PowerlineNoise(fs=250.0, mains=(50.0,), n_harmonics=4, smallest=1.0, largest=1.0, unlike=False), 40, 2500)
    hz, amplitude = spectrum(hum[:, 0], 250.0)
    lines = np.isin(np.round(hz, 6), (50.0, 100.0))
    assert amplitude[:, ~lines].max() < 1e-4  # 150 Hz would look like 100, 200 like 50: they are not there
    assert amplitude[:, lines].max() < 1.0001 and amplitude[:, lines].mean() == pytest.approx(0.5, abs=0.1)
    with_aliases = added(PowerlineNoise(fs=250.0, mains=(45.0,), n_harmonics=4, smallest=1.0, largest=1.0, aliased=True), 40, 2500)
    hz, amplitude = spectrum(with_aliases[:, 0], 250.0)
    assert set(np.round(hz[amplitude.max(axis=0) > 0.01], 3)) == {45.0, 90.0, 250 - 135.0, 250 - 180.0}


def test_a_row_draws_one_of_the_mains_and_without_harmonics_the_whole_amplitude():
    hum = added(PowerlineNoise(smallest=0.2, largest=0.2, n_harmonics=1, unlike=False), 100, 2500)
    hz, amplitude = spectrum(hum[:, 0], 500.0)
    at50, at60 = (amplitude[:, np.flatnonzero(hz == f)[0]] for f in (50.0, 60.0))
    np.testing.assert_allclose(at50 + at60, 0.2, atol=1e-4)
    np.testing.assert_allclose(np.minimum(at50, at60), 0, atol=1e-4)
    assert 30 < (at50 > 0.1).sum() < 70
    unlike = added(PowerlineNoise(smallest=0.2, largest=0.2, n_harmonics=1, limb_laws=False), 100, 2500)
    peak = unlike.abs().amax(dim=2)
    assert peak.max() <= 0.2 and peak.mean().item() == pytest.approx(0.1, abs=0.01) and (peak.std(dim=1) > 0.01).all()
    assert PowerlineNoise(fs=110.0).held() == (50.0,)
    with pytest.raises(ValueError, match="up to 40 Hz"):
        PowerlineNoise(fs=80.0)
    assert PowerlineNoise(fs=80.0, aliased=True).held() == (50.0, 60.0)


def test_a_line_of_shifts_is_the_plain_loop():
    start, end, level = [[2, 5, -3], [0, 0, 0]], [[6, 9, 1], [0, 3, 0]], [[1.0, -2.0, 0.5], [7.0, 8.0, 9.0]]
    expected = np.zeros((2, 8))
    for row in range(2):
        for a, b, value in zip(start[row], end[row], level[row]):
            for t in range(8):
                if a <= t < b:
                    expected[row, t] = value
    np.testing.assert_array_equal(shifted(*(torch.tensor(it) for it in (start, end, level)), 8), expected)


def test_shifts_are_as_many_and_as_long_and_as_high_as_asked_for():
    shift = BaselineShift(fs=100.0, n_shifts=1, seconds=2.0, smallest=0.5, largest=0.5, graded=False, unlike=0.0, limb_laws=False)
    line = added(shift, n_rows=400, n_samples=1000)
    torch.testing.assert_close(line.abs().amax(dim=2), torch.full((400, 12), 0.5))
    assert (line[:, :, 0] > 0).float().mean() < 0.1
    up = (line.sum(dim=2) > 0).float().mean()
    assert up.item() == pytest.approx(0.5, abs=0.03)  # each lead has a sign of its own
    length = (line[:, 0] != 0).sum(dim=1) / 100.0
    assert length.mean().item() == pytest.approx(2.0, abs=0.08) and length.std().item() == pytest.approx(0.4, abs=0.06)
    graded = added(BaselineShift(fs=100.0, n_shifts=1, smallest=0.5, largest=0.5, unlike=0.0), n_rows=400, n_samples=1000)
    assert graded[:, 0].abs().amax(dim=1).mean().item() == pytest.approx(0.25, abs=0.03)
    unlike = added(BaselineShift(fs=100.0, n_shifts=1, smallest=0.5, largest=0.5, graded=False, limb_laws=False), 400, 1000)
    assert (unlike.abs().amax(dim=2) / 0.5).square().mean().item() == pytest.approx(2.0, abs=0.15)  # N(1, 1): 1² + 1²
    many = added(BaselineShift(fs=100.0, per_second=0.5, seconds=0.2), n_rows=600, n_samples=1000)  # of 10 s
    steps = ((many[:, 0, 1:] != many[:, 0, :-1]).sum(dim=1) / 2).mean()
    assert steps.item() == pytest.approx(2.5, abs=0.3)  # 0 to 5
    torch.testing.assert_close(many[:, 0] + many[:, 2], many[:, 1])


def test_a_lead_is_resized_by_a_factor_whose_logarithm_is_uniform():
    ecg = torch.ones(500, 12, 1)
    factor = ChannelResize(smallest=0.5, largest=4.0)({"ecg": ecg}, Moment())["ecg"][:, :, 0]
    assert 0.5 <= factor.min() < 0.51 and 3.95 < factor.max() <= 4.0
    assert factor.log2().mean().item() == pytest.approx(0.5, abs=0.04)
    assert factor.median().item() == pytest.approx(math.sqrt(2), abs=0.06)


@pytest.mark.parametrize(
    "kind, options",
    [
        (GaussianNoise, {"sd": -0.1}),
        (EMGNoise, {"smallest": 0.3, "largest": 0.1}),
        (EMNoise, {"smallest": -0.3}),
        (ElectrodeNoise, {"largest": -1.0}),
        (BaselineWander, {"lowest": 0.6}),
        (BaselineWander, {"highest": 300.0}),
        (BaselineWander, {"form": "saw"}),
        (BaselineWander, {"n_tones": 0}),
        (BaselineWander, {"unlike": -1.0}),
        (BaselineWander, {"lowest": 0.001, "highest": 0.009}),
        (PowerlineNoise, {"n_harmonics": 0}),
        (PowerlineNoise, {"mains": ()}),
        (PowerlineNoise, {"largest": -1.0}),
        (BaselineShift, {"seconds": -1.0}),
        (BaselineShift, {"n_shifts": -1}),
        (BaselineShift, {"smallest": 2.0}),
        (ChannelResize, {"smallest": 0.0}),
        (ChannelResize, {"smallest": 3.0}),
    ],
)
def test_an_impossible_option_of_a_noise_is_refused(kind, options):
    with pytest.raises(ValueError, match="expected"):
        kind(**options)
