"""The mistakes that are made with limb leads, made on purpose: simulated hearts and real ones, of which each law-abiding recording is a witness."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from einthoven import io
from einthoven.leads import LIMB, TWELVE, derive_limb_leads
from einthoven.signal.electrodes import suspected_electrodes
from einthoven.signal.interference import measure
from einthoven.signal.limb import explain_limb_leads
from einthoven.simulate import simulate

HEARTS = [simulate(3, person=person, seconds=10.0, fs=500.0).record for person in range(6)]


def limb(record):
    return record.signal[[record.leads.index(name) for name in LIMB]].copy()


@pytest.mark.parametrize("record", HEARTS[:3])
def test_a_sound_recording_is_not_accused(record):
    assert explain_limb_leads(record.signal, record.leads) is None
    rounded = np.rint(record.signal * 200) / 200  # 5 µV
    assert explain_limb_leads(rounded, record.leads) is None
    drifted = record.signal + np.arange(12, dtype=np.float32)[:, None]  # an offset of its own for each lead
    assert explain_limb_leads(drifted, record.leads) is None


@pytest.mark.parametrize(("one", "two"), list(combinations(LIMB, 2)))
def test_two_interchanged_leads_are_named(one, two):
    for record in HEARTS:
        signal = limb(record)
        signal[[LIMB.index(one), LIMB.index(two)]] = signal[[LIMB.index(two), LIMB.index(one)]]
        found = explain_limb_leads(signal, LIMB)
        assert found is not None and found.kind == "interchanged" and set(found.leads) == {one, two}
        assert found.remedy[one] == (two, 1.0) and found.remedy[two] == (one, 1.0)
        assert found.residual_after < 0.01 * found.residual and f"{one} and {two} are interchanged" in found.sentence


@pytest.mark.parametrize("lead", LIMB)
def test_an_inverted_lead_is_named_also_minus_avr(lead):
    signal = limb(HEARTS[0])
    signal[LIMB.index(lead)] *= -1
    found = explain_limb_leads(signal, LIMB)
    assert (found.kind, found.leads, dict(found.remedy)) == ("inverted", (lead,), {lead: (lead, -1.0)})
    assert f"{lead} is inverted" in found.sentence


@pytest.mark.parametrize("factor", [0.2, 2.0, 5.0, -3.0])
def test_one_lead_of_another_scale_is_told_with_its_factor(factor):
    signal = limb(HEARTS[1])
    signal[4] *= factor
    found = explain_limb_leads(signal, LIMB)
    assert found.kind == "scaled" and found.leads == ("aVL",)
    assert found.remedy["aVL"] == ("aVL", pytest.approx(1 / factor, rel=0.02))
    np.testing.assert_allclose(signal[4] * found.remedy["aVL"][1], limb(HEARTS[1])[4], atol=0.02)


def test_a_factor_for_every_lead_is_found_and_mends_the_laws():
    original = limb(HEARTS[2])
    signal = original / np.ptp(original, axis=1, keepdims=True)
    found = explain_limb_leads(signal, LIMB)
    assert found.kind == "scales" and found.leads == LIMB
    mended = np.stack([signal[row] * found.remedy[name][1] for row, name in enumerate(LIMB)])
    np.testing.assert_allclose(mended[2:], derive_limb_leads(mended[0], mended[1]), atol=0.01 * np.abs(mended).max())
    ratio = np.std(mended, axis=1) / np.std(original, axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=0.02)


def test_a_lead_that_is_another_signal_is_foreign():
    signal = limb(HEARTS[0])
    signal[5] = HEARTS[3].signal[9]
    found = explain_limb_leads(signal, LIMB)
    assert (found.kind, found.leads) == ("foreign", ("aVF",)) and "correlation" in found.sentence and not found.remedy


def test_a_moment_does_not_accuse_the_whole_recording():
    signal = limb(HEARTS[0])
    signal[3, 1000:1100] += 8.0
    found = explain_limb_leads(signal, LIMB)
    assert (found.kind, found.leads) == ("momentary", ("aVR",)) and "2.0 % of the time" in found.sentence


def test_noise_in_every_lead_is_not_explained_away():
    signal = limb(HEARTS[0]) + 0.2 * np.random.default_rng(0).standard_normal((6, 5000)).astype(np.float32)
    found = explain_limb_leads(signal, LIMB)
    assert found.kind == "unexplained" and found.residual == found.residual_after > 0.1


def test_what_is_not_there_is_not_needed():
    signal = limb(HEARTS[0])
    assert explain_limb_leads(signal[:2], LIMB[:2]) is None
    assert explain_limb_leads(signal[[0, 1, 3]] * [[1], [1], [-1]], ("I", "II", "aVR")).leads == ("aVR",)
    holed = signal.copy()
    holed[2], holed[0, :50] = np.nan, np.nan
    assert explain_limb_leads(holed, LIMB) is None
    holed[4] *= -1
    assert explain_limb_leads(holed, LIMB).leads == ("aVL",)
    assert explain_limb_leads(signal[:, :0], LIMB) is None and explain_limb_leads(0 * signal, LIMB) is None


# ------------------------------------------------------------------------------------------------------------- real hearts


@pytest.fixture(scope="module")
def real(data_root):
    """Every third of the records of six corpora that obey the laws by their making."""
    paths = [
        path for folder in ("cinc2021", "ptb-xl/records500", "ptb-xl/records100") for path in sorted((data_root / folder).rglob("*.hea"))
    ]
    records = [io.read(path, stop=10.0) for path in paths[::3]]
    return [record for record in records if set(LIMB) <= set(record.leads)]


@pytest.mark.data
def test_no_law_abiding_real_recording_is_accused(real):
    assert len(real) > 150
    assert [record for record in real if explain_limb_leads(record.signal, record.leads) is not None] == []


@pytest.mark.data
def test_mistakes_planted_in_real_recordings_are_named(real):
    hits = {"interchanged": 0, "inverted": 0, "scaled": 0}
    rng = np.random.default_rng(0)
    for record in real:
        one, two = rng.choice(6, 2, replace=False)
        signal = limb(record)
        signal[[one, two]] = signal[[two, one]]
        found = explain_limb_leads(signal, LIMB)
        hits["interchanged"] += found is not None and set(found.leads) == {LIMB[one], LIMB[two]}
        signal = limb(record)
        signal[one] *= -1
        found = explain_limb_leads(signal, LIMB)
        hits["inverted"] += found is not None and (found.kind, found.leads) == ("inverted", (LIMB[one],))
        signal = limb(record)
        signal[one] *= 2
        found = explain_limb_leads(signal, LIMB)
        hits["scaled"] += found is not None and (found.kind, found.leads) == ("scaled", (LIMB[one],))
    assert min(hits.values()) >= 0.97 * len(real), (hits, len(real))


@pytest.mark.data
def test_ludbs_header_gains_come_out_as_leads_of_different_scales(data_root):
    paths = sorted((data_root / "ludb").rglob("*.hea"))[::10]
    assert len(paths) >= 10
    for path in paths:
        record = io.read(path)
        found = explain_limb_leads(record.signal, record.leads)
        assert found.kind == "scales" and "different scales" in found.sentence, path


# ------------------------------------------------------------------------------------------------------------- electrodes


def electrodes_of(signal: np.ndarray, fs: float) -> list[str]:
    return [words for _, words in suspected_electrodes(measure(signal, fs).together, TWELVE)]


def arms_interchanged(signal: np.ndarray) -> np.ndarray:
    """What is recorded when the electrodes of the arms change places: the laws hold."""
    i, ii, iii, avr, avl, avf = signal[:6]
    return np.concatenate([np.stack([-i, iii, ii, avl, avr, avf]), signal[6:]])


@pytest.mark.data
def test_interchanged_electrodes_are_suspected_in_most_and_rarely_where_they_are_right(real):
    whole = [record for record in real if set(TWELVE) <= set(record.leads)]
    twelve = [(record.signal[[record.leads.index(name) for name in TWELVE]], record.fs) for record in whole]
    wrong = sum(bool(electrodes_of(signal, fs)) for signal, fs in twelve)
    assert wrong <= 0.025 * len(twelve)
    arms = sum(any("arms" in words for words in electrodes_of(arms_interchanged(signal), fs)) for signal, fs in twelve)
    assert arms >= 0.8 * len(twelve)
    assert all(explain_limb_leads(arms_interchanged(signal), TWELVE) is None for signal, _ in twelve[:20])
    ends = [6 + place for place in (5, 1, 2, 3, 4, 0)]
    chest = sum(any("V1 and V6" in words for words in electrodes_of(signal[[*range(6), *ends]], fs)) for signal, fs in twelve)
    assert chest >= 0.85 * len(twelve)


def test_an_arm_electrode_on_the_leg_leaves_a_silent_lead():
    signal = HEARTS[0].signal.copy()
    signal[1] *= 0.02
    assert any("lead II is nearly silent" in words for words in electrodes_of(signal, 500.0))
