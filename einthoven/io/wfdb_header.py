"""WFDB headers (``.hea``): text in, a frozen description out; nothing is read from disk here.

Source: the WFDB applications' guide, header(5) and signal(5). Where corpora write what the guide does not allow, the reader
follows what they mean: a record line that begins with a file name (``E00018.mat``), units in any case (``mv``), comments with or
without a space after ``#``, and PhysioNet/CinC's record lines with the date before the time (which is the day of conversion, not of
the recording, and is left aside).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.io.demographics import moment
from einthoven.io.rates import is_rate

DEFAULT_FS = 250.0
"""Sampling frequency, in Hz, where the record line states none (header(5))."""

DEFAULT_GAIN = 200.0
"""Counts per physical unit where a signal line states none, or 0 (header(5))."""

MAX_LEADS, MAX_SAMPLES = 4096, 2**40
"""Beyond these a header is damaged, not ambitious: 2^40 samples are 70 years at 500 Hz."""

NOTHING = "~"
"""The file name of a signal, and the record name of a segment, that was not recorded (header(5))."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal line: where the samples of one lead are, and how counts become a physical quantity."""

    file: str
    format: str
    samples_per_frame: int
    skew: int
    offset: int
    gain: float
    baseline: float
    unit: str
    initial: int | None
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """One header file. ``n_samples`` is per lead, None where not stated; ``segments`` are (record, n_samples) of a multi-segment record."""

    record: str
    fs: float
    n_samples: int | None
    time: datetime | None
    signals: tuple[Signal, ...]
    segments: tuple[tuple[str, int], ...]
    comments: tuple[str, ...]


_RECORD = re.compile(r"(?P<name>[^\s/]+)(?:/(?P<segments>\d{1,9}))?$")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FS = re.compile(rf"(?P<fs>{_NUMBER})(?:/{_NUMBER}(?:\({_NUMBER}\))?)?$")
_FORMAT = re.compile(r"(?P<format>\d{1,3})(?:x(?P<per_frame>\d{1,6}))?(?::(?P<skew>\d{1,9}))?(?:\+(?P<offset>\d{1,12}))?$")
_GAIN = re.compile(rf"(?P<gain>{_NUMBER})(?:\((?P<baseline>{_NUMBER})\))?(?:/(?P<unit>\S+))?$")


def parse_header(text: str, path: Path | str) -> Header:
    """What a header says.

    text : the content of the ``.hea`` file
    path : where it came from, for the messages only

    Raises FormatError, in one line that names the file, when a line cannot be understood, when the counts contradict one another,
    or when a signal file lies outside the header's own folder.
    """
    lines, comments = [], []
    # Not splitlines: it also breaks at bytes that are letters in some encoding of a comment.
    for line in re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")):
        line = line.strip()
        if line.startswith("#"):
            comments.append(line[1:].strip())
        elif line:
            lines.append(line)
    if not lines:
        raise FormatError(f"{path}: expected a WFDB header; it has no record line; mend the header, or fetch the record again.")
    try:
        record, n_segments, n_signals, fs, n_samples, time = _record_line(lines[0])
        if n_segments:
            segments = tuple(_segment_line(line) for line in lines[1:])
            _expect_count("segment", n_segments, len(segments))
            return Header(record, fs, n_samples, time, (), segments, tuple(comments))
        _expect_count("signal", n_signals, len(lines) - 1)
        signals = tuple(_signal_line(line) for line in lines[1:])
    except ValueError as error:
        raise FormatError(f"{path}: not a WFDB header that can be read: {error}") from None
    return Header(record, fs, n_samples, time, signals, (), tuple(comments))


