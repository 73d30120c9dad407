"""How conduction and muscle change a heart's waves: blocks, pre-excitation, hypertrophy, and beats that begin in the ventricles.

Every function takes a ``Heart`` and gives a new one. Vectors are (left, down, back) in mV for a heart of ordinary size;
``size_of`` scales them to the person. Criteria: AHA/ACCF/HRS 2009 part III; the loops are our own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from einthoven.simulate.anatomy import QRS_LOOP, T_LOOP, Heart, rotation, turned
from einthoven.simulate.wave import QRS_THRESHOLD, Wave, control_positions, curve

# Control points of a QRS and where they lie on 0…1; the course of an ordinary T wave, height 1.
N_QRS = QRS_LOOP.shape[1]
QRS_U = control_positions(N_QRS)
_ORDINARY = float(np.linalg.norm(QRS_LOOP))
T_COURSE = np.sqrt((T_LOOP**2).sum(axis=0)) / np.sqrt((T_LOOP**2).sum(axis=0)).max()


def size_of(heart: Heart) -> float:
    """How large a heart's QRS loop is; 1 is ordinary."""
    return float(np.linalg.norm(heart.qrs[:3])) / _ORDINARY


def bump(centre: float, width: float, at: np.ndarray = QRS_U) -> np.ndarray:
    """A Gaussian of height 1 over the control positions of a wave (0…1)."""
    return np.exp(-0.5 * ((at - centre) / width) ** 2)


def mean_direction(control: np.ndarray) -> np.ndarray:
    """Unit vector of a loop's area."""
    area = control[:3].sum(axis=1)
    return area / max(float(np.linalg.norm(area)), 1e-9)


def frontal_axis(control: np.ndarray) -> float:
    """Angle of a loop's mean vector in the frontal plane, rad; 0 left, π/2 down."""
    area = control[:3].sum(axis=1)
    return float(np.arctan2(area[1], area[0]))


