"""Which mistake with the limb leads explains that Einthoven's and Goldberger's laws do not hold.

I, II, III, aVR, aVL and aVF are six views of two numbers: whatever the heart does, they lie in one plane of six dimensions. Where they do
not, the file is wrong, not the heart, and the plane mostly tells how: every way to interchange or invert leads, and every factor, is tried,
and the least change that brings the leads back into the plane is named. All of it is arithmetic on a 6 × 6 matrix, never on the samples.

What keeps the laws cannot be seen here: electrodes on the wrong limb (``einthoven.signal.electrodes``), and I and II that were interchanged
before the other leads were derived from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

import numpy as np

from einthoven.leads import LIMB, canonical

BROKEN = 0.05
"""Residual over the leads' own RMS from which on the laws are broken. In 713 of 714 real recordings it is below 0.05 (median 0.003: rounding), and in
the last an amplifier was overdriven for a moment; two leads interchanged are then found, and told rightly, in 710."""

LEAST = 0.005
"""mV: a smaller residual is rounding, however small the leads are."""

MENDED = 0.03
"""Residual over RMS that a correction may leave, where it also takes away four fifths."""

MOMENT, MOMENTS = 0.1, 3
"""Share of the time in which the laws may be broken for the rest to count as sound, and the number of moments of which it consists at most."""

_OF_I_AND_II = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])  # rows as LIMB


@dataclass(frozen=True)
class LimbFinding:
    """What is wrong with the limb leads. Residuals: root mean square distance from the laws, in mV, over all limb leads.

    kind     : ``interchanged``, ``inverted``, ``scaled`` (one lead by a factor), ``scales`` (a factor for each lead), ``foreign`` (one lead is none
               of the six), ``momentary`` (sound but for moments), ``unexplained``
    leads    : the leads that are wrong
    sentence : for a person, with the numbers
    residual, residual_after : before and after what ``remedy`` says; equal where nothing helps
    remedy   : lead -> (the lead under whose name it is stored, factor); the leads that are right are left out
    """

    kind: str
    leads: tuple[str, ...]
    sentence: str
    residual: float
    residual_after: float
    remedy: Mapping[str, tuple[str, float]]


def explain_limb_leads(signal: np.ndarray, leads: Sequence[str]) -> LimbFinding | None:
    """The least mistake that explains why the limb leads of a recording, (lead, time) in mV, break their laws.

    None where the laws hold, or fewer than three limb leads have a signal. Constant offsets do not count.
    """
    names, limb = _limb(signal, leads)
    if len(names) < 3:
        return None
    covariance = limb @ limb.T / limb.shape[1]
    off_plane = _off_plane(names)
    n, total = len(names), float(np.trace(covariance))
    before = _residual(off_plane, covariance)
    if before < LEAST or before <= BROKEN * np.sqrt(total / n):
        return None
    limit = min(MENDED * np.sqrt(total / n), before / 5)
    found = _interchanged(names, covariance, off_plane, limit) or _one_lead(names, covariance, limit)
    if found is None or found[0] == "foreign":
        found = _moment(names, limb, off_plane) or found or _scales(names, covariance, off_plane, limit)
    if found is not None:
        kind, wrong, words, after, remedy = found
        # What is left may be a foreign lead's noise, which no remedy touches.
        words += f" (they break Einthoven's laws by {1000 * before:.0f} µV RMS as stored, by {1000 * after:.1f} µV so corrected)"
        return LimbFinding(kind, wrong, words, before, after, remedy)
    words = (
        f"{', '.join(names)} break Einthoven's laws by {1000 * before:.0f} µV RMS, and no interchange, sign or factor explains it: "
        "look whether each lead was filtered alone, or a lead is another signal"
    )
    return LimbFinding("unexplained", tuple(names), words, before, before, {})


def _limb(signal: np.ndarray, leads: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Names of the limb leads that move, in the order of LIMB, and what they are over the samples that all of them have, less their mean."""
    rows = {canonical(name): row for row, name in enumerate(leads)}
    names = [name for name in LIMB if name in rows]
    limb = signal[[rows[name] for name in names]].astype(np.float64)
    if not np.isfinite(limb.sum()):
        live = np.flatnonzero(np.isfinite(limb).any(axis=1))
        limb, names = limb[live], [names[row] for row in live.tolist()]
        limb = limb[:, np.isfinite(limb).all(axis=0)]
    if limb.shape[1] < 2:
        return [], limb
    moving = np.flatnonzero(np.ptp(limb, axis=1) > 0)
    limb, names = limb[moving], [names[row] for row in moving.tolist()]
    return names, limb - limb.mean(axis=1, keepdims=True)


