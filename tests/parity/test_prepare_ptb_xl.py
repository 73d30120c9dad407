"""PTB-XL as ecg-selfsupervised prepared it."""

from __future__ import annotations

import csv

import pytest
from parity_cases import ssl_cases
from prepared_folder import compare, compare_corpus, same_number

from einthoven.sources import SOURCES
from einthoven.sources.vocabulary import SCP, ptbxl_classes, targets

LISTS = {
    "label_all": "ptbxl_all",
    "label_diag": "ptbxl_diagnostic",
    "label_form": "ptbxl_form",
    "label_rhythm": "ptbxl_rhythm",
    "label_diag_subclass": "ptbxl_sub",
    "label_diag_superclass": "ptbxl_super",
}


def statements(path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(open(path, encoding="utf-8-sig")))
    return [
        {"code": row[""], "name": row[""], "superclass": row["diagnostic_class"], "subclass": row["diagnostic_subclass"]}
        | {group: str(int(float(row[group] or 0))) for group in ("diagnostic", "form", "rhythm")}
        for row in rows
    ]


@pytest.mark.parametrize("case", ssl_cases("prepare_ptb_xl"))
def test_every_record_is_read_as_it_was_prepared(case):
    source, config = SOURCES["ptbxl"], case.config
    resolution = "100" if config["target_fs"] <= 100 else "500"
    refs = {ref.record: ref for ref in source.records(case.folder / "raw", resolution=resolution)}
    rows = {str(row["ecg_id"]): row for row in config["rows"]}
    assert refs.keys() == rows.keys()
    lists = ptbxl_classes(statements(case.folder / "raw" / "scp_statements.csv"))
    for name, ref in refs.items():
        row = rows[name]
        compare(case, row, source.read(ref))
        assert ref.patient == str(row["patient_id"]) and ref.fold == str(row["strat_fold"])
        assert ref.meta["sex"] == ("male", "female")[row["sex"]] and same_number(ref.meta.get("age"), row["age"])
        assert ref.meta["likelihoods"] == row["scp_codes"]
        for column, key in LISTS.items():
            found = targets(ref.labels, ref.label_system, lists[key])
            kept = [one.abbreviation for one, value in zip(lists[key], found) if value == 1]
            # Ours names a class once; there it stood as often as statements mean it. Its index is its own, so that it is read by name.
            assert set(kept) == set(row[column]) and ref.label_system == SCP, column
            filtered = [config["lbl_itos"][column][at] for at in row[f"{column}_filtered_numeric"]]
            assert filtered == row[f"{column}_filtered"] and set(filtered) <= set(kept)
    compare_corpus(case)
