"""What a set of findings makes of a person's heart: the waves of every kind of beat that the record will have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from einthoven.simulate import conduction, ischaemia
from einthoven.simulate.anatomy import Heart, Person
from einthoven.simulate.criteria import read_beat


def with_findings(person: Person, names: frozenset[str], rng: np.random.Generator) -> Heart:
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


def until_seen(heart: Heart, field: np.ndarray, names: frozenset[str], rng: np.random.Generator) -> Heart:
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


def kinds_of_beats(names: frozenset[str], normal: Heart, rng: np.random.Generator) -> dict[str, Heart]:
    """The waves of every kind of beat that a record may have."""
    hearts, streams = {"normal": normal}, rng.spawn(4)
    if names & {"premature ventricular contraction", "ventricular bigeminy"}:
        origin = ["outflow", "outflow", "left", "apex"][streams[0].integers(4)]
        hearts["ventricular"] = conduction.ventricular_beat(normal, streams[0], origin=origin)
    if "pacing rhythm" in names:
        hearts["paced"] = conduction.ventricular_beat(normal, streams[1], origin="apex")
    if "third degree atrioventricular block" in names and streams[2].random() < 0.55:  # else the junction takes over, narrow
        hearts["escape"] = conduction.ventricular_beat(normal, streams[2], origin=["left", "apex"][streams[2].integers(2)])
    if "premature atrial contraction" in names and streams[3].random() < 0.3 and normal.qrs_seconds < 0.12:
        hearts["aberrant"] = conduction.right_bundle_branch_block(normal, streams[3])
    return hearts
