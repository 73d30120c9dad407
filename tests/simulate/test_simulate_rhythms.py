"""Rhythm by rhythm: intervals as published and as measured in real recordings of that rhythm."""

import json
from pathlib import Path

import numpy as np
import pytest
from heart_measures import atrial_rms

from einthoven.leads import TWELVE
from einthoven.simulate import simulate

REAL = json.loads((Path(__file__).parent / "real_quartiles.json").read_text())


def truths(finding, n=40, **more):
    return [simulate(23, person=person, findings=[finding], **more).truth for person in range(n)]


def rr_statistics(made):
    rr = [1000 * truth.rr for truth in made]
    return {
        "HR": [60000 / x.mean() for x in rr],
        "RRsd": [x.std() for x in rr],
        "RRcv": [x.std() / x.mean() for x in rr],
        "RMSSD": [np.sqrt((np.diff(x) ** 2).mean()) for x in rr],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("finding", "group", "quantities"),
    [
        ("sinus rhythm", "NORM", ("HR", "RRsd", "RRcv", "RMSSD")),
        ("sinus arrhythmia", "SARRH", ("HR", "RRsd", "RRcv", "RMSSD")),
        ("atrial fibrillation", "AF_pooled_ptbxl_ludb_cinc", ("HR", "RRsd", "RRcv", "RMSSD")),
    ],
)
def test_rr_statistics_lie_among_those_of_real_recordings(finding, group, quantities):
    measured = rr_statistics(truths(finding, 100))
    outside = {}
    for name in quantities:
        real = REAL["rr"][group][name]
        low, high = (real["q"][1], real["q"][3]) if real["n"] >= 20 else (real["q"][0], real["q"][4])
        median = float(np.median(measured[name]))
        if not low <= median <= high:
            outside[name] = (median, low, high)
    assert outside == {}


def test_the_names_of_sinus_rates_are_kept():
    for finding, low, high in (("sinus bradycardia", 40, 60), ("sinus rhythm", 60, 100), ("sinus tachycardia", 100, 160)):
        rates = [truth.intervals["HR"] for truth in truths(finding, 25)]
        assert low <= min(rates) and max(rates) <= high


def test_sinus_arrhythmia_swings_by_more_than_120_ms():
    swings = [np.ptp(truth.rr) for truth in truths("sinus arrhythmia", 30)]
    assert min(swings) > 0.12


def test_fibrillation_has_no_p_wave_and_intervals_without_memory():
    correlations = []
    for truth in truths("atrial fibrillation", 40):
        assert (truth.marks["P"] == -1).all() and len(truth.p_alone) == 0
        correlations.append(np.corrcoef(truth.rr[1:], truth.rr[:-1])[0, 1])
        assert truth.rr.min() > 0.25
    # The estimate from n intervals is biased by -1/(n - 1).
    assert abs(np.mean(correlations)) < 0.15


@pytest.mark.slow
def test_f_waves_stand_above_what_the_subtraction_leaves_in_sinus_rhythm():
    measured = {}
    for finding in ("atrial fibrillation", "sinus rhythm"):
        made = [simulate(29, person=person, findings=[finding]) for person in range(60)]
        measured[finding] = np.median([atrial_rms(x.record.signal.astype(np.float64), x.truth.r_peaks) for x in made], axis=0)
    fibrillation, control = measured["atrial fibrillation"], measured["sinus rhythm"]
    for name in ("II", "III", "aVF", "V1", "V2"):
        lead = TWELVE.index(name)
        assert fibrillation[lead] > 1.4 * control[lead]
    for name in ("II", "aVF", "V1"):
        real = REAL["f_waves"]["AF"][f"rms49 {name}"]["q"]
        assert real[1] <= fibrillation[TWELVE.index(name)] <= real[3]


def test_the_fibrillation_s_dominant_frequency_is_4_to_9_hz():
    for person in range(15):
        made = simulate(29, person=person, findings=["atrial fibrillation"], noise=0.0, seconds=30.0)
        quiet = np.ones(made.truth.clean.shape[1], bool)
        for onset, _, _ in made.truth.marks["QRS"]:
            quiet[max(onset - 20, 0) : onset + 260] = False
        v1 = np.where(quiet, made.truth.clean[TWELVE.index("V1")], 0.0)
        power = np.abs(np.fft.rfft(v1 * np.hanning(v1.size))) ** 2
        f = np.fft.rfftfreq(v1.size, 1 / 500)
        band = (f > 3) & (f < 12)
        assert 3.5 <= f[band][power[band].argmax()] <= 9.0


def test_flutter_conducts_every_nth_wave():
    for truth in truths("atrial flutter", 20):
        cycles = [(truth.rr / length) for length in np.arange(0.195, 0.2355, 0.0005)]
        # Some cycle of 195–235 ms divides every interval to within the jitter of conduction.
        assert min(np.abs(x - np.round(x)).max() for x in cycles) < 0.08


