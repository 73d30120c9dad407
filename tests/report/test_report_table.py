"""What the terminal shows: an answer, and a store made from real recordings."""

from __future__ import annotations

import csv

import pytest

from einthoven.report.inside import store_lines
from einthoven.report.table import prediction_table, store_table


def shown(table, width=80):
    from io import StringIO

    from rich.console import Console

    console = Console(width=width, file=StringIO())
    console.print(table)
    return console.file.getvalue()


def test_an_answer_shows_every_positive_finding_and_the_most_probable_others():
    findings = [{"name": f"[b]f{i}", "code": str(i), "probability": i / 40, "threshold": 0.5, "positive": i > 20} for i in range(40)]
    text = shown(prediction_table({"file": "a.hea\x1b[31m", "findings": findings, "steps": ["resampled 400 → 500 Hz"]}))
    for i in range(21, 40):
        assert f"[b]f{i} " in text
    assert "[b]f20 " not in text and "and 21 less probable" in text and "resampled 400 → 500 Hz" in text and "\x1b" not in text


def test_an_answer_without_findings_or_with_a_reason_is_said():
    assert "no answer: truncated [file]" in shown(prediction_table({"file": "a", "reason": "truncated [file]"}))
    assert "finding" in shown(prediction_table({"file": "a", "findings": []}))


@pytest.mark.data
def test_a_store_of_real_recordings_is_counted_as_its_headers_count(data_root, tmp_path):
    from einthoven.ingest.run import ingest
    from einthoven.store.read import Store

    folder = data_root / "cinc2021" / "cpsc_2018"
    ingest("physionet2021", folder, tmp_path / "store", workers=1)
    store = Store(tmp_path / "store")
    lines = store_lines(store, 5)
    heads = [path.read_text() for path in folder.rglob("*.hea")]
    codes = [code.strip() for head in heads for line in head.splitlines() if "Dx" in line for code in line.split(":")[1].split(",")]
    assert dict(lines)["recordings"] == str(len(heads))
    assert dict(lines)["labels"].startswith(f"{len(set(codes))} codes of SNOMED CT")
    most = max(set(codes), key=codes.count)
    assert any(value.split()[0] == str(codes.count(most)) for name, value in lines if name == "")
    rejected = list(csv.reader((tmp_path / "store" / "rejected.csv").open()))
    assert len(rejected) == 1, "the header alone"
    assert "recordings" in shown(store_table(store))
