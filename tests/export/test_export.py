"""A store goes out to the old systems' folders and comes back: the same signals, labels, parts and persons."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven.errors import EinthovenError, StoreError
from einthoven.export import ecg_selfsupervised as export_ecg_selfsupervised
from einthoven.export import fairseq_signals as export_fairseq
from einthoven.export import fairseq_signals_old as export_fairseq_old
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import ecg_selfsupervised, fairseq_signals
from einthoven.sources.ecg_selfsupervised import prepared_signals
from einthoven.sources.facts import Facts
from einthoven.store.published_split import split_from_table
from einthoven.store.read import Store
from einthoven.store.split import assign

FS = 100.0
EXPORTS = (export_fairseq.export, export_fairseq_old.export, export_ecg_selfsupervised.export)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("made") / "store"
    ingest(Corpus(40), path.parent, path, fs=FS, workers=1)
    return Store(path)


def back(source, root, path, **options) -> Store:
    ingest(source, root, path, fs=FS, workers=1, source_options=options)
    return Store(path)


def rows_of(store: Store) -> dict[str, int]:
    return {name: row for row, name in enumerate(store.column("record").tolist())}


def same(one, other, *, atol: float = 0.0006, n: int | None = None) -> None:
    """The recordings agree in the leads of the standard twelve that both have."""
    n = n or one.signal.shape[1]
    there = [name for name in one.leads if name in TWELVE]
    assert there == [name for name in other.leads if name in TWELVE]
    step = max(float(np.abs(one.signal).max()) / 32000, 0.001)  # a coarser store for a large signal
    for name in there:
        np.testing.assert_allclose(
            other.signal[other.leads.index(name)][:n], one.signal[one.leads.index(name)][:n], atol=atol + (step if step > 0.001 else 0)
        )


# ------------------------------------------------------------------------------------------------- fairseq-signals, newer


@pytest.fixture(scope="module")
def processed(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "processed"
    return export_fairseq.export(store, out, fs=FS).folder


@pytest.mark.parametrize("stage", ["best", "preprocessed", "segmented"])
def test_a_processed_folder_gives_the_store_back(store, processed, tmp_path, stage):
    again = back(fairseq_signals, processed, tmp_path / "again", stage=stage)
    known = rows_of(again)
    n_compared = 0
    for row, name in enumerate(store.column("record").tolist()):
        one = store.record(row)
        if name not in known:  # no lead of the twelve, or less than a window
            assert (stage == "segmented" and one.seconds < 5) or not set(one.leads) & set(TWELVE)
            continue
        other = again.record(known[name])
        same(one, other, n=one.signal.shape[1] // 500 * 500 if stage == "segmented" else None)
        assert other.patient == one.patient
        assert again.column("split")[known[name]] == store.column("split")[row]
        assert (other.meta.get("age"), other.meta.get("sex"), other.meta.get("time")) == (
            one.meta["age"],
            one.meta["sex"],
            one.meta["time"],
        )
        if one.labels is None:
            assert other.labels is None
        else:
            present = {code for code, value in one.labels.items() if value == 1}
            assert {code for code, value in other.labels.items() if value == 1} == present
            for code, value in one.labels.items():
                np.testing.assert_equal(other.labels.get(code, 0.0), value)
        n_compared += 1
    assert n_compared > 25 and again.split_rule["strategy"] == "fold"


def test_manifests_name_the_files_of_their_part_and_each_person_is_in_one(store, processed):
    parts: dict[str, set] = {}
    with open(processed / "made_up" / "meta_split.csv", newline="") as file:
        of_file = {row["save_file"].removesuffix(".mat"): row for row in csv.DictReader(file)}
    for split in ("train", "valid", "test"):
        root, *rows = (processed / "manifests" / f"{split}.tsv").read_text().splitlines()
        assert root == f"\t{processed.as_posix()}/made_up/segmented/"
        for row in rows:
            name, n = row.split("\t")
            assert (processed / "made_up" / "segmented" / name).is_file() and n == "500"
            entry = of_file[name.rsplit("_", 1)[0]]
            assert entry["split"] == split
            parts.setdefault(split, set()).add(entry["patient_id"])
    assert not (parts["train"] & parts["test"] - {""}) and not (parts["train"] & parts["valid"] - {""})


def test_persons_of_the_identification_manifests_are_those_of_the_store(store, processed):
    rows = rows_of(store)

    def persons(name: str) -> dict[str, set]:
        lines = (processed / "manifests" / "identify" / f"{name}.tsv").read_text().splitlines()[1:]
        found: dict[str, set] = {}
        for line in lines:
            file, _, number = line.split("\t")
            found.setdefault(number, set()).add(store.column("patient")[rows[file.removeprefix("made_up_").rsplit("_", 1)[0]]])
        return found

    train = persons("train")
    assert sorted(map(int, train)) == list(range(len(train))) and all(len(who) == 1 and None not in who for who in train.values())
    gallery, probe = persons("test_gallery"), persons("test_probe")
    assert gallery == probe and not {frozenset(who) for who in gallery.values()} & {frozenset(who) for who in train.values()}


def test_unlabelled_and_uncertain_recordings_are_told_apart_and_said(store, processed, tmp_path):
    folder = processed / "made_up" / "labels"
    y, labelled = (
        np.load(folder / "y.npy", allow_pickle=False),
        {int(row["idx"]) for row in csv.DictReader(open(folder / "labels.csv", newline=""))},
    )
    of_row = store.labels()
    assert labelled == {row for row, labels in enumerate(of_row) if labels is not None} and len(labelled) < len(store)
    assert np.isnan(y).any(axis=1).sum() == sum(any(np.isnan(list(labels.values()))) for labels in of_row if labels)
    said = str(export_fairseq.export(store, processed, fs=FS))
    assert "unlabelled" in said and "not known" in said and "was there already" in said
    lines = (processed / "manifests" / "labelled" / "train.tsv").read_text().splitlines()[1:]
    rows = rows_of(store)
    assert lines and all(rows[line.split("\t")[0].removeprefix("made_up_").rsplit("_", 1)[0]] in labelled for line in lines)


def test_the_weights_are_the_share_of_the_training_part(store, processed):
    weights = (processed / "made_up" / "labels" / "pos_weight.txt").read_text()
    stated = [float(text) for text in weights.strip("[]").split(",")]
    train = [labels for labels, split in zip(store.labels(), store.column("split")) if labels and split == "train"]
    train = [labels for labels in train if not any(np.isnan(list(labels.values())))]
    share = np.mean([labels.get("164889003", 0.0) for labels in train])
    assert stated[0] == round((1 - share) / share, 6) and len(stated) == 26


def test_a_lead_that_was_not_recorded_is_said_in_the_table_and_masked_in_the_windows(store, processed):
    from scipy.io import loadmat

    row = next(row for row in range(len(store)) if store.column("leads")[row] == "II V1 X")
    name = f"made_up_{store.column('record')[row]}"
    with open(processed / "made_up" / "meta.csv", newline="") as file:
        meta = next(entry for entry in csv.DictReader(file) if entry["save_file"] == f"{name}.mat")
    assert meta["avail_leads"] == "['II', 'V1']" and meta["nan_any"] == "True" and meta["mean_0"] == ""
    org, window = (loadmat(processed / "made_up" / stage)["feats"] for stage in (f"org/{name}.mat", f"segmented/{name}_0.mat"))
    assert np.isnan(org[0]).all() and not np.isnan(org[[1, 6]]).any()
    assert not window[0].any() and window[[1, 6]].any(axis=1).all()


@pytest.mark.parametrize(("options", "what"), [({"scaling": "none"}, "mV"), ({"missing": "nan"}, "nan")])
def test_scaling_and_missing_leads_are_options(store, tmp_path, options, what):
    from scipy.io import loadmat

    export_fairseq.export(store, tmp_path / "out", stage=["org", "preprocessed"], fs=FS, **options)
    folder = tmp_path / "out" / "made_up"
    assert not (folder / "segmented").exists() and not (tmp_path / "out" / "manifests").exists()
    row = next(row for row in range(len(store)) if store.column("leads")[row] == "II V1 X")
    org, later = (loadmat(folder / stage / f"made_up_{store.column('record')[row]}.mat") for stage in ("org", "preprocessed"))
    if what == "mV":
        np.testing.assert_allclose(later["feats"][[1, 6]], org["feats"][[1, 6]], atol=1e-12)
        assert "mean" not in later
    else:
        assert np.isnan(later["feats"][0]).all() and "mean" in later


# ------------------------------------------------------------------------------------------------- fairseq-signals, older


def test_files_of_the_older_pipeline_give_the_store_back(store, tmp_path):
    out = export_fairseq_old.export(store, tmp_path / "old", fs=FS)
    assert out.left_out["lacks a lead"] > 0 and out.n_records + sum(out.left_out.values()) == len(store)
    again = back(fairseq_signals, out.folder / "manifests", tmp_path / "again", patient_id="person")
    known = rows_of(again)
    assert len(again) == out.n_records
    number = store.patient_number
    for row, name in enumerate(store.column("record").tolist()):
        if name not in known:
            continue
        one, other = store.record(row), again.record(known[name])
        same(one, other, n=one.signal.shape[1] // 500 * 500)
        assert other.patient == str(number[row]) and again.column("split")[known[name]] == store.column("split")[row]
        if one.labels is not None and not np.isnan(list(one.labels.values())).any():
            assert {code for code, value in other.labels.items() if value == 1} == {
                code for code, value in one.labels.items() if value == 1
            }
        else:
            assert other.labels is None
        assert other.meta["age"] == one.meta["age"] and other.meta.get("sex") == ("male" if one.meta["sex"] == "male" else None)


# ------------------------------------------------------------------------------------------------------ ecg-selfsupervised


@pytest.mark.parametrize("max_rows", [None, 3000])
def test_a_prepared_folder_gives_the_store_back(store, tmp_path, max_rows):
    out = export_ecg_selfsupervised.export(store, tmp_path / "made_fs100", max_rows=max_rows)
    assert out.n_files == len(list(out.folder.glob("memmap*.npy"))) and (out.n_files > 5 if max_rows else out.n_files == 1)
    again = back(ecg_selfsupervised, out.folder, tmp_path / "again")
    known = rows_of(again)
    for row, name in enumerate(store.column("record").tolist()):
        one = store.record(row)
        if name not in known:
            assert not set(one.leads) & set(TWELVE)
            continue
        other = again.record(known[name])
        flat = [lead for lead in one.leads if not one.signal[one.leads.index(lead)].any()]
        assert not flat
        same(one, other)
        assert other.patient == one.patient and again.column("fold")[known[name]] == store.column("fold")[row]
        assert again.column("split")[known[name]] == store.column("split")[row]
        assert (other.meta.get("age"), other.meta.get("sex")) == (one.meta["age"], one.meta["sex"])
        present = {code for code, value in (one.labels or {}).items() if value == 1}
        assert set(other.labels or {}) == present
    assert len(again) > 25


def test_folds_follow_the_split_where_the_corpus_has_none(store, tmp_path):
    column = np.where(store.column("split") == "test", None, store.column("split"))
    copy = tmp_path / "store"
    ingest(Corpus(40), store.path.parent, copy, fs=FS, workers=1)
    assign(copy, column, {"strategy": "by hand"})
    out = export_ecg_selfsupervised.export(copy, tmp_path / "out_fs100")
    assert out.left_out == {"in no part of the split": int((store.column("split") == "test").sum())}
    with open(out.folder / "df_memmap.csv", newline="") as file:
        names = {row["data_original"].removesuffix(".npy") for row in csv.DictReader(file)}
    assert names == {name for name, part in zip(store.column("record"), column) if part is not None}


def test_the_pickle_that_the_program_asks_for_is_made_by_the_line_of_the_docs(store, tmp_path):
    pandas = pytest.importorskip("pandas")
    out = export_ecg_selfsupervised.export(store, tmp_path / "out_fs100").folder
    line = export_ecg_selfsupervised.__doc__.split('python -c "')[1].split('"')[0]
    program = " ".join(line.split())
    subprocess.run([sys.executable, "-c", program], cwd=out, check=True)
    table = pandas.read_pickle(out / "df_memmap.pkl")
    names = np.load(out / "lbl_itos.npy")
    with open(out / "df_memmap.csv", newline="") as file:
        for row, entry in zip(table.itertuples(), csv.DictReader(file), strict=True):
            assert [names[at] for at in row.label] == row.label_txt == json.loads(entry["label_txt"])
            assert len(row.data_mean) == 12 and row.data_length == int(entry["data_length"])
    (out / "df_memmap.csv").unlink()
    prepared = prepared_signals(out)
    for ref in ecg_selfsupervised.records(out):  # our reader of pickles reads what pandas wrote
        assert ref.labels is None or set(ref.labels) <= {"426783006", "164889003"}
        assert ecg_selfsupervised.read(ref).signal.shape[1] == prepared.length[ref.meta["prepared"]["row"]]


# ------------------------------------------------------------------------------------------------------------------ folder


class Stopped(Exception):
    """What ends an export half-way in a test."""


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_that_was_stopped_goes_on_and_ends_the_same(store, tmp_path, export):
    def stop(done: int, n: int) -> None:
        if done == n // 2:
            raise Stopped

    with pytest.raises(Stopped):
        export(store, tmp_path / "a", fs=FS, progress=stop)
    assert not json.loads((tmp_path / "a" / ".export.json").read_text()).get("finished")
    first = export(store, tmp_path / "a", fs=FS)
    other = export(store, tmp_path / "b", fs=FS)
    assert not first.was_there and export(store, tmp_path / "a", fs=FS).was_there
    names = sorted(path.relative_to(tmp_path / "b").as_posix() for path in (tmp_path / "b").rglob("*"))
    assert names == sorted(path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*"))
    for name in names:
        if (tmp_path / "b" / name).is_file() and name != ".export.json":
            one, two = (tmp_path / "a" / name).read_bytes(), (tmp_path / "b" / name).read_bytes()
            if name.endswith(".mat"):
                one, two = one[128:], two[128:]  # the header says when it was written
            elif name.endswith(".npz"):
                continue  # and so do the entries of an archive
            assert one.replace(b"/a/", b"/b/").replace(b"/a\n", b"/b\n") == two, name
    assert other.n_files == first.n_files


@pytest.mark.parametrize("export", EXPORTS)
def test_a_folder_with_other_content_is_refused(store, tmp_path, export):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"thesis\.txt"):
        export(store, tmp_path / "full", fs=FS)
    with pytest.raises(StoreError, match="is a file"):
        export(store, tmp_path / "full" / "thesis.txt", fs=FS)
    export(store, tmp_path / "out", fs=FS)
    with pytest.raises(StoreError, match=r"fs was 100\.0, is 50\.0"):
        export(store, tmp_path / "out", fs=50.0)
    with pytest.raises(StoreError, match="of the kind"):
        next(other for other in EXPORTS if other is not export)(store, tmp_path / "out", fs=FS)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("export", "options", "what"),
    [
        (export_fairseq.export, {"stage": "raw"}, "stages among"),
        (export_fairseq.export, {"leads": ["MLII"]}, "leads among"),
        (export_fairseq.export, {"scaling": "corpus"}, "scaling"),
        (export_fairseq.export, {"seconds": 0.0017}, "whole number of samples"),
        (export_fairseq_old.export, {"leads": ["I", "I"]}, "each once"),
        (export_fairseq_old.export, {"seconds": -1}, "whole number of samples"),
        (export_ecg_selfsupervised.export, {"fs": 500.0}, "at most the store's 100 Hz"),
        (export_ecg_selfsupervised.export, {"resampling": "magic"}, "resampling method"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_is_written(store, tmp_path, export, options, what):
    with pytest.raises(EinthovenError, match=what):
        export(store, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------------- published split


def table(path, rows) -> None:
    path.write_text("idx,save_file,split\n" + "".join(f"{at},{name},{part}\n" for at, (name, part) in enumerate(rows)))


def test_a_published_table_is_the_split_of_the_store(store, tmp_path):
    copy = tmp_path / "store"
    ingest(Corpus(40), store.path.parent, copy, fs=FS, workers=1)
    names = store.column("record").tolist()
    # a patient of the corpus has three recordings in a row
    parts = ["test" if int(name[3:]) // 3 % 4 == 1 else "train" for name in names]
    rows = [(f"mimic_iv_ecg_{name}.mat", part) for name, part in zip(names, parts)]
    table(tmp_path / "meta_split.csv", [*rows[:-2], ("mimic_iv_ecg_none.mat", "train")])
    column, rule = split_from_table(Store(copy), tmp_path / "meta_split.csv")
    assert column.tolist() == [*parts[:-2], None, None]
    assert rule["absent"] == 2 and rule["not_in_the_store"] == 1 and rule["moved_to_keep_patients_together"] == 0
    assign(copy, column, rule)
    again = Store(copy)
    assert again.column("split").tolist() == column.tolist() and again.split_rule == rule
    assert len(again.where(split="train")) == parts[:-2].count("train")
    assert split_from_table(again, tmp_path / "meta_split.csv", absent="train")[0].tolist()[-2:] == ["train", "train"]
    assert split_from_table(store, tmp_path / "meta_split.csv", absent="keep")[0].tolist()[-2:] == store.column("split").tolist()[-2:]
    # the corpus's folders in the name, as the tables of PhysioNet 2021 have them
    table(tmp_path / "paths.csv", [(f"made_up_g{int(name[3:]) % 4}_{name}.mat", part) for name, part in zip(names, parts)])
    assert split_from_table(again, tmp_path / "paths.csv")[0].tolist() == parts


def test_patients_on_two_sides_of_a_published_table_are_refused_or_kept_together(store, tmp_path):
    names = store.column("record").tolist()
    rows = [(f"x_{name}.mat", "test" if name == "rec0004" else "train") for name in names]
    table(tmp_path / "t.csv", rows)
    with pytest.raises(StoreError, match="1 patients on two sides, for one p1"):
        split_from_table(store, tmp_path / "t.csv")
    column, rule = split_from_table(store, tmp_path / "t.csv", shared="allow")
    assert set(column.tolist()) == {"train"} and rule["moved_to_keep_patients_together"] == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n", "columns split, and save_file or record"),
        ("save_file,split\nx_rec0001.mat,holdout\n", "line 2: expected a recording and train, valid or test"),
        ("save_file,split\nx_rec0001.mat,train\ny_rec0001.mat,train\n", "a second time"),
        ("save_file,split\nnobody.mat,train\n", "none of its 1 recordings"),
    ],
)
def test_a_table_that_is_no_split_of_this_store_is_refused(store, tmp_path, text, what):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(StoreError, match=what):
        split_from_table(store, tmp_path / "t.csv")


def test_a_store_of_two_corpora_has_a_folder_for_each_and_numbers_over_both(store, tmp_path):
    class Other(Corpus):
        FACTS = Facts("other corpus", label_system="SNOMED CT")

    copy = tmp_path / "store"
    ingest(Corpus(20), store.path.parent, copy, fs=FS, workers=1)
    ingest(Other(20), store.path.parent, copy, fs=FS, workers=1, append=True)
    both = Store(copy)
    column = both.column("split").astype(object)
    column[both.where(source="other corpus")[:3]] = None
    assign(copy, column, {"strategy": "by hand"})
    out = export_fairseq.export(copy, tmp_path / "out", fs=FS, stage="segmented").folder
    with open(out / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["idx"]) for row in rows] == list(range(len(both))) and {row["source"] for row in rows} == {"made_up", "other_corpus"}
    with open(out / "other_corpus" / "meta_split.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(both.where(source="other corpus")) - 3
    text = (out / "manifests" / "train.tsv").read_text()
    assert text.startswith(f"\t{out.as_posix()}/\n") and "\nother_corpus/segmented/other_corpus_rec" in text
    assert np.load(out / "labels" / "y.npy", allow_pickle=False).shape[0] == len(both)
    again = back(fairseq_signals, out, tmp_path / "again")
    left_out = {row.split(",")[1] for row in (tmp_path / "again" / "rejected.csv").read_text().splitlines()[1:]}
    assert {f"other_corpus/{both.column('record')[row]}" for row in both.where(source="other corpus")[:3]} <= left_out
    assert {name.split("/")[0] for name in again.column("record")} == {"made_up", "other_corpus"}
