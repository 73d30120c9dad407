"""Published facts against what an ingest found; the releases that folders are called after; the facts of the corpora themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources import SOURCES, cinc2020, mimic_iv_ecg, physionet2021, ptbxl, zheng
from einthoven.sources.checking import Found, check_store, differences, version
from einthoven.sources.facts import Counts, Facts, RecordRef

OWN = ("folder", "muse", "fairseq_signals", "ecg_selfsupervised")
"""Sources of somebody's own data, of which nothing is published."""


def whole(module) -> Found:
    """What a complete copy of a corpus would be found to be."""
    facts, datasets = module.FACTS, getattr(module, "DATASETS", {})
    if datasets:
        records = Counter({name: part.records for name, part in datasets.items()})
        rates = {(name, part.fs): part.records for name, part in datasets.items()}
    else:
        records, rates = Counter({None: facts.records}), {(None, facts.fs): facts.records}
    return Found(records, {}, facts.patients or 0, rates, version=facts.version)


@pytest.mark.parametrize("name", [name for name, module in SOURCES.items() if module.FACTS.records])
def test_a_complete_copy_of_a_corpus_differs_in_nothing(name):
    assert differences(SOURCES[name], whole(SOURCES[name])) == []


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name not in {*OWN, "ecgqa"}]
)  # ECG-QA has questions, and the recordings of others
def test_every_corpus_says_who_made_it_where_it_is_and_how_large_it_is(name):
    facts, datasets = SOURCES[name].FACTS, getattr(SOURCES[name], "DATASETS", {})
    assert facts.records and facts.citation and facts.url and facts.url.startswith("http")
    assert facts.fs or all(part.fs for part in datasets.values())
    assert facts.version not in getattr(SOURCES[name], "VERSIONS", {}) and sum(part.records or 0 for part in datasets.values()) in (
        0,
        facts.records,
    )


def test_the_sets_of_a_challenge_are_counted_one_by_one():
    found = Found(
        {"cpsc_2018": 7, "ptb": 516, "mine": 3},
        {"cpsc_2018": 1, None: 2},
        0,
        {("cpsc_2018", 500.0): 7, ("ptb", 500.0): 16, ("ptb", 1000.0): 500},
    )
    assert differences(physionet2021, found) == [
        "cpsc_2018: 6,877 recordings published, 8 here, 1 of them rejected",
        "6 of 8 sets are not here: chapman_shaoxing, cpsc_2018_extra, georgia, ningbo, ptb-xl, st_petersburg_incart",
        "mine: 3 recordings here, of a set that PhysioNet/CinC Challenge 2021 does not have",
        "2 recordings here of no set that can be told",
        "ptb: published at 1000 Hz, 16 recordings here at 500 Hz",
    ]


def test_sets_that_were_not_asked_for_are_not_missed():
    found = Found({"st_petersburg_incart": 74}, {}, 0, {("st_petersburg_incart", 257.0): 74}, asked=("st_petersburg_incart", "ptb"))
    assert differences(cinc2020, found) == ["1 of 6 sets are not here: ptb"]


def test_a_release_is_measured_by_its_own_counts():
    found = whole(ptbxl)
    older = replace(found, records={None: 21_801}, rates={(None, 500.0): 21_801}, version="1.0.2")
    assert differences(ptbxl, older) == ["version 1.0.2 is here; 1.0.3 is the newest we know"]
    assert differences(ptbxl, replace(found, version="1.0.1")) == [
        "version 1.0.1 is here; 1.0.3 is the newest we know",
        "21,837 recordings published, 21,799 here",
        "18,885 patients published for version 1.0.1, 18,869 among the recordings here",
    ]
    assert differences(ptbxl, replace(found, version="2.0.0")) == [
        "version 2.0.0 is here, which we do not know; we know 1.0.1, 1.0.2, 1.0.3: look at its release notes"
    ]


def test_where_no_folder_says_the_release_the_number_of_recordings_does():
    found = Found({None: 21_000}, {None: 801}, 18_869, {(None, 100.0): 21_000})
    assert differences(ptbxl, found) == ["21,801 recordings are those of version 1.0.2; 1.0.3 is the newest we know"]


def test_rates_other_than_the_published_ones_are_told():
    found = replace(whole(ptbxl), rates={(None, 500.0): 21_000, (None, 100.0): 700, (None, 250.0): 99})
    assert differences(ptbxl, found) == ["published at 500 or 100 Hz, 99 recordings here at 250 Hz"]


