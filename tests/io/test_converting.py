"""Many files to one format: names, refusals, interruptions, workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from einthoven import io
from einthoven.errors import EinthovenError
from einthoven.io.converting import convert_files
from einthoven.leads import TWELVE
from einthoven.record import Record

VALUES = np.cumsum(np.random.default_rng(4).normal(size=(12, 500)), axis=1).astype(np.float32) * 0.02


def record(n: int = 0) -> Record:
    return Record(VALUES + n / 100, 500, TWELVE, record="r", patient=f"P{n}")


@pytest.fixture
def corpus(tmp_path):
    """Records of three formats in two folders, and what lies among recordings."""
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    io.write(record(1), root / "a.hea")
    (root / "a.atr").write_bytes(b"\x04\x04\0\0")
    io.write(record(2), root / "a.edf")
    io.write(record(3), root / "sub/b.csv")
    np.save(root / "sub/bare.npy", VALUES)
    (root / "sub/bare.json").write_text('{"leads": ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]}')
    (root / "README.md").write_text("About this corpus.\n")  # nobody means it
    (root / "notes.txt").write_text("About these recordings.\n")
    (root / "broken.edf").write_bytes((root / "a.edf").read_bytes()[:700])
    return root


def names(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("workers", [1, 2])
def test_good_files_are_converted_and_bad_ones_set_aside(tmp_path, corpus, workers):
    seen = []
    outcomes = convert_files(
        [corpus],
        tmp_path / "out",
        "wfdb",
        progress=lambda done, total: seen.append((done, total)),
        workers=workers,
        told={"fs": 500, "unit": "mV"},
    )
    by_name = {outcome.source.relative_to(corpus).as_posix(): outcome for outcome in outcomes}
    assert by_name.keys() == {"a.hea", "a.edf", "sub/b.csv", "sub/bare.npy", "notes.txt", "broken.edf"}
    assert "looks like text" in by_name["notes.txt"].problem and "damaged or truncated" in by_name["broken.edf"].problem
    # Two recordings are called "a": both keep their ending, whichever comes first.
    assert names(tmp_path / "out") == {f"{name}.{ending}" for name in ("a_hea", "a_edf", "sub/b", "sub/bare") for ending in ("hea", "dat")}
    for name, expected in [("a_hea", record(1)), ("a_edf", record(2)), ("sub/b", record(3)), ("sub/bare", record(0))]:
        np.testing.assert_allclose(io.read(tmp_path / f"out/{name}").signal, expected.signal, atol=1.1e-4)
    assert io.read(tmp_path / "out/a_hea").patient == "P1"
    assert sorted(seen) == [(n, 6) for n in range(1, 7)]


def test_a_second_run_leaves_what_is_there(tmp_path, corpus):
    first = convert_files([corpus], tmp_path / "out", "EDF", told={"fs": 500, "unit": "mV"})
    target = tmp_path / "out/sub/b.edf"
    target.write_bytes(b"mine")
    again = convert_files([corpus], tmp_path / "out", "EDF", told={"fs": 500, "unit": "mV"})
    assert [o.target for o in again] == [o.target for o in first] and target.read_bytes() == b"mine"
    assert all(outcome.was_there for outcome in again if outcome.target)
    convert_files([corpus], tmp_path / "out", "EDF", overwrite=True, told={"fs": 500, "unit": "mV"})
    assert io.read(target).fs == 500


def test_single_files_a_tsv_and_a_file_of_many(tmp_path, corpus):
    with h5py.File(tmp_path / "exams.hdf5", "w") as file:
        file["tracings"] = np.random.default_rng(0).normal(size=(3, 4096, 12)).astype(np.float32)
        file["exam_id"] = [11, 12, 13]
    outcomes = convert_files([corpus / "a", corpus / "sub/b.csv", tmp_path / "exams.hdf5", tmp_path / "nothing"], tmp_path / "out", ".tsv")
    assert [outcome.target.name if outcome.target else None for outcome in outcomes] == [
        "a.tsv",
        "b.tsv",
        *(f"exams_{k}.tsv" for k in (11, 12, 13)),
        None,
    ]
    assert "no such file" in outcomes[-1].problem
    np.testing.assert_array_equal(io.read(tmp_path / "out/exams_12.tsv").signal, io.read(tmp_path / "exams.hdf5", record=12).signal)


def test_names_that_a_format_does_not_take_are_made_plain_and_stay_different(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for k, name in enumerate(("a b.csv", "a_b.csv", "A-B ü.csv", "1.2.3.csv")):
        io.write(record(k), root / name)
    outcomes = convert_files([root], tmp_path / "out", "WFDB")
    assert not [outcome.problem for outcome in outcomes if outcome.problem]
    targets = [outcome.target.stem.lower() for outcome in outcomes]
    assert len(set(targets)) == 4 and io.read(outcomes[0].target).signal.shape == (12, 500)


def test_sources_are_never_written_over(tmp_path, corpus):
    with pytest.raises(EinthovenError, match="the targets would lie among the sources"):
        convert_files([corpus], corpus, "WFDB")
    before = (corpus / "a.dat").read_bytes()
    (outcome,) = convert_files([corpus / "a.hea"], corpus, "WFDB", overwrite=True)
    assert "is one of the sources" in outcome.problem and (corpus / "a.dat").read_bytes() == before
    inside = corpus / "converted"  # is not converted again by the next run
    convert_files([corpus], inside, "EDF", told={"fs": 500, "unit": "mV"})
    assert len(convert_files([corpus], inside, "EDF", told={"fs": 500, "unit": "mV"})) == 6
    with pytest.raises(EinthovenError, match="expected a format that is written"):
        convert_files([corpus], tmp_path / "out", "wav")


def test_a_fault_of_ours_in_one_file_ends_no_job(tmp_path, corpus, monkeypatch):
    def fail(path, **_):
        raise ZeroDivisionError("surprise")

    monkeypatch.setitem(io.READERS, "EDF", fail)
    outcomes = {o.source.name: o for o in convert_files([corpus / "a.edf", corpus / "sub/b.csv"], tmp_path / "out", "WFDB")}
    assert outcomes["a.edf"].problem == "ZeroDivisionError while it was converted: surprise" and outcomes["b.csv"].target


SCRIPT = """
import os, sys
from einthoven import io
from einthoven.io import converting, table
def slow(path, **more):
    import time
    if "killer" in str(path):
        os._exit(9)
    time.sleep(float(os.environ["SLOW"]))
    return table.read(path, **more)
