"""ISHNE Holter files: a real one against the limb laws and its beats, written ones against what was written."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.leads import TWELVE, limb_law_residual
from einthoven.signal.peaks import r_peaks
from einthoven.sources import folder

FS, N = 200, 3000
COUNTS = np.random.default_rng(4).integers(-3000, 3000, (3, N))


def header(**changed) -> bytes:
    """The header and the text of an ISHNE file; ``changed``: any of its fields."""
    f = {
        "magic": b"ISHNE1.0", "text": b"", "n_samples": N, "text_begin": 522, "begin": None, "last_name": b"Doe", "id": b"H-4", "sex": 2,
        "born": (5, 4, 1950), "day": (1, 2, 2003), "clock": (23, 59, 1), "leads": (5, 6, 11), "quality": (1, 3, 0), "nanovolts": (2500, 5000, 1000),
        "device": b"Recorder 7", "fs": FS, "checksum": None, "n_leads": None,
    } | changed  # fmt: skip
    twelve = [[*f[name], *[-9] * (12 - len(f[name]))] for name in ("leads", "quality", "nanovolts")]
    body = struct.pack("<4ih", len(f["text"]), f["n_samples"], f["text_begin"], f["begin"] or 522 + len(f["text"]), 1)
    body += struct.pack("<40s40s20s2h", b"", f["last_name"], f["id"], f["sex"], 0) + struct.pack(
        "<12h", *f["born"], *f["day"], *f["day"], *f["clock"]
    )
    body += struct.pack("<37h", f["n_leads"] or len(f["leads"]), *twelve[0], *twelve[1], *twelve[2]) + struct.pack(
        "<h40sh", 0, f["device"], f["fs"]
    )
    body += bytes(80 + 80 + 88) + f["text"]
    checksum = crc_hqx(body, 0xFFFF) if f["checksum"] is None else f["checksum"]
    return f["magic"] + struct.pack("<H", checksum) + body


def write(path: Path, counts: np.ndarray = COUNTS, **changed) -> Path:
    path.write_bytes(header(**changed) + counts.T.astype("<i2").tobytes())
    return path


@pytest.mark.data
def test_a_real_holter_obeys_the_limb_laws_and_has_its_beats_where_they_are_annotated(data_root):
    path = data_root / "ishne" / "ECG_P28.01.ecg"
    record = io.read(path)
    assert record.leads == TWELVE and record.fs == 1000 and record.signal.shape == (12, 95573)
    # The recorder computed them itself, in counts of 5 µV.
    assert max(limb_law_residual(record.signal, record.leads).values()) < 0.0025 and 1 < np.abs(record.signal).max() < 3
    assert record.meta == {"time": datetime(2000, 1, 1, 7)} and record.patient == "ECG_P28.01"  # its checksum is right
    # A header as the signal has, the first sample's number, then a letter, a detail and the samples since the last for each beat.
    content = path.with_suffix(".ann").read_bytes()[struct.unpack("<i", path.with_suffix(".ann").read_bytes()[22:26])[0] :]
    beats = np.frombuffer(content[4:], dtype=[("letter", "S1"), ("detail", "S1"), ("interval", "<u2")])
    assert len(beats) == 97 and set(beats["letter"].tolist()) <= {b"N", b"V", b"S", b"X", b"U", b"!"}
    peaks = r_peaks(record.signal, record.fs, record.leads)
    places = int.from_bytes(content[:4], "little") + np.cumsum(beats["interval"].astype(int))
    normal = places[beats["letter"] == b"N"] / record.fs
    near = [np.abs(peaks - beat).min() < 0.05 for beat in normal]
    assert np.mean(near) > 0.97


def test_a_written_holter_is_read_back(tmp_path):
    record = io.read(write(tmp_path / "h.ecg", text=b"Chest pain at 3 am"))
    assert record.leads == ("I", "II", "V1") and record.fs == FS and record.patient == "H-4" and record.record == "h"
    np.testing.assert_allclose(record.signal, COUNTS * np.array([[2.5], [5.0], [1.0]]) / 1000, rtol=1e-6)
    assert record.meta == {
        "time": datetime(2003, 2, 1, 23, 59, 1), "age": 52.83, "sex": "female", "device": "Recorder 7", "comments": ["Chest pain at 3 am"],
        "lead_quality": {"I": "good", "II": "frequent noise"},
    }  # fmt: skip


def test_the_lowest_count_means_not_recorded(tmp_path):
    counts = COUNTS.copy()
    counts[1, 70:90] = -32768
    signal = io.read(write(tmp_path / "h.ecg", counts)).signal
    assert np.isnan(signal[1, 70:90]).all() and np.isnan(signal).sum() == 20


def test_a_part_is_the_part_of_the_whole(tmp_path):
    path = write(tmp_path / "h.ecg")
    whole = io.read(path)
    part = io.read(path, leads=["V1", "I"], start=2.5, stop=4)
    np.testing.assert_array_equal(part.signal, whole.signal[[2, 0], 500:800])
    assert io.read(path, start=14.9, stop=99).signal.shape == (3, 20) and io.read(path, start=99).signal.shape == (3, 0)
    with pytest.raises(FormatError, match="asked for X; the file has I, II, V1"):
        io.read(path, leads=["X"])


def test_a_part_of_a_day_is_read_without_the_day(tmp_path):
    """24 h of three leads, sparse on the disk: bytes that are read are counted, not timed."""
    n = 24 * 3600 * FS
    path = tmp_path / "day.ecg"
    head = header(n_samples=n)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + 2 * 3 * n)
        file.seek(len(head) + 2 * 3 * (12 * 3600 * FS))
        file.write(COUNTS.T.astype("<i2").tobytes())
    read = []
    original = np.fromfile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "fromfile", lambda *args, count, **more: (read.append(count), original(*args, count=count, **more))[1])
        part = io.read(path, start=12 * 3600, stop=12 * 3600 + N / FS)
    np.testing.assert_allclose(part.signal, COUNTS * np.array([[2.5], [5.0], [1.0]]) / 1000, rtol=1e-6)
    assert read == [3 * N]


def test_a_number_of_samples_of_all_leads_together_is_understood(tmp_path):
    assert io.read(write(tmp_path / "h.ecg", n_samples=3 * N)).signal.shape == (3, N)
    assert io.read(write(tmp_path / "h.ecg", n_samples=0)).signal.shape == (3, N)
    assert io.read(write(tmp_path / "h.ecg", n_samples=N - 7)).signal.shape == (3, N - 7)


def test_equal_and_unknown_leads_have_different_names(tmp_path):
    assert io.read(write(tmp_path / "h.ecg", leads=(0, 0, 5))).leads == ("lead 1", "lead 2", "I")
    assert io.read(write(tmp_path / "h.ecg", leads=(2, 2, 77))).leads == ("X", "X (2)", "lead code 77")


def test_a_changed_name_is_told_and_a_checksum_of_zero_was_never_computed(tmp_path):
    path = write(tmp_path / "h.ecg")
    path.write_bytes(path.read_bytes().replace(b"Doe", b"xxx"))
    assert io.read(path).meta["checksum_mismatch"] == ["header"]
    assert "checksum_mismatch" not in io.read(write(tmp_path / "h.ecg", checksum=0)).meta


def test_what_is_not_known_is_not_told(tmp_path):
    record = io.read(write(tmp_path / "h.ecg", id=b"0000", born=(-9, -9, -9), day=(0, 0, 0), sex=0, device=b"", quality=(0, 0, 0)))
    assert record.patient is None and record.meta == {}
    assert io.read(write(tmp_path / "h.ecg", clock=(99, 0, 0))).meta["time"] == datetime(2003, 2, 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n_samples": N + 1}, ["truncated", f"promises {N + 1} samples of 3 leads", f"enough for {N} samples"]),
        ({"n_samples": 2**31 - 1}, ["truncated"]),
        ({"begin": 10**9}, ["data begin at byte 1000000000"]),
        ({"begin": 3}, ["data begin at byte 3"]),
        ({"begin": -5}, ["data begin at byte -5"]),
        ({"n_leads": 13}, ["1 to 12 leads", "13 leads"]),
        ({"n_leads": -1}, ["-1 leads"]),
        ({"fs": 0}, ["at 0 Hz"]),
        ({"fs": -200}, ["at -200 Hz"]),
        ({"nanovolts": (2500, 0, 1000)}, ["resolution of each lead", "for II there is none"]),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path, changed, words):
    refused(write(tmp_path / "h.ecg", **changed), *words)


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "h.ecg")
    data = path.read_bytes()
    for n in (521, 522, 4000, len(data) - 1):
        path.write_bytes(data[:n])
        refused(path, "truncated")


def refused(path: Path, *words: str) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and all(word in message for word in words), message


def test_beats_beside_a_holter_are_its_annotations(tmp_path):
    path = write(tmp_path / "h.1.ecg")
    beats = tmp_path / "h.1.ann"
    beats.write_bytes(header(magic=b"ANN  1.0") + struct.pack("<I", 100) + struct.pack("<2sH2sH", b"N#", 50, b"V#", 65535))
    assert io.is_annotation(beats) and not io.is_annotation(path)
    refused(beats, "lies beside the recording h.1.ecg without being its signal")
    alone = beats.rename(tmp_path / "other.ann")
    assert not io.is_annotation(alone)
    refused(alone, "looks like beats of a Holter (ISHNE annotations)")
    assert [ref.path.name for ref in folder.records(tmp_path) if ref.problem is None] == ["h.1.ecg"]


@pytest.mark.data
def test_a_real_holter_and_its_beats_are_one_recording_of_a_folder(data_root):
    refs = list(folder.records(data_root / "ishne"))
    assert [(ref.path.name, ref.problem) for ref in refs] == [("ECG_P28.01.ecg", None)]
