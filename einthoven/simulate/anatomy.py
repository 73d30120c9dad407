"""Who is in front of us: the loops of a person's heart, the torso that projects them, the intervals, and how visits differ.

Axes are Frank's (x left, y feet, z back), mV, in the frame of Kors' matrix. Every person has own loops (a mean loop, rotated,
scaled, delayed and bent) and an own 8×5 lead field: three dipole columns and two near-field ones that only the chest leads see.

Mean loops and lead field are medians over normal 12-lead ECGs at rest (39 normal 500-Hz records of PTB-XL 1.0.3, CC BY 4.0,
Wagner et al., Scientific Data 2020), rounded; spreads are theirs too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from einthoven.leads import KORS

# Control points of the mean loops, rows x y z, mV (see ``wave``).
QRS_LOOP = np.array([
    [-0.004, -0.001, 0.003, -0.005, -0.027, -0.066, -0.097, -0.095, -0.001, 0.144, 0.326, 0.616, 0.924, 1.137, 1.179, 1.133, 0.938, 0.610, 0.231, 0.016, -0.063, -0.071, -0.059, -0.044, -0.028, -0.012, -0.003, -0.001, -0.004, -0.007, -0.010, -0.009, -0.006],
    [-0.002, -0.004, -0.003, 0.000, -0.012, -0.045, -0.072, -0.045, 0.005, 0.077, 0.188, 0.358, 0.589, 0.801, 0.891, 0.779, 0.602, 0.437, 0.291, 0.124, 0.011, -0.027, -0.049, -0.048, -0.034, -0.013, -0.010, -0.005, -0.001, -0.004, -0.005, -0.005, -0.003],
    [-0.011, -0.015, -0.009, 0.006, -0.009, -0.065, -0.143, -0.207, -0.240, -0.251, -0.247, -0.210, -0.142, -0.031, 0.119, 0.222, 0.356, 0.510, 0.619, 0.588, 0.475, 0.349, 0.241, 0.172, 0.120, 0.072, 0.040, 0.014, 0.005, 0.014, 0.019, 0.019, 0.012],
])  # fmt: skip
T_LOOP = np.array([
    [0.00, 0.01, 0.034, 0.056, 0.048, 0.08, 0.10, 0.24, 0.38, 0.30, 0.16, 0.03],
    [0.00, 0.01, 0.018, 0.036, 0.04, 0.03, 0.05, 0.12, 0.24, 0.19, 0.11, 0.02],
    [-0.03, -0.06, -0.055, -0.075, -0.10, -0.10, -0.11, -0.19, -0.24, -0.14, -0.08, -0.01],
])  # fmt: skip
# V2 lies nearest to the anterior wall: its ST-T is higher than the dipole's, on the first near-field source, mV.
T_NEAR = np.array([0.00, 0.01, 0.03, 0.035, 0.035, 0.03, 0.03, 0.07, 0.10, 0.07, 0.03, 0.00])
P_LOOP = np.array([
    [0.013, 0.017, 0.031, 0.053, 0.061, 0.042],
    [0.026, 0.053, 0.083, 0.085, 0.047, 0.031],
    [-0.005, -0.013, -0.014, 0.023, 0.027, 0.019],
])  # fmt: skip

# I II V1 … V6 from (x, y, z): Dower's torso and the pooled regression of the records on their Kors VCG, averaged under Kors · M = 1.
LEAD_FIELD = np.array([
    [0.76, -0.25, -0.02],
    [0.15, 1.03, -0.08],
    [-0.40, -0.23, -0.85],
    [0.33, -0.84, -1.87],
    [0.92, -0.44, -1.69],
    [1.09, 0.08, -0.75],
    [1.01, 0.22, -0.19],
    [0.76, 0.26, 0.13],
])  # fmt: skip
LEAD_SPREAD = np.array([0.25, 0.06, 0.24, 0.62, 0.42, 0.32, 0.24, 0.16])
# The atria lie elsewhere than the ventricles and have a field of their own: regression of P waves on Guillem's P-wave VCG.
ATRIAL_FIELD = np.array([
    [1.68, 0.00, -0.23],
    [0.29, 1.30, 0.01],
    [-0.09, 0.15, -1.47],
    [0.97, 0.09, -1.71],
    [0.86, 0.37, -1.13],
    [0.75, 0.50, -0.63],
    [0.70, 0.45, -0.37],
    [0.66, 0.44, -0.17],
])  # fmt: skip
# The heart's surface is nearer to V2–V4 than a dipole is: what these leads see beyond it, per unit of the near-field sources.
NEAR_FIELD = np.array([[0.0, 0.0], [0.0, 0.0], [-0.37, -0.27], [0.95, -0.35], [0.25, 0.78], [-0.50, 0.88], [-0.30, 0.1], [-0.1, -0.2]])

# How much smaller V1 … V6 become at full inspiration: their height changes with breath, more than their shape does.
AIR = np.array([0.038, 0.028, 0.016, 0.014, 0.016, 0.016])

_BACK = np.linalg.pinv(KORS)
_UNSEEN = np.eye(8) - _BACK @ KORS  # changes of a lead field that leave the Kors VCG as it is


@dataclass(frozen=True, eq=False)
class Heart:
    """The waves of one kind of beat: control points in mV, of P (3, point), QRS and ST-T (component=5, point); intervals in s."""

    p: np.ndarray
    qrs: np.ndarray
    st_t: np.ndarray
    p_seconds: float
    pr: float
    qrs_seconds: float
    qtc: float
    """QT at 60/min (Fridericia)."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person at one visit.

    field : (8, 5) from (x, y, z, near, near) of the ventricles to I II V1 … V6; atrial_field : (8, 3) from (x, y, z) of the atria
    heart : waves of a normally conducted sinus beat, before any finding
    rate : resting sinus rate, 1/min; rr_sd : spread of RR over 10 s, s
    breathing : rate 1/s; tilt : rotation vector of the heart at full inspiration, rad
    air : (6,) share that V1 … V6 lose at full inspiration to the lung that slides before the heart
    electrodes : how good the contact of RA LA LL V1 … V6 is: factor on noise
    """

    age: int
    sex: str
    heart: Heart
    field: np.ndarray
    atrial_field: np.ndarray
    rate: float
    rr_sd: float
    breathing: float
    tilt: np.ndarray
    electrodes: np.ndarray
    air: np.ndarray


def rotation(vector: np.ndarray) -> np.ndarray:
    """The 3×3 matrix that turns about ``vector`` by its length (rad)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def turned(control: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The dipole rows of a wave turned by a 3×3 matrix, its near-field rows as they were."""
    return np.concatenate([matrix @ control[:3], control[3:]])


def _smooth(rng: np.random.Generator, shape: tuple[int, int], width: float) -> np.ndarray:
    """Unit-variance noise along the last axis with a correlation over about ``width`` points."""
    reach = int(np.ceil(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    white = rng.standard_normal((shape[0], shape[1] + 2 * reach))
    return np.stack([np.convolve(row, kernel, mode="valid") for row in white])


def _bent(rng: np.random.Generator, loop: np.ndarray, amount: float, fine: float, near: float, delay: float) -> np.ndarray:
    """A person's version (5, point) of a mean loop (3, point): earlier or later, bent where it is large, with a near field."""
    n_points = loop.shape[1]
    where = np.arange(n_points) - delay * np.sin(np.pi * (np.arange(n_points) + 0.5) / n_points)
    late = np.stack([np.interp(where, np.arange(n_points), row) for row in loop])
    size = np.sqrt((loop**2).sum(axis=0))
    size = np.convolve(np.pad(size, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    near_size = size * np.sin(np.pi * (np.arange(n_points) + 1.0) / (n_points + 1.0))
    bend = size * (amount * _smooth(rng, (3, n_points), 0.09 * n_points) + fine * _smooth(rng, (3, n_points), 0.5))
    # Left and down go together: the heart's axis lies between them.
    bend[1] = 0.75 * bend[1] + 0.5 * bend[0] + 0.75 * fine * size * rng.standard_normal(n_points)
    return np.concatenate(
        [late + bend, near * near_size * (_smooth(rng, (2, n_points), 0.07 * n_points) + 1.2 * fine * _smooth(rng, (2, n_points), 0.5))]
    )


def draw_person(rng: np.random.Generator) -> Person:
    """A person as nature and age made them; ``at_visit`` makes the day."""
    age = int(np.clip(np.round(rng.normal(57, 18)), 18, 95))
    sex = "female" if rng.random() < 0.48 else "male"
    woman = sex == "female"
    years = age - 45.0

    turn = rng.normal(0.0, np.radians([17.0, 15.0, 12.0]))
    turn[2] -= np.radians(4.0 + 0.5 * years)
    common = rng.standard_normal()
    qrs_scale = np.exp(0.155 * common + 0.07 * rng.standard_normal() - 0.0025 * years - (0.065 if woman else -0.005))
    t_scale = np.exp(0.13 * common + 0.20 * rng.standard_normal() - 0.0035 * years - (0.14 if woman else -0.12))
    qrs = qrs_scale * turned(_bent(rng, QRS_LOOP, 0.20, 0.065, 0.36, rng.normal(0.0, 1.3)), rotation(turn))
    t_turn = np.array([0.25, 0.35, 0.15]) * turn + rng.normal(0.0, np.radians([3.5, 13.0, 3.0]))
    st_t = t_scale * turned(_bent(rng, T_LOOP, 0.09, 0.02, 0.18, rng.normal(0.0, 0.35)), rotation(t_turn))
    st_t[3] += t_scale * T_NEAR
    early = max(0.0, 1.0 - (age - 18) / 40) * (0.35 if woman else 1.0)  # young men's ST begins above the line
    st_t[:3, 1:7] += 0.03 * early * np.array([[0.3], [0.2], [-1.0]])
    p_turn = rng.normal(0.0, np.radians([6.0, 9.0, 5.0]))
    p = np.exp(rng.normal(0.0, 0.22)) * turned(_bent(rng, P_LOOP, 0.16, 0.04, 0.0, rng.normal(0.0, 0.2))[:3], rotation(p_turn))

    heart = Heart(
        p=p,
        qrs=qrs,
        st_t=st_t,
        p_seconds=0.001 * float(np.clip(rng.normal(111 + 0.4 * (age - 26), 11), 80, 160)),
        pr=0.001 * float(np.clip(rng.normal(141 + 0.5 * (age - 26), 17), 112, 196)),
        qrs_seconds=0.001 * float(np.clip(rng.normal(102.5 + 0.2 * (age - 26) + (-4 if woman else 4), 7.5), 78, 118)),
        qtc=0.001 * float(np.clip(rng.normal(399 + 0.6 * (age - 26) + (5 if woman else -4), 15), 352, 447 if not woman else 457)),
    )
    noise = LEAD_SPREAD[:, None] * rng.standard_normal((8, 3)) * np.array([0.7, 0.8, 1.1])
    noise[2:] = 0.75 * noise[2:] + 0.35 * np.roll(noise[2:], 1, axis=0)  # neighbouring electrodes see neighbouring things
    field = np.concatenate([LEAD_FIELD + _UNSEEN @ noise, NEAR_FIELD * rng.normal(1.0, 0.25, (8, 1))], axis=1)
    return Person(
        age=age,
        sex=sex,
        heart=heart,
        field=field,
        atrial_field=ATRIAL_FIELD * rng.normal(1.0, 0.07, (8, 1)) + rng.normal(0.0, 0.06, (8, 3)),
        rate=float(np.exp(rng.normal(np.log(69.0 if woman else 66.0), 0.12))),
        rr_sd=float(0.052 * np.exp(-(age - 26) / 50 + 0.5 * rng.standard_normal())),
        breathing=float(rng.uniform(0.18, 0.32)),
        tilt=rng.normal(0.0, np.radians([1.2, 2.0, 3.0])),
        electrodes=np.exp(rng.normal(0.0, 0.15, 9)),
        air=AIR * np.exp(rng.normal(0.0, 0.5, 6)),
    )


def at_visit(person: Person, rng: np.random.Generator) -> Person:
    """The same person on another day: electrodes a little elsewhere, another posture, rate, autonomic tone and repolarisation."""
    heart = person.heart
    lie = rng.normal(0.0, np.radians([6.0, 7.0, 5.0]))
    gain = np.exp(rng.normal(0.0, 0.10))
    t_gain = gain * np.exp(rng.normal(0.0, 0.24))
    size = np.sqrt((heart.st_t[:3] ** 2).sum(axis=0))
    today = np.zeros_like(heart.st_t)
    today[:3] = 0.10 * size * _smooth(rng, (3, size.size), 1.5)
    st_t = t_gain * (turned(heart.st_t, rotation(lie + rng.normal(0.0, np.radians([4.5, 11.0, 4.5])))) + today)
    p = gain * np.exp(rng.normal(0.0, 0.12)) * turned(heart.p, rotation(lie + rng.normal(0.0, np.radians(4.0), 3)))
    field = person.field.copy()
    # A chest electrode set down elsewhere sees part of what its neighbours see: 1–2 cm of the 3–5 cm between them.
    shift = rng.normal(0.0, 0.22, 6)
    chest = person.field[2:]
    towards = np.where((shift > 0)[:, None], np.roll(chest, -1, axis=0), np.roll(chest, 1, axis=0))
    towards[0 if shift[0] < 0 else 5] = chest[0 if shift[0] < 0 else 5]
    towards[5] = chest[4] if shift[5] < 0 else chest[5]
    field[2:] += np.abs(shift)[:, None] * (towards - chest)
    field[2:, 1] += rng.normal(0.0, 0.16, 6)  # a rib space too high or too low
    return replace(
        person,
        heart=replace(
            heart,
            p=p,
            qrs=gain * turned(heart.qrs, rotation(lie)),
            st_t=st_t,
            pr=heart.pr * float(np.exp(rng.normal(0.0, 0.03))),
            qtc=heart.qtc * float(np.exp(rng.normal(0.0, 0.012))),
        ),
        field=field,
        rate=person.rate * float(np.exp(rng.normal(0.0, 0.09))),
        rr_sd=person.rr_sd * float(np.exp(rng.normal(0.0, 0.3))),
        electrodes=person.electrodes * float(np.exp(rng.normal(0.0, 0.20))) * np.exp(rng.normal(0.0, 0.2, 9)),
        tilt=person.tilt * rng.uniform(0.5, 1.5),
    )
