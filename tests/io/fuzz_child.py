"""Mutated files against one reader, in a process of its own: coverage-guided, with a limit on memory and on the time of each file.

    python fuzz_child.py READER SEEDS SECONDS

SEEDS is a folder of folders, each with the files of one recording; its entry, the file that is named to the reader, stands in ``entry.txt``. Prints
a JSON line: how many files were read, how many lines of the readers they reached, and, where a reader did what it may not, the traceback and where the
file lies. A mutant that reaches a pair of lines that none had reached before is kept and mutated further.
"""

from __future__ import annotations

import json
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from einthoven import io
from einthoven.errors import FormatError

SECONDS_A_FILE = 5.0
HEADROOM = 3 * 2**29
"""Bytes that a reader may take beyond what reading the seeds took."""

MAX_FILE = 400_000
Files = dict[str, bytes]


class TooSlow(BaseException):
    """A reader has not come back; no ``except Exception`` may swallow it."""


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A few small changes of the kinds that files suffer, and that attackers make."""
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        data = rng.choice(CHANGES)(rng, data, other)[:MAX_FILE]
    return data


def _place(rng: random.Random, data: bytes) -> int:
    """Anywhere, but rather near the beginning, where headers are."""
    return min(int(rng.random() ** rng.choice((1, 3)) * len(data)), max(len(data) - 1, 0))


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(rng, data)]


def _flip(rng: random.Random, data: bytes, other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 30))):
        if out:
            out[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _extreme(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A length, a count or an offset of the largest, the smallest, and nearly so."""
    n = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, -1, 2 ** (8 * n - 1) - 1, -(2 ** (8 * n - 1)), 2 ** (4 * n), rng.randrange(2 ** (8 * n - 1))))
    at = _place(rng, data)
    return data[:at] + value.to_bytes(n, rng.choice(("little", "big")), signed=True) + data[at + n :]


