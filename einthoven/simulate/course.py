"""Which rhythm the findings of a record name, and at what rate: from names to the events of ``rhythm``."""

from __future__ import annotations

import numpy as np

from einthoven.simulate import rhythm
from einthoven.simulate.anatomy import Heart, Person
from einthoven.simulate.findings import FINDINGS, SINUS

_STEADY = frozenset({"premature atrial contraction", "premature ventricular contraction", "ventricular bigeminy",
                     "Mobitz type I atrioventricular block", "Mobitz type II atrioventricular block"})  # fmt: skip


def _rate(names: frozenset[str], person: Person, rng: np.random.Generator) -> float:
    """Sinus rate of the day, 1/min, within what the rhythm's name allows."""
    if "sinus bradycardia" in names:
        return float(rng.uniform(44, 57.5))
    if "sinus tachycardia" in names:
        return float(np.clip(rng.normal(114, 10), 102.5, 150))
    if names & {"Mobitz type I atrioventricular block", "Mobitz type II atrioventricular block"}:
        return float(np.clip(person.rate + 8, 72, 97))
    return float(np.clip(person.rate, 61.5, 97.5))


def course(
    names: frozenset[str], person: Person, hearts: dict[str, Heart], rng: np.random.Generator, seconds: float
) -> tuple[rhythm.Events, tuple[float, float] | None]:
    """Beats and P waves of the rhythm, and for flutter its (cycle, start of a wave)."""
    normal = hearts["normal"]
    rate = _rate(names, person, rng)
    rr = 60.0 / rate
    rr_sd = min(person.rr_sd, 0.05 * rr if names & {"sinus tachycardia"} else 0.09 * rr)
    if names & _STEADY:  # a steady sinus node, so that what is early or dropped stands out
        rr_sd = min(rr_sd, 0.02 * rr)
    if "sinus rhythm" in names:  # slow waves of the rate must not carry ten seconds of it out of its name
        rr = float(np.clip(rr, 0.6 + 1.2 * rr_sd, 1.0 - 1.2 * rr_sd))
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
        atria = (
            None
            if "atrial fibrillation" in names
            else rhythm.sinus_intervals(rng, 60.0 / rng.uniform(70, 98), 0.02, person.breathing, seconds)
        )
        kind, symbol = ("escape", "e") if "escape" in hearts else ("normal", "j")
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
        events = rhythm.supraventricular_tachycardia(
            rng, 60.0 / rng.uniform(152, 205), rng.uniform(0.08, 0.12) if rng.random() < 0.5 else None, seconds
        )
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
