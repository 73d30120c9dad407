"""Where the heartbeats are, how fast they come and how wide their QRS is: from all leads at once, in a millisecond, with NumPy alone.

Made for looking at millions of recordings. Where a beat must not be missed, ``einthoven.signal.peaks`` is the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 0.02
"""Seconds over which the slope is taken: steep in a QRS, not in a T wave, and no noise of single samples."""

REFRACTORY = 0.24
"""Seconds after a beat in which there is no other: 250 beats a minute."""

MOST = 60.0
"""Seconds that are looked at, from the middle of a longer recording."""


@dataclass(frozen=True)
class Beats:
    """times : (beat,) seconds, rising; rate : beats a minute, from the median interval; qrs : width in s of the median beat. NaN where there are none."""

    times: np.ndarray
    rate: float
    qrs: float


def find_beats(signal: np.ndarray, fs: float) -> Beats:
    """The beats of a recording, (lead, time), without NaN; the unit and the polarity do not matter, and every lead counts the same."""
    n = signal.shape[1]
    first = max(0, (n - round(MOST * fs)) // 2)
    activity = slope(signal[:, first : first + round(MOST * fs)], fs)
    nothing = Beats(np.empty(0), np.nan, np.nan)
    if activity.size < 1.5 * fs or not activity.any():
        return nothing
    smooth = boxcar(activity, round(0.1 * fs))
    places = peaks(smooth, fs)
    if len(places) < 2:
        return Beats((first + places) / fs, np.nan, np.nan)
    return Beats((first + places) / fs, 60.0 * fs / float(np.median(np.diff(places))), _width(activity, places, fs))


def slope(signal: np.ndarray, fs: float) -> np.ndarray:
    """How steep all leads are together: (time,), root mean square over the leads of the change in STEP, each lead over its own size."""
    reach = max(1, round(STEP * fs / 2))
    out = np.zeros(signal.shape[1])
    if signal.shape[1] <= 2 * reach:
        return out
    change = signal[:, 2 * reach :] - signal[:, : -2 * reach]
    # The size of a lead's steepest parts; a mean would punish the lead with the sharpest QRS.
    square = np.einsum("lt,lt->l", change, change, dtype=np.float64) / change.shape[1]
    weight = np.where(square > 0, 1 / np.where(square > 0, square, 1), 0)
    np.square(change, out=change)
    out[reach:-reach] = np.sqrt(weight.astype(change.dtype) @ change / max(np.count_nonzero(weight), 1))
    return out


def boxcar(line: np.ndarray, width: int) -> np.ndarray:
    """The mean over ``width`` samples around each, along the last axis, the ends repeated."""
    width = min(max(1, width) | 1, 2 * line.shape[-1] - 1)
    if width == 1:
        return line
    half = width // 2
    pad = [(0, 0)] * (line.ndim - 1)
    total = np.cumsum(np.pad(line, [*pad, (half + 1, half)], mode="edge"), axis=-1, dtype=np.float64)
    return (total[..., width:] - total[..., :-width]) / width


def peaks(smooth: np.ndarray, fs: float) -> np.ndarray:
    """Places of the beats in a smoothed slope: its local maxima that reach a third of what is usual around them, the highest of each REFRACTORY."""
    up = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])
    found = np.flatnonzero(up) + 1
    if not len(found):
        return found
    # In every 2 s there is a beat, but in a pause; the median of five such windows tells how high beats are here.
    window = max(1, round(2 * fs))
    n = -(-len(smooth) // window)
    highest = np.maximum.reduceat(smooth, np.arange(n) * window)
    if n > 1 and len(smooth) - (n - 1) * window < window / 2:
        highest[-1] = highest[-2]
    usual = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(highest, 2, mode="edge"), 5), axis=1)
    floor = float(np.median(smooth))
    height = smooth[found]
    found = found[height > floor + (usual[found // window] - floor) / 3]
    kept: list[int] = []
    for place in found.tolist():
        if kept and place - kept[-1] < REFRACTORY * fs:
            if smooth[place] > smooth[kept[-1]]:
                kept[-1] = place
        else:
            kept.append(place)
    return np.asarray(kept, dtype=np.int64)


def _width(activity: np.ndarray, places: np.ndarray, fs: float) -> float:
    """Seconds for which the median beat is steep."""
    reach = round(0.2 * fs)
    inside = places[(places >= reach) & (places < len(activity) - reach)][:64]
    if len(inside) < 2:
        return float("nan")
    beat = np.median(activity[inside[:, None] + np.arange(-reach, reach + 1)], axis=0)
    floor = float(np.quantile(beat, 0.2))
    steep = np.flatnonzero(beat - floor > 0.15 * (beat[reach - reach // 3 : reach + reach // 3 + 1].max() - floor))
    # The part around the middle; what is apart by 40 ms (a P wave, a T wave) does not belong to it.
    gaps = np.flatnonzero(np.diff(steep) > 0.04 * fs)
    parts = np.split(steep, gaps + 1)
    own = min(parts, key=lambda part: np.abs(part - reach).min()) if len(steep) else steep
    return len(own) / fs
