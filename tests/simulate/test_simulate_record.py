"""One simulated record: the laws of the leads, the truth against independent detectors, determinism, and wrong questions."""

import numpy as np
import pytest
import sleepecg

from einthoven.leads import TWELVE, limb_law_residual
from einthoven.simulate import FINDINGS, simulate
from einthoven.simulate.wave import Wave, curve


def found(true, detected, n_samples, fs, tolerance=0.1):
    """Sensitivity's and PPV's counts, (hits, true, detected), away from the ends where a detector has no context."""
    margin = round(0.4 * fs)
    true = true[(true > margin) & (true < n_samples - margin)]
    detected = detected[(detected > margin) & (detected < n_samples - margin)]
    hits = sum(np.abs(detected - peak).min(initial=n_samples) <= tolerance * fs for peak in true)
    claims = sum(np.abs(true - peak).min(initial=n_samples) <= tolerance * fs for peak in detected)
    return np.array([hits, len(true), claims, len(detected)])


def test_the_limb_lead_laws_hold_to_float_rounding_in_the_noisy_record():
    for person in range(8):
        record = simulate(3, person=person).record
        assert record.leads == TWELVE
        assert max(limb_law_residual(record.signal, record.leads).values()) < 1e-6


def test_without_noise_the_record_is_the_clean_signal_and_with_noise_it_is_not():
    quiet, loud = simulate(3, person=1, noise=0.0), simulate(3, person=1, noise=2.0)
    np.testing.assert_array_equal(quiet.record.signal, quiet.truth.clean.astype(np.float32))
    np.testing.assert_array_equal(quiet.truth.clean, loud.truth.clean)
    once = simulate(3, person=1).record.signal - quiet.record.signal
    np.testing.assert_allclose(loud.record.signal - quiet.record.signal, 2 * once, atol=1e-5)


def test_the_same_arguments_give_the_same_record_and_others_do_not():
    first, again = simulate(5, person=2, visit=1), simulate(5, person=2, visit=1)
    np.testing.assert_array_equal(first.record.signal, again.record.signal)
    assert first.truth.findings == again.truth.findings
    for other in (simulate(6, person=2, visit=1), simulate(5, person=3, visit=1), simulate(5, person=2, visit=2)):
        assert np.abs(other.record.signal - first.record.signal).max() > 0.05


@pytest.mark.parametrize("fs", [100.0, 257.0, 1000.0])
def test_the_rhythm_does_not_depend_on_the_sampling_frequency(fs):
    slow, usual = simulate(7, person=4, fs=fs), simulate(7, person=4)
    assert slow.record.signal.shape == (12, round(10 * fs))
    assert len(slow.truth.r_peaks) == len(usual.truth.r_peaks)
    np.testing.assert_allclose(slow.truth.r_peaks / fs, usual.truth.r_peaks / 500, atol=1 / fs)


def test_sleepecg_finds_the_true_beats_of_quiet_sinus_rhythm():
    counts = np.zeros(4)
    for person in range(40):
        made = simulate(11, person=person, findings=["sinus rhythm"], noise=0.3)
        lead = made.record.signal[np.abs(made.record.signal).max(axis=1).argmax()].astype(np.float64)
        counts += found(made.truth.r_peaks, sleepecg.detect_heartbeats(lead, 500), 5000, 500)
    assert counts[0] / counts[1] >= 0.99, "sensitivity"
    assert counts[2] / counts[3] >= 0.99, "positive predictive value"


def test_sleepecg_finds_the_true_beats_of_everybody():
    counts = np.zeros(4)
    for person in range(60):
        made = simulate(12, person=person)
        lead = made.record.signal[TWELVE.index("V5")].astype(np.float64)
        counts += found(made.truth.r_peaks, sleepecg.detect_heartbeats(lead, 500), 5000, 500, tolerance=0.15)
    assert counts[0] / counts[1] >= 0.95
    assert counts[2] / counts[3] >= 0.95


def test_nothing_is_there_before_an_onset_or_after_an_offset():
    """Between T and P the noise-free, unbreathing heart is silent; inside QRS it is not."""
    made = simulate(13, person=5, findings=["sinus rhythm"], noise=0.0)
    marks, clean = made.truth.marks, made.truth.clean
    # The thresholds are 2 % of P, 0.7 % of QRS, 10 % of T: what is left outside is below them in every lead.
    for (_, _, t_end), (p_start, _, _) in zip(marks["T"][:-1], marks["P"][1:]):
        if 0 <= t_end < p_start - 40:
            assert np.abs(clean[:, t_end + 30 : p_start - 8]).max() < 0.01
    for onset, peak, offset in marks["QRS"][1:-1]:
        assert onset < peak < offset
        assert np.ptp(clean[:, onset:offset], axis=1).max() > 0.3