def _short(text: str) -> str:
    """What a file says, fit for a message: no line breaks or control characters, not longer than a line."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _expect_count(what: str, stated: int, found: int) -> None:
    if stated != found:
        to_do = "it is truncated, fetch it again" if found < stated else "mend one of them"
        raise ValueError(f"the record line states {stated} {what}s, {found} {what} lines follow: {to_do}.")


def _record_line(line: str) -> tuple[str, int, int, float, int | None, datetime | None]:
    fields = line.split()
    name = _RECORD.match(fields[0])
    if name is None or len(fields) < 2 or not re.fullmatch(r"\d{1,9}", fields[1]):
        raise ValueError(f"expected a record line 'name n_signals fs n_samples'; got {_short(line)}.")
    n_segments, n_signals = int(name["segments"] or 0), int(fields[1])
    if n_signals > MAX_LEADS or n_segments > 1_000_000:
        raise ValueError(f"{n_signals} signals and {n_segments} segments are more than a recording has.")
    fs, n_samples = DEFAULT_FS, None
    if len(fields) > 2:
        rate = _FS.match(fields[2])
        fs = float(rate["fs"]) if rate else -1.0
        if not is_rate(fs):
            raise ValueError(f"expected a sampling frequency in Hz; got {_short(fields[2])}.")
    if len(fields) > 3:
        if not re.fullmatch(r"\d{1,18}", fields[3]) or int(fields[3]) > MAX_SAMPLES:
            raise ValueError(f"expected a number of samples per lead up to {MAX_SAMPLES}; got {_short(fields[3])}.")
        n_samples = int(fields[3]) or None
    return name["name"], n_segments, n_signals, fs, n_samples, _time(fields[4:])


def _time(fields: list[str]) -> datetime | None:
    """The base time and date, where both stand as header(5) wants them: ``HH:MM:SS DD/MM/YYYY``."""
    return moment(" ".join(fields[:2]), "%H:%M:%S %d/%m/%Y", "%H:%M:%S.%f %d/%m/%Y")


def _segment_line(line: str) -> tuple[str, int]:
    fields = line.split()
    if len(fields) != 2 or not re.fullmatch(r"\d{1,15}", fields[1]):
        raise ValueError(f"expected a segment line 'record n_samples'; got {_short(line)}.")
    _refuse_outside(fields[0])
    return fields[0], int(fields[1])


def _signal_line(line: str) -> Signal:
    fields = line.split(maxsplit=8)
    if len(fields) < 2:
        raise ValueError(f"expected a signal line 'file format …'; got {_short(line)}.")
    _refuse_outside(fields[0])
    encoding, per_frame, skew, offset = _format(fields[1])
    gain, baseline, unit = _gain(fields[2]) if len(fields) > 2 else (DEFAULT_GAIN, None, "mV")
    zero = _integer(fields[4], "an ADC zero") if len(fields) > 4 else 0
    return Signal(
        file=fields[0],
        format=encoding,
        samples_per_frame=per_frame,
        skew=skew,
        offset=offset,
        gain=gain,
        baseline=zero if baseline is None else baseline,
        unit=unit,
        initial=_integer(fields[5], "an initial value") if len(fields) > 5 else None,
        checksum=_integer(fields[6], "a checksum") if len(fields) > 6 else None,
        name=fields[8].strip() if len(fields) > 8 else "",
    )


@lru_cache(maxsize=256)
def _refuse_outside(file: str) -> None:
    """A header may name files in its own folder and below. One that climbs out could make us read anything on the machine."""
    if file == NOTHING:
        return
    parts = re.split(r"[/\\]", file)
    if ".." in parts or parts[0] in ("", "~") or ":" in file or file == "-" or "\0" in file:
        raise ValueError(f"it names {_short(file)}, which is not a file in the header's own folder.")


@lru_cache(maxsize=256)
def _format(text: str) -> tuple[str, int, int, int]:
    found = _FORMAT.match(text)
    per_frame = int(found["per_frame"] or 1) if found else 0
    if found is None or per_frame < 1:
        raise ValueError(f"expected a signal format such as 16, 212 or 16+24; got {_short(text)}.")
    return found["format"], per_frame, int(found["skew"] or 0), int(found["offset"] or 0)


@lru_cache(maxsize=1024)
def _gain(text: str) -> tuple[float, float | None, str]:
    found = _GAIN.match(text)
    gain = float(found["gain"]) if found else 0.0
    if found is None or not (gain == 0 or 1e-12 <= abs(gain) <= 1e12) or abs(float(found["baseline"] or 0)) > 2**40:
        raise ValueError(f"expected a gain such as 1000/mV or 1000(0)/mV; got {_short(text)}.")
    return gain or DEFAULT_GAIN, float(found["baseline"]) if found["baseline"] else None, found["unit"] or "mV"


def _integer(text: str, what: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or abs(value) > 2**40:
        raise ValueError(f"expected {what}, a whole number; got {_short(text)}.") from None
    return value
