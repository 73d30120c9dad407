"""The signal files of a WFDB record: whether they are what the header promises, and their samples in mV.

Leads of one record may have different rates (samples per frame); slower ones are interpolated to the fastest. A lead with skew was written so
many frames late: it is put back, and what then lacks at its end is NaN.

Source: signal(5) and header(5) of the WFDB applications' guide.

Checksums. header(5) defines the checksum of a lead as the sum of its samples modulo 65536. In 858 real records that state
them all agree, but for four of CinC 2017 that state 0 for every lead: a 0 that disagrees was never computed. One lead that
disagrees is told in ``meta["checksum_mismatch"]``; a record in which *every* lead disagrees is not the one that the header
describes (another file, shifted by a byte, with another number of leads) and is refused. A part of a record (``start``, ``stop``) is not checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bounds import MOST_READ, MOST_UNPACKED
from einthoven.io.units import in_millivolt
from einthoven.io.wfdb_formats import BITS, FLAC, INVALID, n_flat, read_flac, read_flat
from einthoven.io.wfdb_header import NOTHING, Header, Signal
from einthoven.leads import canonical


@dataclass(frozen=True, eq=False)
class Samples:
    """``signal`` (lead, time) float32 in mV (other units as they are), and which leads were interpolated or have a wrong checksum."""

    signal: np.ndarray
    interpolated: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def meta(self) -> dict[str, Any]:
        said = {"interpolated": self.interpolated, "checksum_mismatch": self.mismatched}
        return {name: leads for name, leads in said.items() if leads}


def rate(header: Header) -> int:
    """Samples per frame of the fastest lead: its sampling frequency is so many times the header's."""
    return max((signal.samples_per_frame for signal in header.signals), default=1)


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
        raise FormatError(f"{path}: the header describes no signal; mend the header, or fetch the record again.")
    groups = _groups(header)
    if len({file for file, _ in groups}) != len(groups):
        raise FormatError(f"{path}: signals of one file must stand together in the header; mend the header, or fetch the record again.")
    for file, signals in groups:
        first, where = signals[0], path.parent / file
        if {(s.format, s.offset) for s in signals} != {(first.format, first.offset)}:
            raise FormatError(
                f"{path}: the signals of {file} have different formats; one file has one; mend the header, or fetch the record again."
            )
        if first.format not in BITS:
            raise FormatError(
                f"{path}: signal format {first.format} is not known; known are {', '.join(BITS)}; mend the header, or fetch the record again."
            )
        if file == NOTHING:
            continue
        if not where.is_file():
            raise FormatError(f"{path}: the header names the signal file {file}, which is not there; restore it beside the header.")
        frame = sum(s.samples_per_frame for s in signals)
        size = where.stat().st_size - first.offset
        if first.format in FLAC:
            n = header.n_samples if header.n_samples is not None else -(-n_flat(where, first.format, first.offset) // frame)
            if 4 * n * frame > max(MOST_UNPACKED, 50 * size):
                raise FormatError(
                    f"{path}: {n} samples of {len(signals)} leads would take {4 * n * frame} bytes of memory; {file} has {size} bytes; mend the header, or fetch the record again."
                )
        if header.n_samples is not None:
            needed = int(np.ceil(header.n_samples * frame * BITS[first.format] / 8))
            if size < needed:
                # Whole samples only: what a byte short of the last frame would give is not a sample of every lead.
                there = max(0, int(size * 8 / BITS[first.format] / frame))
                raise FormatError(
                    f"{where}: truncated: the header promises {header.n_samples} samples of {len(signals)} leads, {needed + first.offset} bytes; "
                    f"it has {size + first.offset}, enough for {there} samples; fetch the record again."
                )
        elif size * 8 < max(BITS[first.format] * frame, 8):
            raise FormatError(
                f"{where}: holds no sample of {len(signals)} leads; it has {size + first.offset} bytes; mend the header, or fetch the record again."
            )


def n_frames(path: Path, header: Header) -> int:
    """Frames of a record: stated, or as many as all its files hold."""
    if header.n_samples is not None:
        return header.n_samples
    there = [
        n_flat(path.parent / file, signals[0].format, signals[0].offset) // sum(s.samples_per_frame for s in signals)
        for file, signals in _groups(header)
        if file != NOTHING
    ]
    return min(there, default=0)


def read_samples(path: Path, header: Header, first: int, last: int, to_rate: int, whole: bool = True) -> Samples:
    """The samples from ``first`` up to ``last``, counted at ``to_rate`` samples per frame, of a record without segments.

    whole : everything was asked for, so that checksums can be compared
    """
    n = n_frames(path, header)
    mixed = any(signal.samples_per_frame != to_rate for signal in header.signals)
    _refuse_too_much(path, header, first, last, to_rate)
    begin, end = first // to_rate, min(-(-last // to_rate) + mixed, n)  # of an interpolated lead the next sample is needed as well
    parts, interpolated, mismatched, n_summed = [], [], [], 0
    for file, signals in _groups(header):
        if file == NOTHING:
            parts.append(np.full((len(signals), last - first), np.nan, dtype=np.float32))
            continue
        counts = _frames(path.parent / file, signals, begin, min(end + max(s.skew for s in signals), n))
        if len(counts) < end - begin:
            raise FormatError(
                f"{path.parent / file}: truncated: the header promises {n} samples of {len(signals)} leads; it has {begin + len(counts)}; fetch the record again."
            )
        rows = _by_lead(counts, signals)
        if whole:
            for position, (lead, row) in enumerate(zip(signals, rows), start=1):
                agrees = _agrees(row[: n * lead.samples_per_frame], lead)
                n_summed += agrees is not None
                mismatched += [canonical(lead.name) or f"lead {position}"] if agrees is False else []
        if isinstance(rows, np.ndarray) and signals[0].samples_per_frame == to_rate and not any(s.skew for s in signals):
            parts.append(_physical(rows, signals)[:, first - begin * to_rate : last - begin * to_rate])
            continue
        out = np.full((len(signals), last - first), np.nan, dtype=np.float32)
        for place, lead, row in zip(out, signals, rows):
            per_frame = lead.samples_per_frame
            values = _physical(row[lead.skew * per_frame : (lead.skew + end - begin) * per_frame][None], [lead])[0]
            if per_frame == to_rate:
                there = values[first - begin * to_rate : last - begin * to_rate]
                place[: len(there)] = there
            elif len(values):
                times = (begin * per_frame + np.arange(len(values))) * (to_rate / per_frame)
                wanted = np.arange(first, last)
                place[:] = np.where(
                    wanted < times[-1] + to_rate / per_frame, np.interp(wanted, times, values), np.nan
                )  # NaN: what the skew leaves
                interpolated.append(canonical(lead.name))
        parts.append(out)
    if mismatched and len(mismatched) == n_summed:
        raise FormatError(
            f"{path}: the checksum of every lead disagrees with {', '.join(f for f, _ in _groups(header))}: "
            "this is not the signal that the header describes, or it is damaged; fetch the record again."
        )
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Samples(signal, interpolated, mismatched)


def _refuse_too_much(path: Path, header: Header, first: int, last: int, to_rate: int) -> None:
    """What is read must be of the order of what is stored; leads that are not, or at a much lower rate, may take MOST_UNPACKED."""
    stored = 2 * (last - first) / to_rate * sum(s.samples_per_frame for s in header.signals if s.file != NOTHING)
    needed = 4 * len(header.signals) * (last - first)
    if needed > min(max(50 * stored, MOST_UNPACKED), MOST_READ):
        raise FormatError(
            f"{path}: its samples would take {needed} bytes of memory, more than is read at once; ask for a part (start, stop)."
        )


def _frames(path: Path, signals: list[Signal], begin: int, end: int) -> np.ndarray:
    """(frame, sample of a frame) counts of one file; fewer frames where the file ends."""
    encoding, offset = signals[0].format, signals[0].offset
    n = sum(s.samples_per_frame for s in signals)
    if encoding in FLAC:
        return _flac_frames(path, signals, begin, end)
    if encoding != "8":
        counts = read_flat(path, encoding, offset, begin * n, (end - begin) * n)
        return counts[: len(counts) // n * n].reshape(-1, n)
    # Differences: a sample is the sum of all before it, so the file is read from its beginning.
    steps = read_flat(path, encoding, offset, 0, end * n)
    steps = steps[: len(steps) // n * n].reshape(-1, n)
    out = np.empty(steps[begin:].shape, dtype=np.int64)
    column = 0
    for lead in signals:
        mine = steps[:, column : column + lead.samples_per_frame]
        before = (lead.initial or 0) + int(mine[:begin].sum(dtype=np.int64))
        out[:, column : column + lead.samples_per_frame] = before + np.cumsum(mine[begin:], dtype=np.int64).reshape(
            -1, lead.samples_per_frame
        )
        column += lead.samples_per_frame
    return out


def _flac_frames(path: Path, signals: list[Signal], begin: int, end: int) -> np.ndarray:
    """The same of a FLAC file, which has a channel for each lead, all of one rate."""
    per_frame = signals[0].samples_per_frame
    if {s.samples_per_frame for s in signals} != {per_frame}:
        raise FormatError(
            f"{path}: the leads of one FLAC file have one rate; the header states several; mend the header, or fetch the record again."
        )
    counts = read_flac(path, signals[0].format, signals[0].offset, begin * per_frame, (end - begin) * per_frame)
    if counts.shape[1] != len(signals):
        raise FormatError(
            f"{path}: expected FLAC of {len(signals)} channels; it has {counts.shape[1]}; mend the header, or fetch the record again."
        )
    counts = counts[: len(counts) // per_frame * per_frame]
    return counts.reshape(-1, per_frame, len(signals)).swapaxes(1, 2).reshape(-1, per_frame * len(signals))


def _by_lead(counts: np.ndarray, signals: list[Signal]) -> np.ndarray | list[np.ndarray]:
    """(lead, time) counts of frames; a list of (time,) where the leads have different rates."""
    per_frame = [lead.samples_per_frame for lead in signals]
    if set(per_frame) == {1}:
        return np.ascontiguousarray(counts.T)
    if len(set(per_frame)) == 1:
        return np.ascontiguousarray(counts.reshape(-1, len(signals), per_frame[0]).swapaxes(0, 1)).reshape(len(signals), -1)
    return [np.ascontiguousarray(block).reshape(-1) for block in np.split(counts, np.cumsum(per_frame)[:-1], axis=1)]


def _agrees(counts: np.ndarray, lead: Signal) -> bool | None:
    """Whether a lead's sum is the header's; None where the header states none."""
    if lead.checksum is None:
        return None
    # Sums of uint16 wrap round at 65536, which is what a checksum does.
    agrees = (int(counts.astype(np.uint16).sum(dtype=np.uint16)) - lead.checksum) % 65536 == 0
    return None if lead.checksum == 0 and not agrees else agrees


def _physical(counts: np.ndarray, signals: list[Signal]) -> np.ndarray:
    """(lead, time) counts -> (lead, time) float32 in mV (other units as they are), NaN for the count that means "not recorded"."""
    baseline = np.array([s.baseline for s in signals])
    gain = np.array([s.gain / (in_millivolt(s.unit) or 1.0) for s in signals])
    # A 16-bit count less a baseline below 2^23 is exact in float32; wider counts are not.
    exact = counts.dtype.itemsize <= 2 and np.abs(baseline).max() < 2**23 and not (baseline % 1).any()
    dtype = np.float32 if exact else np.float64
    signal: np.ndarray[Any, Any] = (counts - baseline[:, None].astype(dtype)) / gain[:, None].astype(dtype)
    invalid = INVALID.get(signals[0].format)
    if invalid is not None and counts.size and counts.min() == invalid:
        signal[counts == invalid] = np.nan
    return signal.astype(np.float32, copy=False)
