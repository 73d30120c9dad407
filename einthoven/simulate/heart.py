"""From a person, a visit and a set of findings to a 12-lead record and its truth.

The parts: who (``anatomy``), what (``findings``), the waves of each kind of beat (``conduction``, ``ischaemia``), when
(``rhythm``, ``atria``), the electrodes (``noise``), what can be read off it (``criteria``). Every random choice is drawn from a
generator of (seed, person) or (seed, person, visit): the same arguments give the same record, in whatever order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from einthoven.leads import TWELVE, derive_limb_leads
from einthoven.record import Record
from einthoven.simulate import conduction, ischaemia, rhythm
from einthoven.simulate.anatomy import Heart, Person, at_visit, draw_person, rotation, turned
from einthoven.simulate.atria import fibrillation_waves, flutter_waves
from einthoven.simulate.criteria import Readings, read_beat, seen_findings
from einthoven.simulate.findings import FINDINGS, SINUS, draw_findings, resolve, with_causes
from einthoven.simulate.noise import electrode_noise, leads_from_electrodes
from einthoven.simulate.wave import QRS_THRESHOLD, Wave, curve

ST_START = 0.6  # the ST-T wave begins when 0.6 of the QRS is over: the first cells recover before the last are excited
# These leave a first negative wave in some leads that is no scar; and these explain ST-T and Q altogether.
_TURNED = frozenset({"left anterior fascicular block", "left posterior fascicular block", "right ventricular hypertrophy",
                     "left ventricular hypertrophy", "incomplete right bundle branch block"})  # fmt: skip
_WIDE = frozenset({"complete left bundle branch block", "complete right bundle branch block", "ventricular preexcitation",
                   "nonspecific intraventricular conduction disorder"})  # fmt: skip
_STEADY = frozenset({"premature atrial contraction", "premature ventricular contraction", "ventricular bigeminy",
                     "Mobitz type I atrioventricular block", "Mobitz type II atrioventricular block"})  # fmt: skip
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


def _with_findings(person: Person, names: frozenset[str], rng: np.random.Generator) -> Heart:
    """The waves of a conducted beat under everything in ``names`` that shapes it. Always draws the same number of streams."""
    heart, streams = person.heart, rng.spawn(8)
    if "first degree atrioventricular block" in names or "prolonged PR interval" in names:
        heart = replace(heart, pr=streams[0].uniform(0.212, 0.30))
    if "left ventricular hypertrophy" in names or "left ventricular strain" in names:
        strain = "left ventricular strain" in names or streams[1].random() < 0.4
        heart = conduction.left_ventricular_hypertrophy(heart, streams[1], strain=strain)
    if "right ventricular hypertrophy" in names:
        heart = conduction.right_ventricular_hypertrophy(heart, streams[1])
    for name, left in (("left atrial enlargement", True), ("right atrial hypertrophy", False)):
        if name in names:
            heart = conduction.atrial_enlargement(heart, streams[2], left=left)
    for name, anterior in (("left anterior fascicular block", True), ("left posterior fascicular block", False)):
        if name in names:
            heart = conduction.fascicular_block(heart, streams[3], anterior=anterior)
    if "complete left bundle branch block" in names:
        heart = conduction.left_bundle_branch_block(heart, streams[4])
    if "nonspecific intraventricular conduction disorder" in names:
        heart = conduction.nonspecific_delay(heart, streams[4])
    for wall in ischaemia.WALLS:
        if f"old {wall} myocardial infarction" in names:
            heart = ischaemia.scar(heart, wall, streams[5])
        if f"acute {wall} myocardial infarction" in names:
            heart = ischaemia.injury(heart, wall, streams[5])
    for name, complete in (("complete right bundle branch block", True), ("incomplete right bundle branch block", False)):
        if name in names:
            heart = conduction.right_bundle_branch_block(heart, streams[4], complete=complete)
    if "ventricular preexcitation" in names:
        heart = conduction.preexcitation(heart, streams[4], left=bool(streams[4].random() < 0.5))
    if "chronic myocardial ischaemia" in names:
        heart = ischaemia.subendocardial(heart, streams[6])
    if "T wave abnormality" in names:
        heart = ischaemia.flat_t(heart, streams[6])
    if "T wave inversion" in names:
        heart = ischaemia.inverted_t(heart, streams[6])
    if "prolonged QT interval" in names:
        heart = ischaemia.long_qt(heart, streams[7])
    return heart


def _until_seen(heart: Heart, field: np.ndarray, names: frozenset[str], rng: np.random.Generator) -> Heart:
    """Bring axis, voltage and R progression where ``names`` asks for them, by the readings of the beat itself."""
    axis = {"left axis deviation": rng.uniform(-55, -35), "right axis deviation": rng.uniform(95, 120)}
    for name, wanted in axis.items():
        aim = np.radians(wanted)
        for _ in range(12 if name in names else 0):
            heart = conduction.frontal(heart, aim)
            aim -= np.radians(0.8 * ((read_beat(heart, field).axis - wanted + 180) % 360 - 180))
    for _ in range(12 if "poor R wave progression" in names else 0):
        readings = read_beat(heart, field)
        if readings.lead("r", "V3") <= 0.27 and readings.lead("r", "V2") <= readings.lead("r", "V3"):
            break
        heart = ischaemia.poor_r_progression(heart, 0.06)
    if "low QRS voltages" in names:
        gain = rng.uniform(0.34, 0.47) / float(read_beat(heart, field).span[:6].max())
        heart = replace(heart, qrs=min(gain, 1.0) * heart.qrs, st_t=min(gain, 1.0) ** 0.7 * heart.st_t)
    return heart


def _rate(names: frozenset[str], person: Person, rng: np.random.Generator) -> float:
    """Sinus rate of the day, 1/min, within what the rhythm's name allows."""
    if "sinus bradycardia" in names:
        return float(rng.uniform(44, 57.5))
    if "sinus tachycardia" in names:
        return float(np.clip(rng.normal(114, 10), 102.5, 150))
    if names & {"Mobitz type I atrioventricular block", "Mobitz type II atrioventricular block"}:
        return float(np.clip(person.rate + 8, 72, 97))
    return float(np.clip(person.rate, 61.5, 97.5))


