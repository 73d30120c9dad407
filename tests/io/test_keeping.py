"""Which format keeps what of a recording besides its signal: the table says so, and reading back what was written agrees."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.io.keeping import FIELDS, KEPT, lost
from einthoven.leads import TWELVE
from einthoven.record import Record

ENDINGS = {name: suffix for suffix, name in reversed(io.SUFFIXES.items())}
REPORT = "Sinus rhythm\nBorderline ECG\nAbnormal T\nÄ left axis\nAbnormal ECG"
"""Statements in an order that is not the alphabet's."""

FULL = Record(
    np.cumsum(np.random.default_rng(2).normal(size=(12, 1000)), axis=1).astype(np.float32) * 0.02,
    500,
    TWELVE,
    record="r",
    patient="P17",
    labels={"426783006": 1.0, "164889003": 1.0},
    label_system="SNOMED CT",
    meta={
        "age": 54.0,
        "sex": "female",
        "time": datetime(2020, 3, 4, 5, 6, 7, 250000),
        "report": REPORT,
        "device": "ACME 3",
        "measurements": {"MDC_ECG_HEART_RATE": 61.0, "MDC_ECG_TIME_PD_QT": 400.0},
    },
)


def said(record: Record, field: str):
    return {**record.meta, "patient": record.patient, "labels": record.labels}.get(field)


def there_and_back(record: Record, writer: str, folder) -> Record:
    path = folder / f"r{ENDINGS[writer]}"
    io.write(record, path)
    return io.read(path)


def test_every_writer_is_in_the_table():
    assert KEPT.keys() == io.WRITERS.keys() and all(kept <= set(FIELDS) for kept in KEPT.values())
    assert all(said(FULL, field) is not None for field in FIELDS)


@pytest.mark.parametrize("writer", io.WRITERS)
def test_what_is_kept_is_read_back_equal_and_what_is_lost_is_not_there(tmp_path, writer):
    back = there_and_back(FULL, writer, tmp_path)
    gone = lost(FULL, writer)
    assert set(gone) == set(FIELDS) - KEPT[writer]
    for field in FIELDS:
        assert said(back, field) == (None if field in gone else said(FULL, field)), field


@pytest.mark.parametrize("writer", io.WRITERS)
def test_of_a_recording_of_which_nothing_is_known_nothing_is_lost(tmp_path, writer):
    bare = Record(FULL.signal, 500, TWELVE, record="r")
    assert lost(bare, writer) == ()
    back = there_and_back(bare, writer, tmp_path)
    assert all(said(back, field) is None for field in FIELDS)


def changed(**meta) -> Record:
    return replace(FULL, meta={**FULL.meta, **meta})


PARTS = [
    ("WFDB", replace(FULL, labels={"426783006": 1.0, "164889003": 0.0}), "labels"),
    ("WFDB", replace(FULL, labels={"426783006": float("nan")}), "labels"),
    ("WFDB", replace(FULL, labels={"NORM": 1.0}, label_system="SCP-ECG"), "labels"),
    ("HL7 aECG XML", changed(measurements={"MDC_ECG_HEART_RATE": 61.0, "PR Interval": 140.0}), "measurements"),
    ("EDF", changed(time=datetime(1984, 12, 31)), "time"),
    ("DICOM", changed(time=datetime(1949, 12, 31, 5)), "time"),
    ("HL7 aECG XML", changed(time=datetime(1949, 12, 31, 5)), "time"),
]


@pytest.mark.parametrize(("writer", "record", "field"), PARTS)
def test_what_is_kept_in_part_counts_as_lost(tmp_path, writer, record, field):
    assert field in lost(record, writer)
    assert said(there_and_back(record, writer, tmp_path), field) != said(record, field)


@pytest.mark.parametrize("writer", ["WFDB", "table"])
def test_any_time_is_kept_where_it_is_told_as_text(tmp_path, writer):
    record = changed(time=datetime(1931, 1, 2, 3, 4, 5))
    assert "time" not in lost(record, writer)
    assert there_and_back(record, writer, tmp_path).meta["time"] == datetime(1931, 1, 2, 3, 4, 5)


def test_a_statement_longer_than_dicom_takes_at_once_is_not_cut(tmp_path):
    long = " ".join(f"finding {n}" for n in range(300))
    report = there_and_back(changed(report=f"First\n{long}"), "DICOM", tmp_path).meta["report"]
    assert report.split() == f"First {long}".split()
