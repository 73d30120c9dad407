"""The Challenge 2020 as ecg-selfsupervised prepared it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from parity_cases import ssl_cases
from prepared_folder import compare, compare_corpus, folds, same_number

from einthoven.sources import SOURCES, cinc2020

KNOWN = ("ICBEB2018", "ICBEB2018_2", "INCART", "PTB", "PTB-XL", "Georgia")


def abbreviations(folder) -> dict[str, str]:
    return {
        row["SNOMED CT Code"]: row["Abbreviation"]
        for name in ("scored", "unscored")
        for row in csv.DictReader(open(folder / f"dx_mapping_{name}.csv", encoding="utf-8-sig"))
    }


@pytest.mark.parametrize("case", ssl_cases("prepare_cinc"))
def test_every_record_of_a_known_set_is_read_as_it_was_prepared(case):
    source, config, raw = SOURCES["cinc2020"], case.config, case.folder / "raw"
    there = {path.name for path in raw.iterdir()}
    refs = {ref.record: ref for ref in source.records(raw, subset=[name for name in KNOWN if name in there])}
    names, short = config["lbl_itos"], abbreviations(raw)
    # The order of the rows came from the folder's enumeration: records are found by name.
    rows = {row["data_original"].removesuffix(".npy"): row for row in config["rows"]}
    assert rows.keys() <= refs.keys()
    for name, ref in refs.items():
        if name not in rows:  # it passed over recordings with a missing sample; a store fills the gap or leaves the lead out
            assert np.isnan(source.read(ref).signal).any(), name
            continue
        row = rows[name]
        compare(case, row, source.read(ref))
        assert {short[code] for code, value in ref.labels.items() if value == 1} == {names[at] for at in row["label"]}
        assert ref.meta.get("sex") == row["sex"] and same_number(ref.meta.get("age"), row["age"])
        assert ref.meta["dataset"] == cinc2020.FOLDERS[row["dataset"].removeprefix("cinc_").lower()]
    compare_corpus(case)


@pytest.mark.parametrize("case", ssl_cases("prepare_cinc"))
def test_folds_of_each_set_are_those_of_the_old_algorithm(case):
    config = case.config
    rows, names = config["rows"], config["lbl_itos"]
    for dataset in {row["dataset"] for row in rows}:
        mine = [row for row in rows if row["dataset"] == dataset]
        labels = [[names[at] for at in row["label"]] for row in mine]
        assert folds(labels, config["strat_folds"]) == [row["strat_fold"] for row in mine], dataset
