"""A corpus that has grown and whose tables have changed: they must say of the recordings in the store what the store says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from growing_corpus import Ward, add, every_byte, rejected

from einthoven import io
from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.store.read import Store


@pytest.fixture
def labelled(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "labels.csv").write_text("rec0001 rec0002 ")
    ingest(Ward(n=40), tmp_path / "root", tmp_path / "store", shard_records=7, workers=1)
    return tmp_path / "store"


def test_a_table_that_grew_is_taken_and_then_is_the_table(labelled):
    table = labelled.parent / "root" / "labels.csv"
    table.write_text("rec0001 rec0002 rec0041 ")
    with pytest.raises(StoreError, match=r"was made with another labels\.csv; delete it and ingest again, .* or add --append"):
        add(Ward(n=60), labelled, append=False)
    assert add(Ward(n=60), labelled).n_records == 17
    opened = Store(labelled)
    assert opened.record(int(opened.where(record="rec0041")[0])).labels == {"sinus": 1.0}
    assert add(Ward(n=60), labelled, append=False).was_there and add(Ward(n=60), labelled).was_there
    table.write_text("rec0001 rec0002 ")  # what it was at first: not what made the second part
    with pytest.raises(StoreError, match=r"labels\.csv"):
        add(Ward(n=60), labelled, append=False)


@pytest.mark.parametrize("ahead", [30_000, 5])
def test_a_table_that_says_something_else_of_what_is_there_is_refused(ahead, labelled, monkeypatch):
    """Also where it is found out when the first new recordings are made already."""
    monkeypatch.setattr("einthoven.ingest.run._AHEAD", ahead)
    (labelled.parent / "root" / "labels.csv").write_text("rec0002 rec0005 rec0041 ")
    before = {name: one for name, one in every_byte(labelled).items() if name.endswith(("json", "csv", "records.parquet"))}
    with pytest.raises(
        StoreError,
        match=r"labels\.csv changed since .* says something else of 2 recordings that are in it, the first rec0001 \(its labels\)",
    ):
        add(Ward(n=60), labelled)
    after = every_byte(labelled)
    assert {name: after[name] for name in before} == before and len(Store(labelled)) == 34
    (labelled.parent / "root" / "labels.csv").write_text("rec0001 rec0002 rec0041 ")
    assert add(Ward(n=60), labelled).n_records == 17


def test_patients_and_folds_of_what_is_there_are_compared_as_well(labelled):
    (labelled.parent / "root" / "labels.csv").write_text("rec0001 rec0002 rec0041 ")

    class Renamed(Ward):
        def records(self, root):
            for ref in super().records(root):
                yield replace(ref, patient="x" if ref.record == "rec0004" else ref.patient, fold="3" if ref.record == "rec0004" else None)

    with pytest.raises(StoreError, match=r"of 1 recordings that are in it, the first rec0004 \(its patient and fold\)"):
        add(Renamed(n=60), labelled)

    class Unnamed(Ward):
        """Who is silent says nothing else: patient and labels may stand in the file."""

        def records(self, root):
            return (replace(ref, patient=None, labels=None) for ref in super().records(root))

    assert add(Unnamed(n=60), labelled).n_records == 17


# ------------------------------------------------------------------------------------------------------------- real files


def test_a_folder_of_files_grows_through_the_source_that_people_use(tmp_path):
    """A file that was half there, one in another format beside one that is in the store, and a table with rows for what came."""
    ward, store, table = tmp_path / "ward", tmp_path / "store", tmp_path / "ward" / "labels.csv"
    ward.mkdir()

    def write(name: str, seed: int) -> None:
        signal = np.random.default_rng(seed).normal(0, 0.3, (12, 5000)).astype(np.float32)
        io.write(Record(signal, 500.0, TWELVE, name), ward / name)

    for seed, name in enumerate(("a.hea", "b.edf")):
        write(name, seed)
    whole = (ward / "b.edf").read_bytes()
    (ward / "b.edf").write_bytes(whole[:7000])
    table.write_text("record,patient,AF\na,p1,1\nb,p2,0\n")
    assert ingest("folder", ward, store).n_rejected == 1
    (ward / "b.edf").write_bytes(whole)
    write("a.edf", 2)
    write("c.hea", 3)
    table.write_text("record,patient,AF\na.hea,p1,1\nb,p2,0\nc,p1,0\n")
    summary = ingest("folder", ward, store, append=True)
    opened = Store(store)
    assert dict(zip(opened.column("record"), opened.column("path"))) == {"a": "a.hea", "a.edf": "a.edf", "b": "b.edf", "c": "c.hea"}
    assert (summary.n_records, summary.n_gone) == (3, 0) and rejected(store) == []
    assert opened.column("split")[opened.where(record="c")] == opened.column("split")[opened.where(record="a")]  # one person
    assert ingest("folder", ward, store, append=True).was_there
    table.write_text("record,patient,AF\na.hea,p1,0\nb,p2,0\nc,p1,0\n")
    with pytest.raises(StoreError, match=r"labels\.csv changed since .* of 1 recordings that are in it, the first a \(its labels\)"):
        ingest("folder", ward, store, append=True)