def _events(names: frozenset[str], person: Person, hearts: dict[str, Heart], rng: np.random.Generator, seconds: float):
    """Beats and P waves of the rhythm, and for flutter its (cycle, start of a wave)."""
    normal = hearts["normal"]
    rate = _rate(names, person, rng)
    rr = 60.0 / rate
    rr_sd = min(person.rr_sd, 0.05 * rr if names & {"sinus tachycardia"} else 0.09 * rr)
    if names & _STEADY:  # a steady sinus node, so that what is early or dropped stands out
        rr_sd = min(rr_sd, 0.02 * rr)
    if "sinus arrhythmia" in names:
        rr_sd = rr * float(np.clip(rng.normal(0.12, 0.025), 0.085, 0.19))
        rr = max(1.08 * rr, 60.0 / 76.0)
    # Vagal tone carries PR along with the rate.
    pr = normal.pr - (0.0004 * (rate - 67.0) if normal.pr < 0.2 and "ventricular preexcitation" not in names else 0.0)
    if "ventricular preexcitation" not in names:
        pr = max(pr, normal.p_seconds + 0.008)  # the AV node lets nothing through before the atria are done
    slow = "bradycardia" in names
    cycle = None
    chosen = names & {n for n, finding in FINDINGS.items() if finding.group in ("rhythm", "av")}
    if "atrial fibrillation" in names or "atrial flutter" in names or "supraventricular tachycardia" in names:
        chosen = chosen - SINUS
    if "third degree atrioventricular block" in chosen:
        atria = None if "atrial fibrillation" in names else rhythm.sinus_intervals(rng, 60.0 / rng.uniform(70, 98), 0.02, person.breathing, seconds)
        kind, symbol = ("escape", "e") if rng.random() < 0.55 else ("normal", "j")
        escape = 60.0 / (rng.uniform(28, 41) if symbol == "e" else rng.uniform(38, 54))
        events = rhythm.complete_block(atria, rng, escape, kind, symbol, seconds)
    elif "pacing rhythm" in chosen:
        atria = rhythm.sinus_intervals(rng, rr, rr_sd, person.breathing, seconds) if rng.random() < 0.5 else None
        events = rhythm.paced(atria, rng, 60.0 / float(rng.choice([60, 60, 65, 70, 75])), rng.uniform(0.14, 0.18), seconds)
    elif "atrial fibrillation" in chosen:
        mean = 60.0 / (rng.uniform(44, 56) if slow else float(np.clip(np.exp(rng.normal(np.log(84), 0.23)), 62, 160)))
        events = rhythm.fibrillation(rng, mean, float(np.clip(rng.normal(0.215, 0.045), 0.13, 0.32)), seconds)
    elif "atrial flutter" in chosen:
        length = rng.uniform(0.195, 0.235)
        ratio = int(rng.choice([5, 6])) if slow else [2, 2, 3, 4, None, None][rng.integers(6)]
        events = rhythm.flutter(rng, length, ratio, seconds)
        cycle = (length, events.beats[0].time + rng.uniform(0.0, length))
    elif "supraventricular tachycardia" in chosen:
        events = rhythm.supraventricular_tachycardia(rng, 60.0 / rng.uniform(152, 205), rng.uniform(0.08, 0.12) if rng.random() < 0.5 else None, seconds)
    else:
        if "ventricular bigeminy" in names:
            rr = max(rr, 0.72)
        onsets = rhythm.sinus_intervals(rng, rr, rr_sd, person.breathing, seconds)
        if "Mobitz type I atrioventricular block" in names:
            events = rhythm.wenckebach(onsets, rng, max(pr, 0.17), int(rng.integers(3, 6)))
        elif "Mobitz type II atrioventricular block" in names:
            events = rhythm.mobitz(onsets, rng, pr, [3, 4, None][rng.integers(3)])
        elif "premature atrial contraction" in names:
            events = rhythm.premature_atrial(rng, onsets, pr, seconds, aberrant="aberrant" in hearts)
        else:
            events = rhythm.sinus(onsets, pr)
    if names & {"premature ventricular contraction", "ventricular bigeminy"}:
        pattern = "bigeminy" if "ventricular bigeminy" in names else "single"
        events = rhythm.premature_ventricular(rng, events, seconds, pattern, rng.uniform(0.5, 0.66))
    return events, cycle


