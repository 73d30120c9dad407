"""EDF, EDF+ (continuous and interrupted) and BDF, its 24-bit variant: recordings of several signals, each at a rate of its own.

Only the data records of the part that is asked for are read. Signals at another rate than the fastest ECG lead are interpolated to that
rate (``meta["interpolated"]``); the pauses of an interrupted recording are NaN, and so is the lowest count of 16 bits
(``meta["not_recorded"]``: samples by lead). Annotation channels are no leads: their texts are
``meta["annotations"]``, (onset in s, text), and those that begin with "Report: " the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.bounds import MOST_UNPACKED
from einthoven.io.channels import ecg_leads
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.edf_header import Channel, Header, describe, read_header, texts
from einthoven.io.rates import is_rate
from einthoven.io.units import in_millivolt, other_units
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record

MOST_SECONDS = 1e9
"""Thirty years."""

NOT_RECORDED = -(2**15)
"""The lowest count of 16 bits. EDF defines none for "not recorded"; PhysioNet's mit2edf fills with this one, and no amplifier measures there."""

REPORT = "Report: "
"""What an annotation begins with that is a line of the report: our writer's way, EDF+ has no other place for it."""


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """A recording in mV; signals in other units than those of voltage keep theirs (``meta["units"]``).

    Raises FormatError where the file is damaged, holds annotations only, is too long to be read at once, or has one of the twelve leads in a
    unit that is no voltage.
    """
    path = Path(path)
    header = read_header(path)
    channels = [channel for channel in header.channels if not channel.is_annotation]
    if not channels or header.seconds == 0:
        raise FormatError(f"{path}: holds annotations and no signal; name the file with the signals.")
    names = unique_names([canonical(channel.name.removesuffix(".")) for channel in channels])
    meta, patient = describe(header)
    units = _units(path, channels, names)
    others = other_units(path, names, units)
    ecg = ecg_leads(Record(np.empty((len(names), 0)), 1.0, tuple(names), meta={"units": others})) or tuple(names)
    per_record = max(channel.n_samples for channel, name in zip(channels, names) if name in ecg)
    fs = header.rate(per_record)
    if not is_rate(fs):
        raise FormatError(
            f"{path}: expected a sampling frequency up to 1 MHz; its header gives {fs:g} Hz; mend its header, or export it again."
        )
    data = np.memmap(path, np.uint8, "r", header.offset, (header.n_records, header.n_bytes))
    onsets, begin, annotations = _timing(path, header, data, everything=start is None and stop is None)
    if "time" in meta:
        meta["time"] += timedelta(seconds=round(begin, 6))
    n_samples = round(onsets[-1] * (per_record / float(header.seconds))) + per_record
    first = 0 if start is None else min(max(round(start * fs), 0), n_samples)
    last = n_samples if stop is None else min(max(round(stop * fs), first), n_samples)
    wanted = list(range(len(names)))
    if leads is not None:
        chosen = {canonical(name) for name in leads}
        needs_all = not chosen <= set(names)  # a derived limb lead, or one that is not there: told by ``cut``
        wanted = [k for k in wanted if needs_all or names[k] in chosen]
    n_most = max([channels[k].n_samples for k in wanted] or [1]) * (last - first) / per_record  # a row at its own rate
    if max(4 * (last - first) * len(wanted), 8 * n_most) > max(MOST_UNPACKED, 8 * path.stat().st_size):
        raise FormatError(
            f"{path}: {len(wanted)} signals for {(last - first) / fs:.0f} s are more than is read at once; give start and stop, or leads."
        )
    signal = np.empty((len(wanted), last - first), dtype=np.float32)
    interpolated = []
    for row, k in zip(signal, wanted):
        row[:] = _lead(data, header, channels[k], onsets, per_record, first, last) * (in_millivolt(units[k]) or 1.0)
        if channels[k].n_samples != per_record:
            interpolated.append(names[k])
    missing = {names[k]: int(np.isnan(row).sum()) for row, k in zip(signal, wanted)} if header.plus != "D" else {}
    if any(missing.values()):
        meta["not_recorded"] = {name: n for name, n in missing.items() if n}
    if interpolated:
        meta["interpolated"] = interpolated
    if shown := {names[k]: others[names[k]] for k in wanted if names[k] in others}:
        meta["units"] = shown
    if report := [text.removeprefix(REPORT) for _, text in annotations if text.startswith(REPORT)]:
        meta["report"] = "\n".join(report)
    if rest := [entry for entry in annotations if not entry[1].startswith(REPORT)]:
        meta["annotations"] = rest
    record = Record(signal, fs, tuple(names[k] for k in wanted), record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads)


