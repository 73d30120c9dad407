"""WFDB annotation files (``.atr``, ``.qrs``, …): beats, wave boundaries, changes of rhythm and notes, each at a sample.

A file is a row of 16-bit words, little-endian: six bits of a code, ten bits of the samples since the annotation before. Further words may follow: of a
longer distance (before it), and the annotation's subtype, channel, number and note. Ours is written and read here, for want of a small
package: the form is one page of annot(5) in the WFDB applications' guide, from which the codes are (``ecgcodes.h``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from einthoven.errors import FormatError
from einthoven.io.rates import is_rate
from einthoven.whole import appearing

CODES = {
    **{"N": 1, "L": 2, "R": 3, "a": 4, "V": 5, "F": 6, "J": 7, "A": 8, "S": 9, "E": 10, "j": 11, "/": 12, "Q": 13, "~": 14},
    **{"|": 16, "s": 18, "T": 19, "*": 20, "D": 21, '"': 22, "=": 23, "p": 24, "B": 25, "^": 26, "t": 27, "+": 28, "u": 29, "?": 30},
    **{"!": 31, "[": 32, "]": 33, "e": 34, "n": 35, "@": 36, "x": 37, "f": 38, "(": 39, ")": 40, "r": 41},
}
"""Symbol -> code."""

_SYMBOLS = {code: symbol for symbol, code in CODES.items()}
_SKIP, _NUMBER, _SUBTYPE, _CHANNEL, _NOTE = 59, 60, 61, 62, 63
_RATE = "## time resolution: "


@dataclass(frozen=True, eq=False)
class Annotations:
    """Marks in order of time.

    samples : (mark,) int64, from the beginning of the record
    symbols : one of ``CODES`` each; a code that has no symbol is written ``[15]``
    numbers : (mark,) int64; of a wave boundary, which wave it is of
    notes   : a text each, "" for none
    fs      : samples per second that the file counts in, None where it does not say: the record's
    """

    samples: np.ndarray
    symbols: tuple[str, ...]
    numbers: np.ndarray
    notes: tuple[str, ...]
    fs: float | None = None


def write(path: Path, samples: np.ndarray, symbols: Sequence[str], numbers: np.ndarray, fs: float) -> None:
    """Write marks, in order of time, as a file that appears whole or not at all. Raises ValueError for marks that the format does not hold."""
    steps = np.diff(samples, prepend=0)
    if len(samples) == 0 or (steps < 0).any():
        raise ValueError("expected at least one mark, in order of time from sample 0 on")
    if unknown := set(symbols) - CODES.keys():
        raise ValueError(f"expected symbols of WFDB; came {' '.join(sorted(unknown))}")
    if min(numbers, default=0) < -128 or max(numbers, default=0) > 127:
        raise ValueError("expected numbers from -128 to 127")
    said = f"{_RATE}{int(fs) if round(fs, 8) == int(fs) else fs}".encode("ascii")
    # The rate is a note at sample 0, and an annotation of no kind ends such entries.
    out = bytearray(_word(0, CODES['"']) + _word(len(said), _NOTE) + said + bytes(len(said) % 2))
    out += _word(0, _SKIP) + b"\xff\xff\xff\xff" + _word(1, 0)
    before = 0
    for step, symbol, number in zip(steps.tolist(), symbols, numbers, strict=True):
        while step > 1023:
            far = min(step, 2**31 - 1)
            out += _word(0, _SKIP) + (far >> 16).to_bytes(2, "little") + (far & 0xFFFF).to_bytes(2, "little")
            step -= far
        out += _word(step, CODES[symbol])
        if number != before:  # a number holds until another comes
            out += _word(int(number) & 0xFF, _NUMBER)
            before = number
    with appearing(path, synced=False) as part:
        part.write_bytes(bytes(out + _word(0, 0)))


def _word(low: int, code: int) -> bytes:
    return (low | code << 10).to_bytes(2, "little")


def read(path: Path) -> Annotations:
    """The marks of a file. Those of its own bookkeeping (its rate, what its codes mean) are not among them. Raises FormatError."""
    data = path.read_bytes()
    words = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2").tolist()
    samples: list[int] = []
    codes: list[int] = []
    numbers: list[int] = []
    notes: list[str] = []
    place = sample = number = 0
    while True:
        if place + 1 > len(words) or (words[place] >> 10 == _SKIP and place + 3 > len(words)):
            raise FormatError(
                f"{path}: expected WFDB annotations, which end with a zero; this file ends before: truncated, or of another kind; fetch it again."
            )
        code, low = words[place] >> 10, words[place] & 0x3FF
        place += 1
        if code == low == 0:
            break
        if code == _SKIP:
            far = words[place] << 16 | words[place + 1]
            sample += far - (far >> 31 << 32)  # two's complement
            place += 2
        elif code == _NOTE:
            if notes:
                notes[-1] = data[2 * place : 2 * place + low].decode("utf-8", "replace").rstrip("\0")
            place += -(-low // 2)
        elif code == _NUMBER:
            number = (low & 0x7F) - (low & 0x80)
            numbers[-1:] = [number] * bool(numbers)
        elif code not in (_SUBTYPE, _CHANNEL):
            sample += low
            samples.append(sample)
            codes.append(code)
            numbers.append(number)
            notes.append("")
    return _annotations(path, samples, codes, numbers, notes)


def _annotations(path: Path, samples: list[int], codes: list[int], numbers: list[int], notes: list[str]) -> Annotations:
    fs = None
    kept = []
    for k, (code, note) in enumerate(zip(codes, notes)):
        if code == CODES['"'] and samples[k] == 0 and note.startswith("##"):
            if note.startswith(_RATE):
                fs = _rate(path, note)
        elif code:
            kept.append(k)
    return Annotations(
        np.array([samples[k] for k in kept], dtype=np.int64),
        tuple(_SYMBOLS.get(codes[k], f"[{codes[k]}]") for k in kept),
        np.array([numbers[k] for k in kept], dtype=np.int64),
        tuple(notes[k] for k in kept),
        fs,
    )


def _rate(path: Path, note: str) -> float:
    text = note.removeprefix(_RATE).strip()
    try:
        fs = float(text)
    except ValueError:
        fs = 0.0
    if not is_rate(fs):
        raise FormatError(f"{path}: expected the samples per second that it counts in; it says {text[:40]!r}: damaged; fetch it again.")
    return fs