def _off_plane(names: Sequence[str]) -> np.ndarray:
    """The projection onto what the laws forbid, (lead, lead)."""
    plane = _OF_I_AND_II[[LIMB.index(name) for name in names]]
    return np.eye(len(names)) - plane @ np.linalg.pinv(plane)


def _residual(off_plane: np.ndarray, covariance: np.ndarray) -> float:
    return float(np.sqrt(max(float((off_plane * covariance).sum()), 0.0) / len(covariance)))


Found = tuple[str, tuple[str, ...], str, float, dict[str, tuple[str, float]]]


@lru_cache(maxsize=8)
def _orders(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All orders (order, lead), all signs (sign, lead), and how many leads each pair of them touches (order, sign)."""
    orders = np.array(list(permutations(range(n))))
    signs = np.array(list(product((1.0, -1.0), repeat=n)))
    return orders, signs, ((orders != np.arange(n))[:, None] | (signs < 0)[None]).sum(axis=2)


def _interchanged(names: list[str], covariance: np.ndarray, off_plane: np.ndarray, limit: float) -> Found | None:
    """The order and signs that touch fewest leads. Electrodes on other limbs keep the laws, so that every correction has eleven companions, all of
    which touch more; two that touch equally few are both told."""
    n = len(names)
    orders, signs, touched = _orders(n)
    shuffled = covariance[orders[:, :, None], orders[:, None, :]].reshape(len(orders), n * n)
    outer = (signs[:, :, None] * signs[:, None, :]).reshape(len(signs), n * n)
    residual = np.sqrt(np.maximum((shuffled * off_plane.ravel()) @ outer.T, 0) / n)
    good = residual <= limit
    if not good.any():
        return None
    fewest = touched[good].min()
    equal = np.argwhere(good & (touched == fewest))
    equal = equal[np.argsort(residual[equal[:, 0], equal[:, 1]])]
    remedies = [
        {names[i]: (names[orders[o, i]], float(signs[s, i])) for i in range(n) if orders[o, i] != i or signs[s, i] < 0} for o, s in equal
    ]
    first, after = remedies[0], float(residual[tuple(equal[0])])
    kind = "interchanged" if any(lead != source for lead, (source, _) in first.items()) else "inverted"
    words = _what_was_done(first)
    if len(remedies) > 1:
        words += ", or " + "; or ".join(_what_was_done(remedy) for remedy in remedies[1:3])
    return kind, tuple(first), words, after, first


def _what_was_done(remedy: Mapping[str, tuple[str, float]]) -> str:
    sources = {lead: source for lead, (source, _) in remedy.items()}
    turned = [source for source, factor in remedy.values() if factor < 0]
    moved = [lead for lead, source in sources.items() if lead != source]
    parts = []
    if len(moved) == 2:
        parts.append(f"{moved[0]} and {moved[1]} are interchanged")
    elif moved:
        parts.append("the leads are interchanged: " + ", ".join(f"{lead} stands under {sources[lead]}" for lead in moved))
    if turned:
        parts.append(f"{' and '.join(turned)} {'is' if len(turned) == 1 else 'are'} inverted (the sign is wrong)")
    return ", and ".join(parts)


def _one_lead(names: list[str], covariance: np.ndarray, limit: float) -> Found | None:
    """One lead whose absence makes the others obey: it has another scale, or is another signal."""
    n = len(names)
    if n < 4:
        return None
    best: tuple[float, int] | None = None
    for i in range(n):
        rest = [j for j in range(n) if j != i]
        left = _residual(_off_plane([names[j] for j in rest]), covariance[np.ix_(rest, rest)])
        if left <= limit and (best is None or left < best[0]):
            best = (left, i)
    if best is None:
        return None
    left, i = best
    rest = [j for j in range(n) if j != i]
    # What the others say that it should be: (lead,) weights on the others.
    weights = _OF_I_AND_II[LIMB.index(names[i])] @ np.linalg.pinv(_OF_I_AND_II[[LIMB.index(names[j]) for j in rest]])
    expected = float(weights @ covariance[np.ix_(rest, rest)] @ weights)
    shared, own = float(weights @ covariance[rest, i]), float(covariance[i, i])
    likeness = shared / np.sqrt(expected * own) if expected > 0 else 0.0
    name = names[i]
    if abs(likeness) >= 0.995:
        factor = shared / own
        how = f"is {1 / abs(factor):.3g} times as large as the other limb leads say" + (" and inverted" if factor < 0 else "")
        return "scaled", (name,), f"{name} {how}", left, {name: (name, factor)}
    how = f"{name} is another signal: its correlation with what the other limb leads say that it should be is {likeness:.2f}"
    return "foreign", (name,), how, left, {}


def _scales(names: list[str], covariance: np.ndarray, off_plane: np.ndarray, limit: float) -> Found | None:
    """A factor for each lead: the eigenvector for the smallest eigenvalue of what the laws forbid, among leads of unit variance."""
    n = len(names)
    if n < 5:  # each factor costs a law: there must be more laws than factors
        return None
    size = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(off_plane * covariance / np.outer(size, size))
    gains = vectors[:, 0] / size
    if np.abs(vectors[:, 0]).min() < 1e-3 or values[1] < 25 * max(values[0], 1e-9):
        return None  # more than one set of factors would do
    gains = gains / gains[0]
    after = _residual(off_plane, covariance * np.outer(gains, gains))
    spread = float(np.sqrt(np.trace(covariance * np.outer(gains, gains)) / n))
    if after > MENDED * spread:
        return None
    factors = ", ".join(f"{name} × {gain:.3g}" for name, gain in zip(names, gains))
    words = f"the limb leads have different scales: the laws hold with {factors}; do not trust the gains in the file"
    after *= float(np.sqrt(np.trace(covariance) / n)) / spread  # in mV of the signal as it is stored
    return "scales", tuple(names), words, after, {name: (name, float(gain)) for name, gain in zip(names, gains)}


def _moment(names: list[str], limb: np.ndarray, off_plane: np.ndarray) -> Found | None:
    """Laws that hold but for moments: an amplifier was overdriven there, or one lead has a burst of its own."""
    apart = off_plane @ limb
    apart -= np.median(apart, axis=1, keepdims=True)  # the mean that was taken out has its share of the moment
    off = np.sqrt((apart**2).mean(axis=0))
    broken = off > max(2 * LEAST, BROKEN * float(np.median(np.sqrt((limb**2).mean(axis=0)))))
    share, places = float(broken.mean()), np.flatnonzero(broken)
    if share > MOMENT or np.count_nonzero(np.diff(places) > 0.02 * limb.shape[1]) >= MOMENTS:  # many: it comes with every beat
        return None
    after = float(np.sqrt((off[~broken] ** 2).mean()))
    worst = [names[i] for i in np.argsort(-np.abs(apart).max(axis=1))[:1]]
    words = f"the laws hold but for {100 * share:.1f} % of the time, where {worst[0]} most of all goes its own way (an overdriven amplifier, a burst)"
    return "momentary", tuple(worst), words, after, {}
