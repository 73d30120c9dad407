"""When the atria and the ventricles are excited: a list of P waves and a list of beats, for each rhythm.

Times are in seconds; a P wave is named by its onset, a beat by the onset of its QRS. Rhythms begin before 0 and run past the
end, so that a record opens in the middle of things.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BEFORE, AFTER = 3.0, 1.5  # seconds simulated around the record


@dataclass(frozen=True)
class Beat:
    """An excitation of the ventricles.

    time   : QRS onset, s
    symbol : MIT-BIH code: N normal, A premature atrial, V premature ventricular, / paced, j junctional and e ventricular escape
    kind   : which waves it has: "normal", "aberrant", "ventricular", "paced", "escape"
    p      : index of the P wave that led to it, -1 where none did
    """

    time: float
    symbol: str = "N"
    kind: str = "normal"
    p: int = -1


@dataclass
class Events:
    """P waves as (onset, kind: "sinus", "ectopic" or "retrograde"), beats in order, pacing spikes (time)."""

    p: list[tuple[float, str]] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    spikes: list[float] = field(default_factory=list)


def breathing(rng: np.random.Generator, time: np.ndarray, rate: float) -> np.ndarray:
    """Lung volume, −1 … 1: inspiration quicker than expiration, no two breaths the same."""
    phase = 2 * np.pi * (rate * time + rng.uniform()) + 0.5 * np.sin(2 * np.pi * 0.07 * time + rng.uniform(0, 2 * np.pi))
    depth = 1.0 + 0.12 * np.sin(2 * np.pi * 0.05 * time + rng.uniform(0, 2 * np.pi))
    return depth * np.sin(phase + 0.35 * np.sin(phase))


def sinus_intervals(rng: np.random.Generator, rr: float, rr_sd: float, breath_rate: float, seconds: float) -> np.ndarray:
    """Onsets of the sinus node from −BEFORE to seconds + AFTER: respiration, the 0.1-Hz wave, a slow drift and chance.

    The share of each in the variance follows short-term norms (LF/HF 1–2); respiration shortens RR in inspiration.
    """
    share = rng.dirichlet([3.0, 3.0, 1.0, 1.0])
    high, low, slow, chance = np.sqrt(2.0 * share) * rr_sd
    phases = rng.uniform(0, 2 * np.pi, 3)
    times = [-BEFORE - rng.uniform(0, rr)]
    while times[-1] < seconds + AFTER:
        t = times[-1]
        change = (
            high * np.sin(2 * np.pi * breath_rate * t + phases[0])
            + low * np.sin(2 * np.pi * 0.1 * t + phases[1])
            + slow * np.sin(2 * np.pi * 0.03 * t + phases[2])
            + chance / np.sqrt(2.0) * rng.standard_normal()
        )
        times.append(t + max(0.3, rr + change))
    return np.array(times)


def sinus(onsets: np.ndarray, pr: float) -> Events:
    """Every P wave is conducted after the same time."""
    return Events([(t, "sinus") for t in onsets], [Beat(t + pr, p=i) for i, t in enumerate(onsets)])


def premature_atrial(rng: np.random.Generator, onsets: np.ndarray, pr: float, seconds: float, *, aberrant: bool) -> Events:
    """Now and then an early P from elsewhere in the atria, which resets the sinus node; with ``aberrant`` its QRS may widen."""
    steps = np.diff(onsets)
    inside = np.flatnonzero((onsets[1:-1] > 0.8) & (onsets[1:-1] < seconds - 0.8)) + 1
    n_extra = int(min(1 + rng.poisson(seconds / 9.0), max(1, inside.size // 3)))
    early: set[int] = set()
    for step in rng.permutation(inside):
        if len(early) < n_extra and not {step - 1, step + 1, step - 2, step + 2} & early:
            early.add(int(step))
    events, t, coupling = Events(), float(onsets[0]), rng.uniform(0.56, 0.74)
    for i, step in enumerate(steps):
        is_early = i in early
        events.p.append((t, "ectopic" if is_early else "sinus"))
        wide = aberrant and is_early and rng.random() < 0.5
        delay = pr + (rng.uniform(0.0, 0.04) if is_early else 0.0)
        events.beats.append(Beat(t + delay, "A" if is_early else "N", "aberrant" if wide else "normal", i))
        if i + 1 in early:
            t += step * (coupling + rng.normal(0, 0.02))
        else:
            t += step * (rng.uniform(1.02, 1.15) if is_early else 1.0)
    return events


def premature_ventricular(rng: np.random.Generator, base: Events, seconds: float, pattern: str, coupling: float) -> Events:
    """Ventricular extra beats put into a rhythm; with P waves the next one finds the ventricles refractory (compensatory pause).

    pattern  : "single" now and then, "bigeminy" after every other beat
    coupling : from the QRS before, as a fraction of the interval they fall into
    """
    times = np.array([beat.time for beat in base.beats])
    gaps = np.diff(times)
    inside = np.flatnonzero((times[:-1] > 0.3) & (times[:-1] < seconds - 1.0))
    if pattern == "bigeminy":
        chosen = set(range(int(rng.integers(2)), len(gaps), 2))
    else:
        n_extra = int(min(1 + rng.poisson(seconds / 7.0), max(1, inside.size // 3)))
        chosen = set()
        for i in rng.permutation(inside):
            if len(chosen) < n_extra and not {i - 1, i + 1, i - 2, i + 2} & chosen:
                chosen.add(int(i))
    beats: list[Beat] = []
    blocked = False
    for i, beat in enumerate(base.beats):
        if not blocked:
            beats.append(beat)
        blocked = False
        if i in chosen and beats and beats[-1] is beat:
            fraction = coupling + rng.normal(0.0, 0.012)
            beats.append(Beat(beat.time + max(0.36, fraction * gaps[i]), "V", "ventricular"))
            blocked = True  # the beat that was due is not conducted
    return Events(base.p, beats, base.spikes)


def fibrillation(rng: np.random.Generator, rr: float, spread: float, seconds: float) -> Events:
    """Intervals without memory above the refractory time of the AV node: a shifted gamma distribution of CV ``spread``."""
    shortest = 0.24 + 0.22 * rr
    mean, sd = rr - shortest, spread * rr
    shape = (mean / sd) ** 2
    times = [-BEFORE - rng.uniform(0, rr)]
    while times[-1] < seconds + AFTER:
        times.append(times[-1] + shortest + float(np.clip(rng.gamma(shape, sd**2 / mean), 0.0, 2.6 * mean)))
    return Events(beats=[Beat(t) for t in times])


def flutter(rng: np.random.Generator, cycle: float, ratio: int | None, seconds: float) -> Events:
    """Every ``ratio``-th flutter wave is conducted (None: 2 to 4, changing); QRS keep their place on the wave."""
    times = [-BEFORE - rng.uniform(0, cycle)]
    now = ratio or int(rng.integers(2, 5))
    while times[-1] < seconds + AFTER:
        if ratio is None and rng.random() < 0.55:
            now = int(rng.choice([2, 3, 4, 4]))
        times.append(times[-1] + now * cycle + rng.normal(0.0, 0.003))
    return Events(beats=[Beat(t) for t in times])


def supraventricular_tachycardia(rng: np.random.Generator, rr: float, retrograde: float | None, seconds: float) -> Events:
    """Regular narrow beats; the atria are excited backwards ``retrograde`` seconds after the QRS (None: hidden in it)."""
    start, n_beats = -BEFORE - rng.uniform(0, rr), int((seconds + BEFORE + AFTER) / rr) + 2
    times = start + np.cumsum(rr + rng.normal(0, 0.002, n_beats))
    p = [] if retrograde is None else [(t + retrograde, "retrograde") for t in times]
    return Events(p, [Beat(t) for t in times])


def wenckebach(onsets: np.ndarray, rng: np.random.Generator, pr: float, cycle: int) -> Events:
    """PR grows by less and less until the ``cycle``-th P wave is not conducted."""
    events, place = Events(), int(rng.integers(cycle))
    growth, decay = rng.uniform(0.07, 0.11), rng.uniform(0.35, 0.55)
    for i, t in enumerate(onsets):
        events.p.append((t, "sinus"))
        if place < cycle - 1:
            events.beats.append(Beat(t + pr + growth * (1 - decay**place) / (1 - decay), p=i))
        place = (place + 1) % cycle
    return events


def mobitz(onsets: np.ndarray, rng: np.random.Generator, pr: float, ratio: int | None) -> Events:
    """PR stays; every ``ratio``-th P wave, or (None) every third to fifth, is suddenly not conducted."""
    events, left = Events(), int(rng.integers(1, (ratio or 4) + 1))
    for i, t in enumerate(onsets):
        events.p.append((t, "sinus"))
        left -= 1
        if left > 0:
            events.beats.append(Beat(t + pr, p=i))
        else:
            left = ratio or int(rng.integers(3, 6))
    return events


def complete_block(onsets: np.ndarray | None, rng: np.random.Generator, rr: float, kind: str, symbol: str, seconds: float) -> Events:
    """Atria as they like (``onsets``, None: they fibrillate), ventricles on their own escape rhythm."""
    times = [-BEFORE - rng.uniform(0, rr)]
    while times[-1] < seconds + AFTER:
        times.append(times[-1] + rr + rng.normal(0.0, 0.012))
    p = [] if onsets is None else [(t, "sinus") for t in onsets]
    return Events(p, [Beat(t, symbol, kind) for t in times])


def paced(onsets: np.ndarray | None, rng: np.random.Generator, rr: float, delay: float, seconds: float) -> Events:
    """Ventricular pacing: after every P wave by ``delay``, or (onsets None) at a fixed interval ``rr``."""
    if onsets is None:
        times = np.arange(-BEFORE - rng.uniform(0, rr), seconds + AFTER, rr)
        beats = [Beat(t, "/", "paced") for t in times]
        return Events([], beats, [beat.time for beat in beats])
    beats = [Beat(t + delay, "/", "paced", i) for i, t in enumerate(onsets)]
    return Events([(t, "sinus") for t in onsets], beats, [beat.time for beat in beats])
