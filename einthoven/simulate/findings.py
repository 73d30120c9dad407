"""The findings that the synthetic heart can have: readable name, SNOMED CT code, abbreviation; which exclude each other; how often they occur.

A finding is either made (a rhythm, a block, a scar: it changes the heart) or seen (an axis, a voltage, a wave: it is read off
the record that results, by its criterion; see ``criteria``). Most of the latter can also be asked for.

Codes and abbreviations are those of the PhysioNet/CinC Challenge 2021.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Finding:
    """A finding by its SNOMED CT ``code`` and Challenge ``abbreviation``; of one ``group`` a record has one at most ("" = any number)."""

    code: str
    abbreviation: str
    group: str = ""


FINDINGS: dict[str, Finding] = {
    # rhythm
    "sinus rhythm": Finding("426783006", "NSR", "rhythm"),
    "sinus bradycardia": Finding("426177001", "SB", "rhythm"),
    "sinus tachycardia": Finding("427084000", "STach", "rhythm"),
    "atrial fibrillation": Finding("164889003", "AF", "rhythm"),
    "atrial flutter": Finding("164890007", "AFL", "rhythm"),
    "supraventricular tachycardia": Finding("426761007", "SVT", "rhythm"),
    "pacing rhythm": Finding("10370003", "PR", "rhythm"),
    "sinus arrhythmia": Finding("427393009", "SA"),
    "bradycardia": Finding("426627000", "Brady"),
    # atrioventricular conduction
    "first degree atrioventricular block": Finding("270492004", "IAVB", "av"),
    "Mobitz type I atrioventricular block": Finding("54016002", "MoI", "av"),
    "Mobitz type II atrioventricular block": Finding("426183003", "IIAVBII", "av"),
    "third degree atrioventricular block": Finding("27885002", "CHB", "av"),
    "prolonged PR interval": Finding("164947007", "LPR"),
    "ventricular preexcitation": Finding("195060002", "VPEx", "conduction"),
    # extra beats
    "premature atrial contraction": Finding("284470004", "PAC"),
    "premature ventricular contraction": Finding("427172004", "PVC"),
    "ventricular bigeminy": Finding("11157007", "VBig"),
    # conduction within the ventricles
    "bundle branch block": Finding("6374002", "BBB"),
    "complete left bundle branch block": Finding("733534002", "CLBBB", "conduction"),
    "complete right bundle branch block": Finding("713427006", "CRBBB", "conduction"),
    "incomplete right bundle branch block": Finding("713426002", "IRBBB", "conduction"),
    "nonspecific intraventricular conduction disorder": Finding("698252002", "NSIVCB", "conduction"),
    "left anterior fascicular block": Finding("445118002", "LAnFB", "fascicle"),
    "left posterior fascicular block": Finding("445211001", "LPFB", "fascicle"),
    # muscle
    "left ventricular hypertrophy": Finding("164873001", "LVH", "muscle"),
    "right ventricular hypertrophy": Finding("89792004", "RVH", "muscle"),
    "left ventricular strain": Finding("370365005", "LVS"),
    "left atrial enlargement": Finding("67741000119109", "LAE", "atrium"),
    "right atrial hypertrophy": Finding("446358003", "RAH", "atrium"),
    "low QRS voltages": Finding("251146004", "LQRSV"),
    "poor R wave progression": Finding("365413008", "PRWP"),
    # axis
    "left axis deviation": Finding("39732003", "LAD", "axis"),
    "right axis deviation": Finding("47665007", "RAD", "axis"),
    # ischaemia and infarct
    "acute anterior myocardial infarction": Finding("54329005", "AnMI", "ischaemia"),
    "acute inferior myocardial infarction": Finding("73795002", "InMI", "ischaemia"),
    "acute lateral myocardial infarction": Finding("58612006", "LatMI", "ischaemia"),
    "old anterior myocardial infarction": Finding("164867002", "OldMI", "ischaemia"),
    "old inferior myocardial infarction": Finding("164867002", "OldMI", "ischaemia"),
    "old lateral myocardial infarction": Finding("164867002", "OldMI", "ischaemia"),
    "chronic myocardial ischaemia": Finding("413844008", "CMI", "ischaemia"),
    "ST elevation": Finding("164931005", "STE"),
    "ST depression": Finding("429622005", "STD"),
    "pathological Q wave": Finding("164917005", "QAb"),
    # repolarisation
    "T wave abnormality": Finding("164934002", "TAb"),
    "T wave inversion": Finding("59931005", "TInv"),
    "prolonged QT interval": Finding("111975006", "LQT"),
}

SYNONYMS = {
    "normal sinus rhythm": "sinus rhythm",
    "Wenckebach": "Mobitz type I atrioventricular block",
    "complete heart block": "third degree atrioventricular block",
    "WPW": "ventricular preexcitation",
    "inferior myocardial infarction": "old inferior myocardial infarction",
    "anterior myocardial infarction": "old anterior myocardial infarction",
} | {finding.abbreviation: name for name, finding in reversed(FINDINGS.items()) if finding.abbreviation != "OldMI"}

SINUS = frozenset({"sinus rhythm", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia"})
_AV = frozenset(name for name, finding in FINDINGS.items() if finding.group == "av")
_CONDUCTION = frozenset(name for name, finding in FINDINGS.items() if finding.group in ("conduction", "fascicle"))
_SHAPES = _CONDUCTION | {name for name, finding in FINDINGS.items() if finding.group in ("muscle", "ischaemia", "axis")}
_NO_P = frozenset({"atrial fibrillation", "atrial flutter", "supraventricular tachycardia"})
_EXTRA = frozenset({"premature atrial contraction", "premature ventricular contraction", "ventricular bigeminy"})

# Pairs that cannot be true of one record, beyond two of one group.
_CONTRADICTIONS: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (SINUS - {"sinus arrhythmia"}, frozenset({"third degree atrioventricular block", "bradycardia"})),
    (frozenset({"sinus arrhythmia"}), _NO_P | _AV - {"first degree atrioventricular block"} | {"pacing rhythm", "sinus tachycardia"}),
    (_NO_P | {"pacing rhythm"}, _AV | {"prolonged PR interval", "ventricular preexcitation", "left atrial enlargement", "right atrial hypertrophy"}),
    (_NO_P, frozenset({"premature atrial contraction"})),
    (frozenset({"sinus tachycardia"}), _AV - {"first degree atrioventricular block"}),
    (frozenset({"supraventricular tachycardia", "sinus tachycardia"}), frozenset({"bradycardia", "ventricular bigeminy"})),
    (frozenset({"supraventricular tachycardia"}), _EXTRA),
    (frozenset({"pacing rhythm"}), _SHAPES | _EXTRA | {"low QRS voltages", "poor R wave progression", "bradycardia", "bundle branch block",
                                                      "pathological Q wave", "ST elevation", "ST depression", "T wave inversion",
                                                      "T wave abnormality", "left ventricular strain", "prolonged QT interval"}),
    (_AV - {"first degree atrioventricular block"}, _EXTRA | {"ventricular preexcitation"}),
    (frozenset({"third degree atrioventricular block"}), _SHAPES | {"low QRS voltages", "bundle branch block", "prolonged PR interval",
                                                                   "prolonged QT interval", "poor R wave progression"}),
    (frozenset({"ventricular bigeminy"}), frozenset({"premature atrial contraction", "atrial fibrillation", "atrial flutter"})),
    (frozenset({"premature atrial contraction"}), frozenset({"premature ventricular contraction"})),
    (frozenset({"left ventricular hypertrophy", "right ventricular hypertrophy"}), frozenset({"low QRS voltages"})),
    (frozenset({"complete left bundle branch block", "ventricular preexcitation"}),
     frozenset({"left anterior fascicular block", "left posterior fascicular block", "left ventricular hypertrophy", "left ventricular strain",
                "right ventricular hypertrophy", "pathological Q wave"})
     | {name for name in FINDINGS if FINDINGS[name].group == "ischaemia"}),
    (frozenset({"ventricular preexcitation"}), frozenset({"first degree atrioventricular block", "prolonged PR interval", "bundle branch block"})),
    (frozenset({"bundle branch block"}), frozenset({"incomplete right bundle branch block", "nonspecific intraventricular conduction disorder"})),
    (frozenset({"left anterior fascicular block"}), frozenset({"right axis deviation", "right ventricular hypertrophy"})),
    (frozenset({"left posterior fascicular block", "right ventricular hypertrophy"}), frozenset({"left axis deviation"})),
    (frozenset({"complete left bundle branch block"}), frozenset({"right axis deviation"})),
    (frozenset({"right ventricular hypertrophy"}), frozenset({"poor R wave progression"}) | {"acute anterior myocardial infarction", "old anterior myocardial infarction"}),
)  # fmt: skip


def resolve(findings: Collection[str]) -> frozenset[str]:
    """Names as FINDINGS spells them, with a rhythm among them. ValueError for a name we do not know or for two that contradict."""
    if isinstance(findings, str):
        raise ValueError(f"expected a collection of finding names; got one string: pass [{findings!r}]")
    folded = {name.casefold(): name for name in FINDINGS} | {name.casefold(): target for name, target in SYNONYMS.items()}
    names = set()
    for name in findings:
        if name.casefold() not in folded:
            near = list(dict.fromkeys(folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.45)))
            hint = f" Nearest: {', '.join(near)}." if near else ""
            raise ValueError(f"unknown finding {name!r}.{hint} All names are in einthoven.simulate.FINDINGS ({len(FINDINGS)}).")
        names.add(folded[name.casefold()])
    for name in sorted(names):
        for other in sorted(names):
            group = FINDINGS[name].group
            if name < other and group and group == FINDINGS[other].group:
                raise ValueError(f"{name!r} and {other!r} cannot be in one record: choose one of the group {group!r}")
    for first, second in _CONTRADICTIONS:
        if names & first and names & second - first:
            one, two = sorted(names & first)[0], sorted(names & second - first)[0]
            raise ValueError(f"{one!r} and {two!r} contradict each other in one record: leave one out")
    if not any(FINDINGS[name].group == "rhythm" for name in names) and not names & {"third degree atrioventricular block", "bradycardia"}:
        names.add("sinus rhythm")
    if names == {"bradycardia"} or ("bradycardia" in names and not any(FINDINGS[n].group == "rhythm" for n in names)):
        names.add("atrial fibrillation")  # a bradycardia that is not the sinus node's
    return frozenset(names)


# Findings that are seen only: one of these has to be made for them.
_CAUSES: dict[str, tuple[str, ...]] = {
    "bundle branch block": ("complete left bundle branch block", "complete right bundle branch block"),
    "ST elevation": ("acute anterior myocardial infarction", "acute inferior myocardial infarction", "acute lateral myocardial infarction"),
    "ST depression": ("chronic myocardial ischaemia",),
    "pathological Q wave": (
        "old anterior myocardial infarction",
        "old inferior myocardial infarction",
        "old lateral myocardial infarction",
    ),
    "left ventricular strain": ("left ventricular hypertrophy",),
}


def with_causes(findings: frozenset[str], rng: np.random.Generator) -> frozenset[str]:
    """``findings`` and, for what is only a sign of something, that something. ValueError when nothing that causes it fits the others."""
    names = set(findings)
    for sign, causes in _CAUSES.items():
        order = [causes[i] for i in rng.permutation(len(causes))]
        if sign not in names or names & set(causes):
            continue
        for cause in order:
            before = len(names)
            _accept(names, cause)
            if len(names) > before:
                break
        else:
            others = ", ".join(sorted(findings - {sign}))
            raise ValueError(f"{sign!r} cannot be made together with {others}: it comes with {' or '.join(causes)}; leave one out")
    return frozenset(names)


# What a person has for years: (name, share of persons, chance to be there at a visit). Prevalences follow the PTB-XL table
# where a class is common; a class that is rare there is raised, so that a corpus of some hundred records holds cases of it.
_CHRONIC: tuple[tuple[str, float, float], ...] = (
    ("atrial fibrillation", 0.13, 0.75),
    ("atrial flutter", 0.08, 0.7),
    ("pacing rhythm", 0.105, 0.95),
    ("third degree atrioventricular block", 0.04, 0.9),
    ("first degree atrioventricular block", 0.07, 0.8),
    ("Mobitz type I atrioventricular block", 0.04, 0.6),
    ("Mobitz type II atrioventricular block", 0.015, 0.7),
    ("ventricular preexcitation", 0.03, 0.92),
    ("complete left bundle branch block", 0.09, 0.97),
    ("complete right bundle branch block", 0.09, 0.97),
    ("incomplete right bundle branch block", 0.075, 0.93),
    ("nonspecific intraventricular conduction disorder", 0.075, 0.93),
    ("left anterior fascicular block", 0.09, 0.93),
    ("left posterior fascicular block", 0.03, 0.93),
    ("left ventricular hypertrophy", 0.10, 0.92),
    ("right ventricular hypertrophy", 0.035, 0.93),
    ("left atrial enlargement", 0.05, 0.7),
    ("right atrial hypertrophy", 0.02, 0.7),
    ("low QRS voltages", 0.075, 0.9),
    ("poor R wave progression", 0.06, 0.85),
    ("old inferior myocardial infarction", 0.07, 0.96),
    ("old anterior myocardial infarction", 0.06, 0.96),
    ("old lateral myocardial infarction", 0.035, 0.96),
    ("chronic myocardial ischaemia", 0.07, 0.75),
    ("T wave abnormality", 0.07, 0.75),
    ("T wave inversion", 0.06, 0.75),
    ("prolonged QT interval", 0.06, 0.75),
    ("premature ventricular contraction", 0.13, 0.5),
    ("premature atrial contraction", 0.13, 0.5),
    ("left axis deviation", 0.03, 0.95),
    ("right axis deviation", 0.035, 0.95),
)
# What a day brings: (name, share of visits).
_TRANSIENT: tuple[tuple[str, float], ...] = (
    ("sinus bradycardia", 0.09),
    ("sinus tachycardia", 0.09),
    ("sinus arrhythmia", 0.075),
    ("supraventricular tachycardia", 0.015),
    ("ventricular bigeminy", 0.012),
    ("acute inferior myocardial infarction", 0.028),
    ("acute anterior myocardial infarction", 0.028),
    ("acute lateral myocardial infarction", 0.012),
)
_HEALTHY = 0.32  # share of persons with nothing chronic


def _accept(names: set[str], name: str) -> None:
    """Add ``name`` unless it contradicts what is there."""
    try:
        resolve(names | {name})
    except ValueError:
        return
    names.add(name)


def draw_findings(person: np.random.Generator, visit: np.random.Generator) -> frozenset[str]:
    """What is made in this person at this visit; chronic findings come back, a rate does not. A rhythm is among them."""
    healthy = person.random() < _HEALTHY
    chances, order = person.random(len(_CHRONIC)), person.permutation(len(_CHRONIC))
    there, today, days = visit.random(len(_CHRONIC)), visit.random(len(_TRANSIENT)), visit.permutation(len(_TRANSIENT))
    names: set[str] = set()
    for row in order:
        name, share, stays = _CHRONIC[row]
        if not healthy and chances[row] < share / (1.0 - _HEALTHY) and there[row] < stays:
            _accept(names, name)
    for row in days:
        if today[row] < _TRANSIENT[row][1]:
            _accept(names, _TRANSIENT[row][0])
    return resolve(names)