def turn_frontal(control: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Every control point turned in the frontal plane by its own ``angle`` (point,) in rad, from left towards down."""
    out = control.copy()
    c, s = np.cos(angle), np.sin(angle)
    out[0], out[1] = c * control[0] - s * control[1], s * control[0] + c * control[1]
    return out


def _around(angle: float) -> float:
    """The same angle between −π and π."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _secondary_t(heart: Heart, qrs: np.ndarray, share: float, own: float) -> np.ndarray:
    """ST-T that follows an abnormal QRS: opposite to it by ``share`` of its mean size, with ``own`` of the T wave that was."""
    length = float(np.sqrt((qrs[:3] ** 2).sum(axis=0)).max())
    discordant = np.zeros_like(heart.st_t)
    # Slow down-slope out of the ST segment, steep return: the asymmetry of a secondary T wave.
    course = 0.34 * bump(0.3, 0.2, control_positions(heart.st_t.shape[1])) + T_COURSE
    discordant[:3] = -share * length * mean_direction(qrs)[:, None] * course
    return discordant + own * heart.st_t


def left_bundle_branch_block(heart: Heart, rng: np.random.Generator) -> Heart:
    """The septum is excited from the right, the free wall late: left and back from the start, a slow notched plateau."""
    x = np.array([0.03, 0.14, 0.36, 0.62, 0.78, 0.72, 0.58, 0.60, 0.74, 0.70, 0.50, 0.27, 0.12, 0.04, 0.0])
    y = np.array([0.03, 0.09, 0.18, 0.22, 0.14, 0.02, -0.05, -0.05, -0.07, -0.12, -0.14, -0.12, -0.08, -0.03, 0.0])
    z = np.array([0.03, 0.13, 0.30, 0.54, 0.85, 1.10, 1.22, 1.26, 1.24, 1.08, 0.80, 0.48, 0.22, 0.08, 0.0])
    loop = np.stack([np.interp(QRS_U, control_positions(15), row) for row in (x, y, z)]) * size_of(heart) ** 0.6 * rng.uniform(1.15, 1.46)
    bent = loop * (1.0 + 0.12 * np.sin(np.pi * rng.uniform(1, 3, (3, 1)) * QRS_U + rng.uniform(0, 2 * np.pi, (3, 1))))
    own = frontal_axis(heart.qrs) - frontal_axis(QRS_LOOP)
    tilt = rotation(np.array([0.0, rng.normal(0.0, 0.15), 0.45 * _around(own) + rng.normal(0.0, 0.15)]))
    qrs = np.concatenate([tilt @ bent, 0.4 * heart.qrs[3:]])
    qrs[3] += 0.25 * bump(0.5, 0.15)  # the wall before V2 is done when the back is reached: its S is less deep than a dipole's
    return replace(
        heart,
        qrs=qrs,
        st_t=_secondary_t(heart, qrs, rng.uniform(0.22, 0.34), 0.15),
        qrs_seconds=rng.uniform(0.138, 0.176),
        qtc=heart.qtc + 0.030,
    )


def right_bundle_branch_block(heart: Heart, rng: np.random.Generator, *, complete: bool = True) -> Heart:
    """The left ventricle as before; the right one alone at the end, to the right and to the front."""
    seconds = rng.uniform(0.126, 0.158) if complete else float(np.clip(heart.qrs_seconds + rng.uniform(0.004, 0.012), 0.095, 0.118))
    wave = Wave.of(heart.qrs, QRS_THRESHOLD)
    per_u = seconds / 0.97  # the new support, s
    time = (QRS_U - 0.015) * per_u
    early = curve(heart.qrs, wave.onset + time / heart.qrs_seconds * (wave.offset - wave.onset))
    strength = (rng.uniform(0.85, 1.25) if complete else rng.uniform(0.28, 0.45)) * size_of(heart) ** 0.5
    centre, width = (0.69, 0.115) if complete else (0.76, 0.09)
    late = np.array([-0.44, rng.normal(-0.16, 0.15), -0.60])[:, None] * strength * bump(centre, width) * np.minimum(1.0, (1 - QRS_U) / 0.15)
    # Without the right ventricle's early share nothing balances it: late backward forces of the normal loop are taken along.
    cancelled = 1.0 - (0.55 if complete else 0.35) * np.clip((QRS_U - 0.3) / 0.3, 0.0, 1.0)
    qrs = early.copy()
    qrs[2] = np.where(early[2] > 0, early[2] * cancelled, early[2])
    qrs[:3] += late
    # The right ventricle lies right behind V1, which sees more of it than a dipole would show, V2 and V3 less.
    qrs[3:] += np.array([[-0.55], [-0.50]]) * strength * bump(centre, width) * np.minimum(1.0, (1 - QRS_U) / 0.15)
    st_t = heart.st_t.copy()
    st_t[:3] += (-0.22 if complete else -0.10) * late.max(axis=1, initial=0.0)[:, None] * T_COURSE
    st_t[:3] -= (0.24 if complete else 0.10) * late[:, np.argmax(bump(centre, width))][:, None] * T_COURSE
    return replace(heart, qrs=qrs, st_t=st_t, qrs_seconds=seconds, qtc=heart.qtc + (0.022 if complete else 0.004))


def fascicular_block(heart: Heart, rng: np.random.Generator, *, anterior: bool) -> Heart:
    """Left anterior: first down, then up and left (−45…−75°). Left posterior: first up, then down and right (95…120°)."""
    axis = np.radians(rng.uniform(-70, -47) if anterior else rng.uniform(96, 118))
    turn = _around(axis - frontal_axis(heart.qrs))
    course = np.clip((QRS_U - 0.16) / 0.16, 0.0, 1.0)
    course = course**2 * (3 - 2 * course)
    qrs = heart.qrs
    for _ in range(4):  # the initial vector does not turn along, so aim again
        qrs = turn_frontal(heart.qrs, turn * course)
        first = np.array([-0.03, 0.12, -0.03]) if anterior else np.array([0.10, -0.12, -0.03])
        qrs[:3] += first[:, None] * size_of(heart) * bump(0.2, 0.05)
        if anterior:
            qrs[1] -= 0.22 * size_of(heart) * bump(0.70, 0.08)  # the base is the last to be reached, and lies up
        turn += 0.8 * _around(axis - frontal_axis(qrs))
    if anterior:  # the forces that swung up come from the back as well, and end to the right
        qrs[:3] *= 0.85
        qrs[2] += 0.36 * size_of(heart) * bump(0.47, 0.12)
        qrs[0] -= 0.12 * size_of(heart) * bump(0.68, 0.08)
    t_turn = np.full(heart.st_t.shape[1], -0.15 * turn)
    return replace(
        heart,
        qrs=qrs,
        st_t=(0.8 if anterior else 1.0) * turn_frontal(heart.st_t, t_turn),
        qrs_seconds=min(heart.qrs_seconds + rng.uniform(0.004, 0.012), 0.119),
    )


def nonspecific_delay(heart: Heart, rng: np.random.Generator) -> Heart:
    """A broad, notched QRS that is no bundle branch block."""
    order = np.clip(QRS_U + 0.10 * np.sin(np.pi * QRS_U) * rng.choice([-1.0, 1.0]), 0.0, 1.0)
    qrs = curve(heart.qrs, order) * 1.05
    notch = rng.normal(0.0, 0.16, (3, 1)) * size_of(heart) * (bump(rng.uniform(0.5, 0.65), 0.05) - bump(rng.uniform(0.7, 0.8), 0.07))
    qrs[:3] += notch
    return replace(heart, qrs=qrs, qrs_seconds=rng.uniform(0.119, 0.145), qtc=heart.qtc + 0.012)


def preexcitation(heart: Heart, rng: np.random.Generator, *, left: bool) -> Heart:
    """A bypass excites part of the ventricles before the node does: short PR, a slurred start, P to J as it was."""
    ahead = rng.uniform(0.036, 0.055)
    ahead = min(ahead, heart.pr - 0.075)
    ahead = max(ahead, heart.pr - 0.118)
    wave = Wave.of(heart.qrs, QRS_THRESHOLD)
    seconds = heart.qrs_seconds + 0.85 * ahead
    time = (QRS_U - 0.02) * seconds / 0.96
    later = curve(heart.qrs, wave.onset + (time - 0.85 * ahead) / heart.qrs_seconds * (wave.offset - wave.onset))
    direction = np.array([-0.15, 0.45, -0.70]) if left else np.array([0.70, rng.uniform(-0.4, 0.3), 0.25])
    slope = np.clip(time / ahead, 0.0, 1.0) * np.clip((seconds - time) / (0.62 * seconds), 0.0, 1.0)
    delta = direction[:, None] * rng.uniform(0.45, 0.7) * size_of(heart) * slope
    qrs = 0.9 * later
    qrs[:3] += delta
    st_t = 0.75 * heart.st_t
    st_t[:3] -= 0.45 * direction[:, None] * 0.5 * size_of(heart) * T_COURSE
    return replace(heart, qrs=qrs, st_t=st_t, qrs_seconds=seconds, pr=heart.pr - ahead)


def left_ventricular_hypertrophy(heart: Heart, rng: np.random.Generator, *, strain: bool) -> Heart:
    """More left ventricle: a larger loop turned to the back; with ``strain`` ST-T against it."""
    back = np.radians(rng.uniform(8.0, 24.0))
    room = rng.uniform(1.95, 2.55) / max(float(np.sqrt((heart.qrs[:3] ** 2).sum(axis=0)).max()), 1e-6)
    gain = float(np.clip(room, 1.25, 2.4))
    qrs = gain * turned(heart.qrs, rotation(np.array([0.0, -back, 0.0])))
    qrs = turn_frontal(qrs, np.full(N_QRS, -np.radians(rng.uniform(5, 25))))
    qrs[0] = np.where(qrs[0] < 0, 0.35 * qrs[0], qrs[0])
    qrs[2] = np.where(qrs[2] < 0, 0.55 * qrs[2], qrs[2])
    st_t = 0.9 * heart.st_t
    if strain:
        st_t = _secondary_t(heart, qrs, rng.uniform(0.10, 0.16), 0.15)
    return replace(heart, qrs=qrs, st_t=st_t, qrs_seconds=heart.qrs_seconds + rng.uniform(0.003, 0.010), qtc=heart.qtc + 0.010)


def right_ventricular_hypertrophy(heart: Heart, rng: np.random.Generator) -> Heart:
    """More right ventricle: the loop swings to the right and to the front, T in V1–V3 turns away from it."""
    turn = _around(np.radians(rng.uniform(100, 125)) - frontal_axis(heart.qrs))
    qrs = turn_frontal(heart.qrs, np.full(N_QRS, turn))
    extra = np.array([-0.30, 0.15, -1.0]) * rng.uniform(0.75, 1.05)
    qrs[2] = np.where(qrs[2] > 0, 0.35 * qrs[2], qrs[2])
    qrs[:3] += extra[:, None] * bump(0.5, 0.12)
    qrs = turn_frontal(qrs, np.full(N_QRS, _around(np.radians(rng.uniform(100, 125)) - frontal_axis(qrs))))
    st_t = heart.st_t.copy()
    st_t[:3] -= 0.26 * extra[:, None] * T_COURSE
    return replace(heart, qrs=qrs, st_t=st_t)


def atrial_enlargement(heart: Heart, rng: np.random.Generator, *, left: bool) -> Heart:
    """Left: a long, notched P with a late backward part. Right: a tall, peaked P to the front and down."""
    u = control_positions(heart.p.shape[1])
    p = heart.p.copy()
    if left:
        p[:3] *= 1.0 - 0.45 * bump(0.52, 0.10, u)
        p[:3] += np.array([0.05, 0.03, 0.11])[:, None] * bump(0.76, 0.12, u) * rng.uniform(0.9, 1.3)
        return replace(heart, p=p, p_seconds=max(heart.p_seconds, rng.uniform(0.124, 0.145)), pr=max(heart.pr, 0.165))
    p[:3] *= 0.9
    p[:3] += np.array([0.01, 0.20, -0.10])[:, None] * bump(0.42, 0.17, u) * rng.uniform(0.9, 1.3)
    return replace(heart, p=p)


def frontal(heart: Heart, axis: float) -> Heart:
    """The whole heart swung in the frontal plane until its mean QRS axis is ``axis`` (rad), its T wave half as far."""
    turn = _around(axis - frontal_axis(heart.qrs))
    return replace(
        heart,
        qrs=turn_frontal(heart.qrs, np.full(N_QRS, turn)),
        st_t=turn_frontal(heart.st_t, np.full(heart.st_t.shape[1], 0.35 * turn)),
    )


def ventricular_beat(heart: Heart, rng: np.random.Generator, *, origin: str) -> Heart:
    """A beat that begins in the muscle ("outflow", "apex", "left", "junction"): broad, one sweep away from its origin, T against it."""
    if origin == "junction":
        return replace(heart, qtc=heart.qtc + 0.01)
    away = {"outflow": (0.30, 0.85, 0.65), "apex": (0.62, -0.62, 0.85), "left": (-0.70, -0.15, -0.80)}[origin]
    direction = np.array(away) + rng.normal(0.0, 0.16, 3)
    sideways = np.cross(direction, rng.normal(0.0, 1.0, 3))
    sideways /= max(float(np.linalg.norm(sideways)), 1e-9)
    size = size_of(heart) ** 0.5 * rng.uniform(0.95, 1.35)
    peak = rng.uniform(0.42, 0.52)
    main = bump(peak, 0.17) + rng.uniform(0.0, 0.35) * bump(peak + 0.2, 0.07)
    main *= np.minimum(1.0, QRS_U / 0.2) * np.minimum(1.0, (1 - QRS_U) / 0.2)
    qrs = np.zeros_like(heart.qrs)
    qrs[:3] = size * 1.25 * (direction[:, None] * main + 0.30 * sideways[:, None] * (bump(0.28, 0.09) - bump(0.74, 0.1)))
    qrs[3:] = 0.5 * heart.qrs[3:]
    return replace(
        heart,
        qrs=qrs,
        st_t=_secondary_t(heart, qrs, rng.uniform(0.28, 0.40), 0.05),
        qrs_seconds=rng.uniform(0.136, 0.172),
        qtc=heart.qtc + 0.025,
    )
