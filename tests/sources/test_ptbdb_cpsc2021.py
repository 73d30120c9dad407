"""PTB's diagnostic database and CPSC 2021 in their publishers' layouts, and real recordings of both where they are present."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from einthoven.errors import EinthovenError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import cpsc2021, physionet2021, ptbdb, read
from einthoven.sources.checking import check_store


def write(path: Path, leads: list[str], fs: int, seconds: float, comments: list[str]) -> None:
    """A record at ``path`` (without extension), the leads called as given; Frank's in a file of their own, as PTB has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(list(path.name.encode())).integers(-900, 900, (len(leads), round(fs * seconds)))
    lines = [f"{path.name} {len(leads)} {fs} {counts.shape[1]}"]
    for suffix in ("dat", "xyz"):
        rows = [place for place, lead in enumerate(leads) if (lead in ("vx", "vy", "vz")) == (suffix == "xyz")]
        if rows:
            Path(f"{path}.{suffix}").write_bytes(counts[rows].T.astype("<i2").tobytes())
        for row in rows:
            start, total = counts[row][0], int(counts[row].sum()) % 65536
            lines.append(f"{path.name}.{suffix} 16 2000 16 0 {start} {total} 0 {leads[row]}")
    Path(f"{path}.hea").write_text("\n".join([*lines, *(f"# {line}" for line in comments)]) + "\n")


PTB_LEADS = [name.lower() for name in TWELVE] + ["vx", "vy", "vz"]
SUMMARY = ["age: 81", "sex: female", "ECG date: 01/10/1990", "", "Diagnose:", "Reason for admission: Myocardial infarction", "Smoker: no"]


@pytest.fixture
def ptb(tmp_path) -> Path:
    write(tmp_path / "patient001" / "s0010_re", PTB_LEADS, 1000, 3, SUMMARY)
    write(tmp_path / "patient001" / "s0014lre", PTB_LEADS, 1000, 3, [*SUMMARY[:2], "Reason for admission: n/a"])
    write(tmp_path / "patient285" / "s0544_re", PTB_LEADS, 1000, 3, ["age: n/a", "Reason for admission: Healthy control"])
    write(tmp_path / "patient285" / "s0545_re", PTB_LEADS, 1000, 3, [])
    (tmp_path / "patient285" / "s0545_re.xyz").unlink()
    return tmp_path


def test_ptb_names_persons_and_the_reason_for_admission(ptb):
    first, second, third, lost = ptbdb.records(ptb)
    assert (first.record, first.patient, first.labels, first.label_system) == (
        "s0010_re",
        "patient001",
        {"Myocardial infarction": 1.0},
        "PTB",
    )
    assert first.meta == {"age": 81, "sex": "female", "time": "1990-10-01", "summary": {"Smoker": "no"}}
    assert second.labels is None and second.patient == "patient001" and third.labels == {"Healthy control": 1.0}
    assert "s0545_re.xyz" in lost.problem
    record = read(first)
    assert record.leads == (*TWELVE, "X", "Y", "Z") and record.fs == 1000


def test_ptb_goes_through_ingest(ptb):
    summary = ingest("ptbdb", ptb, ptb / "store", workers=1)
    assert (summary.n_records, summary.n_rejected, summary.n_patients) == (3, 1, 2)
    row = pq.read_table(ptb / "store" / "records.parquet").to_pylist()[0]
    assert row["leads"].split() == [*TWELVE, "X", "Y", "Z"] and json.loads(row["meta"])["summary"] == {"Smoker": "no"}
    assert check_store(ptb / "store", ptbdb) == [
        "549 recordings published, 4 here, 1 of them rejected",
        "290 patients published for version 1.0.0, 2 among the recordings here",
    ]


@pytest.fixture
def cpsc(tmp_path) -> Path:
    write(tmp_path / "Training_set_I" / "data_10_2", ["I", "II"], 200, 8, ["non atrial fibrillation"])
    write(tmp_path / "Training_set_I" / "data_9_11", ["I", "II"], 200, 8, ["persistent atrial fibrillation"])
    write(tmp_path / "Training_set_II" / "data_9_2", ["I", "II"], 200, 8, ["something else"])
    return tmp_path


def test_cpsc_2021_names_persons_and_one_of_three_rhythms(cpsc):
    refs = list(cpsc2021.records(cpsc))
    assert [(ref.record, ref.patient) for ref in refs] == [("data_9_2", "9"), ("data_9_11", "9"), ("data_10_2", "10")]
    assert refs[0].labels is None and refs[1].labels == dict(zip(cpsc2021.CLASSES, (0.0, 0.0, 1.0)))
    assert [name for name, value in refs[2].labels.items() if value] == ["non atrial fibrillation"]


def test_cpsc_2021_goes_through_ingest_and_its_limb_leads_follow(cpsc):
    summary = ingest("cpsc2021", cpsc, cpsc / "store", workers=1)
    assert (summary.n_records, summary.n_patients) == (3, 2)
    rows = pq.read_table(cpsc / "store" / "records.parquet").to_pylist()
    assert {row["leads"] for row in rows} == {" ".join(TWELVE[:6])} and {row["derived"] for row in rows} == {"III aVR aVL aVF"}


@pytest.mark.parametrize("module", [ptbdb, cpsc2021])
def test_a_folder_without_recordings_is_told_in_one_line(module, tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(EinthovenError, match=r"expected the (database|challenge)'s folder") as error:
            list(module.records(root))
        assert "\n" not in str(error.value)
    (tmp_path / "patient001").mkdir()
    (tmp_path / "patient001" / "data_1_1.hea").write_text("garbage\n")
    (ref,) = module.records(tmp_path)
    assert ref.problem and ref.patient in ("patient001", "1")


@pytest.mark.data
def test_the_real_recording_of_ptb_is_that_of_the_challenge(data_root):
    (ref,) = ptbdb.records(data_root / "ptbdb")
    assert ref.labels == {"Myocardial infarction": 1.0} and ref.meta["age"] == 81 and ref.meta["time"] == "1990-10-01"
    assert ref.meta["summary"]["Chest X-ray"] == "Heart size upper limit of norm"
    ours, theirs = read(ref), read(next(physionet2021.records(data_root / "cinc2021", subset=("ptb",))))
    assert theirs.record == "S0001" and theirs.fs == ours.fs
    np.testing.assert_allclose(ours.signal[:12, : theirs.signal.shape[1]], theirs.signal, atol=1e-3)


@pytest.mark.data
def test_the_real_recordings_of_cpsc_2021_are_those_of_the_list(data_root):
    refs = {ref.record: ref for ref in cpsc2021.records(data_root / "cpsc2021")}
    with open(data_root / "records.csv", newline="") as file:
        listed = {Path(row["path"]).name: row for row in csv.DictReader(file) if row["source"] == "cpsc2021"}
    assert refs.keys() == listed.keys()
    for name, row in listed.items():
        record = read(refs[name])
        assert refs[name].patient == row["patient_id"] and [code for code, value in refs[name].labels.items() if value] == [row["labels"]]
        assert record.fs == float(row["fs"]) and record.signal.shape[1] == int(row["n_samples"]) and record.leads == ("I", "II")
