"""A synthetic corpus in which copies and faults are planted, made in memory: what an audit has to find, and all that it may find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.signal.resample import resample
from einthoven.simulate import simulate
from einthoven.sources.facts import Facts, RecordRef


@lru_cache(maxsize=256)
def heart(person: int, visit: int = 0) -> Record:
    return simulate(11, person=person, visit=visit, seconds=10.0, fs=500.0).record


def swapped(record: Record, one: str, two: str) -> Record:
    rows = [record.leads.index({one: two, two: one}.get(name, name)) for name in record.leads]
    return replace(record, signal=record.signal[rows])


def times(record: Record, factor: float, lead: str | None = None) -> Record:
    signal = record.signal.copy()
    signal[slice(None) if lead is None else record.leads.index(lead)] *= factor
    return replace(record, signal=signal)


def noisy(record: Record, millivolt: float, lead: str) -> Record:
    signal = record.signal.copy()
    signal[record.leads.index(lead)] += millivolt * np.random.default_rng(0).standard_normal(signal.shape[1]).astype(np.float32)
    return replace(record, signal=signal)


def flat(record: Record, lead: str) -> Record:
    return times(record, 0.0, lead)


N_PERSONS = 40

# name -> (of whom, how it is made, the person it is ascribed to); the first forty are themselves
COPIES: dict[str, tuple[int, Callable[[Record], Record], str]] = {
    "exact": (3, lambda record: record, "p3"),
    "stranger": (4, lambda record: record, "somebody else"),
    "hundred": (5, lambda record: replace(record, signal=resample(record.signal, 500.0, 100.0), fs=100.0), "p5"),
    "odd_rate": (6, lambda record: replace(record, signal=resample(record.signal, 500.0, 360.0), fs=360.0), "p6"),
    "five_times": (7, lambda record: times(record, 5.0), "p7"),
    "late": (8, lambda record: replace(record, signal=record.signal[:, 1234:]), "p8"),
    "piece": (9, lambda record: replace(record, signal=record.signal[:, 700:3900]), "p9"),
    "renamed": (10, lambda record: swapped(record, "aVL", "aVF"), "p10"),
    "one_lead": (12, lambda record: replace(record, signal=record.signal[1:2], leads=("II",)), "p12"),
    "noisier": (13, lambda record: noisy(record, 0.02, "V5"), "p13"),
}
FAULTS: dict[str, tuple[int, Callable[[Record], Record], str]] = {
    "inverted": (14, lambda record: times(record, -1.0, "aVR"), "limb"),
    "interchanged": (15, lambda record: swapped(record, "I", "aVF"), "limb"),
    "lead_gain": (16, lambda record: times(record, 2.0, "III"), "limb"),
    "muscle": (17, lambda record: noisy(record, 0.3, "V4"), "noise"),
    "off": (18, lambda record: flat(record, "V3"), "flat"),
    "tiny": (19, lambda record: times(record, 0.05), "amplitude"),
}


@dataclass(frozen=True)
class Planted:
    """The forty, a second visit of ten of them (the same person, another recording), and what is planted: of ``names``, by default everything."""

    names: tuple[str, ...] = (*COPIES, *FAULTS)
    persons: int = N_PERSONS
    FACTS = Facts("planted", version="1", licence="none")

    def records(self, root: Path) -> Iterator[RecordRef]:
        def ref(name: str, patient: str, label: str = "426783006") -> RecordRef:
            return RecordRef(Path(root) / name, name, patient, {label: 1.0}, "SNOMED CT", meta={"age": 50.0, "sex": "female"})

        for person in range(self.persons):
            yield ref(f"r{person}", f"p{person}")
        for person in range(min(10, self.persons)):
            yield ref(f"again{person}", f"p{person}")
        for name in self.names:
            yield ref(name, COPIES[name][2] if name in COPIES else f"f{name}", "1234" if name == "off" else "426783006")

    def read(self, ref: RecordRef) -> Record:
        name = ref.record
        if name.startswith("again"):
            record = heart(int(name[5:]), 1)
        elif name[0] == "r" and name[1:].isdigit():
            record = heart(int(name[1:]))
        elif name in COPIES:
            record = COPIES[name][1](heart(COPIES[name][0]))
        else:
            record = FAULTS[name][1](heart(100 + FAULTS[name][0]))
        assert set(record.leads) <= set(TWELVE)
        return replace(record, record=name, patient=ref.patient, labels=None, label_system=None, meta={})