def _hearts(names: frozenset[str], normal: Heart, rng: np.random.Generator) -> dict[str, Heart]:
    """The waves of every kind of beat that a record may have."""
    hearts, streams = {"normal": normal}, rng.spawn(4)
    if names & {"premature ventricular contraction", "ventricular bigeminy"}:
        origin = ["outflow", "outflow", "left", "apex"][streams[0].integers(4)]
        hearts["ventricular"] = conduction.ventricular_beat(normal, streams[0], origin=origin)
    if "pacing rhythm" in names:
        hearts["paced"] = conduction.ventricular_beat(normal, streams[1], origin="apex")
    if "third degree atrioventricular block" in names:
        hearts["escape"] = conduction.ventricular_beat(normal, streams[2], origin=["left", "apex"][streams[2].integers(2)])
    if "premature atrial contraction" in names and streams[3].random() < 0.3 and normal.qrs_seconds < 0.12:
        hearts["aberrant"] = conduction.right_bundle_branch_block(normal, streams[3])
    return hearts


class _Tracing:
    """Atria (x, y, z) and ventricles (x, y, z, near, near) over time, that waves are laid into."""

    def __init__(self, n_samples: int, fs: float):
        self.fs, self.n_samples = fs, n_samples
        self.atria, self.ventricles = np.zeros((3, n_samples)), np.zeros((5, n_samples))

    def lay(self, wave: Wave, onset: float, offset: float, gain: float = 1.0) -> np.ndarray:
        """Add a wave; its onset, peak and offset as sample indices, −1 outside the record."""
        first, last = wave.support(onset, offset)
        start, stop = max(int(np.ceil(first * self.fs)), 0), min(int(np.floor(last * self.fs)) + 1, self.n_samples)
        if stop > start:
            vector = self.atria if len(wave.control) == 3 else self.ventricles
            vector[:, start:stop] += gain * wave.at(np.arange(start, stop) / self.fs, onset, offset)
        peak = onset + (wave.peak - wave.onset) / (wave.offset - wave.onset) * (offset - onset)
        return self.index(onset, peak, offset)

    def index(self, *instants: float) -> np.ndarray:
        samples = np.round(np.array(instants) * self.fs).astype(np.int64)
        return np.where((samples >= 0) & (samples < self.n_samples), samples, -1)


