"""A store goes out as files of each format that is written, and the folder of files is a corpus again."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from fake_corpus import Corpus

from einthoven import io
from einthoven.errors import EinthovenError, StoreError
from einthoven.export.recordings import export
from einthoven.ingest.run import ingest
from einthoven.sources.facts import Facts
from einthoven.store.read import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("made") / "store"
    ingest(Corpus(40), path.parent, path, workers=1)
    return Store(path)


def table(folder) -> dict[str, dict[str, str]]:
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        return {row["record"]: row for row in csv.DictReader(file)}


def set_aside(folder) -> list[dict[str, str]]:
    if not (folder / "rejected.csv").exists():
        return []
    with open(folder / "rejected.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("to", "suffix"), [("wfdb", ".hea"), ("edf", ".edf"), ("dicom", ".dcm"), ("aecg", ".xml"), ("csv", ".csv"), ("tsv", ".tsv")]
)
def test_every_recording_is_a_file_that_reads_as_the_store_does_or_is_set_aside_with_its_reason(store, tmp_path, to, suffix):
    done = export(store, tmp_path / "out", to=to)
    rejected = {row["record"]: row["reason"] for row in set_aside(tmp_path / "out")}
    assert done.n_records == done.n_files == len(store) - len(rejected) and done.n_records > 20
    assert all(reason for reason in rejected.values())
    for row, name in enumerate(store.column("record").tolist()):
        if name in rejected:
            assert not (tmp_path / "out" / f"{name}{suffix}").exists()
            continue
        ours, read = store.record(row), io.read(tmp_path / "out" / f"{name}{suffix}")
        assert (read.leads, read.fs) == (ours.leads, ours.fs)
        step = np.maximum(np.nanmax(np.abs(ours.signal), axis=1, initial=0) / 32_000, 0.0011)
        short = ours.signal.shape[1]
        np.testing.assert_array_equal(np.isnan(read.signal[:, :short]), np.isnan(ours.signal))
        assert (np.nan_to_num(np.abs(read.signal[:, :short] - ours.signal)) <= step[:, None]).all()


def test_the_folder_is_a_corpus_with_the_same_persons_labels_and_parts(store, tmp_path):
    export(store, tmp_path / "out")
    ingest("folder", tmp_path / "out", tmp_path / "again", workers=1)
    again = Store(tmp_path / "again")
    place = {name: row for row, name in enumerate(again.column("record").tolist())}
    assert len(again) == len(store) and again.facts["counts"]["rejected"] == 0
    for row, (name, labels) in enumerate(zip(store.column("record").tolist(), store.labels())):
        there = place[name]
        for column in ("patient", "sex", "fold", "split", "label_system"):
            assert again.column(column)[there] == store.column(column)[row], (name, column)
        np.testing.assert_equal(again.column("age")[there], store.column("age")[row])
        assert str(again.column("time")[there]) == str(store.column("time")[row])
        found = again.labels()[there]
        if labels is None:
            assert found is None
        else:  # what was not stated beside other labels counts as absent, in either store
            assert {code: value for code, value in found.items() if value != 0} == pytest.approx(
                {code: value for code, value in labels.items() if value != 0}, nan_ok=True
            )


class Empty(Corpus):
    """Recordings that somebody labelled with nothing, beside some that nobody labelled; codes with the signs that separate codes."""

    FACTS = Facts("empty", label_system="own")

    def records(self, root, every=1):
        for i, ref in enumerate(super().records(root, every)):
            yield type(ref)(ref.path, ref.record, ref.patient, labels=(None, {}, {"a;b": 1.0, "c": 1.0})[i % 3], label_system="own")


def test_labelled_with_nothing_stays_so_and_is_not_unlabelled(tmp_path):
    ingest(Empty(6), tmp_path, tmp_path / "store", workers=1)
    export(tmp_path / "store", tmp_path / "out")
    ingest("folder", tmp_path / "out", tmp_path / "again", workers=1)
    again = Store(tmp_path / "again").labels()
    assert [None if labels is None else {code for code, value in labels.items() if value} for labels in again] == [
        None,
        set(),
        {"a;b", "c"},
    ] * 2


def test_a_condition_chooses_and_one_that_chooses_nothing_is_refused(store, tmp_path):
    done = export(store, tmp_path / "out", where="sex == female")
    chosen = (store.column("sex") == "female").sum()
    assert done.n_records == chosen == len(table(tmp_path / "out"))
    assert "not chosen by the condition" in str(done)
    with pytest.raises(StoreError, match="chooses none"):
        export(store, tmp_path / "none", where="age > 200")
    assert not (tmp_path / "none").exists()


def test_two_corpora_with_equal_names_lie_side_by_side(tmp_path):
    ingest(Corpus(4), tmp_path, tmp_path / "store", workers=1)
    ingest(Corpus(4), tmp_path, tmp_path / "store", workers=1, append=True, name="other")
    export(tmp_path / "store", tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").with_suffix("").as_posix() for path in (tmp_path / "out").rglob("*.hea")}
    assert names == {f"{source}/rec{i:04d}" for source in ("made_up", "other") for i in range(4)} == set(table(tmp_path / "out"))


def test_stopped_half_way_it_goes_on_and_ends_the_same(store, tmp_path):
    class Stopped(Exception):
        pass

    def stop(done: int, of: int) -> None:
        if done == of // 2:
            raise Stopped

    with pytest.raises(Stopped):
        export(store, tmp_path / "a", progress=stop)
    assert not (tmp_path / "a" / "labels.csv").exists()
    first = next((tmp_path / "a").glob("*.hea"))
    written = first.stat().st_mtime_ns
    export(store, tmp_path / "a")
    assert first.stat().st_mtime_ns == written and export(store, tmp_path / "a").was_there
    export(store, tmp_path / "b")
    for path in (tmp_path / "b").iterdir():
        if path.name != ".export.json":
            assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes(), path.name


def test_a_format_that_is_not_written_is_refused_before_anything_is_made(store, tmp_path):
    with pytest.raises(EinthovenError, match="expected a format that is written"):
        export(store, tmp_path / "out", to="muse")
    assert not (tmp_path / "out").exists()


def test_what_neither_the_format_nor_the_table_holds_is_counted(tmp_path):
    class Measured(Corpus):
        def records(self, root, every=1):
            for ref in super().records(root, every):
                yield type(ref)(ref.path, ref.record, meta={"measurements": {"PR": 160.0}, "report": "sinus rhythm"})

    ingest(Measured(6), tmp_path, tmp_path / "store", workers=1)
    n = len(Store(tmp_path / "store"))
    assert f"without measurements of {n}: neither EDF nor labels.csv" in str(export(tmp_path / "store", tmp_path / "edf", to="edf"))
    assert export(tmp_path / "store", tmp_path / "csv", to="csv").notes == ()  # a JSON file beside each table has them
    assert io.read(next((tmp_path / "csv").glob("rec*.csv"))).meta["measurements"] == {"PR": 160.0}
