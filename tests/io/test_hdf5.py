"""HDF5: the corpora that say nothing, files that say everything, and files that would lead elsewhere."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import hdf5
from einthoven.leads import INDEPENDENT, TWELVE, limb_law_residual

RNG = np.random.default_rng(9)


def refused(path, words: str, **told) -> None:
    with pytest.raises(FormatError, match=words) as error:
        io.read(path, **told)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r.h5"


@pytest.mark.data
def test_real_recordings_of_sph(data_root):
    paths = sorted((data_root / "sph").glob("*.h5"))
    assert paths
    for path in paths:
        record = io.read(path)
        with h5py.File(path) as file:
            np.testing.assert_array_equal(record.signal, file["ecg"][:].astype(np.float32))
        assert record.fs == 500 and record.leads == TWELVE and record.record == path.stem
        # In mV the limb laws hold to the rounding of 16-bit floats, in the order of leads that is claimed.
        assert max(limb_law_residual(record.signal, TWELVE).values()) < 2e-3
        assert 0.1 < np.std(record.signal) < 0.5


def test_only_what_looks_exactly_like_sph_is_taken_for_it(path):
    with h5py.File(path, "w") as file:
        file["ecg"] = RNG.normal(size=(12, 700)).astype(np.float16)
    assert io.read(path).fs == 500
    for data in (np.zeros((12, 700), np.float32), np.zeros((8, 700), np.float16), np.zeros((700, 12), np.float16)):
        with h5py.File(path, "w") as file:
            file["ecg"] = data
        refused(path, "does not say its rate, unit, lead names")
    with h5py.File(path, "w") as file:
        file["ecg"] = np.ones((12, 700), np.float16)
        file["ecg"].attrs["fs"] = 250
    refused(path, "does not say its unit, lead names")
    assert io.read(path, unit="mV", names=TWELVE).fs == 250


def code(path, n: int = 3, ids: bool = True) -> np.ndarray:
    tracings = RNG.normal(size=(n, 4096, 12)).astype(np.float32)
    tracings[:, :581] = tracings[:, -581:] = 0
    with h5py.File(path, "w") as file:
        file.create_dataset("tracings", data=tracings, chunks=(1, 4096, 12), compression="gzip")
        if ids:
            file["exam_id"] = np.arange(n) * 10 + 7
    return tracings


def test_a_container_is_asked_for_one_exam_and_its_padding_is_cut(path):
    tracings = code(path)
    refused(path, "holds 3 recordings; name one: record=7, 17, 27")
    record = io.read(path, record="17")
    assert record.fs == 400 and record.leads == TWELVE and record.record == "17" and record.meta["padding_cut"] == [581, 581]
    np.testing.assert_array_equal(record.signal, tracings[1, 581:-581].T)
    refused(path, r"holds 3 recordings \(7, 17, 27\); asked for 18", record=18)
    assert hdf5.records_in(path) == ["7", "17", "27"]
    tracings = code(path, ids=False)
    np.testing.assert_array_equal(io.read(path, record=2).signal, tracings[2, 581:-581].T)
    assert io.read(path, record=2).record == "r/2"
    with h5py.File(path, "a") as file:
        file["tracings"][0] = 0
    refused(path, "is all zeros", record=0)


def test_ids_that_stand_twice_name_nobody(path):
    code(path)
    with h5py.File(path, "a") as file:
        file["exam_id"][1] = 7
    refused(path, "7 is the id of 2 of its recordings", record=7)


def test_a_file_that_says_everything_itself(path):
    eight = RNG.normal(size=(8, 500))
    with h5py.File(path, "w") as file:
        item = file.create_dataset("signal", data=eight.T * 1000)
        item.attrs["unit"] = "uV"
        file.attrs["sampling_rate"] = 360.0
        file["leads"] = list(INDEPENDENT)
    record = io.read(path)
    assert record.fs == 360 and record.leads == TWELVE and record.meta["derived"] == ["III", "aVR", "aVL", "aVF"]
    np.testing.assert_allclose(record.signal[[TWELVE.index(name) for name in INDEPENDENT]], eight, rtol=1e-6)
    np.testing.assert_allclose(record.signal[2], eight[1] - eight[0], atol=1e-6)
    refused(path, "its rate is 360.0; it was told 500", fs=500)


def test_nothing_outside_the_file_is_followed(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["ecg"] = np.ones((12, 100), np.float16)
    (tmp_path / "raw.bin").write_bytes(bytes(2400))
    for make, words in [
        (lambda file: file.__setitem__("ecg", h5py.ExternalLink("other.h5", "/ecg")), "is a link, which is not followed"),
        (lambda file: file.__setitem__("ecg", h5py.SoftLink("/ecg")), "is a link, which is not followed"),
        (lambda file: file.create_dataset("ecg", (12, 100), "f2", external=[(str(tmp_path / "raw.bin"), 0, 2400)]), "lies in other files"),
        (lambda file: file.create_virtual_dataset("ecg", _virtual(tmp_path / "other.h5")), "lies in other files"),
    ]:
        with h5py.File(path, "w") as file:
            make(file)
        refused(path, words)


def _virtual(source) -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout(shape=(12, 100), dtype="f2")
    layout[:] = h5py.VirtualSource(source, "ecg", shape=(12, 100))
    return layout


@pytest.mark.parametrize(
    ("shape", "chunks", "words"),
    [
        ((12, 10**9), (1, 1000), "more than is read at once"),
        ((12, 5000), (12, 10**8), "more than is read at once"),
        ((12, 10**5), None, "truncated"),
    ],
)
def test_what_a_file_promises_is_not_allocated(path, shape, chunks, words):
    with h5py.File(path, "w") as file:
        file.create_dataset("ecg", shape, "f2", chunks=chunks, maxshape=(None, None) if chunks else None)
    assert path.stat().st_size < 100_000
    refused(path, words)


def test_damaged_and_other_hdf5_files_are_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("ecg", data=RNG.normal(size=(12, 5000)).astype(np.float16), compression="gzip")
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    refused(path, "damaged HDF5 file")
    path.write_bytes(good[:3000] + bytes(5000) + good[8000:])
    refused(path, "damaged HDF5 file|expected a dataset")
    for content, words in [
        ({"x1": 1}, "expected a dataset named ecg"),
        ({"ecg": "text"}, "expected numbers"),
        ({"ecg": np.zeros((0, 3))}, "expected numbers"),
    ]:
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                file[name] = value
        refused(path, words)
    with h5py.File(path, "w") as file:
        file.create_group("ecg")
    refused(path, "expected a dataset named ecg")
    with h5py.File(path, "w") as file:
        file["ecg"] = np.ones((12, 9))
        file.attrs["fs"] = -4
    refused(path, "expected fs as a rate in Hz")


def test_a_matlab_73_file_is_called_by_its_name(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["val"] = np.ones((100, 12))
    data = bytearray(path.read_bytes())
    data[:20] = b"MATLAB 7.3 MAT-file,"
    path.write_bytes(bytes(data))
    refused(path, "MATLAB 7.3")


def test_a_text_that_claims_gigabytes_is_not_allocated(path):
    with h5py.File(path, "w") as file:
        item = file.create_dataset("ecg", data=RNG.normal(size=(2, 500)), maxshape=(None, None), chunks=(2, 500))
        item.attrs.update({"fs": 500, "unit": "mV", "leads": ["I", "aVR"]})
    assert io.read(path).leads == ("I", "aVR")
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL").to_bytes(8, "little")
    at = data.index(b"\x03\x00\x00\x00" + heap)  # the length of "aVR"
    data[at : at + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    refused(path, "the texts of leads cannot be followed")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_texts_are_those_that_h5py_reads(path, libver):
    leads = ["I", "aVR", "Ableitung äöü", "V6"]
    with h5py.File(path, "w", libver=libver) as file:
        item = file.create_dataset("ecg", data=RNG.normal(size=(4, 50)))
        file.attrs["comment"] = "leads and units"
        file["unit"] = "uV"
        item.attrs["fs"] = 500
        file["leads"] = leads
    with h5py.File(path) as file:
        assert [text.decode() for text in file["leads"]] == leads and file["unit"][()] == b"uV"
    assert io.read(path).leads == tuple(leads)
    with h5py.File(path, "a", libver=libver) as file:
        del file["leads"]
        file["ecg"].attrs["leads"] = leads[::-1]
    assert io.read(path).leads == tuple(leads[::-1])
    with h5py.File(path, "a", libver=libver) as file:
        file["ecg"].attrs["leads"] = np.array(["I", "II", "V1", "V2"], dtype="S4")
    assert io.read(path).leads == ("I", "II", "V1", "V2")


def test_texts_of_one_name_that_differ_are_not_mixed_up(path):
    with h5py.File(path, "w") as file:
        for name, unit in (("ppg", "V"), ("ecg", "uV")):
            file.create_dataset(name, data=np.ones((2, 50))).attrs["unit"] = unit
    refused(path, "the texts of unit cannot be followed", fs=500, names=["I", "II"])
    with h5py.File(path, "a") as file:
        file["ppg"].attrs["unit"] = np.bytes_("V")
        del file["ecg"].attrs["unit"]
        file["ecg"].attrs["unit"] = np.bytes_("uV")
    np.testing.assert_allclose(io.read(path, fs=500, names=["I", "II"]).signal, 1e-3)