def test_wenckebach_lengthens_pr_until_a_beat_is_dropped():
    for truth in truths("Mobitz type I atrioventricular block", 15, seconds=20.0):
        pr = (truth.marks["QRS"][:, 0] - truth.marks["P"][:, 0]) / 500
        whole = (truth.marks["QRS"][:, 0] >= 0) & (truth.marks["P"][:, 0] >= 0)
        steps = np.diff(pr[whole])
        drops = steps < -0.03
        assert drops.sum() >= 2 and (steps[~drops] > 0).all()
        assert len(truth.p_alone) >= 2
        # The pause is shorter than two sinus intervals, since PR starts short again.
        assert truth.rr.max() < 2.05 * np.median(np.diff(np.sort(np.concatenate([truth.marks["P"][:, 0], truth.p_alone[:, 0]])))) / 500


def test_mobitz_two_keeps_pr():
    for truth in truths("Mobitz type II atrioventricular block", 15, seconds=20.0):
        whole = (truth.marks["QRS"][:, 0] >= 0) & (truth.marks["P"][:, 0] >= 0)
        pr = (truth.marks["QRS"][:, 0] - truth.marks["P"][:, 0])[whole] / 500
        assert np.ptp(pr) <= 0.005
        assert len(truth.p_alone) >= 2


def test_in_complete_block_atria_and_ventricles_know_nothing_of_each_other():
    for truth in truths("third degree atrioventricular block", 15, seconds=20.0):
        assert (truth.marks["P"] == -1).all()
        pp = np.diff(truth.p_alone[:, 1]) / 500
        assert pp.max() < truth.rr.min()
        assert 25 <= truth.intervals["HR"] <= 60
        phase = (truth.r_peaks[:, None] - truth.p_alone[:, 1]) / 500
        pr = np.where(phase > 0, phase, np.inf).min(axis=1)
        assert np.std(pr[np.isfinite(pr)]) > 0.05


def test_a_premature_ventricular_beat_is_broad_early_and_paused_after():
    for truth in truths("premature ventricular contraction", 20):
        v = np.flatnonzero(truth.symbols == "V")
        assert len(v) >= 1
        widths = (truth.marks["QRS"][:, 2] - truth.marks["QRS"][:, 0]) / 500
        usual = np.median(truth.rr)
        for beat in v:
            if 0 < beat < len(truth.symbols) - 1:
                assert truth.marks["P"][beat, 1] == -1 and widths[beat] > 0.12
                assert truth.rr[beat - 1] < 0.85 * usual
                assert abs(truth.rr[beat - 1] + truth.rr[beat] - 2 * usual) < 0.3 * usual


def test_a_premature_atrial_beat_resets_the_sinus():
    for truth in truths("premature atrial contraction", 20):
        early = np.flatnonzero(truth.symbols == "A")
        assert len(early) >= 1
        usual = np.median(truth.rr)
        for beat in early:
            if 0 < beat < len(truth.symbols) - 1:
                assert truth.rr[beat - 1] < 0.88 * usual
                assert truth.rr[beat - 1] + truth.rr[beat] < 2.02 * usual


def test_bigeminy_alternates():
    for truth in truths("ventricular bigeminy", 10):
        assert (truth.symbols[:-1] != truth.symbols[1:]).all()


def test_a_spike_precedes_every_paced_beat():
    for person in range(10):
        made = simulate(23, person=person, findings=["pacing rhythm"], noise=0.0)
        steps = np.abs(np.diff(made.truth.clean, axis=1)).max(axis=0)
        assert set(made.truth.symbols) == {"/"}
        for onset in made.truth.marks["QRS"][:, 0]:
            if onset > 5:
                assert steps[onset - 4 : onset + 2].max() > 0.15


def test_qt_follows_the_rate_of_the_last_minute_not_of_the_last_beat():
    for truth in truths("atrial fibrillation", 15):
        whole = (truth.marks["T"][:, 2] >= 0) & (truth.marks["QRS"][:, 0] >= 0)
        qt = (truth.marks["T"][:, 2] - truth.marks["QRS"][:, 0])[whole] / 500
        assert qt.std() / qt.mean() < 0.35 * truth.rr.std() / truth.rr.mean()
    fast = np.median([truth.intervals["QT"] for truth in truths("sinus tachycardia", 20)])
    slow = np.median([truth.intervals["QT"] for truth in truths("sinus bradycardia", 20)])
    # Fridericia: QT goes with the cube root of RR; 114/min against 51/min.
    assert abs(fast / slow - (51 / 114) ** (1 / 3)) < 0.06
