"""Electrodes in each other's place. They keep Einthoven's laws, so that only the heart tells; therefore this is suspicion, never certainty.

``together`` is the covariance of the leads between 1 and 30 Hz, from ``einthoven.signal.interference``: all that is needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import numpy as np

from einthoven.leads import CHEST, canonical

OPPOSITE = -0.6
"""Correlation of lead I (or II) with V6 below which the arms (the right arm and the left leg) are suspected. Both look from the left: in 714 real
recordings lead I correlates with V6 by 0.91 (median), in 2 of them by less than -0.6. Of recordings with RA and LA interchanged 88 % fall below."""

SILENT = {"II": 0.15, "III": 0.1}
"""A lead this small beside the other two of I, II and III lies between the legs. Least found: 0.29 (II), 0.15 (III). Lead I is as small where the
heart's axis stands upright, and tells nothing."""

SHORTER = 0.5
"""A chest lead order is suspected when the way from lead to lead, and from V6 to I, is shorter by this part with two leads interchanged (or all in
reverse). 4 of 714 real recordings are; V1 and V6 interchanged are found in 95 %, all in reverse in 70 %, V2 and V3 in 35 %, V1 and V2 hardly ever."""


def suspected_electrodes(together: np.ndarray, leads: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """What looks as if electrodes were interchanged: (the leads by which it shows, a sentence with the numbers), none where nothing does.

    together : (lead, lead) covariance with rows ``leads``
    """
    rows = {canonical(name): row for row, name in enumerate(leads) if together[row, row] > 1e-8}
    return [
        found
        for found in (_arms(together, rows), _arm_and_leg(together, rows), *_between_legs(together, rows), _chest(together, rows))
        if found
    ]


Suspected = tuple[tuple[str, ...], str]


def _likeness(together: np.ndarray, rows: dict[str, int], a: str, b: str) -> float:
    i, j = rows[a], rows[b]
    return float(together[i, j] / np.sqrt(together[i, i] * together[j, j]))


def _arms(together: np.ndarray, rows: dict[str, int]) -> Suspected | None:
    if not {"I", "V5", "V6"} <= rows.keys():
        return None
    likeness = _likeness(together, rows, "I", "V6")
    if likeness >= OPPOSITE or _likeness(together, rows, "I", "V5") >= 0:
        return None
    return ("I", "aVR", "aVL"), (
        f"lead I runs against V6 (correlation {likeness:.2f}; usual is 0.9), as when the electrodes of the arms (RA, LA) are interchanged, "
        "so that I is inverted and aVR and aVL are exchanged; an infarct of the side wall or a heart on the right side looks alike"
    )


def _arm_and_leg(together: np.ndarray, rows: dict[str, int]) -> Suspected | None:
    if not {"II", "III", "aVF", "V6"} <= rows.keys():
        return None
    second, foot, third = (_likeness(together, rows, name, "V6") for name in ("II", "aVF", "III"))
    if max(second, foot) >= OPPOSITE or third >= -0.3:
        return None
    return ("II", "aVF", "aVR"), (
        f"lead II runs against V6 (correlation {second:.2f}; usual is 0.9), as when the electrodes of the right arm and the left leg are interchanged"
    )


def _between_legs(together: np.ndarray, rows: dict[str, int]) -> list[Suspected]:
    if not {"I", "II", "III"} <= rows.keys():
        return []
    size = {name: float(np.sqrt(together[rows[name], rows[name]])) for name in ("I", "II", "III")}
    found: list[Suspected] = []
    for name, arm in (("II", "right"), ("III", "left")):
        others = [size[other] for other in size if other != name]
        share = size[name] / float(np.mean(others))
        if share < SILENT[name]:
            found.append(
                (
                    (name,),
                    f"lead {name} is nearly silent ({1000 * size[name]:.0f} µV RMS, {100 * share:.0f} % of the other two limb leads), as when the electrode of "
                    f"the {arm} arm sits on the right leg",
                )
            )
    return found


@lru_cache(maxsize=1)
def _orders() -> np.ndarray:
    """As it is, in reverse, and every two leads interchanged: (order, 6)."""
    here = tuple(range(6))
    return np.array([here, here[::-1], *(order for order in permutations(here) if sum(a != b for a, b in zip(order, here)) == 2)])


def _chest(together: np.ndarray, rows: dict[str, int]) -> Suspected | None:
    if not {*CHEST, "I"} <= rows.keys():
        return None
    own = np.array([rows[name] for name in (*CHEST, "I")])
    size = np.sqrt(together[own, own])
    apart = 1 - together[np.ix_(own, own)] / np.outer(size, size)
    orders = _orders()
    way = apart[orders[:, :-1], orders[:, 1:]].sum(axis=1) + apart[orders[:, -1], 6]
    best = int(np.argmin(way))
    if way[best] >= (1 - SHORTER) * way[0]:
        return None
    moved = tuple(CHEST[i] for i in range(6) if orders[best, i] != i)
    what = "V1 to V6 stand in reverse" if len(moved) == 6 else f"{moved[0]} and {moved[1]} are interchanged"
    return moved, (
        f"the chest leads change from one to the next less smoothly than if {what}: how unlike neighbours are (1 - correlation, summed along V1 to V6 and "
        f"on to I) is {way[0]:.2f} as stored, and would be {way[best]:.2f}"
    )
