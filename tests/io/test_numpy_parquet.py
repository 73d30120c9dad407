"""Arrays and Parquet tables: what they say, what must be told, and what is never loaded."""

from __future__ import annotations

import io as streams
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import bounds
from einthoven.leads import TWELVE

TRUTH = np.cumsum(np.random.default_rng(6).normal(size=(12, 300)), axis=1) * 0.02
TOLD = {"fs": 500, "unit": "mV", "names": TWELVE}


def refused(path, words: str, **told) -> None:
    with pytest.raises(FormatError, match=words) as error:
        io.read(path, **told)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


# ---------------------------------------------------------------- .npy


@pytest.mark.parametrize("array", [TRUTH, TRUTH.T, np.asfortranarray(TRUTH), TRUTH.astype(np.float32), TRUTH.astype(">f8")])
def test_an_array_is_read_whichever_way_its_axes_lie(tmp_path, array):
    np.save(tmp_path / "r.npy", array)
    record = io.read(tmp_path / "r.npy", **TOLD)
    assert record.fs == 500 and record.leads == TWELVE and record.record == "r"
    np.testing.assert_allclose(record.signal, TRUTH, rtol=1e-6)


def test_an_array_says_nothing_of_itself(tmp_path):
    path = tmp_path / "r.npy"
    np.save(path, (TRUTH * 1000).astype(np.int16))
    refused(
        path,
        r"does not say its rate, unit, lead names: give fs=, unit=, names= \(einthoven ingest folder … -o rate=… -o unit=… -o leads=…\), or put r\.json beside it",
    )
    refused(path, "does not say its unit", fs=500, names=TWELVE)
    (tmp_path / "r.json").write_text(json.dumps({"fs": 250, "unit": "uV", "leads": list(TWELVE)}))
    record = io.read(path)
    assert record.fs == 250
    np.testing.assert_allclose(record.signal, TRUTH, atol=1e-3)
    refused(path, r"expected 11 leads .*; its array has the shape \(12, 300\)", names=TWELVE[:11])


def test_one_lead_may_be_an_array_of_one_axis(tmp_path):
    np.save(tmp_path / "r.npy", TRUTH[0])
    assert io.read(tmp_path / "r.npy", fs=100, unit="mV", names=["DII"]).leads == ("II",)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "r.npy"
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    refused(path, "pickled objects, which are not loaded", **TOLD)
    np.savez(tmp_path / "r.npz", ecg=TRUTH, leads=np.array(list(TWELVE), dtype=object))
    refused(tmp_path / "r.npz", "pickled objects, which are not loaded", fs=500, unit="mV")


@pytest.mark.parametrize("shape", [(12, 10**12), (10**6, 10**6), (12, -5), (2,) * 40])
def test_an_array_that_promises_more_than_the_file_has_is_not_allocated(tmp_path, shape):
    stream = streams.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    path = tmp_path / "r.npy"
    path.write_bytes(stream.getvalue() + bytes(1000))
    refused(path, "truncated|damaged", **TOLD)


def test_other_arrays_are_refused(tmp_path):
    for array in (np.zeros((0, 5)), np.zeros((2, 2, 2, 2)), np.array(["a"]), np.zeros((12, 9), dtype=complex)):
        np.save(tmp_path / "r.npy", array)
        refused(tmp_path / "r.npy", "expected numbers of shape", **TOLD)
    path = tmp_path / "short.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr'")
    refused(path, "damaged NumPy array", **TOLD)


# ---------------------------------------------------------------- .npz


def test_an_archive_may_say_everything(tmp_path):
    path = tmp_path / "r.npz"
    np.savez_compressed(path, ecg=TRUTH.T * 1000, fs=400.0, leads=list(TWELVE), unit="uV")
    assert io.recognise(path) == "NumPy archive"
    record = io.read(path)
    assert record.fs == 400 and record.leads == TWELVE
    np.testing.assert_allclose(record.signal, TRUTH, rtol=1e-6)
    refused(path, r"its rate is 400\.0; it was told 500", fs=500)


def test_an_archive_of_many_is_asked_for_one(tmp_path):
    path = tmp_path / "r.npz"
    np.savez(path, x=np.stack([TRUTH, -TRUTH]))
    refused(path, "holds 2 recordings", **TOLD)
    record = io.read(path, record=1, **TOLD)
    np.testing.assert_allclose(record.signal, -TRUTH, rtol=1e-6)
    assert record.record == "r/1"
    refused(path, "asked for 2", record=2, **TOLD)


@pytest.mark.parametrize(
    ("content", "words"),
    [({"y": TRUTH}, "expected an array named ecg"), ({"ecg": TRUTH, "fs": [1, 2]}, "expected one value as fs"), ({"ecg": TRUTH, "fs": -3.0}, "a rate in Hz"),
     ({"ecg": TRUTH, "leads": np.arange(12)}, "expected the leads as texts"), ({"ecg": TRUTH, "unit": 3}, "expected one value as unit")],
)  # fmt: skip
def test_an_archive_that_contradicts_itself_is_refused(tmp_path, content, words):
    np.savez(tmp_path / "r.npz", **content)
    refused(tmp_path / "r.npz", words)


