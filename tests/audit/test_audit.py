"""An audit finds what was planted, and nothing among different persons; in the real recordings the copies that their README names."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from planted_corpus import COPIES, FAULTS, Planted

from einthoven.audit.run import audit, room
from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.quality_columns import assign_quality, fields
from einthoven.store.read import Store
from einthoven.store.split import assign
from einthoven.store.where import select


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    ingest(Planted(), folder, folder / "store", workers=1)
    return folder / "store"


@pytest.fixture(scope="module")
def found(planted, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "audit"
    told = []
    return audit(planted, workers=1, out=out, progress=lambda done, total: told.append((done, total))), out, told


def test_every_planted_copy_is_found_and_nobody_else(found):
    assert {twin.records for twin in found[0].twins} == {(f"r{person}", name) for name, (person, _, _) in COPIES.items()}
    assert found[0].n_copies == len(COPIES)


def test_how_copies_differ_and_whose_they_are_is_told(found):
    twins = {twin.records[1]: twin for twin in found[0].twins}
    assert twins["exact"].copy.exact and twins["exact"].patients == "the same"
    assert twins["stranger"].copy.exact and twins["stranger"].patients == "two"
    assert "500 and 100 Hz" in twins["hundred"].copy.differs[0]
    assert twins["five_times"].copy.factor == pytest.approx(5, rel=0.01)
    assert twins["late"].copy.start_first == pytest.approx(1234 / 500, abs=0.01)
    assert "aVL of the second is aVF of the first" in twins["renamed"].copy.differs


def test_every_planted_fault_is_found_in_its_recording(found):
    for name, (_, _, kind) in FAULTS.items():
        assert name in {doubted.record for doubted in found[0].worst[kind]}, name
    store = found[0].stores[0]
    assert store.per_lead["noise"] == {"V4": 1} and store.per_lead["flat"] == {"V3": 1}
    assert store.n_records == 66 and store.refused == 0


def test_progress_reaches_the_last_recording(found):
    assert found[2][-1] == (66, 66)


def test_it_says_how_many_pairs_were_compared(planted):
    told: list[int] = []
    found = audit(planted, workers=1, write=False, comparing=told.append)
    assert told == sorted(told) and told[-1] >= sum(not twin.copy.exact for twin in found.twins) > 0


def test_the_column_quality_filters(found, planted):
    store = Store(planted)
    names = np.array(store.column("record"))
    quality = store.take(["quality"])["quality"].combine_chunks().flatten()
    by_field = {fields().field(at).name: column.to_pylist() for at, column in enumerate(quality)}
    not_ok = set(names) - set(names[select(store, "quality.ok")])
    assert set(FAULTS) <= not_ok and len(not_ok) <= len(FAULTS) + 4
    copies = names[select(store, "quality.is_copy")]
    assert set(copies) == set(COPIES)
    assert {name: by_field["copy_of"][row] for row, name in enumerate(names) if name in COPIES} == {
        name: f"r{person}" for name, (person, _, _) in COPIES.items()
    }
    assert "V4" not in by_field["flags"] and by_field["flags"][list(names).index("inverted")] == "limb"
    rates = np.array(by_field["heart_rate"], dtype=float)
    assert np.nanmin(rates) > 25 and np.nanmax(rates) < 230 and np.isfinite(rates).mean() > 0.95
    assert set(names[select(store, "quality.flags == limb")]) >= {"inverted", "interchanged", "lead_gain"}


def test_a_split_written_afterwards_keeps_the_column_and_an_audit_keeps_the_split(planted, found, tmp_path):
    shutil.copytree(planted, tmp_path / "store")
    before = pq.read_table(tmp_path / "store/records.parquet")
    split = np.array(before["split"].cast("string").to_pylist())
    assign(tmp_path / "store", split, {"strategy": "mine"})
    again = pq.read_table(tmp_path / "store/records.parquet")
    assert again["quality"].equals(before["quality"])
    audit(tmp_path / "store", workers=1)
    third = pq.read_table(tmp_path / "store/records.parquet")
    assert third.drop_columns(["quality"]).equals(before.drop_columns(["quality"]))
    assert Store(tmp_path / "store").split_rule == {"strategy": "mine"}
    assert third["quality"].equals(before["quality"])  # and the same again


def test_two_processes_find_what_one_finds(planted, found, tmp_path, monkeypatch):
    shutil.copytree(planted, tmp_path / "store")
    monkeypatch.setattr("einthoven.audit.measure.CHUNK", 9)  # chunks come back in any order
    by_two = audit(tmp_path / "store", workers=2, write=False)
    assert by_two.twins == found[0].twins and by_two.stores[0].kinds == found[0].stores[0].kinds and by_two.worst == found[0].worst
    assert "quality" in Store(planted).names


def test_nothing_is_written_where_nothing_may_be(tmp_path):
    ingest(Planted(names=("exact",), persons=4), tmp_path, tmp_path / "store", workers=1)
    before = (tmp_path / "store/records.parquet").read_bytes()
    assert audit(tmp_path / "store", workers=1, write=False).n_copies == 1
    assert (tmp_path / "store/records.parquet").read_bytes() == before


def test_files_are_read_by_anybody(found):
    result, out, _ = found
    summary = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert summary["counts"]["copies"] == len(COPIES) and summary["counts"]["copies_of_two_patients"] == 1
    assert summary["stores"][0]["kinds"] == result.stores[0].kinds
    with open(out / "copies.csv", newline="", encoding="utf-8") as file:
        copies = list(csv.DictReader(file))
    assert [(row["record"], row["copy"]) for row in copies] == [twin.records for twin in result.twins]
    with open(out / "suspicions.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {row["record"] for row in lines if row["kind"] == "limb"} >= {"inverted", "interchanged", "lead_gain", "renamed"}
    assert sum(row["kind"] == "flat" for row in lines) == result.stores[0].kinds["flat"]


def test_labels_are_counted_and_those_that_their_vocabulary_lacks_named(found):
    (coverage,) = found[0].stores[0].coverage
    assert coverage.n_records == 66 and coverage.unlabelled == 0 and coverage.age == coverage.sex == 66
    assert coverage.codes == {"426783006": 65, "1234": 1} and coverage.unknown == {"1234": 1}


def test_copies_and_patients_on_two_sides_and_over_two_stores_are_told(tmp_path):
    ingest(Planted(names=("exact", "five_times"), persons=12), tmp_path, tmp_path / "one", workers=1)
    ingest(Planted(names=("hundred",), persons=12), tmp_path, tmp_path / "two", workers=1, fs=250.0)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assign(tmp_path / "one", np.full(len(one), "train"))
    assign(tmp_path / "two", np.where(np.array(two.column("patient")) == "p5", "test", "train"))
    result = audit([tmp_path / "one", tmp_path / "two"], workers=1)
    pairs = {twin.records for twin in result.twins if twin.stores == (0, 1)}
    expected = {(f"r{person}", f"r{person}") for person in range(12)} | {(f"again{person}", f"again{person}") for person in range(10)}
    assert {pair for pair in pairs if pair[0] == pair[1]} == expected
    assert {pair for pair in pairs if pair[0] != pair[1]} == {("exact", "r3"), ("five_times", "r7"), ("r5", "hundred")}
    across = {twin.records for twin in result.twins if twin.across_split}
    assert across == {("r5", "r5"), ("r5", "hundred"), ("again5", "again5")}
    assert [(leak.patient, leak.places) for leak in result.leaks] == [("p5", {"one: train": 2, "two: test": 3})]
    second = Store(tmp_path / "two")
    copy_of = second.take(["quality"])["quality"].combine_chunks().field("copy_of").to_pylist()
    assert copy_of[list(second.column("record")).index("r3")] == "one:r3"


def test_a_patient_on_two_sides_of_one_store_is_told(planted, found, tmp_path):
    from einthoven.audit.coverage import leaks

    class Torn(Store):
        def take(self, names):
            table = super().take(names)
            if "split" not in table.column_names:
                return table
            split = ["test" if record == "again2" else "train" for record in self.column("record")]
            return table.set_column(table.column_names.index("split"), "split", [split])

    assert [(leak.patient, leak.places) for leak in leaks([Torn(planted)])] == [("p2", {"test": 1, "train": 1})]
    assert leaks([Store(planted)]) == []


def test_torn_patients_are_those_that_two_nested_loops_find(planted, tmp_path):
    from einthoven.audit.coverage import leaks

    rng = np.random.default_rng(0)
    expected: dict[str, dict[str, int]] = {}
    for name, shares in (("one", (0.9, 0.05, 0.05)), ("two", (0.95, 0.0, 0.05))):
        shutil.copytree(planted, tmp_path / name)
        patient = Store(planted).column("patient")
        split = rng.choice(["train", "valid", "test"], len(patient), p=shares)
        table = pq.read_table(planted / "records.parquet")
        column = table.column_names.index("split")
        pq.write_table(
            table.set_column(column, table.field("split"), pa.array(split).dictionary_encode()), tmp_path / name / "records.parquet"
        )
        for who, part in zip(patient, split):
            own = expected.setdefault(who, {})
            own[f"{name}: {part}"] = own.get(f"{name}: {part}", 0) + 1
    torn = {who: own for who, own in expected.items() if len({place.split(": ")[1] for place in own}) > 1}
    stores = [Store(tmp_path / "one"), Store(tmp_path / "two")]
    assert {leak.patient: leak.places for leak in leaks(stores)} == torn and 3 < len(torn) < len(expected)
    alone = {who: {place[5:]: n for place, n in own.items() if place.startswith("one")} for who, own in expected.items()}
    assert {leak.patient: leak.places for leak in leaks(stores[:1])} == {who: own for who, own in alone.items() if len(own) > 1}


def test_of_each_recording_some_tens_of_bytes_are_kept():
    """What an audit of millions holds in memory: measured by Python's own book-keeping, without the names, which are Arrow's."""
    import tracemalloc

    from einthoven.audit.duplicates import Copy
    from einthoven.audit.files import Lines
    from einthoven.audit.measure import NUMBERS, Chunk
    from einthoven.audit.tally import Tally
    from einthoven.audit.together import Together
    from einthoven.signal.suspicion import Suspicion

    class Long:
        remote, path = None, Path("long")

        def __init__(self, n):
            self.n = n

        def __len__(self):
            return self.n

        def take(self, names):
            return pa.table({name: pa.array([str(at) for at in range(self.n)]) for name in names})

    def kept(n):
        tracemalloc.start()
        tally = Tally(Together([Long(n)]))
        with Lines(None) as lines:
            for first in range(0, n, 500):
                doubts = [(Suspicion("noise", ("V1",), f"recording {first + at}", "warn"),) if at % 10 == 0 else () for at in range(500)]
                numbers = {name: np.ones(500, np.float32) for name in NUMBERS}
                tally.take(Chunk(0, first, numbers, doubts, np.ones(500, np.uint64), np.empty(0)), lines)
        tally.mark_copies([Copy(0, 1, 0.0, 0.0, 10.0, 1.0, 0.0, True, ())])
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert tally.columns(0)["is_copy"].sum() == 1
        return size

    assert (kept(40_000) - kept(20_000)) / 20_000 < 45


def test_room_on_disk_is_asked_for_before_anything_is_measured_and_given_back(planted, found, tmp_path, monkeypatch):
    result = audit(planted, workers=1, write=False, scratch=tmp_path)
    assert result.twins == found[0].twins and not list(tmp_path.iterdir())
    assert 50_000 < room([Store(planted)]) < 500_000
    with pytest.raises(StoreError, match="no folder for temporary files"):
        audit(planted, workers=1, write=False, scratch=tmp_path / "missing")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000))
    with pytest.raises(StoreError, match=r"GB of free disk under .*it has 1e-05 GB: name a folder with more"):
        audit(planted, workers=1, write=False, scratch=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_audited_is_refused(planted, tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        audit(tmp_path / "nothing")
    with pytest.raises(StoreError, match="each store once"):
        audit([planted, planted])
    with pytest.raises(StoreError, match="at least one store"):
        audit([])
    with pytest.raises(StoreError, match="expected the fields"):
        assign_quality(planted, {"ok": [True]})
    with pytest.raises(StoreError, match="expected 66 values of ok"):
        assign_quality(planted, {fields().field(at).name: [None] for at in range(fields().num_fields)})


@pytest.mark.slow
@pytest.mark.data
def test_the_copies_that_the_readme_of_the_real_recordings_names_are_found(data_root, tmp_path):
    mixed = tmp_path / "files"
    for name in ("mitdb", "qtdb", "ptbdb", "cinc2017", "edf"):
        shutil.copytree(data_root / name, mixed / name)
    for name in ("1111611", "1111628", "1111", "9190"):
        for path in (data_root / "code15-wfdb").glob(f"{name}.*"):
            (mixed / "code15").mkdir(exist_ok=True)
            shutil.copy(path, mixed / "code15")
    stores = []
    for source, root, part in (("ptbxl", data_root / "ptb-xl", {}), ("physionet2021", data_root / "cinc2021", {}), ("folder", mixed, {})):
        ingest(source, root, tmp_path / source, workers=1, source_options=part)
        stores.append(tmp_path / source)
    result = audit(stores, workers=1, write=False)
    within = {twin.records for twin in result.twins if twin.stores[0] == twin.stores[1] == 0}
    assert within == {("137", "138"), ("143", "144"), ("456", "457"), ("459", "460")}
    assert not [twin for twin in result.twins if twin.stores == (1, 1)]
    across = {twin.records for twin in result.twins if twin.stores == (0, 1)}
    there = set(Store(stores[0]).column("record"))
    named = {(name.lstrip("HR0"), name) for name in Store(stores[1]).column("record") if name.startswith("HR")}
    assert across == {pair for pair in named if pair[0] in there} and len(across) >= 9
    assert {twin.records for twin in result.twins if twin.stores == (1, 2)} == {("S0001", "ptbdb/s0010_re")}
    own = {frozenset(twin.records) for twin in result.twins if twin.stores == (2, 2)}
    assert own == {
        frozenset({"code15/1111611", "code15/1111628"}),
        frozenset({"cinc2017/A00001", "edf/sample"}),
        frozenset({"mitdb/100", "qtdb/sel100"}),
        frozenset({"mitdb/100", "mitdb/100skew"}),
        frozenset({"mitdb/100skew", "qtdb/sel100"}),
    }