def _t_marks(wave: Wave) -> tuple[float, float]:
    """Where on 0…1 the T wave leaves the ST segment, and its peak."""
    u = np.linspace(0.0, 1.0, 201)
    v = curve(wave.control[:3], u)
    level = v[:, 44]  # about 40 ms after the J point
    away = np.sqrt(((v - level[:, None]) ** 2).sum(axis=0))
    away[:44] = 0.0
    tail = np.sqrt((v**2).sum(axis=0))
    peak = 44 + int(np.maximum(away, tail)[44:].argmax())
    below = np.flatnonzero(away[44 : peak + 1] < 0.12 * away[peak])
    return float(u[44 + (below[-1] if below.size else 0)]), float(u[peak])


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
    n_samples = int(round(seconds * fs))

    born = draw_person(_generator(seed, _PERSON, person))
    who = at_visit(born, _generator(seed, _VISIT, person, visit))
    if findings is None:
        names = draw_findings(_generator(seed, _DAY, person), _generator(seed, _DAY, person, visit))
    else:
        names = with_causes(resolve(findings), _generator(seed, _DAY, person))

    # What a person has looks alike at every visit, so its shape is drawn from the person's generator.
    normal = _with_findings(who, names, _generator(seed, _RHYTHM, person))
    normal = _until_seen(normal, who.field, names, _generator(seed, _RHYTHM, person, 0))
    hearts = _hearts(names, normal, _generator(seed, _RHYTHM, person, 1))
    rng = _generator(seed, _RHYTHM, person, visit, 2)
    events, flutter_cycle = _events(names, who, hearts, rng, seconds)

    tracing = _Tracing(n_samples, fs)
    truth_marks, symbols, p_alone, kinds = _lay_beats(tracing, events, hearts, rng)
    t = np.arange(n_samples) / fs
    if "atrial fibrillation" in names:
        tracing.atria += fibrillation_waves(rng, t)
    elif flutter_cycle is not None:
        tracing.atria += flutter_waves(rng, t, *flutter_cycle)

    breath = rhythm.breathing(rng, t, who.breathing)
    if events.spikes:
        tracing.ventricles += _spikes(events.spikes, t, fs, rng)
    eight = who.field @ _breathe(tracing.ventricles, who.tilt, breath) + who.atrial_field @ _breathe(tracing.atria, who.tilt, breath)
    clean = _twelve(eight)
    if noise > 0:
        potentials = electrode_noise(_generator(seed, _NOISE, person, visit), n_samples, fs, who.electrodes, breath)
        eight = eight + noise * leads_from_electrodes(potentials)
    signal = _twelve(eight)

    truth = _truth(truth_marks, symbols, p_alone, kinds, names, hearts, who, clean, fs)
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


