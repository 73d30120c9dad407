"""The corpus on disk: read back by the wfdb library, the same for any number of workers, going on after an interruption."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import wfdb
from scipy.io import loadmat

from einthoven.simulate import FINDINGS, simulate
from einthoven.simulate.corpus import assign, write_corpus


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder, records=24, patients=9, seed=4)


def test_the_layout_is_that_of_the_challenge(corpus):
    folder, summary = corpus
    group = folder / "training" / "synthetic" / "g1"
    assert (group / "RECORDS").read_text().split() == [f"S{k + 1:05d}" for k in range(24)]
    assert sorted(path.suffix for path in group.glob("S00007.*")) == [".atr", ".hea", ".mat"]
    assert (summary.records, summary.patients, summary.written) == (24, 9, 24)
    header = (group / "S00007.hea").read_text().splitlines()
    assert header[0] == "S00007 12 500 5000"
    assert header[1].startswith("S00007.mat 16+24 1000/mV 16 0 ")
    assert [line.split(":")[0] for line in header[13:]] == [
        "#Age",
        "#Sex",
        "#Dx",
        "#Rx",
        "#Hx",
        "#Sx",
        "#Patient ID",
        "#Recording time",
        "#Source",
    ]
    known = {finding.code for finding in FINDINGS.values()}
    assert set(header[15].removeprefix("#Dx: ").split(",")) <= known


def test_wfdb_reads_the_signal_within_half_a_step_and_its_checksums_hold(corpus):
    folder, _ = corpus
    patient, visit = assign(24, 9, 4)
    for k in (0, 11, 23):
        path = str(folder / "training" / "synthetic" / "g1" / f"S{k + 1:05d}")
        made = simulate(4, person=int(patient[k]), visit=int(visit[k])).record
        read = wfdb.rdrecord(path)
        assert tuple(read.sig_name) == made.leads
        np.testing.assert_allclose(read.p_signal.T, made.signal, atol=0.5001e-3)
        digital = wfdb.rdrecord(path, physical=False)
        # The header's checksum is signed, the library's own sum is not.
        assert [(a - b) % 65536 for a, b in zip(digital.calc_checksum(), digital.checksum, strict=True)] == [0] * 12
        assert list(digital.d_signal[0]) == digital.init_value


def test_scipy_reads_the_mat_file_as_the_same_counts(corpus):
    path = corpus[0] / "training" / "synthetic" / "g1" / "S00003"
    val = loadmat(f"{path}.mat")["val"]
    assert val.dtype == np.int16
    np.testing.assert_array_equal(val, wfdb.rdrecord(str(path), physical=False).d_signal.T)


def test_wfdb_reads_the_truth_from_the_annotation(corpus):
    folder, _ = corpus
    patient, visit = assign(24, 9, 4)
    for k in range(24):
        truth = simulate(4, person=int(patient[k]), visit=int(visit[k])).truth
        read = wfdb.rdann(str(folder / "training" / "synthetic" / "g1" / f"S{k + 1:05d}"), "atr")
        symbols = np.array(read.symbol)
        beat = np.isin(symbols, ["N", "V", "A", "/", "j", "e"])
        np.testing.assert_array_equal(read.sample[beat], truth.r_peaks)
        assert list(symbols[beat]) == list(truth.symbols)
        opening = (symbols == "(") & (np.array(read.num) == 1)
        np.testing.assert_array_equal(read.sample[opening], truth.marks["QRS"][:, 0][truth.marks["QRS"][:, 0] >= 0])
        p_peaks = np.sort(np.concatenate([truth.marks["P"][:, 1], truth.p_alone[:, 1]]))
        np.testing.assert_array_equal(np.sort(read.sample[symbols == "p"]), p_peaks[p_peaks >= 0])


def test_the_truth_table_has_a_row_per_record_and_one_patient_keeps_age_and_sex(corpus):
    with open(corpus[0] / "truth.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["record"] for row in rows] == [f"S{k + 1:05d}" for k in range(24)]
    assert len({row["patient"] for row in rows}) == 9
    for patient in {row["patient"] for row in rows}:
        own = [row for row in rows if row["patient"] == patient]
        assert len({(row["age"], row["sex"]) for row in own}) == 1
        assert [row["time"] for row in sorted(own, key=lambda row: int(row["visit"]))] == sorted(row["time"] for row in own)


def test_two_workers_write_the_same_bytes_as_one(corpus, tmp_path):
    write_corpus(tmp_path, records=24, patients=9, seed=4, workers=2)
    assert digests(tmp_path) == digests(corpus[0])


def test_an_interrupted_corpus_goes_on_and_ends_the_same(corpus, tmp_path):
    def interrupt(done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path, records=24, patients=9, seed=4, progress=interrupt)
    group = tmp_path / "training" / "synthetic" / "g1"
    (group / "S00002.mat").write_bytes(b"torn")  # and one was damaged meanwhile
    seen = []
    summary = write_corpus(tmp_path, records=24, patients=9, seed=4, progress=lambda done, total: seen.append((done, total)))
    assert summary.written == 24 - 6
    assert seen[-1] == (24, 24)
    assert digests(tmp_path) == digests(corpus[0])


def test_a_longer_corpus_begins_with_the_shorter_one(corpus, tmp_path):
    write_corpus(tmp_path, records=12, patients=9, seed=4)
    short, full = digests(tmp_path), digests(corpus[0])
    assert all(full[name] == digest for name, digest in short.items() if name.endswith((".mat", ".hea", ".atr")))


def test_every_patient_has_a_record_and_visits_are_counted():
    patient, visit = assign(100, 40, seed=1)
    assert set(patient) == set(range(40))
    for who in range(40):
        assert list(visit[patient == who]) == list(range((patient == who).sum()))


def test_contradicting_settings_are_refused(corpus, tmp_path):
    with pytest.raises(ValueError, match="1 <= patients <= records"):
        write_corpus(tmp_path, records=3, patients=4, seed=0)
    with pytest.raises(ValueError, match=r"other settings \(seed=4 there, 5 asked\)"):
        write_corpus(corpus[0], records=24, patients=9, seed=5)


@pytest.mark.slow
def test_the_main_classes_have_enough_cases():
    from einthoven.simulate.findings import draw_findings

    cases: dict[str, int] = {}
    for person in range(3000):
        for name in draw_findings(np.random.default_rng([1, person]), np.random.default_rng([2, person])):
            cases[name] = cases.get(name, 0) + 1
    main = (
        "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia", "atrial fibrillation", "atrial flutter", "premature atrial contraction",
        "premature ventricular contraction", "first degree atrioventricular block", "complete left bundle branch block",
        "complete right bundle branch block", "incomplete right bundle branch block", "left anterior fascicular block",
        "nonspecific intraventricular conduction disorder", "left ventricular hypertrophy", "low QRS voltages", "old inferior myocardial infarction",
        "old anterior myocardial infarction", "prolonged QT interval", "pacing rhythm", "T wave inversion",
    )  # fmt: skip
    assert {name: cases.get(name, 0) / 3000 for name in main if cases.get(name, 0) < 0.03 * 3000} == {}
