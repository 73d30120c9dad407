from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.quality_columns import assign_quality
from einthoven.store.read import Store
from einthoven.store.where import select


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("where")
    ingest(Corpus(), folder, folder / "store", workers=1)
    return Store(folder / "store")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("age >= 50 and sex == female", lambda row: row["age"] >= 50 and row["sex"] == "female"),
        ("not (age < 50 or split != train)", lambda row: not (row["age"] < 50 or row["split"] != "train")),
        ("patient == p3", lambda row: row["patient"] == "p3"),
        ("patient != p3", lambda row: row["patient"] not in (None, "p3")),
        ("fold in ('1', '2')", lambda row: row["fold"] in ("1", "2")),
        ("device == x and n_samples > 5000", lambda row: row["n_samples"] > 5000),
        ("flat != ''", lambda row: row["flat"] != ""),
        ("fold == 3", lambda row: row["fold"] == "3"),
        ("fold in (1, 2) and age in (41, 55)", lambda row: row["fold"] in ("1", "2") and row["age"] in (41, 55)),
        ("fold not in (1, 2)", lambda row: row["fold"] not in ("1", "2")),
        ("record > rec0020 and record != rec0030", lambda row: row["record"] > "rec0020" and row["record"] != "rec0030"),
        ("time >= '2021-03-10 09:00'", lambda row: row["time"] >= datetime(2021, 3, 10, 9)),
        ("patient is None", lambda row: row["patient"] is None),
        ("labels is not none and patient is not none", lambda row: row["labels"] is not None and row["patient"] is not None),
        ("not sex == male", lambda row: row["sex"] != "male"),
        ("n_filled > 0", lambda row: row["n_filled"] > 0),
    ],
)
def test_a_condition_chooses_what_a_plain_loop_over_the_table_chooses(store, condition, holds):
    expected = [number for number, row in enumerate(store.table.to_pylist()) if holds(row)]
    assert 0 < len(expected) < len(store)
    assert select(store, condition).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("agee > 3", "did you mean age"),
        ("age >", "cannot be read"),
        ("age > female", "cannot be compared"),
        ("__import__('os').system('true')", "expected comparisons"),
        ("age > (3).__class__", "expected a number"),
        ("age in 3", "cannot be compared"),
        ("age == (1, 2)", "cannot be compared"),
        ("time > tomorrow", "cannot be compared"),
        ("age", "neither true nor false"),
        ("device", "neither true nor false"),
        ("labels == x", "several values"),
        ("age.years > 3", "no years in the column age"),
        ("quality.ok", "run `einthoven audit"),
        ("a.b.c > 3", "expected comparisons"),
    ],
)
def test_what_is_no_condition_is_refused_and_never_run(store, condition, message):
    with pytest.raises(StoreError, match=message):
        select(store, condition)


# ----------------------------------------------------------------------------------------------------------------- quality


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    ingest(Corpus(), folder, folder / "store", workers=1)
    n = len(Store(folder / "store"))
    noise = np.arange(n, dtype=np.float32)
    noise[5] = np.nan
    values = {
        "ok": [None if row == 7 else row % 3 > 0 for row in range(n)],
        "flags": ["noise limb" if row % 3 == 0 else "" for row in range(n)],
        "noise_uv": noise,
        **{name: np.full(n, np.nan, dtype=np.float32) for name in ("baseline_uv", "mains_uv", "snr_db", "heart_rate")},
        "is_copy": np.arange(n) % 10 == 9,
        "copy_of": [f"rec{row:04d}" if row % 10 == 9 else None for row in range(n)],
    }
    assign_quality(folder / "store", values)
    return Store(folder / "store")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("quality.ok", lambda row: row["quality"]["ok"] is True),
        ("not quality.ok", lambda row: row["quality"]["ok"] is not True),
        ("quality.ok == true", lambda row: row["quality"]["ok"] is True),
        ("quality.ok == False", lambda row: row["quality"]["ok"] is False),
        ("quality.ok and age >= 50", lambda row: row["quality"]["ok"] is True and row["age"] >= 50),
        ("quality.noise_uv < 20", lambda row: row["quality"]["noise_uv"] is not None and row["quality"]["noise_uv"] < 20),
        ("not quality.noise_uv < 20", lambda row: not (row["quality"]["noise_uv"] is not None and row["quality"]["noise_uv"] < 20)),
        ("quality.copy_of is not None", lambda row: row["quality"]["copy_of"] is not None),
        ("'limb' in quality.flags", lambda row: "limb" in row["quality"]["flags"].split()),
        ("'lim' not in quality.flags and 'noise' in quality.flags", lambda row: "noise" in row["quality"]["flags"].split()),
        ("quality.flags == 'noise limb' or quality.is_copy", lambda row: row["quality"]["flags"] != "" or row["quality"]["is_copy"]),
    ],
)
def test_what_an_audit_wrote_is_named_with_a_dot(audited, condition, holds):
    expected = [number for number, row in enumerate(audited.table.to_pylist()) if holds(row)]
    assert 0 < len(expected) < len(audited)
    assert select(audited, condition).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("quality.okay", "quality has no okay; it has quality.ok"),
        ("quality", "no value of its own"),
        ("quality.ok > 1", "cannot be compared"),
    ],
)
def test_a_field_that_an_audit_does_not_write_is_told(audited, condition, message):
    with pytest.raises(StoreError, match=message):
        select(audited, condition)


def test_recordings_that_were_appended_after_an_audit_are_not_left_out_without_a_word(audited, tmp_path):
    folder = Path(shutil.copytree(audited.path, tmp_path / "store"))
    ingest(Corpus(), tmp_path, folder, workers=1, append=True, name="another")
    n = len(Store(folder)) - len(audited)
    with pytest.raises(StoreError, match=f"{n} recordings were appended to .* after its audit; run `einthoven audit"):
        select(Store(folder), "quality.ok")
    assert len(select(Store(folder), "age is not None")) > 0