def _lay_beats(tracing: _Tracing, events: rhythm.Events, hearts: dict[str, Heart], rng: np.random.Generator):
    """Lay P, QRS and ST-T of every event; marks of the beats whose QRS peak is in the record, and of the P waves without a beat."""
    waves = {kind: (Wave.of(h.p), Wave.of(h.qrs, QRS_THRESHOLD), Wave.of(h.st_t, 0.10)) for kind, h in hearts.items()}
    t_marks = {kind: _t_marks(wave[2]) for kind, wave in waves.items()}
    base = hearts["normal"]
    shapes = {"sinus": waves["normal"][0], "ectopic": None, "retrograde": None}
    turn = rng.normal(0.0, 0.5, 3)
    shapes["ectopic"] = Wave.of(turned(base.p, rotation(turn + np.array([0.0, 0.0, rng.choice([-1.0, 0.6])]))))
    shapes["retrograde"] = Wave.of(turned(base.p, rotation(np.array([0.0, 0.0, np.pi * 1.05]))) * 0.8)
    p_marks = []
    for onset, kind in events.p:
        p_marks.append(tracing.lay(shapes[kind], onset, onset + base.p_seconds, 1.0 + 0.04 * rng.standard_normal()))

    gaps = np.diff([beat.time for beat in events.beats], prepend=np.nan)
    gaps[0] = np.nanmedian(gaps) if len(gaps) > 1 else 1.0
    slow_rr = float(np.median(gaps))
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    symbols, kinds, conducted = [], [], set()
    for beat, gap in zip(events.beats, gaps, strict=True):
        heart, (_, qrs, st_t) = hearts[beat.kind], waves[beat.kind]
        slow_rr += (gap - slow_rr) * (1.0 - np.exp(-gap / 60.0))  # QT follows the rate of the last minute
        fast = 0.06 * (np.clip(gap, 0.4 * slow_rr, 1.6 * slow_rr) - slow_rr)  # and, a little, the last interval
        qt = heart.qtc * slow_rr ** (1 / 3) + fast
        gain = 1.0 + 0.018 * rng.standard_normal()
        qrs_end = beat.time + heart.qrs_seconds
        qrs_marks = tracing.lay(qrs, beat.time, qrs_end, gain)
        # ST-T: its support begins within the QRS, its visible end is QT after the onset.
        start, end = beat.time + ST_START * heart.qrs_seconds, beat.time + qt
        per_u = (end - start) / st_t.offset
        tracing.lay(st_t, start + st_t.onset * per_u, end, gain * (1.0 + 0.02 * rng.standard_normal()))
        leaves, peaks = t_marks[beat.kind]
        marks = tracing.index(start + leaves * per_u, start + peaks * per_u, end)
        if qrs_marks[1] < 0:
            conducted.add(beat.p)  # its P wave is no lonely one, though the beat lies outside
            continue
        p = p_marks[beat.p] if beat.p >= 0 else np.full(3, -1)
        conducted.add(beat.p)
        rows.append((p, qrs_marks, marks))
        symbols.append(beat.symbol)
        kinds.append(beat.kind)
    marks = {name: np.array([row[i] for row in rows], dtype=np.int64).reshape(-1, 3) for i, name in enumerate(("P", "QRS", "T"))}
    alone = [mark for i, mark in enumerate(p_marks) if i not in conducted and mark[1] >= 0]
    return marks, np.array(symbols, dtype="<U1"), np.array(alone, dtype=np.int64).reshape(-1, 3), kinds


def _breathe(vector: np.ndarray, tilt: np.ndarray, breath: np.ndarray) -> np.ndarray:
    """Turn the dipole about ``tilt`` by its length (rad) times ``breath`` (time,): Rodrigues' formula, sample by sample."""
    angle = float(np.linalg.norm(tilt))
    if angle == 0.0:
        return vector
    axis = tilt / angle
    dipole = vector[:3]
    across = np.stack([axis[1] * dipole[2] - axis[2] * dipole[1], axis[2] * dipole[0] - axis[0] * dipole[2], axis[0] * dipole[1] - axis[1] * dipole[0]])
    along = axis[:, None] * (axis @ dipole)
    c, s = np.cos(angle * breath), np.sin(angle * breath)
    return np.concatenate([dipole * c + across * s + along * (1.0 - c), vector[3:]])


def _spikes(times: list[float], t: np.ndarray, fs: float, rng: np.random.Generator) -> np.ndarray:
    """Pacing spikes of 1.5 ms as the sampled record holds them: each sample the mean over its interval."""
    height = rng.uniform(0.8, 2.5) * np.array([-0.35, 0.75, -0.3])
    out = np.zeros((5, t.size))
    edges = np.append(t, t.size / fs) - 0.5 / fs
    for time in times:
        covered = np.clip(np.minimum(edges[1:], time - 0.002 + 0.0015) - np.maximum(edges[:-1], time - 0.002), 0.0, None)
        out[:3] += height[:, None] * covered * fs
    return out


def _truth(marks, symbols, p_alone, kinds, names, hearts, who: Person, clean, fs) -> Truth:
    """Gather what was made and read off what is seen."""
    names = set(names)
    conducted = "normal" if "paced" not in hearts else "paced"
    if kinds and "escape" in kinds:
        conducted = "escape"
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
    readings: Readings = read_beat(heart, who.field)
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