def test_a_bomb_and_a_damaged_archive_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "r.npz"
    np.savez_compressed(path, ecg=np.zeros((12, 1_000_000)))
    monkeypatch.setattr(bounds, "ALWAYS", 1_000_000)
    refused(path, "more than is read at once", **TOLD)
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    refused(path, "damaged archive", **TOLD)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a text")
    refused(path, "zip archive")


@pytest.mark.data
def test_the_archive_of_scipy_under_a_foreign_name_is_read(data_root):
    path = data_root / "scipy-electrocardiogram/ecg.dat"
    refused(path, "does not say its rate, unit, lead names")
    # 5 minutes of MIT-BIH 208: 200 counts per mV around 1024, at 360 Hz.
    record = io.read(path, fs=360, unit="mV", names=["MLII"])
    other = io.read(data_root / "mitdb/208", leads=["MLII"])
    counts = (record.signal[0] - 1024) / 200
    best = max(np.corrcoef(counts[:5000], other.signal[0, k : k + 5000])[0, 1] for k in _places(counts[:5000], other.signal[0]))
    assert best > 0.99999


def _places(piece: np.ndarray, whole: np.ndarray) -> list[int]:
    from scipy.signal import fftconvolve

    score = fftconvolve(whole - whole.mean(), (piece - piece.mean())[::-1], mode="valid")
    energy = np.sqrt(np.convolve((whole - whole.mean()) ** 2, np.ones(len(piece)), mode="valid"))
    return [int(np.argmax(score / energy))]


# ---------------------------------------------------------------- Parquet


def save(path, table: pa.Table, **metadata: str):
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata}), path)
    return path


def columns(names=TWELVE) -> pa.Table:
    return pa.table({name: row for name, row in zip(names, TRUTH)})


def test_a_column_is_a_lead(tmp_path):
    record = io.read(save(tmp_path / "r.parquet", columns(), fs="500", unit="mV"))
    assert record.fs == 500 and record.leads == TWELVE
    np.testing.assert_allclose(record.signal, TRUTH, rtol=1e-6)
    part = io.read(tmp_path / "r.parquet", leads=["V1"], start=0.1, stop=0.2)
    np.testing.assert_array_equal(part.signal, record.signal[[6], 50:100])


def test_pandas_writes_parquet_that_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TRUTH.T, columns=[f"{name} (mV)" for name in TWELVE])
    frame.insert(0, "time (s)", np.arange(300) / 250)
    frame.to_parquet(tmp_path / "r.parquet")
    record = io.read(tmp_path / "r.parquet")
    assert record.fs == 250
    np.testing.assert_allclose(record.signal, TRUTH, rtol=1e-6)


def test_a_row_may_be_a_lead_or_a_recording(tmp_path):
    table = pa.table({"lead": list(TWELVE), "samples": [list(row) for row in TRUTH]})
    np.testing.assert_allclose(io.read(save(tmp_path / "r.parquet", table, fs="500", unit="mV")).signal, TRUTH, rtol=1e-6)
    table = pa.table({"id": ["a", "b"], "samples": [TRUTH.tolist(), (-TRUTH).tolist()]})
    path = save(tmp_path / "many.parquet", table, fs="500", unit="mV", leads=" ".join(TWELVE))
    refused(path, "holds 2 recordings; name one: record=0")
    record = io.read(path, record=1)
    np.testing.assert_allclose(record.signal, -TRUTH, rtol=1e-6)


def test_parquet_that_does_not_say_or_is_something_else_is_refused(tmp_path):
    path = save(tmp_path / "r.parquet", columns())
    refused(path, "does not say its rate, unit")
    refused(save(path, columns(), fs="quick", unit="mV"), "expected fs as a number")
    refused(save(path, columns(), fs="500", unit="mV"), "its rate is 500.0; it was told 100", fs=100)
    refused(save(path, pa.table({"record": ["a"], "fold": [1], "age": [3.5]})), "expected a column of numbers for each lead")
    refused(save(path, pa.table({"lead": ["I", "II"], "x": [[1.0], [1.0, 2.0]]}), fs="500", unit="mV"), "lists of one length")
    good = save(path, columns(), fs="500", unit="mV").read_bytes()
    for data in (good[: len(good) // 2], good[:-100] + bytes(100), b"PAR1" + bytes(50)):
        path.write_bytes(data)
        refused(path, "cannot be read as Parquet")


def test_a_run_length_code_that_promises_a_billion_rows_is_not_unpacked(tmp_path, monkeypatch):
    path = save(tmp_path / "r.parquet", pa.table({"I": np.zeros(2_000_000)}), fs="500", unit="mV")
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(bounds, "ALWAYS", 1_000_000)
    refused(path, "more than is read at once")
