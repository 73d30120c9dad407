"""The rhythm data of SCP-ECG: which leads, decoded, put back to one rate, and the reference beat added where it was taken off.

Bimodal compression. Outside the protected zones round the QRS complexes a writer keeps the mean of every 2 to 4 samples. Such a mean is put back
in the middle of the samples that it is the mean of, with straight lines between, and held at both ends of a zone. The zones are whole
numbers of such groups, as the standard wants; a file in which they are not is refused, since it does not say what belongs where.

Section 3 counts samples from 1. What a lead has before it begins and after it ends, where leads were recorded one after the other, is NaN.

Source: EN 1064 (ANSI/AAMI EC71), sections 5.5 to 5.9 and annex C.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from einthoven.io import scp_huffman as huffman
from einthoven.io.bounds import MOST_UNPACKED
from einthoven.io.scp_sections import Section

# The code of a lead is its place; codes above 151 are the maker's own. "d…" is a lead that was derived, "VR" Wilson's, before Goldberger.
_CODES = """? I II V1 V2 V3 V4 V5 V6 V7 V2R V3R V4R V5R V6R V7R X Y Z CC5 CM5 LA RA LL fI fE fC fA fM fF fH
dI dII dV1 dV2 dV3 dV4 dV5 dV6 dV7 dV2R dV3R dV4R dV5R dV6R dV7R dX dY dZ dCC5 dCM5 dLA dRA dLL dfI dfE dfC dfA dfM dfF dfH
III aVR aVL aVF -aVR V8 V9 V8R V9R D A J Defib Extern A1 A2 A3 A4 dV8 dV9 dV8R dV9R dD dA dJ Chest V VR VL VF
MCL MCL1 MCL2 MCL3 MCL4 MCL5 MCL6 CC CC1 CC2 CC3 CC4 CC6 CC7 CM CM1 CM2 CM3 CM4 CM6
dIII daVR daVL daVF d-aVR dChest dV dVR dVL dVF CM7 CH5 CS5 CB5 CR5 ML AB1 AB2 AB3 AB4 ES AS AI S
dDefib dExtern dA1 dA2 dA3 dA4 dMCL1 dMCL2 dMCL3 dMCL4 dMCL5 dMCL6 RL CV5RL CV6LL CV6LU V10
dMCL dCC dCC1 dCC2 dCC3 dCC4 dCC6 dCC7 dCM dCM1 dCM2 dCM3 dCM4 dCM6 dCM7 dCH5 dCS5 dCB5 dCR5 dML dAB1 dAB2 dAB3 dAB4
dES dAS dAI dS dRL dCV5RL dCV6LL dCV6LU dV10""".split()
MAX_RATE = 16


@dataclass(frozen=True)
class Lead:
    """One lead of section 3: its first and last sample, from 1."""

    name: str
    first: int
    last: int

    @property
    def n(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, eq=False)
class _Wave:
    """What sections 5 and 6 have in common: resolution, time between samples in µs, order of differences, and the bytes of each lead."""

    microvolt: float
    interval: int
    difference: int
    bimodal: bool
    data: list[bytes]


def lead_name(code: int) -> str:
    """What the standard calls a lead; one that was derived, and Wilson's unaugmented limb leads, must not be taken for the plain ones."""
    name = _CODES[code] if 0 < code < len(_CODES) else f"lead code {code}"
    if name in ("VR", "VL", "VF"):
        return f"{name} (unaugmented)"
    return f"{name[1:]} (derived)" if name.startswith("d") else name


def read_tables(section: Section | None) -> list[huffman.Table] | None:
    """The Huffman tables of section 2; None where the samples are plain 16-bit integers."""
    if section is None:
        return None
    data = section.data
    (n,) = struct.unpack_from("<H", data)
    if n == huffman.DEFAULT_TABLE:
        return [huffman.default_table()]
    if n == 0:
        return None
    if n > huffman.MAX_TABLES:
        raise ValueError(f"{n} Huffman tables; {huffman.MAX_TABLES} at most are read")
    tables, place = [], 2
    for _ in range(n):
        (n_codes,) = struct.unpack_from("<H", data, place)
        if place + 2 + 9 * n_codes > len(data):
            raise ValueError(f"a Huffman table of {n_codes} codes in a section of {len(data)} bytes")
        codes = [
            (p, t, bool(mode), base, code) for p, t, mode, base, code in struct.iter_unpack("<BBBhI", data[place + 2 :][: 9 * n_codes])
        ]
        tables.append(huffman.make_table(codes, n))
        place += 2 + 9 * n_codes
    return tables


