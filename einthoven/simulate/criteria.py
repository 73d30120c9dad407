"""Findings that are read off a beat as a cardiologist reads them off the paper: axis, voltage, Q, R, ST and T by lead.

They are read from the noise-free, unbreathing beat, so that a label states what the simulated heart does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from einthoven.leads import TWELVE, from_vcg
from einthoven.simulate.anatomy import Heart
from einthoven.simulate.wave import QRS_THRESHOLD, Wave, curve

GROUPS = (("II", "III", "aVF"), ("I", "aVL"), ("V1", "V2"), ("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"))
"""Leads that look at neighbouring walls: a finding counts when it is in two of a group."""


@dataclass(frozen=True)
class Readings:
    """A beat in numbers, each (lead=12,) in the order of TWELVE, mV; ``axis`` in degrees; ``q_seconds`` how long Q lasts."""

    r: np.ndarray
    q: np.ndarray
    s: np.ndarray
    q_seconds: np.ndarray
    span: np.ndarray
    j: np.ndarray
    t: np.ndarray
    axis: float

    def lead(self, quantity: str, name: str) -> float:
        return float(getattr(self, quantity)[TWELVE.index(name)])


def read_beat(heart: Heart, field: np.ndarray) -> Readings:
    """Measure a heart's QRS and ST-T in twelve leads at steps of 1 ms, against the line before the QRS."""
    wave = Wave.of(heart.qrs, QRS_THRESHOLD)
    n_qrs = max(round(1000 * heart.qrs_seconds), 2)
    time = np.arange(n_qrs + 1) / n_qrs
    qrs = from_vcg(curve(heart.qrs, wave.onset + time * (wave.offset - wave.onset)), field)
    peak = qrs.argmax(axis=1)
    r = np.maximum(qrs.max(axis=1), 0.0)
    before = np.where(np.arange(n_qrs + 1) <= peak[:, None], qrs, 0.0)
    after = np.where(np.arange(n_qrs + 1) >= peak[:, None], qrs, 0.0)
    q_depth, s_depth = -before.min(axis=1), -after.min(axis=1)
    all_down = r < 0.03  # QS: no R at all
    q_depth = np.where(all_down, -qrs.min(axis=1), q_depth)
    st_t = from_vcg(curve(heart.st_t, np.linspace(0, 1, 201)), field)
    # The ST-T wave begins within the QRS; about an eighth of it is over at the J point.
    j = st_t[:, 30]
    extreme = np.abs(st_t[:, 90:]).argmax(axis=1)
    t = st_t[np.arange(12), 90 + extreme]
    i, avf = qrs[0].sum(), qrs[5].sum()
    return Readings(
        r=r,
        q=np.maximum(q_depth, 0.0),
        s=np.maximum(np.where(all_down, 0.0, s_depth), 0.0),
        q_seconds=0.001 * (np.where(all_down[:, None], qrs, before) < -0.02).sum(axis=1),
        span=qrs.max(axis=1) - qrs.min(axis=1),
        j=j,
        t=t,
        axis=float(np.degrees(np.arctan2(avf, i))),
    )


def _in_two(there: np.ndarray) -> bool:
    rows = {name: row for row, name in enumerate(TWELVE)}
    return any(sum(bool(there[rows[name]]) for name in group) >= 2 for group in GROUPS)


def seen_findings(readings: Readings, *, qtc_bazett: float, age: int, sex: str, wide: bool, turned: bool) -> set[str]:
    """Names of the findings that a beat meets by their criteria.

    turned : a fascicular block, a hypertrophied ventricle or an anatomical axis explains a first negative wave
    wide : a block, pre-excitation or pacing explains ST-T and Q; they are then not labelled for themselves
    """
    seen: set[str] = set()
    if -90 <= readings.axis < -30:
        seen.add("left axis deviation")
    elif readings.axis > 90:
        seen.add("right axis deviation")
    if readings.span[:6].max() < 0.5:
        seen.add("low QRS voltages")
    if qtc_bazett >= (0.470 if sex == "female" else 0.460):
        seen.add("prolonged QT interval")
    if wide:
        return seen
    if readings.lead("r", "V3") <= 0.3 and readings.lead("r", "V2") <= readings.lead("r", "V3") + 0.02:
        seen.add("poor R wave progression")
    limit = np.full(12, 0.1)
    limit[[TWELVE.index("V2"), TWELVE.index("V3")]] = 0.15 if sex == "female" else (0.25 if age < 40 else 0.2)
    limit[TWELVE.index("aVR")] = np.inf
    if _in_two(readings.j >= limit):
        seen.add("ST elevation")
    if _in_two(readings.j <= -0.06):
        seen.add("ST depression")
    quiet = np.ones(12, bool)
    quiet[[TWELVE.index(name) for name in ("III", "aVR", "V1")]] = False
    deep = (readings.q >= 0.1) & (readings.q_seconds >= 0.030) & (readings.q >= 0.3 * readings.r)
    front = [TWELVE.index("V2"), TWELVE.index("V3")]
    deep[front] = ((readings.q >= 0.1) & (readings.q_seconds >= 0.020) & (readings.q >= 0.15 * readings.r))[front]
    deep[TWELVE.index("aVR")] = False
    if _in_two(deep) and not turned:
        seen.add("pathological Q wave")
    if _in_two(quiet & (readings.t <= -0.1) & (readings.r > 0.1)):
        seen.add("T wave inversion")
    return seen
