"""The four data sets that ecg-selfsupervised prepared: ours, written from a store of the same raw files, and theirs, read into a store.

A store keeps whole microvolts: half of one is allowed beyond the fixture's tolerance. The corpora are stored at 100 Hz by its own way of
resampling. Rows are found by the recording's name, labels by their names, as the golden values ask for.
"""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from parity_cases import ssl_cases
from prepared_folder import stored

from einthoven.export.ecg_selfsupervised import LISTS, export
from einthoven.ingest.run import ingest
from einthoven.leads import select
from einthoven.sources import ecg_selfsupervised
from einthoven.sources.ecg_selfsupervised import prepared_signals
from einthoven.sources.ecg_selfsupervised_names import DATASETS, ORDER
from einthoven.sources.vocabulary import CLASSES
from einthoven.store.read import Store

HALF_A_MICROVOLT = 0.0005
SOURCES = {"prepare_cinc": "cinc2020", "prepare_ptb_xl": "ptbxl", "prepare_ribeiro_test": "ribeiro", "prepare_zheng": "zheng"}
CASES = [*ssl_cases("prepare_cinc"), *ssl_cases("prepare_ptb_xl"), *ssl_cases("prepare_ribeiro_test"), *ssl_cases("prepare_zheng")]


def name_of(row: dict) -> str:
    """Our name of a recording, from theirs."""
    name = str(row["data_original"]).removesuffix(".npy")
    return str(int(name.split("_")[0])) if name.endswith(("_lr", "_hr")) else name.removeprefix("Ribeiro_test_")


def label_names(config: dict, row: dict) -> set[str]:
    if "label_all" in row:
        return set(row["label_all"])
    names = config["lbl_itos"]["all"] if isinstance(config["lbl_itos"], dict) else config["lbl_itos"]
    return {names[at] for at in row["label"]}


@pytest.mark.parametrize("case", CASES)
def test_a_store_of_the_raw_files_is_exported_as_they_were_prepared(case, tmp_path):
    config, source = case.config, SOURCES[case.config["kind"]]
    options = {"resolution": "100"} if source == "ptbxl" else {}
    ingest(source, case.folder / "raw", tmp_path / "store", fs=config["target_fs"], resampling="image", source_options=options)
    out = tmp_path / f"{source}_fs{config['target_fs']}"
    export(tmp_path / "store", out, fs=config["target_fs"])

    prepared = prepared_signals(out)
    with open(out / "df_memmap.csv", encoding="utf-8", newline="") as file:
        rows = {name_of(row): row for row in csv.DictReader(file)}
    assert set(config["columns"]) & {"data", "label", "sex", "age", "dataset", "strat_fold", "data_mean"} <= set(next(iter(rows.values())))
    expected = {name_of(row): row for row in config["rows"]}
    # What it passed over: folders that it did not know, and recordings with a missing sample, which a store fills.
    assert expected.keys() <= rows.keys()
    golden = stored(case)
    close = {"rtol": config["rtol"], "atol": config["atol"] + HALF_A_MICROVOLT}
    codes = np.load(out / "lbl_itos.npy", allow_pickle=False).tolist()
    for name, want in expected.items():
        row = rows[name]
        ours, theirs = prepared.rows(int(row["data"])), golden[want["data"]]
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, **close)
        for key in ("data_mean", "data_std"):
            np.testing.assert_allclose(json.loads(row[key]), want[key], **close)
        assert int(row["data_length"]) == want["data_length"]
        assert {codes[at] for at in json.loads(row["label"])} == set(json.loads(row["label_txt"])) == label_names(config, want)
        assert row["dataset"] == want["dataset"]
        assert row["sex"] == (("male", "female")[want["sex"]] if isinstance(want["sex"], int) else want["sex"])
        assert float(row["age"] or "nan") == want["age"] or want["age"] != want["age"]
        if source == "ptbxl":
            assert int(row["strat_fold"]) == want["strat_fold"] and row["patient_id"] == str(want["patient_id"])
            lists = json.loads((out / "lbl_itos.json").read_text())
            for column, key in LISTS.items():
                # The fixture's table of statements is made up: it calls an infarction a form, too.
                known = {one.abbreviation for one in CLASSES[key]}
                assert set(json.loads(row[column])) == set(want[column]) & known
                assert {lists[column][at] for at in json.loads(row[f"{column}_filtered_numeric"])} == set(
                    want[f"{column}_filtered"]
                ) & known
                assert set(lists[column]) == set(config["lbl_itos"][column]) & known and len(lists[column]) >= 3
    if rows.keys() == expected.keys():
        for key in ("mean", "std"):
            mine = np.load(out / f"{key}.npy", allow_pickle=False)
            np.testing.assert_allclose(mine, config[key], **close)
            assert mine.dtype == np.float32


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_it_prepared_is_read_into_a_store(case, tmp_path):
    config = case.config
    source = SOURCES[config["kind"]]
    ingest(ecg_selfsupervised, case.folder / "processed", tmp_path / "theirs", fs=config["target_fs"])
    ingest(source, case.folder / "raw", tmp_path / "ours", fs=config["target_fs"], resampling="image")
    theirs, ours = Store(tmp_path / "theirs"), Store(tmp_path / "ours")
    assert len(theirs) == len(config["rows"])
    ours_of = {name: row for row, name in enumerate(ours.column("record").tolist())}
    for row, want in enumerate(config["rows"]):
        record = theirs.record([int(json.loads(meta)["prepared"]["row"]) for meta in theirs.column("meta")].index(want["data"]))
        twin = ours.record(ours_of[name_of(want)])
        signal = select(record.signal, record.leads, ORDER[:12], derive=False)
        np.testing.assert_allclose(np.nan_to_num(signal).T, stored(case)[want["data"]], rtol=0, atol=HALF_A_MICROVOLT * 1.01)
        assert record.label_system == twin.label_system and dict(record.labels or {}) == dict(twin.labels or {}), name_of(want)
        assert record.meta.get("sex") == twin.meta.get("sex") and record.meta.get("age") == twin.meta.get("age")
        assert record.meta.get("dataset", source) in (twin.meta.get("dataset"), DATASETS[source]("")), row
        if source == "ptbxl":
            assert record.patient == twin.patient
            assert set(theirs.column("fold")) == set(ours.column("fold"))
