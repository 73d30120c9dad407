"""CODE-test as ecg-selfsupervised prepared it."""

from __future__ import annotations

import pytest
from parity_cases import ssl_cases
from prepared_folder import compare, compare_corpus, folds, same_number

from einthoven.sources import SOURCES

NAMES = {"1dAVb": "1AVB", "RBBB": "RBBB", "LBBB": "LBBB", "SB": "SBRAD", "AF": "AFIB", "ST": "STACH"}


@pytest.mark.parametrize("case", ssl_cases("prepare_ribeiro_test"))
def test_every_exam_is_read_as_it_was_prepared(case):
    pytest.importorskip("h5py", reason="the array is HDF5")
    source, config = SOURCES["ribeiro"], case.config
    refs = list(source.records(case.folder / "raw"))
    assert [int(ref.record) for ref in refs] == [row["index"] for row in config["rows"]]
    for ref, row in zip(refs, config["rows"]):
        compare(case, row, source.read(ref))
        assert [NAMES[code] for code, value in ref.labels.items() if value == 1] == row["label_txt"]
        assert [config["lbl_itos"][at] for at in row["label"]] == row["label_txt"]
        for name, codes in ref.meta["readers"].items():
            assert [NAMES[code] for code in codes] == row[f"label_{name}_txt"]
        assert ref.meta["sex"] == row["sex"] and same_number(ref.meta.get("age"), row["age"])
    compare_corpus(case)


@pytest.mark.parametrize("case", ssl_cases("prepare_ribeiro_test"))
def test_folds_by_labels_and_sex_are_those_of_the_old_algorithm(case):
    rows = case.config["rows"]
    labels = [[*row["label_txt"], row["sex"]] for row in rows]
    assert folds(labels, case.config["strat_folds"]) == [row["strat_fold"] for row in rows]
