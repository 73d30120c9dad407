"""What holds for every reader of the table: shapes, units, parts, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from einthoven import io
from einthoven.errors import FormatError
from einthoven.leads import TWELVE

FS, TRUTH = 250, np.cumsum(np.random.default_rng(7).normal(size=(12, 1500)), axis=1) * 0.01


def wfdb(folder: Path) -> Path:
    counts = np.round(TRUTH * 1000).astype("<i2")
    (folder / "r.dat").write_bytes(counts.T.tobytes())
    lines = [f"r.dat 16 1000/mV 16 0 {row[0]} {int(row.astype(int).sum()) % 65536} 0 {name}" for name, row in zip(TWELVE, counts)]
    (folder / "r.hea").write_text("\n".join([f"r 12 {FS} 1500", *lines]))
    return folder / "r"


def matlab(folder: Path) -> Path:
    scipy.io.savemat(folder / "r.mat", {"feats": TRUTH, "curr_sample_rate": FS})
    return folder / "r.mat"


WRITERS: dict[str, Callable[[Path], Path]] = {"WFDB": wfdb, "MATLAB": matlab}


def test_every_reader_is_tested():
    assert WRITERS.keys() == io.READERS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_a_reader_gives_millivolt_and_exact_parts(tmp_path, name):
    path = WRITERS[name](tmp_path)
    assert io.recognise(path) == name
    whole = io.READERS[name](path)
    assert whole.fs == FS and whole.leads == TWELVE and whole.record == "r" and whole.signal.dtype == np.float32
    np.testing.assert_allclose(whole.signal, TRUTH, atol=6e-4)  # half a µV of rounding, at 1 µV per count
    part = io.read(path, leads=["II", "v1"], start=2.0, stop=4.0)
    np.testing.assert_array_equal(part.signal, whole.signal[[1, 6], 500:1000])
    assert part.leads == ("II", "V1") and part.fs == FS
    assert io.read(path, start=100.0).signal.shape == (12, 0)
    with pytest.raises(FormatError, match="asked for X"):
        io.read(path, leads=["X"])
