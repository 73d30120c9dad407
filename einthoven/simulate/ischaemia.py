"""What ischaemia, infarct and a long QT do to a heart's waves, by the wall that they strike.

The vector of injury points to the injured wall; a scar takes away the first 30–50 ms of its wall. Territories as unit vectors
(left, down, back). Thresholds: Fourth Universal Definition of Myocardial Infarction, 2018.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from einthoven.simulate.anatomy import Heart
from einthoven.simulate.conduction import N_QRS, QRS_U, T_COURSE, bump, size_of, turn_frontal
from einthoven.simulate.wave import control_positions

WALLS = {
    "anterior": np.array([0.42, -0.12, -0.90]),
    "inferior": np.array([-0.20, 0.97, 0.12]),
    "lateral": np.array([0.90, -0.40, 0.18]),
}


def scar(heart: Heart, wall: str, rng: np.random.Generator, *, fresh: float = 1.0) -> Heart:
    """Necrosis of a wall: its early vector is lost (``fresh`` = 1: all of it), T turns away from it."""
    u = WALLS[wall]
    qrs = heart.qrs.copy()
    early = np.clip((0.50 - QRS_U) / 0.10, 0.0, 1.0)
    toward = np.maximum((u[:, None] * qrs[:3]).sum(axis=0), 0.0)
    qrs[:3] -= fresh * 0.85 * u[:, None] * toward * early  # what pointed to the wall
    depth = {"anterior": 0.28, "inferior": 0.17, "lateral": 0.30}[wall] * rng.uniform(0.85, 1.3) * size_of(heart) ** 0.5
    qrs[:3] -= fresh * depth * u[:, None] * bump(0.26, 0.10)
    late = np.clip((QRS_U - 0.4) / 0.2, 0.0, 1.0)
    toward = np.maximum((u[:, None] * qrs[:3]).sum(axis=0), 0.0)
    qrs[:3] -= fresh * 0.40 * u[:, None] * toward * late
    if wall == "inferior":  # V2 looks up as well: without this it would answer with a tall R, which is the posterior wall's sign
        qrs[2] += fresh * 0.30 * size_of(heart) * bump(0.38, 0.12)
        qrs[0] -= fresh * size_of(heart) * (0.07 * bump(0.57, 0.08) + 0.05 * bump(0.66, 0.07))
    if wall == "anterior":  # what is left of the wall is late, at the back and, with age, up
        qrs[2] += fresh * 0.33 * size_of(heart) * bump(0.48, 0.12)
        qrs[0] += fresh * (0.14 * bump(0.27, 0.08) + 0.09 * bump(0.70, 0.09))
        qrs[1] -= fresh * 0.17 * bump(0.70, 0.09)
        qrs = turn_frontal(qrs, np.full(N_QRS, -fresh * np.radians(rng.uniform(5, 45))))
    st_t = heart.st_t.copy()
    if wall == "anterior":
        st_t[:2] -= fresh * np.array([[0.09], [0.03]]) * T_COURSE
    toward = np.maximum((u[:, None] * st_t[:3]).sum(axis=0), 0.0)
    # A scar of the anterior wall often keeps an upright T over a lifted ST; the others turn T over more often than not.
    turned_over = rng.random() < (0.25 if wall == "anterior" else 0.8)
    away = fresh * (rng.uniform(0.7, 1.3) if turned_over else rng.uniform(0.0, 0.35))
    st_t[:3] -= away * u[:, None] * toward
    low = {
        "anterior": np.array([1.2, 1.0, 1.3]),
        "inferior": np.array([3.0, 0.2, -1.0]),
        "lateral": np.array([1.2, 0.2, 0.0]),
    }[wall]
    st_t[:3] -= away * 0.085 * (u + low)[:, None] * T_COURSE
    if wall == "anterior" and not turned_over:
        st_t[:3] += 0.055 * (u - np.array([0.5, 0.0, 0.0]))[:, None] * bump(0.25, 0.15, control_positions(st_t.shape[1]))
    longer = rng.uniform(0.0, 0.006) if wall == "anterior" else rng.uniform(0.006, 0.016)
    return replace(heart, qrs=qrs, st_t=st_t, qrs_seconds=min(heart.qrs_seconds + fresh * longer, 0.119))


def injury(heart: Heart, wall: str, rng: np.random.Generator) -> Heart:
    """Acute infarct: ST-T lifted towards the wall from the J point on (a dome that takes T in), the first Q waves."""
    u = WALLS[wall]
    positions = control_positions(heart.st_t.shape[1])
    height = rng.uniform(0.20, 0.36) if wall != "anterior" else rng.uniform(0.16, 0.30)
    dome = np.minimum(1.0, positions / 0.16) * np.clip((1.0 - positions) / 0.32, 0.0, 1.0) * (0.75 + 0.55 * bump(0.62, 0.2, positions))
    st_t = 0.8 * heart.st_t
    st_t[:3] += height * u[:, None] * dome
    hurt = scar(replace(heart, st_t=st_t), wall, rng, fresh=rng.uniform(0.2, 0.6))
    return replace(hurt, st_t=st_t, qtc=heart.qtc + 0.008)


def subendocardial(heart: Heart, rng: np.random.Generator) -> Heart:
    """ST depressed away from the left ventricle's inner layer (V4–V6, I, II), T low or inverted there."""
    away = np.array([-0.80, -0.45, 0.40])
    positions = control_positions(heart.st_t.shape[1])
    st_t = rng.uniform(0.1, 0.5) * heart.st_t
    st_t[:3] += rng.uniform(0.11, 0.19) * away[:, None] * bump(0.32, 0.20, positions) * np.minimum(1.0, positions / 0.1)
    st_t[:3] += rng.uniform(0.02, 0.10) * away[:, None] * T_COURSE
    return replace(heart, st_t=st_t)