def _number(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """The same of a number that is written as text."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:20_000]))
    if not found:
        return data
    one = rng.choice(found)
    new = rng.choice(
        (b"0", b"-1", b"1e308", b"nan", b"inf", b"99999999999999999999", b"2147483648", b"-0.0", b"1e-320", b"", b"\xd9\xa3", b"7 7")
    )
    return data[: one.start()] + new.ljust(rng.choice((0, len(one[0])))) + data[one.end() :]


def _move(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A piece taken out, put in twice, or put in from another file."""
    a, b = sorted((_place(rng, data), _place(rng, data)))
    b = min(b, a + rng.choice((1, 8, 200, 5000)))
    if other and rng.random() < 0.3:
        c = _place(rng, other)
        return data[:a] + other[c : c + b - a + rng.randrange(64)] + data[b:]
    return data[:a] + data[b:] if rng.random() < 0.5 else data[:b] + data[a:b] * rng.choice((1, 1, 3, 50)) + data[b:]


def _fill(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, n = _place(rng, data), rng.choice((2, 16, 300))
    return data[:at] + rng.choice((b"\0", b"\xff", b" ", b"9", rng.randbytes(1))) * n + data[at + n :]


def _wide(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """As another encoding of text would have it."""
    text = data.decode("latin-1")
    return rng.choice((text.encode("utf-16"), text.encode("utf-16-be"), b"\xff\xfe" + data, b"\xef\xbb\xbf" + data, text.encode("utf-8")))


def _markup(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Entities that multiply or lead to a file of the machine, elements without end or deep within one another, names and values changed."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "ha">' + b"".join(b'<!ENTITY %c "%s">' % (c + 1, b"&%c;" % c * 50) for c in range(97, 106)) + b"]>"
    outside = b'<!DOCTYPE x [<!ENTITY j SYSTEM "file:///etc/passwd">]>'
    tags = list(re.finditer(rb"<[^>?!]*>", data[:100_000]))
    if not tags:
        return data
    one = rng.choice(tags)
    kind = rng.randrange(5)
    if kind < 2:
        head = data.find(b"?>") + 2 if data.startswith(b"<?xml") else 0
        return data[:head] + (bomb if kind else outside) + data[head : one.end()] + b"&j;" + data[one.end() :]
    if kind == 2:
        return data[: one.start()] + data[one.end() :]
    if kind == 3:
        return data[: one.end()] + b"<x>" * rng.choice((1, 3000)) + data[one.end() :]
    two = rng.choice(tags)
    return data[: one.start()] + two[0] + data[one.end() :]


def _delimiter(rng: random.Random, data: bytes, other: bytes) -> bytes:
    found = [m.start() for m in re.finditer(rb"[\s,;:/x+()|=\"'<>{}\[\]]", data[:20_000])]
    if not found:
        return data
    at = rng.choice(found)
    return data[:at] + rng.choice((b"", b" ", b"\n", b",", b"\t", b"\0", b";;", b'"', b"/", b"../")) + data[at + 1 :]


CHANGES = (_cut, _flip, _flip, _extreme, _extreme, _extreme, _number, _number, _move, _move, _fill, _wide, _markup, _delimiter)


class Coverage:
    """The pairs of successive lines of ``einthoven/io`` that were reached; those of this file only, while tracing."""

    def __init__(self):
        self.seen: set[tuple[str, int, int]] = set()
        self.new = False
        self._root = str(Path(io.__file__).parent)
        self._last = 0

    def trace(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(self._root):
            return None
        name = frame.f_code.co_filename

        def line(frame, event, arg):
            pair = (name, self._last, frame.f_lineno)
            self._last = frame.f_lineno
            if pair not in self.seen:
                self.seen.add(pair)
                self.new = True
            return line

        return line


def load(folder: Path) -> list[tuple[str, Files]]:
    seeds = []
    for one in sorted(folder.iterdir()):
        files = {path.name: path.read_bytes() for path in one.iterdir() if path.name != "entry.txt"}
        seeds.append(((one / "entry.txt").read_text(), files))
    return seeds


def run(name: str, seeds: list[tuple[str, Files]], seconds: float, place: Path, rng: random.Random) -> dict[str, object]:
    import resource  # POSIX only

    coverage = Coverage()
    corpus = list(seeds)
    counts = {"read": 0, "refused": 0}

    def too_slow(number, frame):
        raise TooSlow(f"no answer within {SECONDS_A_FILE} s")

    signal.signal(signal.SIGALRM, too_slow)
    written: set[str] = set()

    def attempt(entry: str, files: Files, reader, **part: object) -> None:
        for old in written - files.keys():
            (place / old).unlink(missing_ok=True)
        written.clear()
        for file, data in files.items():
            (place / file).write_bytes(data)
            written.add(file)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_A_FILE)
        try:
            record = reader(place / entry, **part)
            counts["read"] += 1
            assert record.signal.nbytes <= 2**30, f"a signal of {record.signal.nbytes} bytes"
        except FormatError as error:
            counts["refused"] += 1
            assert "\n" not in str(error), f"a message of several lines: {error}"
        finally:
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_REAL, 0)

    for entry, files in seeds:  # libraries are imported, and their memory taken, before any limit
        attempt(entry, files, io.READERS[name])
    size = (
        int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024 if Path("/proc/self/status").exists() else 2**34
    )
    resource.setrlimit(resource.RLIMIT_AS, (size + HEADROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        entry, files = rng.choice(corpus)
        other = rng.choice(corpus)[1]
        file = rng.choice(sorted(files))
        files = files | {file: mutate(rng, files[file], other.get(file, rng.choice(list(other.values()))))}
        part = rng.choice(({}, {}, {}, {"start": rng.choice((0.3, 1e9, -5.0)), "stop": rng.choice((0.5, 1.0, 1e12))}, {"leads": ["II"]}))
        coverage.new = False
        reader = io.READERS[name] if rng.random() < 0.8 else io.read
        sys.settrace(coverage.trace)
        try:
            attempt(entry, files, reader, **part)
        except BaseException as error:  # whatever escapes is what is looked for
            sys.settrace(None)
            return {
                **counts,
                "lines": len(coverage.seen),
                "failure": f"{type(error).__name__}: {traceback.format_exc(limit=-8)}",
                "part": part,
            }
        if coverage.new and len(corpus) < 2000:
            corpus.append((entry, files))
    return {**counts, "lines": len({(file, line) for file, _, line in coverage.seen}), "failure": None, "kept": len(corpus)}


if __name__ == "__main__":
    reader_name, seed_folder, n_seconds, number = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    with tempfile.TemporaryDirectory() as temporary:
        found = run(reader_name, load(seed_folder), n_seconds, Path(temporary), random.Random(number))
        if found["failure"]:
            found["files"] = {path.name: path.read_bytes().hex() for path in Path(temporary).iterdir() if path.stat().st_size < 5_000}
            kept = seed_folder.parent / "failing"
            kept.mkdir(exist_ok=True)
            for path in Path(temporary).iterdir():
                (kept / path.name).write_bytes(path.read_bytes())
    found.pop("files", None)
    print(json.dumps(found, default=str))
