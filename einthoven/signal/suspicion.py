"""What makes one doubt a recording: its unit, its rate, its leads, its noise. Each doubt with the numbers that raise it.

A doubt is no verdict. ``refuse`` stands for what ``einthoven.signal.quality`` refuses (nobody could use it); everything else is a warning, chosen so
that few sound recordings carry one; the limits say what they were measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from einthoven.leads import INDEPENDENT, LIMB, TWELVE, canonical
from einthoven.signal.beats import Beats, find_beats
from einthoven.signal.electrodes import suspected_electrodes
from einthoven.signal.interference import Interference, measure
from einthoven.signal.limb import LimbFinding, explain_limb_leads
from einthoven.signal.quality import Quality, check

AMPLITUDE = (0.03, 0.6)
"""mV: the RMS of the middle lead between 1 and 30 Hz. In 714 real recordings of twelve leads 99 % lie from 0.056 to 0.6 (median 0.16). A factor of 5 is
noticed in 80 % of them, one of 1/5 in 40 %."""

RATES = (25.0, 230.0)
"""Beats a minute."""

FAST_AND_NARROW, SLOW_AND_WIDE = (110.0, 0.055), (45.0, 0.15)
"""Beats a minute and s of QRS (as ``find_beats`` measures it: 0.06 to 0.18 s in 99 % of real recordings): beyond both, time itself is wrong. None of
714 real recordings is; a rate taken twice too high is noticed in 58 % of them, one taken twice too low in 42 %."""

NOISE, SNR, MAINS, WANDER = 40.0, 20.0, 20.0, 800.0
"""µV, dB, µV, µV: a lead beyond one of these is noisy. Of 714 real recordings 47 have such a lead."""

N_SEEN = 693
MARKED = {
    "amplitude": 4,
    "rate": 0,
    "line": 1,
    "limb": 1,
    "electrodes": 6,
    "chest": 4,
    "flat": 4,
    "clipped": 0,
    "noise": 13,
    "mains": 5,
    "baseline": 34,
}
"""How many of 693 real recordings of twelve leads (PTB-XL, CinC 2021 and CODE-15 %, as they are published) carry each kind of doubt. Hardly any of them
is known to be wrong: as large a share is to be expected of any corpus, however sound."""

ABSURD = 1e9
"""mV beyond which a number is no amplitude in any unit, and its square no float32: nothing is measured."""


@dataclass(frozen=True)
class Suspicion:
    """One doubt.

    kind     : amplitude, counts, rate, line, short, missing, flat, clipped, noise, mains, baseline, limb, electrodes, chest
    leads    : the leads it is about; () for the whole recording
    sentence : for a person, with the numbers
    severity : "refuse" or "warn"
    """

    kind: str
    leads: tuple[str, ...]
    sentence: str
    severity: str


class Look:
    """A recording, looked at once: (lead, time) in mV, NaN where not recorded; every number is worked out when it is first asked for.

    signal : gaps bridged, without the leads that were not recorded; the numbers of ``interference`` are of its rows, ``leads``
    """

    def __init__(self, signal: np.ndarray, fs: float, leads: Sequence[str]):
        self.quality: Quality = check(signal, fs, leads)
        self.fs = fs
        names = [canonical(name) for name in leads]
        gone = self.quality.missing_leads
        rows = [row for row, name in enumerate(leads) if name not in gone]
        self.leads = tuple(names[row] for row in rows)
        self.signal = signal if not gone else signal[rows]
        if self.quality.nan_share and len(rows):
            self.signal = np.stack([_bridged(line) for line in self.signal])
        flat = {canonical(name) for name in self.quality.flat_leads}
        self.live = np.array([name not in flat for name in self.leads], dtype=bool)
        self.measurable = self.live.any() and float(np.abs(self.signal).max(initial=0.0)) < ABSURD

    @cached_property
    def interference(self) -> Interference | None:
        """None for what is too short, or too absurd, to look at."""
        return measure(self.signal, self.fs) if self.measurable and self.signal.shape[1] >= self.fs else None

    @cached_property
    def beats(self) -> Beats:
        return find_beats(self.signal, self.fs)

    @cached_property
    def limb(self) -> LimbFinding | None:
        return explain_limb_leads(self.signal, self.leads)

    @cached_property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """The worst first."""
        found = [*_leads(self), *_amplitude(self), *_rate(self), *_order(self), *_noise(self)]
        return tuple(sorted(found, key=lambda one: one.severity != "refuse"))


def suspicions(signal: np.ndarray, fs: float, leads: Sequence[str]) -> tuple[Suspicion, ...]:
    """Every doubt about a recording of shape (lead, time) in mV, the worst first; () for a sound one."""
    return Look(signal, fs, leads).suspicions


def _bridged(line: np.ndarray) -> np.ndarray:
    known = np.isfinite(line)
    if known.all():
        return line
    at = np.arange(len(line))
    return np.interp(at, at[known], line[known]).astype(np.float32)


def _leads(look: Look) -> list[Suspicion]:
    quality, found = look.quality, []
    if quality.problem and quality.problem_kind and quality.problem_kind != "amplitude":
        found.append(Suspicion(quality.problem_kind, (), quality.problem, "refuse"))
    if set(LIMB[:2]) & set(look.leads) and len(set(TWELVE) & set(look.leads)) >= 3:
        missing = tuple(name for name in INDEPENDENT if name not in look.leads)
        if missing:
            found.append(Suspicion("missing", missing, f"{', '.join(missing)} of the eight independent leads not recorded", "warn"))
    if quality.flat_leads and quality.problem_kind != "flat":
        found.append(
            Suspicion("flat", quality.flat_leads, f"{', '.join(quality.flat_leads)}: one value throughout; the electrode was off", "warn")
        )
    if quality.clipped_leads:
        words = (
            f"{', '.join(quality.clipped_leads)}: at the highest or lowest value for 2 % of the time and more; the amplifier was overdriven"
        )
        found.append(Suspicion("clipped", quality.clipped_leads, words, "warn"))
    return found


def _amplitude(look: Look) -> list[Suspicion]:
    if not look.measurable:
        return _impossible(look)
    whole = look.signal[look.live, : round(10 * look.fs)]
    if look.quality.amplitude > 2 and bool((whole == np.rint(whole)).all()):
        words = f"every value is a whole number (SD of the middle lead {look.quality.amplitude:.4g}): converter counts or µV, not mV; look for the gain"
        return [Suspicion("counts", (), words, "refuse" if look.quality.problem else "warn")]
    if impossible := _impossible(look):
        return impossible
    if look.interference is None:
        return []
    size = float(np.sqrt(np.median(np.diag(look.interference.together)[look.live])))
    if AMPLITUDE[0] <= size <= AMPLITUDE[1] or (look.live.sum() < 6 and 0.3 * AMPLITUDE[0] <= size <= 3 * AMPLITUDE[1]):
        return []
    factor = 0.15 / size
    words = (
        f"the middle lead has {size:.3g} mV RMS between 1 and 30 Hz ({AMPLITUDE[0]:g} to {AMPLITUDE[1]:g} expected): "
        + ("too large" if factor < 1 else "too small")
        + f" by a factor of about {max(factor, 1 / factor):.2g}; is the gain right?"
    )
    return [Suspicion("amplitude", (), words, "warn")]


def _impossible(look: Look) -> list[Suspicion]:
    quality = look.quality
    return [Suspicion("amplitude", (), quality.problem, "refuse")] if quality.problem and quality.problem_kind == "amplitude" else []


def _rate(look: Look) -> list[Suspicion]:
    if not look.measurable or look.signal.shape[1] < 2 * look.fs:
        return []
    found, beats = [], look.beats
    said = f"{beats.rate:.0f} beats a minute, QRS {1000 * beats.qrs:.0f} ms at {look.fs:g} Hz"
    if beats.rate > FAST_AND_NARROW[0] and beats.qrs < FAST_AND_NARROW[1]:
        found.append(Suspicion("rate", (), f"{said}: both too quick; was it recorded at {look.fs / 2:g} Hz?", "warn"))
    elif beats.rate < SLOW_AND_WIDE[0] and beats.qrs > SLOW_AND_WIDE[1]:
        found.append(Suspicion("rate", (), f"{said}: both too slow; was it recorded at {2 * look.fs:g} Hz?", "warn"))
    elif not RATES[0] <= beats.rate <= RATES[1] and np.isfinite(beats.rate):
        found.append(Suspicion("rate", (), f"{said}; {RATES[0]:g} to {RATES[1]:g} expected", "warn"))
    if look.interference is not None and (line := look.interference.line) is not None:
        words = f"a lonely line at {line:.1f} Hz and none at 50 or 60 Hz: mains, if the rate is {look.fs * 50 / line:.0f} or {look.fs * 60 / line:.0f} Hz"
        found.append(Suspicion("line", (), words, "warn"))
    return found


def _order(look: Look) -> list[Suspicion]:
    found = []
    if look.limb is not None:
        found.append(Suspicion("limb", look.limb.leads, look.limb.sentence, "warn"))
    # The order of leads is asked of nobody whose limb leads are wrong anyway.
    if look.interference is not None and (look.limb is None or look.limb.kind == "momentary"):
        for leads, words in suspected_electrodes(look.interference.together, look.leads):
            found.append(Suspicion("chest" if leads[0].startswith("V") else "electrodes", leads, words, "warn"))
    return found


def _noise(look: Look) -> list[Suspicion]:
    seen = look.interference
    if seen is None or look.quality.problem_kind == "amplitude":
        return []
    found = []
    for kind, beyond, value, words in (
        ("noise", (seen.noise > NOISE) | (seen.snr < SNR), seen.noise, "µV RMS of noise between the beats"),
        ("mains", seen.mains > MAINS, seen.mains, "µV RMS of mains"),
        ("baseline", seen.baseline > WANDER, seen.baseline, "µV RMS of baseline wander"),
    ):
        which = np.flatnonzero(beyond & look.live)
        if len(which):
            names = tuple(look.leads[row] for row in which)
            worst = which[np.argmax(value[which])]
            more = f" (signal over noise {seen.snr[worst]:.0f} dB)" if kind == "noise" else ""
            found.append(Suspicion(kind, names, f"{', '.join(names)}: up to {value[worst]:.0f} {words}{more}", "warn"))
    return found
