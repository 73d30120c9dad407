"""The signal files of a WFDB record: whether they are what the header promises, and their samples in mV.

Source: signal(5) of the WFDB applications' guide.

Checksums. header(5) defines the checksum of a lead as the sum of its samples modulo 65536. In 858 real records that state
them all agree, but for four of CinC 2017 that state 0 for every lead: a 0 that disagrees was never computed. One lead that
disagrees is told in ``meta["checksum_mismatch"]``; a record in which *every* lead disagrees is not the one that the header
describes (another file, shifted by a byte, with another number of leads) and is refused. A part of a record (``start``, ``stop``) is not checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.wfdb_header import NOTHING, Header, Signal
from einthoven.leads import canonical

MAX_BYTES = 2**35
"""A record that would take more than 32 GiB of memory is refused."""

BITS: dict[str, float] = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 32 / 3, "311": 32 / 3}
BITS |= {"508": 0.0, "516": 0.0, "524": 0.0}  # FLAC: compressed, so the size of the file promises nothing
_DTYPES: dict[str, np.dtype[Any]] = {"16": np.dtype("<i2"), "61": np.dtype(">i2"), "32": np.dtype("<i4"), "80": np.dtype("u1")}
INVALID = {"16": -(2**15), "61": -(2**15), "32": -(2**31), "80": -(2**7), "212": -(2**11)}
"""The count that means "not recorded": the lowest of each format (signal(5))."""

MILLIVOLT = {"mv": 1.0, "millivolt": 1.0, "v": 1e3, "volt": 1e3, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "microvolt": 1e-3, "nv": 1e-6}


def _groups(header: Header) -> list[tuple[str, list[Signal]]]:
    """Signals that share a file, in order; such signals are interleaved sample by sample."""
    groups: list[tuple[str, list[Signal]]] = []
    for signal in header.signals:
        if groups and groups[-1][0] == signal.file:
            groups[-1][1].append(signal)
        else:
            groups.append((signal.file, [signal]))
    return groups


def check_files(path: Path, header: Header) -> None:
    """Every signal file is there and long enough for what the header promises; nothing is allocated before this holds."""
    if all(signal.file == NOTHING for signal in header.signals):
        raise FormatError(f"{path}: the header describes no signal.")
    groups = _groups(header)
    if len({file for file, _ in groups}) != len(groups):
        raise FormatError(f"{path}: signals of one file must stand together in the header.")
    total = 0
    for file, signals in groups:
        first, where = signals[0], path.parent / file
        if {(s.format, s.offset) for s in signals} != {(first.format, first.offset)}:
            raise FormatError(f"{path}: the signals of {file} have different formats; one file has one.")
        if first.format not in BITS:
            raise FormatError(f"{path}: signal format {first.format} is not known; known are {', '.join(BITS)}.")
        if file == NOTHING:
            continue
        if not where.is_file():
            raise FormatError(f"{path}: the header names the signal file {file}, which is not there; restore it beside the header.")
        frame = sum(s.samples_per_frame for s in signals)
        size = where.stat().st_size - first.offset
        if header.n_samples is not None:
            needed = int(np.ceil(header.n_samples * frame * BITS[first.format] / 8))
            total += 4 * header.n_samples * frame  # as float32; a compressed file is small whatever it promises
            if size < needed:
                # Whole samples only: what a byte short of the last frame would give is not a sample of every lead.
                there = max(0, int(size * 8 / BITS[first.format] / frame))
                raise FormatError(
                    f"{where}: truncated: the header promises {header.n_samples} samples of {len(signals)} leads, {needed + first.offset} bytes; "
                    f"it has {size + first.offset}, enough for {there} samples."
                )
        elif size * 8 < BITS[first.format] * frame:
            raise FormatError(f"{where}: holds no sample of {len(signals)} leads; it has {size + first.offset} bytes.")
    if total > MAX_BYTES:
        raise FormatError(f"{path}: its samples would take {total} bytes of memory; {MAX_BYTES} at most are read at once.")


def read_samples(path: Path, header: Header, start: float | None, stop: float | None) -> tuple[np.ndarray, dict[str, Any], bool]:
    """(lead, time) float32 in mV, what there is to say about it, and whether start and stop are done already."""
    parts, mismatched, n_summed = [], [], 0
    done = start is not None or stop is not None
    n_samples = header.n_samples
    if n_samples is None:
        n_samples = min(_n_samples(path.parent / file, signals) for file, signals in _groups(header) if file != NOTHING)
    first = 0 if start is None else min(max(round(start * header.fs), 0), n_samples)
    last = n_samples if stop is None else min(max(round(stop * header.fs), first), n_samples)
    for file, signals in _groups(header):
        if file == NOTHING:
            parts.append(np.full((len(signals), last - first), np.nan, dtype=np.float32))
            continue
        counts = _counts(path.parent / file, signals, first, last)
        # Sums of uint16 wrap round at 65536, which is what a checksum does.
        sums = counts.astype(np.uint16).sum(axis=1, dtype=np.uint16).tolist() if not done else []
        for row, (lead, total) in enumerate(zip(signals, sums)):
            if lead.checksum is None:
                continue
            agrees = (total - lead.checksum) % 65536 == 0
            if agrees or lead.checksum != 0:
                n_summed += 1
            if not agrees and lead.checksum != 0:
                mismatched.append(canonical(lead.name) or f"lead {row + 1}")
        parts.append(_physical(counts, signals))
    if mismatched and len(mismatched) == n_summed:
        raise FormatError(
            f"{path}: the checksum of every lead disagrees with {', '.join(f for f, _ in _groups(header))}: "
            "this is not the signal that the header describes, or it is damaged."
        )
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return signal, {"checksum_mismatch": mismatched} if mismatched else {}, done


def _n_samples(path: Path, signals: list[Signal]) -> int:
    """How many samples of each lead a file has room for."""
    return int((path.stat().st_size - signals[0].offset) * 8 / BITS[signals[0].format] / len(signals))


def _counts(path: Path, signals: list[Signal], first: int, last: int) -> np.ndarray:
    """(lead, time) integers of one signal file, samples first up to last."""
    encoding, offset, n_leads = signals[0].format, signals[0].offset, len(signals)
    n = (last - first) * n_leads
    if encoding == "212":
        return np.ascontiguousarray(_unpack_212(path, offset, first * n_leads, n).reshape(-1, n_leads).T)
    dtype = _DTYPES[encoding]
    counts = np.fromfile(path, dtype=dtype, count=n, offset=offset + first * n_leads * dtype.itemsize)
    if encoding == "80":
        counts = counts.astype(np.int16) - 128
    return np.ascontiguousarray(counts.reshape(-1, n_leads).T)


def _unpack_212(path: Path, offset: int, first: int, n: int) -> np.ndarray:
    """Two 12-bit two's complement samples in three bytes: low byte, both high halves, low byte (signal(5))."""
    skip = first % 2
    data = np.fromfile(path, dtype=np.uint8, count=(n + skip + 1) // 2 * 3, offset=offset + first // 2 * 3)
    triples = np.zeros(-(-len(data) // 3) * 3, dtype=np.uint8)
    triples[: len(data)] = data
    low, high, second = triples.reshape(-1, 3).T.astype(np.int16)
    counts = np.stack([low | (high & 0x0F) << 8, second | (high & 0xF0) << 4], axis=1).reshape(-1)
    counts -= (counts & 0x800) << 1
    return counts[skip : skip + n]


def _physical(counts: np.ndarray, signals: list[Signal]) -> np.ndarray:
    """(lead, time) counts -> (lead, time) float32 in mV (other units as they are), NaN for the count that means "not recorded"."""
    baseline = np.array([s.baseline for s in signals])
    gain = np.array([s.gain / MILLIVOLT.get(s.unit.lower(), 1.0) for s in signals])
    # A 16-bit count less a baseline below 2^23 is exact in float32; 32-bit counts are not.
    exact = signals[0].format != "32" and np.abs(baseline).max() < 2**23 and not (baseline % 1).any()
    dtype = np.float32 if exact else np.float64
    signal: np.ndarray[Any, Any] = (counts - baseline[:, None].astype(dtype)) / gain[:, None].astype(dtype)
    invalid = INVALID[signals[0].format]
    if counts.size and counts.min() == invalid:
        signal[counts == invalid] = np.nan
    return signal.astype(np.float32, copy=False)