io.READERS["table"] = slow
if __name__ == "__main__":
    for outcome in converting.convert_files([sys.argv[1]], sys.argv[2], "WFDB", workers=2):
        print(outcome.source.name, outcome.problem)
"""


def test_a_file_that_kills_its_worker_takes_no_other_with_it(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for k in range(6):
        io.write(record(k), root / f"r{k}.csv")
    io.write(record(9), root / "killer.csv")
    (tmp_path / "job.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "job.py", root, tmp_path / "out"],
        capture_output=True,
        text=True,
        env={**os.environ, "SLOW": "0"},
        timeout=120,
    )
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert lines.pop("killer.csv").startswith("ended the process that read it"), done.stderr
    assert set(lines) == {f"r{k}.csv" for k in range(6)} and set(lines.values()) == {"None"}
    for k in range(6):
        assert io.read(tmp_path / f"out/r{k}").patient is None


def test_interrupted_a_job_leaves_whole_files_and_goes_on(tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for k in range(20):
        io.write(record(k), root / f"r{k:02d}.csv")
    (tmp_path / "job.py").write_text(SCRIPT)
    job = subprocess.Popen(
        [sys.executable, tmp_path / "job.py", root, out],
        env={**os.environ, "SLOW": "0.3"},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background inherits that it is ignored
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(out.glob("*.hea"))) < 2:
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    assert job.wait(30) != 0
    made = sorted(out.glob("*.hea"))
    assert 2 <= len(made) < 20 and not list(out.glob(".*"))
    for path in made:
        assert io.read(path).signal.shape == (12, 500)
    outcomes = convert_files([root], out, "WFDB")
    assert (
        len(outcomes) == 20 and sum(outcome.was_there for outcome in outcomes) == len(made) and all(outcome.target for outcome in outcomes)
    )


@pytest.mark.parametrize(("name", "kind"), [("wfdb", "WFDB"), ("dicom", "DICOM"), ("aecg", "HL7 aECG XML"), ("XML", "HL7 aECG XML"), (".tsv", "table"), ("csv", "table")])  # fmt: skip
def test_a_format_is_asked_for_by_its_name_or_its_ending(tmp_path, name, kind):
    io.write(record(), tmp_path / "r.edf")
    (outcome,) = convert_files([tmp_path / "r.edf"], tmp_path / "out", name)
    assert outcome.problem is None and io.recognise(outcome.target) == kind
    np.testing.assert_allclose(io.read(outcome.target).signal, VALUES, atol=2e-3)
