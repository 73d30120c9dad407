"""One wave of the heart (P, QRS, or ST-T) as a closed curve in space: a uniform cubic B-spline that begins and ends at zero.

A sum of Gaussians, as in most ECG models, never quite begins or ends, so its intervals cannot be stated. A B-spline has
compact support and two continuous derivatives: nothing before the onset, nothing after the offset, no kink in between. Its
control vectors are points of the vector loop that it draws (mV), so a change of the loop is a change of a few points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def curve(control: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The spline at ``u``: control (component, point), u (time,) -> (component, time); zero for u outside 0…1.

    n points span n + 3 equal knot intervals of 0…1.
    """
    n_intervals = control.shape[1] + 3
    padded = np.zeros((control.shape[0], n_intervals + 4))
    padded[:, 3:-4] = control
    x = np.clip(u, 0.0, 1.0) * n_intervals
    first = x.astype(np.int64)  # u = 1 falls in one interval more, whose points are all zero
    s = x - first
    r = 1.0 - s
    value = padded[:, first] * (r * r * r / 6.0)
    value += padded[:, first + 1] * ((3.0 * s - 6.0) * s * s / 6.0 + 2.0 / 3.0)
    value += padded[:, first + 2] * ((3.0 * r - 6.0) * r * r / 6.0 + 2.0 / 3.0)
    value += padded[:, first + 3] * (s * s * s / 6.0)
    return value


def control_positions(n_points: int) -> np.ndarray:
    """Where on 0…1 each control point pulls most."""
    return (np.arange(n_points) + 2.0) / (n_points + 3.0)


QRS_THRESHOLD = 0.007
"""A QRS begins and ends at this share of its height: some 10 µV, what is seen at 10 mm/mV by one who looks closely."""


@dataclass(frozen=True, eq=False)
class Wave:
    """A loop and where, on 0…1, it visibly begins, peaks and ends.

    control : (component, point) in mV; components are x, y, z and two near-field ones (``anatomy``)
    onset, offset : the length of the dipole (x, y, z) first exceeds, last falls below ``threshold`` of its maximum
    """

    control: np.ndarray
    onset: float
    peak: float
    offset: float

    @classmethod
    def of(cls, control: np.ndarray, threshold: float = 0.02) -> Wave:
        u = np.linspace(0.0, 1.0, 301)
        length = np.sqrt((curve(control[:3], u) ** 2).sum(axis=0))
        high = np.flatnonzero(length > threshold * length.max())
        return cls(control, u[high[0]], u[length.argmax()], u[high[-1]])

    def at(self, time: np.ndarray, onset: float, offset: float) -> np.ndarray:
        """(component, time) of the wave laid so that it visibly begins at ``onset`` and ends at ``offset`` (s)."""
        return curve(self.control, self.onset + (time - onset) * (self.offset - self.onset) / (offset - onset))

    def support(self, onset: float, offset: float) -> tuple[float, float]:
        """First and last instant (s) at which the wave, so laid, may differ from zero."""
        seconds_per_u = (offset - onset) / (self.offset - self.onset)
        return onset - self.onset * seconds_per_u, onset + (1.0 - self.onset) * seconds_per_u
