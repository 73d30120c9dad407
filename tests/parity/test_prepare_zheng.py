"""Chapman-Shaoxing as ecg-selfsupervised prepared it."""

from __future__ import annotations

import pytest
from parity_cases import ssl_cases
from prepared_folder import compare, compare_corpus, folds, same_number

from einthoven.sources import SOURCES


@pytest.mark.parametrize("case", ssl_cases("prepare_zheng"))
def test_every_record_is_read_as_it_was_prepared(case):
    source, config = SOURCES["zheng"], case.config
    raw = case.folder / "raw"
    refs = {ref.record: ref for ref in source.records(raw, signals="recorded" if (raw / "ECGData").is_dir() else "denoised")}
    rows = {row["id"]: row for row in config["rows"]}
    assert refs.keys() == rows.keys()
    names = config["lbl_itos"]
    for name, ref in refs.items():
        row, found = rows[name], list(ref.labels or {})
        compare(case, row, source.read(ref))
        assert set(found) == set(row["label_txt"]) == set(row["label_condition_txt"]) | set(row["label_rhythm_txt"])
        for key, column in (("all", "label"), ("condition", "label_condition"), ("rhythm", "label_rhythm")):
            assert [names[key][at] for at in row[column]] == row[f"{column}_txt"]
        assert ref.meta["sex"] == row["sex"] and same_number(ref.meta.get("age"), row["age"])
        assert ref.meta["measurements"]["VentricularRate"] == row["VentricularRate"]
    compare_corpus(case)


@pytest.mark.parametrize("case", ssl_cases("prepare_zheng"))
def test_folds_are_those_of_the_old_algorithm(case):
    rows = case.config["rows"]
    assert folds([row["label_txt"] for row in rows], case.config["strat_folds"]) == [row["strat_fold"] for row in rows]