def test_waves_follow_one_another_within_a_beat():
    for person in range(20):
        marks = simulate(14, person=person, findings=["sinus rhythm"]).truth.marks
        order = np.concatenate([marks["P"], marks["QRS"], marks["T"]], axis=1)
        whole = order[(order >= 0).all(axis=1)]
        assert len(whole) >= 6
        assert (np.diff(whole, axis=1) > 0).all()


def test_a_wave_begins_and_ends_smoothly():
    """Value, slope and curvature of a spline curve vanish at both ends: no kink at a joint."""
    control = np.random.default_rng(0).standard_normal((3, 9))
    u = np.linspace(-0.1, 1.1, 12001)
    value = curve(control, u)
    assert np.abs(value[:, (u < 0) | (u > 1)]).max() == 0
    step = u[1] - u[0]
    curvature = np.diff(value, n=2, axis=1) / step**2
    assert np.abs(np.diff(curvature, axis=1)).max() < 0.01 * np.abs(curvature).max()
    wave = Wave.of(control)
    np.testing.assert_allclose(wave.at(np.array([2.0]), 2.0, 3.0), curve(control, np.array([wave.onset])))


def test_the_curve_is_scipys_b_spline():
    from scipy.interpolate import BSpline

    control = np.random.default_rng(1).standard_normal((2, 7))
    knots = np.arange(11) / 10.0
    u = np.linspace(0, 0.999, 300)
    expected = [
        sum(c * np.nan_to_num(BSpline.basis_element(knots[i : i + 5], extrapolate=False)(u)) for i, c in enumerate(row)) for row in control
    ]
    np.testing.assert_allclose(curve(control, u), expected, atol=1e-12)


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_what_is_asked_for_is_there(name):
    for person in range(3):
        made = simulate(17, person=person, findings=[name])
        if name != "sinus rhythm":  # a person's own axis or T wave may take the "normal" away
            assert name in made.truth.findings
            assert made.record.labels[FINDINGS[name].code] == 1.0
        assert np.isfinite(made.record.signal).all()
        assert np.abs(made.record.signal).max() < 8.0


def test_normal_sinus_rhythm_stands_alone():
    for person in range(60):
        findings = simulate(18, person=person).truth.findings
        if "sinus rhythm" in findings:
            assert findings == {"sinus rhythm"}


def test_labels_by_measure_agree_with_the_measured_record():
    for person in range(40):
        made = simulate(19, person=person, noise=0.0)
        findings, intervals = made.truth.findings, made.truth.intervals
        if made.truth.rhythm in ("sinus rhythm", "sinus bradycardia", "sinus tachycardia") and "ventricular bigeminy" not in findings:
            assert ("left axis deviation" in findings) == (-90 <= intervals["axis"] < -30)
            assert ("first degree atrioventricular block" in findings) <= (intervals["PR"] > 200)
        if "low QRS voltages" in findings:
            limb = [np.ptp(made.truth.clean[:6, on:off], axis=1).max() for on, _, off in made.truth.marks["QRS"][1:-1] if on >= 0]
            assert np.median(limb) < 0.55


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        (["atrial fibrilation"], "Nearest: atrial fibrillation"),
        (["sinus bradycardia", "atrial fibrillation"], "cannot be in one record"),
        (["atrial fibrillation", "first degree atrioventricular block"], "contradict"),
        (["complete left bundle branch block", "complete right bundle branch block"], "cannot be in one record"),
        ("atrial fibrillation", "expected a collection"),
    ],
)
def test_an_unknown_or_contradictory_finding_is_refused_with_the_way_out(findings, message):
    with pytest.raises(ValueError, match=message):
        simulate(findings=findings)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"person": 1.5}, {"fs": 10}, {"seconds": 0}, {"noise": -1}, {"seconds": float("nan")}])
def test_numbers_that_make_no_record_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        simulate(**wrong)


def test_two_thousand_random_findings_sets_never_contradict_themselves():
    from einthoven.simulate.findings import draw_findings, resolve

    for person in range(2000):
        drawn = draw_findings(np.random.default_rng([1, person]), np.random.default_rng([2, person]))
        assert resolve(drawn) == drawn


def test_every_scored_class_of_the_challenge_can_be_made():
    """The 26 classes of CinC 2021, of two equivalent codes the first or the second."""
    scored = (
        "164889003 164890007 6374002 426627000 733534002|164909002 713427006|59118001 270492004 713426002 39732003 445118002 164947007 251146004 "
        "111975006 698252002 426783006 284470004|63593006 10370003 365413008 427172004|17338001 164917005 47665007 427393009 426177001 427084000 "
        "164934002 59931005"
    ).split()
    codes = {finding.code for finding in FINDINGS.values()}
    assert len(scored) == 26
    assert [item for item in scored if not codes & set(item.split("|"))] == []