def test_patients_without_ids_are_told_unless_each_recording_is_a_patient():
    assert differences(mimic_iv_ecg, replace(whole(mimic_iv_ecg), patients=0)) == [
        "161,352 patients published for version 1.0, but no recording here names its patient"
    ]
    assert zheng.FACTS.records == zheng.FACTS.patients and differences(zheng, replace(whole(zheng), patients=0)) == []


def test_a_corpus_without_facts_differs_from_nothing():
    assert differences(SOURCES["folder"], Found({None: 12}, {None: 3}, 4, {(None, 333.0): 12}, version="7.1")) == []


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3", "1.0.3"),
        ("physionet.org/files/ptb-xl/1.0.1", "1.0.1"),
        ("mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0", "1.0"),
        ("challenge-2021/1.0.3/training", "1.0.3"),
        ("ptbxl", None),
        ("my-ecgs-2021", None),
    ],
)
def test_a_folders_name_tells_the_release(tmp_path, folder, expected):
    (tmp_path / folder).mkdir(parents=True)
    assert version(zheng, tmp_path / folder) == expected
    (tmp_path / "link").symlink_to(tmp_path / folder, target_is_directory=True)
    assert version(zheng, tmp_path / "link") == expected


def test_the_rows_of_ptb_xl_tell_its_release(tmp_path):
    for n_rows, expected in ((21_837, "1.0.1"), (21_799, "1.0.3"), (12, None)):
        (tmp_path / "ptbxl_database.csv").write_text("ecg_id,report\n" + '1,"two\nlines"\n' * n_rows)
        assert version(ptbxl, tmp_path) == expected
    (tmp_path / "empty").mkdir()
    assert version(ptbxl, tmp_path / "empty") is None


# ------------------------------------------------------------------------------------------------- from a finished store


class Corpus:
    """Two sets below one folder: one whole, one with a broken recording and a wrong rate; and a recording of a third."""

    FACTS = Facts(name="Fake", version="1.0.1", records=15, patients=5)
    DATASETS = {
        "a": Facts("a", records=2, fs=500.0),
        "b": Facts("b", records=4, fs=250.0),
        "c": Facts("c", records=9, fs=100.0),
    }
    VERSIONS = {"1.0.0": Counts(6, 4)}

    @staticmethod
    def records(root, *, subset=()):
        for folder, dataset, n in (("one/a", "a", 2), ("b", "b", 3), ("else", "d", 1)):
            for number in range(n):
                path = Path(root) / folder / f"{dataset}{number}.x"
                problem = "broken" if path.stem == "b2" else None
                yield RecordRef(path, path.stem, f"p{number}", meta={"dataset": dataset, "report": 'says "dataset": "z"'}, problem=problem)

    @staticmethod
    def read(ref):
        rng = np.random.default_rng(list(ref.record.encode()))
        return Record(rng.normal(0, 0.3, (12, 2000)), 250.0 if ref.record != "b1" else 300.0, TWELVE)


def test_a_store_tells_of_its_corpus_without_walking_it_again(tmp_path):
    root = tmp_path / "fake-1.0.0"
    root.mkdir()
    ingest(Corpus, root, tmp_path / "store", workers=1)
    assert check_store(tmp_path / "store", Corpus) == [
        "version 1.0.0 is here; 1.0.1 is the newest we know",
        "b: 4 recordings published, 3 here, 1 of them rejected",
        "1 of 3 sets are not here: c",
        "d: 1 recording here, of a set that Fake does not have",
        "4 patients published for version 1.0.0, 2 among the recordings here",
        "a: published at 500 Hz, 2 recordings here at 250 Hz",
        "b: published at 250 Hz, 1 recording here at 300 Hz",
    ]
    ingest(Corpus, root, tmp_path / "part", workers=1, source_options={"subset": ("a", "b")})
    assert not any("not here" in one for one in check_store(tmp_path / "part", Corpus))


def test_of_a_store_of_several_corpora_each_is_checked_alone(tmp_path):
    for name in ("fake-1.0.0", "fake-1.0.1"):
        (tmp_path / name).mkdir()
    ingest(Corpus, tmp_path / "fake-1.0.0", tmp_path / "store", workers=1, source_options={"subset": ("a", "b")})
    ingest(Corpus, tmp_path / "fake-1.0.1", tmp_path / "store", workers=1, append=True, name="Later")
    assert check_store(tmp_path / "store", Corpus, 0)[0].startswith("version 1.0.0 is here")
    later = check_store(tmp_path / "store", Corpus)
    assert later[:2] == ["b: 4 recordings published, 3 here, 1 of them rejected", "1 of 3 sets are not here: c"]
