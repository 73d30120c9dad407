"""The Challenge 2021 with the rates of all its sets, and PTB-XL with reports in two languages, in the publishers' layouts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from einthoven.errors import EinthovenError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import physionet2021, ptbxl
from einthoven.sources.checking import check_store
from einthoven.sources.vocabulary import CLASSES, SNOMED, targets


def write(path: Path, fs: int, seconds: float, comments: list[str] = []) -> None:  # noqa: B006  only read
    """A record in the challenge's form at ``path`` (without extension)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(list(path.name.encode())).integers(-500, 500, (12, round(fs * seconds)))
    Path(f"{path}.mat").write_bytes(bytes(24) + counts.T.astype("<i2").tobytes())
    lines = [f"{path.name} 12 {fs} {counts.shape[1]}"]
    lines += [f"{path.name}.mat 16+24 1000/mv 16 0 {row[0]} {int(row.sum()) % 65536} 0 {lead}" for lead, row in zip(TWELVE, counts)]
    Path(f"{path}.hea").write_text("\n".join([*lines, *comments]) + "\n")


def test_all_eight_sets_go_into_one_store_at_its_rate(tmp_path):
    root = tmp_path / "challenge-2021" / "1.0.3"
    for number, (name, facts) in enumerate(physionet2021.DATASETS.items()):
        minutes_long = name == "st_petersburg_incart"
        write(root / "training" / name / "g1" / f"R{number}", int(facts.fs), 120 if minutes_long else 10, ["# Dx: 713427006,17338001"])
    summary = ingest("physionet2021", root, tmp_path / "store", workers=1)
    assert (summary.n_records, summary.n_rejected) == (8, 0)
    rows = pq.read_table(tmp_path / "store" / "records.parquet").to_pylist()
    facts = physionet2021.DATASETS
    assert [(json.loads(row["meta"])["dataset"], row["source_fs"]) for row in rows] == [(name, facts[name].fs) for name in sorted(facts)]
    assert {row["n_samples"] for row in rows} == {5000, 60_000} and {row["fs"] for row in rows} == {500.0}
    for row in rows:
        said = targets(dict(row["labels"]), SNOMED, CLASSES["cinc2021"])
        assert [one.abbreviation for one, value in zip(CLASSES["cinc2021"], said) if value] == ["CRBBB|RBBB", "PVC|VPB"]
    assert check_store(tmp_path / "store", physionet2021) == [
        f"{name}: {part.records:,} recordings published, 1 here" for name, part in facts.items()
    ]


@pytest.mark.data
def test_classes_are_merged_as_the_challenges_weights_merge_them(data_root):
    """The rows of weights.csv are the scored classes; ``|`` joins the codes that count as one."""
    with open(data_root / "cinc2021" / "weights.csv", newline="") as file:
        scored = [frozenset(row[0].split("|")) for row in list(csv.reader(file))[1:]]
    assert [frozenset(one.codes[SNOMED]) for one in CLASSES["cinc2021"]] == scored


@pytest.mark.data
def test_the_real_sets_are_counted_against_the_published_ones(data_root, tmp_path):
    ingest("physionet2021", data_root / "cinc2021", tmp_path / "store", fs=100, workers=1)
    said = check_store(tmp_path / "store", physionet2021)
    on_disk = {folder.name: len(list(folder.glob("*.hea"))) for folder in (data_root / "cinc2021").iterdir() if folder.is_dir()}
    for name, n in on_disk.items():
        part = physionet2021.DATASETS.get(name)
        expected = f"{name}: {part.records:,} recordings published, {n:,} here" if part else f"{name}: {n} recordings here, of a set that"
        assert sum(one.startswith(expected) for one in said) == 1
    assert not any("Hz" in one for one in said)


# ------------------------------------------------------------------------------------------------------------------ PTB-XL

COLUMNS = "ecg_id,patient_id,age,sex,report,scp_codes,strat_fold,filename_lr,filename_hr"
ROWS = [
    "1,15709.0,56.0,1,sinusrhythmus periphere niederspannung,{'NORM': 100.0},3,records100/00000/00001_lr,records500/00000/00001_hr",
    "2,13243.0,19.0,0,trace only requested.,{'NORM': 80.0},2,records100/00000/00002_lr,records500/00000/00002_hr",
]
ENGLISH = "ecg_id,report\n1,sinus rhythm peripheral low voltage\n2.0,\n"


@pytest.fixture
def corpus(tmp_path) -> Path:
    root = tmp_path / "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.1"
    for number in (1, 2):
        write(root / "records500" / "00000" / f"{number:05d}_hr", 500, 10)
    (root / "ptbxl_database.csv").write_text("\n".join([COLUMNS, *ROWS]) + "\n")
    return root


def test_reports_are_given_in_both_languages_where_a_translation_is_there(corpus, tmp_path):
    original = list(ptbxl.records(corpus))
    assert original[0].meta["report"] == "sinusrhythmus periphere niederspannung" and "report_english" not in original[0].meta
    (tmp_path / "mine.csv").write_text(ENGLISH)
    named = list(ptbxl.records(corpus, english=tmp_path / "mine.csv"))
    (corpus / ptbxl.TRANSLATED).write_text(ENGLISH)
    beside = list(ptbxl.records(corpus))
    assert named == beside and beside[0].meta["report_english"] == "sinus rhythm peripheral low voltage"
    assert beside[0].meta["report"] == original[0].meta["report"] and beside[1] == original[1]
    assert ptbxl.tables(corpus) == [corpus / ptbxl.TRANSLATED]


def test_a_translation_that_is_none_is_refused(corpus, tmp_path):
    for text, match in (("id,text\n", "lacks the column ecg_id, report"), (None, "cannot be read as a table")):
        path = tmp_path / "mine.csv"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(EinthovenError, match=match) as error:
            list(ptbxl.records(corpus, english=path))
        assert "\n" not in str(error.value)


def test_an_older_release_is_told(corpus, tmp_path):
    ingest("ptbxl", corpus, tmp_path / "store", workers=1)
    assert check_store(tmp_path / "store", ptbxl) == [
        "version 1.0.1 is here; 1.0.3 is the newest we know",
        "21,837 recordings published, 2 here",
        "18,885 patients published for version 1.0.1, 2 among the recordings here",
    ]
    newer = corpus.with_name("ptb-xl-1.0.4")
    corpus.rename(newer)
    ingest("ptbxl", newer, tmp_path / "newer", workers=1)
    assert check_store(tmp_path / "newer", ptbxl)[0].startswith("version 1.0.4 is here, which we do not know; we know 1.0.1, 1.0.2, 1.0.3")
