"""CPSC 2018 in its own form: tables written here, and its real recordings where they are present."""

from __future__ import annotations

import csv

import pytest

from einthoven.errors import EinthovenError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import cpsc2018
from einthoven.sources.vocabulary import CLASSES, SNOMED, targets

HEADER = "Recording,First_label,Second_label,Third_label\n"


def test_the_numbers_of_the_classes_are_the_order_of_their_list():
    for number, one in enumerate(CLASSES["cpsc2018"], start=1):
        assert cpsc2018.CODES[str(number)] == one.codes[SNOMED][0]


def test_rows_files_and_their_problems(tmp_path):
    (tmp_path / "TrainingSet1").mkdir()
    for name in ("A0001", "A0003"):
        (tmp_path / "TrainingSet1" / f"{name}.mat").write_bytes(b"x")
    (tmp_path / "REFERENCE.csv").write_text(HEADER + "A0001,5,2,\nA0002,1,,\n")
    first, second, third = cpsc2018.records(tmp_path)
    assert first.labels == {"59118001": 1.0, "164889003": 1.0} and first.problem is None and first.path.parent.name == "TrainingSet1"
    assert "A0002.mat is not there" in second.problem and "no row" in third.problem
    for text, words in (
        (HEADER + "A0001,10,,\n", "line 2: expected classes from 1 to 9; got 10"),
        ("Recording,x\n", "lacks the column First_label"),
    ):
        (tmp_path / "REFERENCE.csv").write_text(text)
        with pytest.raises(EinthovenError, match=words):
            list(cpsc2018.records(tmp_path))


@pytest.mark.data
def test_real_recordings_are_read_with_their_labels(data_root, tmp_path):
    root = data_root / "cpsc2018"
    with open(data_root / "records.csv", newline="") as file:
        listed = {row["path"].rpartition("/")[2].removesuffix(".mat"): row for row in csv.DictReader(file) if row["source"] == "cpsc2018"}
    for ref in cpsc2018.records(root):
        record, row = cpsc2018.read(ref), listed[ref.record]
        assert (record.fs, record.leads, record.signal.shape[1]) == (500.0, TWELVE, int(row["n_samples"]))
        assert record.meta["sex"] == row["sex"] and targets(ref.labels, ref.label_system, CLASSES["cpsc2018"]).sum() == 1
    summary = ingest("cpsc2018", root, tmp_path / "store", fs=100, resampling="spline", workers=1)
    assert (summary.n_records, summary.n_rejected) == (len(listed), 0)
