"""Waves laid one after another on the time line, and what breathing and a pacemaker add."""

from __future__ import annotations

import numpy as np

from einthoven.simulate.anatomy import Heart, rotation, turned
from einthoven.simulate.rhythm import Events
from einthoven.simulate.wave import QRS_THRESHOLD, Wave, curve

ST_START = 0.6  # the ST-T wave begins when 0.6 of the QRS is over: the first cells recover before the last are excited
T_THRESHOLD = 0.10  # where a tangent to the T wave's descent meets the line
P_THRESHOLD = 0.02


class Tracing:
    """Atria (x, y, z) and ventricles (x, y, z, near, near) over time, that waves are laid into."""

    def __init__(self, n_samples: int, fs: float):
        self.fs, self.n_samples = fs, n_samples
        self.atria, self.ventricles = np.zeros((3, n_samples)), np.zeros((5, n_samples))

    def lay(self, wave: Wave, onset: float, offset: float, gain: float = 1.0) -> np.ndarray:
        """Add a wave; its onset, peak and offset as sample indices, −1 outside the record."""
        first, last = wave.support(onset, offset)
        start, stop = max(int(np.ceil(first * self.fs)), 0), min(int(np.floor(last * self.fs)) + 1, self.n_samples)
        if stop > start:
            vector = self.atria if len(wave.control) == 3 else self.ventricles
            vector[:, start:stop] += gain * wave.at(np.arange(start, stop) / self.fs, onset, offset)
        peak = onset + (wave.peak - wave.onset) / (wave.offset - wave.onset) * (offset - onset)
        return self.index(onset, peak, offset)

    def index(self, *instants: float) -> np.ndarray:
        samples = np.round(np.array(instants) * self.fs).astype(np.int64)
        return np.where((samples >= 0) & (samples < self.n_samples), samples, -1)


def _t_marks(wave: Wave) -> tuple[float, float]:
    """Where on 0…1 the T wave leaves the ST segment, and its peak."""
    u = np.linspace(0.0, 1.0, 201)
    v = curve(wave.control[:3], u)
    level = v[:, 44]  # about 40 ms after the J point
    away = np.sqrt(((v - level[:, None]) ** 2).sum(axis=0))
    away[:44] = 0.0
    tail = np.sqrt((v**2).sum(axis=0))
    peak = 44 + int(np.maximum(away, tail)[44:].argmax())
    below = np.flatnonzero(away[44 : peak + 1] < 0.12 * away[peak])
    return float(u[44 + (below[-1] if below.size else 0)]), float(u[peak])


def lay_beats(
    tracing: Tracing, events: Events, hearts: dict[str, Heart], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Lay P, QRS and ST-T of every event.

    returns: marks (wave -> (beat, 3) onset, peak, offset) and symbols (beat,) of the beats whose QRS peak is in the record, and
             (wave, 3) the marks of P waves that no beat answered
    """
    waves = {kind: (Wave.of(h.p, P_THRESHOLD), Wave.of(h.qrs, QRS_THRESHOLD), Wave.of(h.st_t, T_THRESHOLD)) for kind, h in hearts.items()}
    t_marks = {kind: _t_marks(wave[2]) for kind, wave in waves.items()}
    base = hearts["normal"]
    turn = rng.normal(0.0, 0.5, 3)
    shapes = {
        "sinus": waves["normal"][0],
        "ectopic": Wave.of(turned(base.p, rotation(turn + np.array([0.0, 0.0, rng.choice([-1.0, 0.6])])))),
        "retrograde": Wave.of(turned(base.p, rotation(np.array([0.0, 0.0, np.pi * 1.05]))) * 0.8),
    }
    p_marks = []
    for onset, kind in events.p:
        p_marks.append(tracing.lay(shapes[kind], onset, onset + base.p_seconds, 1.0 + 0.04 * rng.standard_normal()))

    gaps = np.diff([beat.time for beat in events.beats], prepend=np.nan)
    gaps[0] = np.nanmedian(gaps) if len(gaps) > 1 else 1.0
    slow_rr = float(np.median(gaps))
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    symbols: list[str] = []
    conducted: set[int] = set()
    for beat, gap in zip(events.beats, gaps, strict=True):
        heart, (_, qrs, st_t) = hearts[beat.kind], waves[beat.kind]
        slow_rr += (gap - slow_rr) * (1.0 - np.exp(-gap / 60.0))  # QT follows the rate of the last minute
        fast = 0.03 * (np.clip(gap, 0.4 * slow_rr, 1.6 * slow_rr) - slow_rr)  # and, a little, the last interval
        qt = heart.qtc * slow_rr ** (1 / 3) + fast
        gain = 1.0 + 0.018 * rng.standard_normal()
        qrs_end = beat.time + heart.qrs_seconds
        qrs_marks = tracing.lay(qrs, beat.time, qrs_end, gain)
        # ST-T: its support begins within the QRS, its visible end is QT after the onset.
        start, end = beat.time + ST_START * heart.qrs_seconds, beat.time + qt
        per_u = (end - start) / st_t.offset
        tracing.lay(st_t, start + st_t.onset * per_u, end, gain * (1.0 + 0.01 * rng.standard_normal()))
        leaves, peaks = t_marks[beat.kind]
        marks = tracing.index(start + leaves * per_u, start + peaks * per_u, end)
        if qrs_marks[1] < 0:
            conducted.add(beat.p)  # its P wave is no lonely one, though the beat lies outside
            continue
        p = p_marks[beat.p] if beat.p >= 0 else np.full(3, -1)
        conducted.add(beat.p)
        rows.append((p, qrs_marks, marks))
        symbols.append(beat.symbol)
    by_wave = {name: np.array([row[i] for row in rows], dtype=np.int64).reshape(-1, 3) for i, name in enumerate(("P", "QRS", "T"))}
    alone = [mark for i, mark in enumerate(p_marks) if i not in conducted and mark[1] >= 0]
    return by_wave, np.array(symbols, dtype="<U1"), np.array(alone, dtype=np.int64).reshape(-1, 3)


def breathe(vector: np.ndarray, tilt: np.ndarray, breath: np.ndarray) -> np.ndarray:
    """Turn the dipole about ``tilt`` by its length (rad) times ``breath`` (time,): Rodrigues' formula, sample by sample."""
    angle = float(np.linalg.norm(tilt))
    if angle == 0.0:
        return vector
    axis = tilt / angle
    dipole = vector[:3]
    across = np.stack(
        [axis[1] * dipole[2] - axis[2] * dipole[1], axis[2] * dipole[0] - axis[0] * dipole[2], axis[0] * dipole[1] - axis[1] * dipole[0]]
    )
    along = axis[:, None] * (axis @ dipole)
    c, s = np.cos(angle * breath), np.sin(angle * breath)
    return np.concatenate([dipole * c + across * s + along * (1.0 - c), vector[3:]])


def spikes(times: list[float], t: np.ndarray, fs: float, rng: np.random.Generator) -> np.ndarray:
    """Pacing spikes of 1.5 ms as the sampled record holds them: each sample the mean over its interval."""
    height = rng.uniform(0.8, 2.5) * np.array([-0.35, 0.75, -0.3])
    out = np.zeros((5, t.size))
    edges = np.append(t, t.size / fs) - 0.5 / fs
    for time in times:
        covered = np.clip(np.minimum(edges[1:], time - 0.002 + 0.0015) - np.maximum(edges[:-1], time - 0.002), 0.0, None)
        out[:3] += height[:, None] * covered * fs
    return out
