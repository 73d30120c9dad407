"""Ingest of the real recordings, with wfdb as the witness for what is stored."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from einthoven.ingest.run import ingest
from einthoven.leads import canonical
from einthoven.sources import SOURCES
from einthoven.store.read import Store
from einthoven.store.views import Pairs

pytestmark = pytest.mark.data


def rejected(path: Path) -> dict[str, str]:
    with open(path / "rejected.csv", newline="", encoding="utf-8") as file:
        return {line["file"]: line["reason"] for line in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("source", "folder"),
    [("ptbxl", "ptb-xl"), ("physionet2021", "cinc2021"), pytest.param("folder", "code15-wfdb", marks=pytest.mark.slow)],
)
def test_real_recordings_are_stored_as_wfdb_reads_them_and_none_is_lost(source, folder, data_root, tmp_path):
    wfdb = pytest.importorskip("wfdb")
    root = data_root / folder
    summary = ingest(source, root, tmp_path / "store", workers=1)
    refs = list(SOURCES[source].records(root))
    store = Store(tmp_path / "store")
    assert summary.n_refs == len(refs) == len(store) + summary.n_rejected
    assert sorted(
        [*store.column("record"), *(ref.record for ref in refs if str(ref.path.relative_to(root)) in rejected(store.path))]
    ) == sorted(ref.record for ref in refs)
    compared = 0
    for row in np.flatnonzero(store.column("source_fs") == store.fs)[::25]:
        truth = wfdb.rdrecord(str((root / store.column("path")[row]).with_suffix("")))
        record, half = store.record(row), store.column("microvolt_per_count")[row] / 2000
        for name, signal in zip(truth.sig_name, truth.p_signal.T):
            if canonical(name) in record.leads and store.column("n_filled")[row] == 0:
                np.testing.assert_allclose(record.signal[record.leads.index(canonical(name))], signal, atol=half, rtol=1e-6)
                compared += 1
    assert compared > 0 or folder == "code15-wfdb"  # 400 Hz


def test_the_two_deliberately_broken_code15_copies_are_rejected_with_their_reasons(data_root, tmp_path):
    ingest("folder", data_root / "code15-wfdb", tmp_path / "store", workers=1)
    reasons = rejected(tmp_path / "store")
    assert "flat" in reasons["9190_all_data_is_zero.hea"]
    assert "9190" in reasons["9190_low_sample_rate.hea"]


def test_ptbxl_is_split_by_its_published_folds(data_root, tmp_path):
    ingest("ptbxl", data_root / "ptb-xl", tmp_path / "store", workers=1)
    store = Store(tmp_path / "store")
    expected = {"9": "valid", "10": "test"}
    assert all(part == expected.get(fold, "train") for part, fold in zip(store.column("split"), store.column("fold")))
    assert store.split_rule["strategy"] == "fold"
    batch = Pairs(store, "train", 5.0).__getitems__(np.arange(20))
    assert batch["counts"].shape == (40, 12, 2500) and batch["lead_present"].all()
    patients = store.column("patient")
    assert all(patients[a] == patients[b] for a, b in zip(batch["record"][::2], batch["record"][1::2]))
