"""Labels of the PTB-XL benchmark: which classes a task has, which records take part, and what they are labelled."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import ssl_cases

from einthoven.sources.vocabulary import SCP, benchmark_part, ptbxl_classes, targets

TASKS = {
    "all": "ptbxl_all",
    "diagnostic": "ptbxl_diagnostic",
    "subdiagnostic": "ptbxl_sub",
    "superdiagnostic": "ptbxl_super",
    "form": "ptbxl_form",
    "rhythm": "ptbxl_rhythm",
}
COLUMNS = {"diagnostic_class": "superclass", "diagnostic_subclass": "subclass"}


def statements(config: dict) -> list[dict[str, str]]:
    rows = []
    for code, values in config["statements"].items():
        row = {"code": code, "name": code}
        for column, value in zip(config["statement_columns"], values):
            row[COLUMNS.get(column, column)] = (value or "") if column in COLUMNS else str(int(value == 1))
        rows.append(row)
    return rows


@pytest.mark.parametrize("case", ssl_cases("benchmark_labels"))
def test_classes_records_and_labels_are_the_benchmarks(case):
    config = case.config
    lists = ptbxl_classes(statements(config))
    # Likelihoods are ignored: a statement of likelihood 0 is present, as the source ptbxl has it.
    labels = [dict.fromkeys(codes, 1.0) for codes in config["scp_codes"]]
    for task, expected in config["tasks"].items():
        classes = lists[TASKS[task]]
        y = np.stack([targets(one or None, SCP, classes) for one in labels])
        rows, kept = benchmark_part(y, min_samples=0 if task == "diagnostic" else config["min_samples"])
        assert [one.abbreviation for one, yes in zip(classes, kept) if yes] == expected["classes"], task
        assert np.flatnonzero(rows).tolist() == expected["kept_rows"], task
        np.testing.assert_array_equal(y[rows][:, kept], expected["y"])