def _units(path: Path, channels: Sequence[Channel], names: Sequence[str]) -> list[str]:
    """The unit of each channel, "counts" where it has no scale. Raises FormatError where one of the twelve leads has none."""
    units = []
    for channel, name in zip(channels, names):
        (low, high), (bottom, top) = channel.digital, channel.physical
        has_scale = low < high and bottom != top
        if not has_scale and name in TWELVE:
            raise FormatError(
                f"{path}: lead {name} has no scale: digital {low} to {high}, physical {bottom:g} to {top:g}; mend its header."
            )
        units.append(channel.unit if has_scale else "counts")
    return units


def _timing(path: Path, header: Header, data: np.ndarray, everything: bool) -> tuple[np.ndarray, float, list[tuple[float, str]]]:
    """When each data record begins, in s after the first; the fraction of a second at which the first does; and the annotations.

    Of a continuous recording those of its first record only, where a part was asked for: a day must not be gone through for ten seconds.
    """
    regular = np.arange(header.n_records) * float(header.seconds)
    column = next((channel for channel in header.channels if channel.is_annotation), None)
    if not header.plus or column is None:
        if header.plus == "D":
            raise FormatError(
                f"{path}: says that it is interrupted (EDF+D) and has no annotation channel that tells when: damaged; mend its header, or export it again."
            )
        return regular, 0.0, []
    onsets, annotations = [], []
    stop = header.n_records if everything or header.plus == "D" else 1
    for k in range(stop):
        first, found = texts(data[k, column.offset : column.offset + header.width * column.n_samples].tobytes())
        if first is None and header.plus == "D":
            raise FormatError(
                f"{path}: data record {k + 1} of {header.n_records} does not say when it begins, and the recording is interrupted: damaged; mend its header, or export it again."
            )
        onsets.append(first or 0.0)
        annotations += found
    begin = onsets[0]
    annotations = [(onset - begin, text) for onset, text in annotations]
    if header.plus != "D":
        return regular, begin % 1, annotations
    out = np.array(onsets) - begin
    if out[-1] > MOST_SECONDS:
        raise FormatError(
            f"{path}: its last data record begins {out[-1]:g} s after the first: damaged; mend its header, or export it again."
        )
    if (np.diff(out) < float(header.seconds) * (1 - 1e-6) - 1e-6).any():
        raise FormatError(f"{path}: its data records overlap in time: damaged; mend its header, or export it again.")
    return out, begin % 1, annotations


def _lead(data: np.ndarray, header: Header, channel: Channel, onsets: np.ndarray, per_record: int, first: int, last: int) -> np.ndarray:
    """Samples first up to last, of which a data record has ``per_record``, in the channel's physical unit; NaN in the pauses."""
    ratio = channel.n_samples / per_record
    # Which of the channel's own samples are needed; one more on either side to interpolate between.
    low, high = int(first * ratio) - 1, int(np.ceil(last * ratio)) + 2
    starts = np.rint(onsets * (channel.n_samples / float(header.seconds))).astype(np.int64)
    low, high = max(low, 0), min(high, int(starts[-1]) + channel.n_samples)
    own = np.full(max(high - low, 0), np.nan)
    begin = max(int(np.searchsorted(starts, low, side="right")) - 1, 0)
    end = int(np.searchsorted(starts, high, side="left"))
    if begin < end:
        counts = _counts(data[begin:end, channel.offset : channel.offset + header.width * channel.n_samples], header.width)
        (bottom, top), (lowest, highest) = channel.digital, channel.physical
        values = counts.astype(np.float64)
        if bottom < top and lowest != highest:
            values = (values - bottom) * ((highest - lowest) / (top - bottom)) + lowest
        if header.width == 2:
            values[counts == NOT_RECORDED] = np.nan
        if (np.diff(starts[begin:end]) == channel.n_samples).all():
            values = values.reshape(1, -1)  # no pause: one piece
        for row, place in zip(values, starts[begin:end] - low):
            skip = max(-int(place), 0)
            piece = row[skip : max(len(own) - int(place), 0)]
            own[int(place) + skip : int(place) + skip + len(piece)] = piece
    if channel.n_samples == per_record:
        return own[first - low : last - low]
    where = np.arange(first, last) * ratio
    return np.interp(where, np.arange(low, low + len(own)), own) if len(own) else np.full(last - first, np.nan)


def _counts(columns: np.ndarray, width: int) -> np.ndarray:
    """(data record, bytes) -> (data record, sample): little-endian two's complement of 16 or 24 bits."""
    raw = np.ascontiguousarray(columns)
    if width == 2:
        return raw.view("<i2")
    wide = np.zeros((*raw.shape[:-1], raw.shape[-1] // 3, 4), dtype=np.uint8)
    wide[..., 1:] = raw.reshape(*raw.shape[:-1], -1, 3)
    return wide.view("<i4")[..., 0] >> 8  # the sign comes down with the shift
