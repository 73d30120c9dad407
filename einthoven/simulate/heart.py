"""From a person, a visit and a set of findings to a 12-lead record and its truth.

The parts: who (``anatomy``), what (``findings``), the waves of each kind of beat (``disease``: ``conduction``, ``ischaemia``),
when (``course``: ``rhythm``; ``atria``), laid on a time line (``tracing``), the electrodes (``noise``), what can be read off it
(``criteria``). Every random choice is drawn from a generator of (seed, person) or (seed, person, visit): the same arguments give
the same record, in whatever order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from einthoven.leads import TWELVE, derive_limb_leads
from einthoven.record import Record
from einthoven.simulate.anatomy import Heart, Person, at_visit, draw_person
from einthoven.simulate.atria import fibrillation_waves, flutter_waves
from einthoven.simulate.course import course
from einthoven.simulate.criteria import read_beat, seen_findings
from einthoven.simulate.disease import kinds_of_beats, until_seen, with_findings
from einthoven.simulate.findings import FINDINGS, SINUS, draw_findings, resolve, with_causes
from einthoven.simulate.noise import electrode_noise, leads_from_electrodes
from einthoven.simulate.rhythm import breathing
from einthoven.simulate.tracing import Tracing, breathe, lay_beats, spikes

# These leave a first negative wave in some leads that is no scar; and these explain ST-T and Q altogether.
_TURNED = frozenset({"left anterior fascicular block", "left posterior fascicular block", "right ventricular hypertrophy",
                     "left ventricular hypertrophy", "incomplete right bundle branch block"})  # fmt: skip
_WIDE = frozenset({"complete left bundle branch block", "complete right bundle branch block", "ventricular preexcitation",
                   "nonspecific intraventricular conduction disorder"})  # fmt: skip
_BLOCKED = frozenset({"Mobitz type I atrioventricular block", "Mobitz type II atrioventricular block"})
_PERSON, _VISIT, _DAY, _RHYTHM, _NOISE = range(5)


@dataclass(frozen=True, eq=False)
class Truth:
    """What the simulated heart did. Sample indices are of the record; −1: the wave is absent or lies outside of it.

    marks    : wave ("P", "QRS", "T") -> (beat, 3) int64: onset, peak, offset; global over the leads (of the dipole's length)
    symbols  : (beat,) MIT-BIH beat code: N, A, V, /, j, e
    p_alone  : (wave, 3) P waves that led to no beat (blocked, dissociated)
    rhythm   : name of the rhythm; findings: all names that hold, of FINDINGS
    clean    : (lead, time) float64 mV, the record without noise
    rr       : (beat - 1,) seconds between QRS onsets
    intervals: of the normal beats: "HR" 1/min; "PR", "QRS", "QT", "QTc" (Bazett) ms; "axis" degrees; NaN where there is none
    """

    marks: Mapping[str, np.ndarray]
    symbols: np.ndarray
    p_alone: np.ndarray
    rhythm: str
    findings: frozenset[str]
    clean: np.ndarray
    rr: np.ndarray
    intervals: Mapping[str, float]

    @property
    def r_peaks(self) -> np.ndarray:
        """(beat,) sample index of every QRS peak."""
        return self.marks["QRS"][:, 1]


@dataclass(frozen=True, eq=False)
class Simulated:
    """A record and the truth about it."""

    record: Record
    truth: Truth


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng([seed, *key])


def simulate(
    seed: int = 0,
    *,
    person: int = 0,
    visit: int = 0,
    seconds: float = 10.0,
    fs: float = 500.0,
    findings: Collection[str] | None = None,
    noise: float = 1.0,
) -> Simulated:
    """A 12-lead ECG of a simulated person, with its truth.

    seed     : the population; ``person`` one of it, ``visit`` one of his or her recordings
    findings : names of FINDINGS (or their abbreviations), None: drawn for the person and the visit. What follows from them, an
               axis or a T wave, is found in the result's ``truth.findings`` and ``record.labels``
    noise    : factor on all noise; 0: none
    returns  : ``Simulated(record, truth)``; the record has 12 leads, labels by SNOMED CT code, age and sex in ``meta``

    The laws of the limb leads hold to float rounding. Raises ValueError for an unknown finding (with the nearest names), for two
    that contradict each other, and for numbers that make no record.
    """
    for name, value in (("seed", seed), ("person", person), ("visit", visit)):
        if not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"expected {name} to be an integer of at least 0; got {value!r}")
    if not (np.isfinite(seconds) and np.isfinite(fs) and fs >= 50 and seconds * fs >= 1):
        raise ValueError(f"expected fs of at least 50 Hz and at least one sample; got fs={fs}, seconds={seconds}")
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"expected noise of at least 0; got {noise}")
    n_samples = round(seconds * fs)

    born = draw_person(_generator(seed, _PERSON, person))
    who = at_visit(born, _generator(seed, _VISIT, person, visit))
    if findings is None:
        names = draw_findings(_generator(seed, _DAY, person), _generator(seed, _DAY, person, visit))
    else:
        names = with_causes(resolve(findings), _generator(seed, _DAY, person))

    # What a person has looks alike at every visit, so its shape is drawn from the person's generator.
    normal = with_findings(who, names, _generator(seed, _RHYTHM, person))
    normal = until_seen(normal, who.field, names, _generator(seed, _RHYTHM, person, 0))
    hearts = kinds_of_beats(names, normal, _generator(seed, _RHYTHM, person, 1))
    rng = _generator(seed, _RHYTHM, person, visit, 2)
    events, flutter_cycle = course(names, who, hearts, rng, seconds)

    tracing = Tracing(n_samples, fs)
    marks, symbols, p_alone = lay_beats(tracing, events, hearts, rng)
    t = np.arange(n_samples) / fs
    if "atrial fibrillation" in names:
        tracing.atria += fibrillation_waves(rng, t)
    elif flutter_cycle is not None:
        tracing.atria += flutter_waves(rng, t, *flutter_cycle)

    breath = breathing(rng, t, who.breathing)
    if events.spikes:
        tracing.ventricles += spikes(events.spikes, t, fs, rng)
    eight = who.field @ breathe(tracing.ventricles, who.tilt, breath) + who.atrial_field @ breathe(tracing.atria, who.tilt, breath)
    eight[2:] *= 1.0 - who.air[:, None] * breath
    clean = _twelve(eight)
    if noise > 0:
        potentials = electrode_noise(_generator(seed, _NOISE, person, visit), n_samples, fs, who.electrodes, breath)
        eight = eight + noise * leads_from_electrodes(potentials)
    signal = _twelve(eight)

    truth = _truth(marks, symbols, p_alone, names, hearts, who, clean, fs)
    labels = {FINDINGS[name].code: 1.0 for name in sorted(truth.findings)}
    record = Record(
        signal=signal,
        fs=fs,
        leads=TWELVE,
        record=f"{seed}-{person}-{visit}",
        patient=f"P{person:05d}",
        labels=labels,
        label_system="SNOMED CT",
        meta={"age": born.age, "sex": born.sex},
    )
    return Simulated(record, truth)


def _twelve(eight: np.ndarray) -> np.ndarray:
    """I II V1 … V6 -> the order of TWELVE."""
    return np.concatenate([eight[:2], derive_limb_leads(eight[0], eight[1]), eight[2:]])


def _truth(
    marks: Mapping[str, np.ndarray],
    symbols: np.ndarray,
    p_alone: np.ndarray,
    made: frozenset[str],
    hearts: Mapping[str, Heart],
    who: Person,
    clean: np.ndarray,
    fs: float,
) -> Truth:
    """What was made, and what is seen: the findings that follow from the beat, the intervals and the rate."""
    names = set(made)
    conducted = next((kind for kind in ("paced", "escape") if kind in hearts), "normal")
    heart = hearts[conducted]
    own = np.isin(symbols, ["N", "/", "j", "e"])
    onsets = marks["QRS"][:, 0].astype(float)
    peaks = marks["QRS"][:, 1]
    rr = np.diff(peaks) / fs
    rate = 60.0 / float(np.mean(rr)) if rr.size else np.nan
    has_pr = own & (marks["P"][:, 0] >= 0) & (onsets >= 0)
    has_qt = own & (marks["T"][:, 2] >= 0) & (onsets >= 0)
    pr = float(np.median((onsets - marks["P"][:, 0])[has_pr])) / fs if has_pr.any() else np.nan
    qt = float(np.median((marks["T"][:, 2] - onsets)[has_qt])) / fs if has_qt.any() else np.nan
    qtc = qt / np.sqrt(60.0 / rate) if rr.size else np.nan
    readings = read_beat(heart, who.field)
    wide = conducted != "normal" or bool(names & _WIDE)
    if conducted == "normal" or conducted == "escape":
        # Bazett overcorrects a fast heart: above 100/min no QT is called long by it.
        qtc_for_label = heart.qtc if not np.isfinite(qtc) or rate > 100 or rate < 60 else max(min(qtc, heart.qtc + 0.02), heart.qtc)
        if conducted == "normal":
            turned = bool(names & _TURNED)
            names |= seen_findings(readings, qtc_bazett=qtc_for_label, age=who.age, sex=who.sex, wide=wide, turned=turned)
    if names & {"complete left bundle branch block", "complete right bundle branch block"}:
        names.add("bundle branch block")
    if np.isfinite(pr) and pr > 0.2 and not names & {"third degree atrioventricular block", "pacing rhythm"}:
        names.add("prolonged PR interval")
        if not names & {"Mobitz type I atrioventricular block", "Mobitz type II atrioventricular block"}:
            names.add("first degree atrioventricular block")
    sinus_alone = names & {"sinus rhythm", "sinus bradycardia"} and set(symbols) == {"N"} and not names & _BLOCKED
    if sinus_alone and rr.size >= 3 and rr.std() > 0.08 * rr.mean():  # a young heart may breathe that much without being asked to
        names.add("sinus arrhythmia")
    if rate < 60 and not names & SINUS and "pacing rhythm" not in names:
        names.add("bradycardia")
    if names & {"T wave inversion", "chronic myocardial ischaemia"}:
        names.add("T wave abnormality")
    if names - {"sinus rhythm"} and "sinus rhythm" in names:
        names.discard("sinus rhythm")
    rhythm_name = next((n for n in sorted(names) if FINDINGS[n].group == "rhythm"), None)
    if rhythm_name is None:
        rhythm_name = "third degree atrioventricular block" if "third degree atrioventricular block" in names else "sinus rhythm"
    intervals = {
        "HR": rate,
        "PR": 1000 * pr,
        "QRS": 1000 * heart.qrs_seconds,
        "QT": 1000 * qt,
        "QTc": 1000 * qtc,
        "axis": readings.axis,
    }
    return Truth(marks, symbols, p_alone, rhythm_name, frozenset(names), clean, rr, intervals)
