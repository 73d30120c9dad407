"""Many files to one format: names, refusals, interruptions, workers that die."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.io

from einthoven import io
from einthoven.errors import EinthovenError
from einthoven.io.converting import convert_files
from einthoven.io.many import RECORDS_IN
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


MANY = np.random.default_rng(0).normal(size=(3, 12, 400)).astype(np.float32)


def many_npz(folder, name):
    np.savez_compressed(folder / f"{name}.npz", ecg=MANY, fs=500, leads=TWELVE, unit="mV")


def many_npy(folder, name):
    np.save(folder / f"{name}.npy", MANY)


def many_mat(folder, name):
    scipy.io.savemat(folder / f"{name}.mat", {"about": "three", "x": MANY}, do_compression=True)


def many_mat_plain(folder, name):
    scipy.io.savemat(folder / f"{name}.mat", {"x": MANY, "y": 1j * np.ones(3)})


def many_parquet(folder, name):
    pyarrow.parquet.write_table(pyarrow.table({"ecg": MANY.tolist()}), folder / f"{name}.parquet")


def many_hdf5(folder, name):
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file["ecg"] = MANY


@pytest.mark.parametrize("written", [many_npz, many_npy, many_mat, many_mat_plain, many_parquet, many_hdf5])
def test_every_recording_of_a_file_of_many_becomes_a_file(tmp_path, written):
    (tmp_path / "in").mkdir()
    written(tmp_path / "in", "many")
    io.write(record(7), tmp_path / "in/many_1.edf")  # would have the second one's name
    told = {"fs": 500, "unit": "mV", "names": TWELVE}
    outcomes = convert_files([tmp_path / "in"], tmp_path / "out", "wfdb", told=told)
    assert [outcome.problem for outcome in outcomes] == [None] * 4
    targets = [outcome.target.name for outcome in outcomes if "many." in outcome.source.name]
    assert targets[0] == "many_0.hea" and targets[2] == "many_2.hea" and len({outcome.target for outcome in outcomes}) == 4
    for target, expected in zip(targets, MANY):
        np.testing.assert_allclose(io.read(tmp_path / "out" / target).signal, expected, atol=1.1e-4)
    again = convert_files([tmp_path / "in"], tmp_path / "out", "wfdb", told=told)
    assert [outcome.target for outcome in again] == [outcome.target for outcome in outcomes] and all(one.was_there for one in again)
    (one,) = convert_files([next(tmp_path.glob("in/many.*"))], tmp_path / "one", "wfdb", told={**told, "record": 2})
    np.testing.assert_allclose(io.read(one.target).signal, MANY[2], atol=1.1e-4)


def test_every_reader_that_takes_a_record_says_which_there_are():
    takes = {name for name, reader in io.READERS.items() if "record" in inspect.signature(reader).parameters}
    assert RECORDS_IN.keys() == takes


def test_files_of_one_recording_are_not_taken_for_many(tmp_path):
    np.savez(tmp_path / "a.npz", ecg=MANY[0], fs=500, leads=TWELVE, unit="mV")
    np.save(tmp_path / "b.npy", MANY[0])
    scipy.io.savemat(tmp_path / "c.mat", {"feats": MANY[0], "curr_sample_rate": 500.0})
    scipy.io.savemat(tmp_path / "d.mat", {"val": MANY[0]}, format="4")
    table = pyarrow.table(dict(zip(TWELVE, MANY[0]))).replace_schema_metadata({"fs": "500", "unit": "mV"})
    pyarrow.parquet.write_table(table, tmp_path / "e.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert list(RECORDS_IN[io.recognise(path)](path)) == []


def test_what_a_format_has_no_place_for_is_told(tmp_path):
    rich = replace(record(1), labels={"AF": 1.0}, meta={"report": "Sinus rhythm", "measurements": {"QT": 400.0}})
    io.write(rich, tmp_path / "in.csv")
    for workers in (1, 2):
        (outcome,) = convert_files([tmp_path / "in.csv"], tmp_path / f"out{workers}", "edf", workers=workers)
        assert outcome.lost == ("measurements", "labels") and outcome.problem is None
        assert io.read(outcome.target).meta["report"] == "Sinus rhythm"
    (again,) = convert_files([tmp_path / "in.csv"], tmp_path / "out1", "edf")
    assert again.was_there and again.lost == ()


def test_what_belongs_to_a_recording_is_not_converted_beside_it(tmp_path, corpus):
    paths = sorted(path for path in corpus.iterdir() if path.name.startswith("a.") and path.suffix != ".atr")  # as a shell's * names them
    assert {path.name for path in paths} == {"a.hea", "a.dat", "a.edf"}
    assert [outcome.source.name for outcome in convert_files(paths, tmp_path / "out", "csv")] == ["a.edf", "a.hea"]


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
        assert io.read(tmp_path / f"out/r{k}").patient == f"P{k}"


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
