"""What `einthoven store` says is what a plain loop over the store's table counts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.report.corpora import corpora
from einthoven.report.inside import counted, store_lines
from einthoven.report.page import text
from einthoven.report.samples import samples_html
from einthoven.report.table import store_table
from einthoven.sources.facts import Facts, RecordRef
from einthoven.store.quality_columns import assign_quality
from einthoven.store.read import Store

KNOWN = {1: {"a": 1.0, "b": 0.0}, 2: {"a": 1.0, "b": 1.0}, 3: {"c": 1.0}, 4: None}


class Mixed:
    """40 recordings of 250 and 500 Hz, of several lengths, leads and data sets; every tenth has no samples."""

    FACTS = Facts("Mixed corpus", version="2", licence="CC0", label_system="mine")

    def records(self, root: Path):
        for i in range(40):
            labels = KNOWN[i % 4 + 1]
            meta = {
                "dataset": ("set\\0", "set 1", "set 2")[i % 3],  # a backslash is written as two
                "time": f"{1990 + i}-01-01T00:00:00",
            }
            meta |= {"age": float(20 + i)} if i % 5 else {}
            meta |= {"sex": "female" if i % 2 else "male"} if i % 8 else {}
            patient = None if i % 6 == 0 else f"p{i // 2}"
            yield RecordRef(Path(root) / f"{i}.dat", f"r{i}", patient, labels, labels and "mine", None, meta)

    def read(self, ref: RecordRef) -> Record:
        i = int(ref.record[1:])
        fs, leads = (250.0, TWELVE[:3]) if i % 4 == 0 else (500.0, TWELVE)
        signal = (
            np.random.default_rng(i).normal(0, 0.3, size=(len(leads), 0 if i % 10 == 9 else round(fs * (5 + i % 2)))).astype(np.float32)
        )
        return Record(signal, fs, leads, ref.record)


class Other(Mixed):
    FACTS = replace(Mixed.FACTS, name="Other corpus")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside")
    ingest(Mixed(), folder, folder / "one", workers=1, name="mixed")
    return Store(folder / "one")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside2")
    ingest(Mixed(), folder, folder / "two", workers=1, name="mixed")
    ingest(Other(), folder, folder / "two", workers=1, name="other", append=True)
    return Store(folder / "two")


def said(store, n_labels=15):
    """what -> its lines"""
    out: dict[str, list[str]] = {}
    for what, value in store_lines(store, n_labels):
        if what:
            out[what] = []
        out[list(out)[-1]].append(value)
    return out


def shown(table, width):
    from io import StringIO

    from rich.console import Console

    console = Console(width=width, file=StringIO())
    console.print(table)
    return console.file.getvalue()


def test_rates_persons_and_parts_are_those_of_a_plain_loop(one):
    rows, lines = one.table.to_pylist(), said(one)
    assert lines["recordings"] == [str(len(rows))] == ["36"]
    rates = Counter(row["source_fs"] for row in rows)
    assert lines["recorded at"][0] == ", ".join(f"{rate:g} Hz {n}" for rate, n in sorted(rates.items()))
    assert lines["recorded at"][1].startswith(f"{rates[250.0]} below the store's 500 Hz")
    patients = {row["patient"] for row in rows} - {None}
    unknown = sum(row["patient"] is None for row in rows)
    assert lines["patients"] == [f"{len(patients)}; of {unknown} recordings the patient is not known"]
    lengths = Counter(row["n_samples"] / 500 for row in rows)
    assert lines["length"] == [", ".join(f"{seconds:g} s {n}" for seconds, n in sorted(lengths.items()))]
    ages = [row["age"] for row in rows if row["age"] is not None]
    assert lines["age"][0].startswith(f"median {np.median(ages):.0f} years") and lines["age"][0].endswith(f"known of {len(ages)}")
    sexes = Counter(row["sex"] or "not known" for row in rows)
    assert lines["sex"][0] == ", ".join(f"{sex} {n} ({100 * n / len(rows):.0f} %)" for sex, n in sorted(sexes.items()))
    years = [row["time"].year for row in rows]
    assert lines["years"] == [f"{min(years)} to {max(years)}"]
    parts = Counter(row["split"] for row in rows)
    assert [int(part.split()[1]) for part in lines["split"][0].split(", ")] == [
        parts[name] for name in ("train", "valid", "test") if parts[name]
    ]
    assert lines["split"][1] == "whole patients at random, seed 1"
    sets = Counter(row["leads"] for row in rows)
    assert lines["leads"] == [f"{leads}  ({n})" for leads, n in sets.most_common()]
    missing = sum(row["n_samples"] * (12 - len(row["leads"].split())) for row in rows) / sum(row["n_samples"] * 12 for row in rows)
    lacking = sum(len(row["leads"].split()) < 12 for row in rows)
    assert lines.get("missing signal", []) == (
        [f"{100 * missing:.2g} % of the twelve leads; {lacking} recordings lack a lead"] if lacking else []
    )
    derived = sum(bool(row["derived"]) for row in rows)
    assert derived and lines["derived leads"] == [f"in {derived} recordings, from I and II"]


def test_labels_are_counted_with_their_lack_of_recordings_in_parts(one):
    rows, lines = one.table.to_pylist(), said(one, 2)["labels"]
    counts = Counter(code for row in rows for code, value in row["labels"] or () if value == 1.0)
    unlabelled = sum(row["labels"] is None for row in rows)
    assert lines[0] == f"{len(counts)} codes of mine; {unlabelled} recordings unlabelled"
    there = {
        part: {code for row in rows if row["split"] == part for code, value in row["labels"] or () if value == 1.0}
        for part in ("train", "valid", "test")
    }
    lacking = {part: len(set(counts) - codes) for part, codes in there.items() if codes and set(counts) - codes}
    assert not lacking or any(all(f"{part} {n}" in line for part, n in lacking.items()) for line in lines)
    assert [line.split() for line in lines if line.startswith("  ")] == [
        *([f"{n}", code] for code, n in counts.most_common(2)), ["…", f"{len(counts) - 2}", "codes", "more"]
    ]  # fmt: skip


def test_what_was_rejected_is_told_with_the_reasons(one):
    assert one.facts["counts"]["rejected"] == 4
    first, reason = said(one)["rejected"]
    assert first == "4 of 40, each with its reason in rejected.csv" and reason.split(maxsplit=1) == ["4", "has no samples"]


def test_corpora_and_their_data_sets_stand_below_each_other_and_sum_up(two):
    rows = corpora(two)
    table = two.table.to_pylist()
    assert [(row.name, row.is_part) for row in rows if not row.is_part] == [("mixed", False), ("other", False)]
    for row in rows:
        own = [one for one in table if row.name in (one["source"], json.loads(one["meta"])["dataset"])]
        if row.is_part:
            whole = "mixed" if rows.index(row) < 4 else "other"
            own = [one for one in own if one["source"] == whole]
        assert row.n_records == len(own) and row.rates == Counter(one["source_fs"] for one in own)
        assert row.n_patients == len({one["patient"] for one in own} - {None})
        assert row.splits == tuple(sum(one["split"] == part for one in own) for part in ("train", "valid", "test"))
        assert row.n_labelled == sum(one["labels"] is not None for one in own)
    assert sum(row.n_records for row in rows if row.is_part) == len(table) == sum(row.n_records for row in rows if not row.is_part)
    assert said(two)["corpora"] == ["mixed (36): Mixed corpus 2, licence CC0", "other (36): Other corpus 2, licence CC0"]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_store_of_several_corpora_fits_the_terminal(two, width):
    text = shown(store_table(two), width)
    assert max(map(len, text.splitlines())) <= width and "…  " not in text.split("corpus ")[-1]
    line = next(line for line in text.splitlines() if line.startswith("mixed  "))
    assert line.split()[:2] == ["mixed", "36"] and "250, 500" in line


def test_an_audit_is_told_and_its_absence_too(one, tmp_path):
    import shutil

    assert said(one)["quality"] == ["not audited yet; `einthoven audit` looks at every recording"]
    path = Path(shutil.copytree(one.path, tmp_path / "audited"))
    n = len(one)
    values = {name: np.full(n, np.nan, dtype=np.float32) for name in ("noise_uv", "baseline_uv", "mains_uv", "snr_db", "heart_rate")}
    flags = ["noise limb"] * 3 + ["copy"] * 2 + [""] * (n - 5)
    values |= {"ok": [flag != "noise limb" for flag in flags], "flags": flags}
    values |= {"is_copy": [flag == "copy" for flag in flags], "copy_of": [None] * n}
    assign_quality(path, values)
    lines = said(Store(path))["quality"]
    assert lines[0] == f"{n - 3} usable (quality.ok), 2 copies of others (quality.is_copy)"
    assert {tuple(line.split(maxsplit=2)[:2]) for line in lines[1:]} == {("3", "noise:"), ("3", "limb:")}


def test_the_page_says_what_the_terminal_says(two):
    html = samples_html(two, n_records=1)
    for what, lines in said(two, 0).items():
        assert f"<td>{what}</td><td>{'<br/>'.join(map(text, lines))}</td>" in html
    assert "<strong>mixed</strong>" in html and "250 Hz" in html


def test_many_values_are_counted_and_not_listed():
    assert counted({500.0: 3}, "{:g} Hz") == "500 Hz"
    assert counted({1000.0: 516, 257.0: 74, 500.0: 10_344}, "{:g} Hz") == "257 Hz 74, 500 Hz 10,344, 1000 Hz 516"
    assert counted({float(rate): 1 + (rate < 7) for rate in range(1, 10)}) == "1.0 2, 2.0 2, 3.0 2, 4.0 2, 5.0 2, 6.0 2, 3 others 3"
