"""Every reader against mutated files: no error but FormatError, no hang, no memory beyond a bound.

The mutants are made and read in a process of their own (``fuzz_child.py``), which is guided by the lines that they reach. Seeds are the files that
``test_every_reader`` writes, further ones that hold what those do not, and the small real ones where they are at hand.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import fuzz_child
import numpy as np
import pytest
import test_every_reader
import test_ishne
import test_scp
import test_wfdb_layouts

from einthoven import io
from einthoven.errors import FormatError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits on memory and time are POSIX's")
MAX_SEED = 300_000
MAX_REAL = 4


def more_scp(folder: Path) -> Iterator[Path]:
    """Without checksums, which a mutant would not survive: own tables that switch, bimodal, a reference beat, statements, measurements."""
    values = test_scp.counts(2, 400)
    located = pack("<HHH", 100, 10, 2) + pack("<HIII", 0, 1, 11, 50) * 2 + pack("<IIII", 81, 120, 201, 240)
    text = pack("<BHBB3BB", 1, 2011, 9, 30, 0, 0, 0, 1) + pack("<BH", 1, 7) + b"Normal\0"
    beats = pack("<BBHH", 1, 1, 800, 800) + bytes(range(60))
    common = {
        1: test_scp.person(),
        3: test_scp.lead_section([1, 2], 400, flags=1),
        4: located,
        5: test_scp.wave(values[:, :50], 2, "own"),
        7: beats,
        8: text,
        11: text,
    }
    rhythm = test_scp.wave(values[:, :320], 2, "own", interval=4000, bimodal=1)
    yield test_scp.file(folder / "own.scp", {**common, 2: test_scp.tables("own"), 6: rhythm}, sums=False)
    plain = {**common, 3: test_scp.lead_section([1, 2], 400), 6: test_scp.wave(values, 1, "default"), 2: test_scp.tables("default")}
    yield test_scp.file(folder / "default.scp", plain, sums=False)


def more_wfdb(folder: Path) -> Iterator[Path]:
    """Every signal format, several rates with skew, and segments."""
    for fmt in test_wfdb_layouts.FORMATS:
        (folder / fmt).mkdir()
        rows = {"I": test_wfdb_layouts.counts(1, 200, fmt)[0], "II": test_wfdb_layouts.counts(1, 100, fmt)[0]}
        flac = fmt in ("508", "516", "524")
        rows = dict(zip(rows, test_wfdb_layouts.counts(2, 200, fmt))) if flac else rows
        yield test_wfdb_layouts.write(folder / fmt, "x", rows, fmt, per_frame=None if flac else {"I": 2, "II": 1}, skew={"II": 3})
    (folder / "m").mkdir()
    yield test_wfdb_layouts.segmented(folder / "m")[0]


def more_ishne(folder: Path) -> Iterator[Path]:
    yield test_ishne.write(folder / "h.ecg", test_ishne.COUNTS[:, :100], n_samples=100, checksum=0, text=b"a text")


MORE: dict[str, Callable[[Path], Iterator[Path]]] = {"SCP-ECG": more_scp, "WFDB": more_wfdb, "ISHNE Holter": more_ishne}


def put(place: Path, entry: Path, files: list[Path]) -> None:
    place.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, place / file.name)
    (place / "entry.txt").write_text(entry.name)


def seeds(name: str, folder: Path, work: Path, real: dict[str, list[Path]]) -> Path:
    """A folder of seeds for a reader."""
    entries: list[tuple[Path, list[Path]]] = []
    if name in test_every_reader.WRITERS:
        (work / "one").mkdir(parents=True)
        entry = test_every_reader.WRITERS[name](work / "one")
        files = [path for path in (work / "one").iterdir() if path.is_file()]
        entries.append((entry if entry.is_file() else entry.with_suffix(".hea"), files))
    if name in MORE:
        (work / "more").mkdir(parents=True)
        for entry in MORE[name](work / "more"):
            together = name == "WFDB"
            entries.append((entry, [path for path in entry.parent.iterdir() if path.is_file()] if together else [entry]))
    entries += [(path, [path]) for path in real.get(name, [])]
    for number, (entry, files) in enumerate(entries):
        put(folder / f"{number:03d}", entry, files)
    if not entries:
        pytest.fail(f"no seed for {name}: test_every_reader writes none")
    return folder


@pytest.fixture(scope="session")
def real(request) -> dict[str, list[Path]]:
    """The smallest real files of each format that has one file a recording; none where there are none."""
    try:
        root = request.getfixturevalue("data_root")
    except pytest.skip.Exception:
        return {}
    found: dict[str, list[Path]] = {}
    beside = (".hea", ".dat", ".atr")
    some = [path for path in root.rglob("*") if path.suffix not in beside and path.is_file() and 100 < path.stat().st_size <= MAX_SEED]
    for path in sorted(some, key=lambda path: path.stat().st_size):
        try:
            name = io.recognise(path)
        except FormatError:
            continue
        if name not in ("WFDB", "MATLAB") and len(found.setdefault(name, [])) < MAX_REAL:
            found[name].append(path)
    return found


def fuzz(name: str, seconds: float, tmp_path: Path, real: dict[str, list[Path]]) -> dict[str, object]:
    folder = seeds(name, tmp_path / "seeds", tmp_path / "work", real)
    command = [sys.executable, fuzz_child.__file__, name, str(folder), str(seconds), "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, env=environment, check=False)
    assert done.returncode == 0, f"the reader of {name} took its process with it:\n{done.stderr[-3000:]}"
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    assert not found["failure"], f"{name} ({found['part']}), the file is in {tmp_path / 'failing'}:\n{found['failure']}"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(io.READERS))
def test_a_reader_survives_a_second_of_mutated_files(name, tmp_path, real):
    found = fuzz(name, 1.0, tmp_path, real)
    assert found["refused"] > 0 and found["lines"] > 10


@pytest.mark.long
@pytest.mark.parametrize("name", list(io.READERS))
def test_a_reader_survives_a_minute_of_mutated_files(name, tmp_path, real):
    found = fuzz(name, 60.0, tmp_path, real)
    assert found["refused"] > 100 and found["kept"] > 10, found


def test_a_hang_a_crash_and_memory_are_noticed(tmp_path, monkeypatch):
    """The harness itself: readers that do each of what is looked for are found out."""
    monkeypatch.setattr(fuzz_child, "SECONDS_A_FILE", 0.3)
    monkeypatch.setattr("resource.setrlimit", lambda *limits: None)  # this process goes on
    asked = []

    def reader(fault):
        def read(path, **part):
            asked.append(path)
            if len(asked) > 1:
                fault()
            raise FormatError("refused")

        return read

    def hang():
        while True:
            pass

    def several_lines():
        raise FormatError("two\nlines")

    for fault, word in [
        (hang, "TooSlow"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: np.empty(2**60), "MemoryError"),
        (several_lines, "several lines"),
    ]:
        asked.clear()
        monkeypatch.setattr(fuzz_child.io, "READERS", {"x": reader(fault)})
        monkeypatch.setattr(fuzz_child.io, "read", reader(fault))
        found = fuzz_child.run("x", [("a", {"a": b"content 123"})], 5.0, tmp_path, random.Random(0))
        assert word in found["failure"]