def read_leads(section: Section) -> tuple[list[Lead], bool]:
    """The leads of section 3, and whether the reference beat was taken off."""
    n, flags = struct.unpack_from("<BB", section.data)
    if n == 0 or 2 + 9 * n > len(section.data):
        raise ValueError(f"section 3 promises {n} leads in {len(section.data)} bytes")
    leads = [Lead(lead_name(code), first, last) for first, last, code in struct.iter_unpack("<IIB", section.data[2 : 2 + 9 * n])]
    for lead in leads:
        if lead.n < 1:
            raise ValueError(f"lead {lead.name} runs from sample {lead.first} to {lead.last}")
    return leads, bool(flags & 1)


def read_signal(sections: dict[int, Section]) -> tuple[np.ndarray, float, list[str]]:
    """(lead, time) float32 in mV, the rate in Hz, and the leads' names.

    Raises ValueError or struct.error where the sections contradict one another or end too early.
    """
    leads, subtracted = read_leads(sections[3])
    tables = read_tables(sections.get(2))
    rhythm = _wave(sections[6], len(leads))
    rate, interval = 1, rhythm.interval
    zones: list[tuple[int, int]] = []
    beat: _Wave | None = None
    if subtracted or rhythm.bimodal:
        if 4 not in sections or 5 not in sections:
            raise ValueError(
                "a reference beat was taken off, or samples left out between beats, and sections 4 and 5 that undo it are not there"
            )
        beat, zones = _wave(sections[5], len(leads)), _zones(sections[4])
        interval = beat.interval
        rate = rhythm.interval // interval
        if rate * interval != rhythm.interval or not 1 <= rate <= MAX_RATE or (rate > 1 and not rhythm.bimodal):
            raise ValueError(f"rhythm data every {rhythm.interval} µs with a reference beat every {interval} µs")
    origin = min(lead.first for lead in leads)
    n_samples = max(lead.last for lead in leads) - origin + 1
    # Leads may follow one another, but not with more pause than recording.
    if n_samples > 2 * sum(lead.n for lead in leads) or 4 * n_samples * len(leads) > MOST_UNPACKED:
        raise ValueError(f"{len(leads)} leads in {n_samples} samples are more than the file can hold")
    for lead, data in zip(leads, rhythm.data):
        if lead.n > 8 * max(len(data), 1) * rate:  # a code has a bit at least
            raise ValueError(f"lead {lead.name} promises {lead.n} samples in {len(data)} bytes")
    signal = np.full((len(leads), n_samples), np.nan, dtype=np.float32)
    for row, lead, data in zip(signal, leads, rhythm.data):
        gaps = _gaps(lead, zones, rate) if rate > 1 else []
        n_kept = lead.n - sum(stop - start - -(-(stop - start) // rate) for start, stop in gaps)
        kept = _samples(data, n_kept, tables, rhythm.difference, f"lead {lead.name}")
        whole = _spread(kept, lead.n, gaps, rate) if gaps else kept
        row[lead.first - origin : lead.last - origin + 1] = whole * (rhythm.microvolt / 1000)
    if subtracted and beat is not None:
        _add_beats(signal, origin, leads, beat, sections[4], tables)
    return signal, 1e6 / interval, [lead.name for lead in leads]


def _wave(section: Section, n_leads: int) -> _Wave:
    nanovolt, interval, difference, bimodal, *lengths = struct.unpack_from(f"<HHBB{n_leads}H", section.data)
    if not nanovolt or not interval or difference > 2:
        raise ValueError(f"section {section.number} states {nanovolt} nV, {interval} µs and differences of order {difference}")
    begin = 6 + 2 * n_leads
    if begin + sum(lengths) > len(section.data):
        raise ValueError(f"section {section.number} promises {begin + sum(lengths)} bytes of leads and has {len(section.data)}")
    ends = np.cumsum([begin, *lengths])
    data = [section.data[start:stop] for start, stop in pairwise(ends)]
    return _Wave(nanovolt / 1000, interval, difference, section.number == 6 and bimodal == 1, data)


def _samples(data: bytes, n: int, tables: list[huffman.Table] | None, difference: int, what: str) -> np.ndarray:
    """(n,) counts of one lead, its differences summed."""
    values = (
        np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")[:n].astype(np.int64) if tables is None else huffman.decode(data, n, tables)
    )
    if len(values) < n:
        raise ValueError(f"{what} promises {n} samples; its {len(data)} bytes hold {len(values)}")
    if difference and n > 1:
        if difference == 2:  # the first two samples stand as they are
            slopes = np.cumsum(np.append(values[1] - values[0], values[2:]))
            values = np.append(values[0], values[0] + np.cumsum(slopes))
        else:
            values = np.cumsum(values)
    # Samples are 16-bit integers, and so are a writer's differences: where they wrapped round, they wrap back.
    return values.astype(np.int16)


def _zones(section: Section) -> list[tuple[int, int]]:
    """The protected zones of section 4, first and last sample from 1, in order. An empty one stands for a beat that has none."""
    _, _, n_beats = struct.unpack_from("<HHH", section.data)
    place = 6 + 14 * n_beats
    if place > len(section.data):
        raise ValueError(f"section 4 promises {n_beats} beats in {len(section.data)} bytes")
    zones = section.data[place : place + 8 * n_beats]
    if len(zones) < 8 * n_beats:  # left out where compression is not bimodal
        return []
    return sorted(zone for zone in struct.iter_unpack("<II", zones) if 0 < zone[0] <= zone[1])


def _gaps(lead: Lead, zones: list[tuple[int, int]], rate: int) -> list[tuple[int, int]]:
    """What lies between the protected zones of a lead: (start, stop) from 0, each a whole number of groups but for the last."""
    gaps, begin = [], 0
    for first, last in [*zones, (lead.last + 1, lead.last)]:
        start, stop = max(first - lead.first, 0), min(last - lead.first + 1, lead.n)
        if start > begin:
            gaps.append((begin, min(start, lead.n)))
        begin = max(begin, stop)
    for start, stop in gaps:
        if (stop - start) % rate and stop != lead.n:
            raise ValueError(f"{stop - start} samples between two protected zones, which is no whole number of groups of {rate}")
    return gaps


def _spread(kept: np.ndarray, n: int, gaps: list[tuple[int, int]], rate: int) -> np.ndarray:
    """(n,) samples from those kept: all of them within the zones, one of ``rate`` in the gaps."""
    whole = np.empty(n)
    place = taken = 0
    for start, stop in [*gaps, (n, n)]:
        whole[place:start] = kept[taken : taken + start - place]
        taken += start - place
        n_groups = -(-(stop - start) // rate)
        if n_groups:
            groups = np.arange(n_groups)
            middle = start + (groups * rate + np.minimum((groups + 1) * rate, stop - start) - 1) / 2
            whole[start:stop] = np.interp(np.arange(start, stop), middle, kept[taken : taken + n_groups])
        taken += n_groups
        place = stop
    return whole


def _add_beats(
    signal: np.ndarray, origin: int, leads: list[Lead], beat: _Wave, locations: Section, tables: list[huffman.Table] | None
) -> None:
    """Put the reference beat back, in place, wherever section 4 says that one was taken off."""
    milliseconds, fiducial, n_beats = struct.unpack_from("<HHH", locations.data)
    n_beat = round(milliseconds * 1000 / beat.interval)
    for row, lead, data in zip(signal, leads, beat.data):
        wave = _samples(data, n_beat, tables, beat.difference, f"the reference beat of lead {lead.name}") * (beat.microvolt / 1000)
        for kind, first, centre, last in struct.iter_unpack("<HIII", locations.data[6 : 6 + 14 * n_beats]):
            if kind != 0:
                continue
            # Of the beat the sample ``fiducial``, counted from 1, lies on the sample ``centre`` of the rhythm.
            shift = fiducial - 1 - centre
            first, last = max(first, lead.first, -shift), min(last, lead.last, len(wave) - 1 - shift)
            if first <= last:
                row[first - origin : last - origin + 1] += wave[first + shift : last + shift + 1].astype(np.float32)