def flat_t(heart: Heart, rng: np.random.Generator) -> Heart:
    """T waves of a tenth of what they were, a little biphasic."""
    st_t = rng.uniform(0.08, 0.22) * heart.st_t
    course = bump(0.62, 0.08, control_positions(st_t.shape[1])) - bump(0.82, 0.07, control_positions(st_t.shape[1]))
    st_t[:3] += rng.uniform(0.02, 0.04) * np.array([-0.6, -0.4, 0.5])[:, None] * course
    return replace(heart, st_t=st_t)


def inverted_t(heart: Heart, rng: np.random.Generator) -> Heart:
    """T waves turned over in the left and front leads."""
    st_t = -rng.uniform(0.65, 1.0) * heart.st_t
    st_t[:3] -= 0.06 * np.array([0.7, 0.3, -0.5])[:, None] * T_COURSE
    return replace(heart, st_t=st_t)


def long_qt(heart: Heart, rng: np.random.Generator) -> Heart:
    """QTc of 485–540 ms: a broad T (type 1), a low notched one (2) or a late one after a long ST (3)."""
    kind = int(rng.integers(3))
    st_t = heart.st_t.copy()
    positions = control_positions(st_t.shape[1])
    if kind == 1:
        st_t[:3] *= 0.7 * (1.0 - 0.35 * bump(0.66, 0.06, positions))
    elif kind == 2:
        late = np.clip(positions - 0.06 * np.sin(np.pi * positions), 0, 1)
        st_t = np.stack([np.interp(late, positions, row) for row in st_t]) * np.clip((positions - 0.25) / 0.3, 0.1, 1.0)
    return replace(heart, st_t=st_t, qtc=rng.uniform(0.485, 0.54))


def poor_r_progression(heart: Heart, amount: float) -> Heart:
    """The first half of the QRS turned to the back by ``amount`` mV."""
    qrs = heart.qrs.copy()
    qrs[2] += amount * np.clip((0.62 - QRS_U) / 0.12, 0.0, 1.0) * np.minimum(1.0, QRS_U / 0.12)
    return replace(heart, qrs=qrs)
