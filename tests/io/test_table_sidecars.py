"""What a table cannot say stands in a JSON file beside it: written with the table, read back, never mistaken for a recording or another's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.io.converting import convert_files
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources import folder
from einthoven.store.read import Store

VALUES = np.cumsum(np.random.default_rng(4).normal(size=(12, 1000)), axis=1).astype(np.float32) * 0.02
META = {"age": 54.5, "sex": "female", "time": datetime(2020, 3, 4, 5, 6, 7), "report": "Sinus rhythm\nÄ\n", "measurements": {"QT": 400.5}}
SAID = Record(VALUES, 500, TWELVE, record="study 5", patient="P17", labels={"AF": 0.0, "NORM": 1.0}, label_system="SCP-ECG", meta=META)
BARE = Record(VALUES, 500, TWELVE, record="r")


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_table_and_its_sidecar_are_the_recording_again(tmp_path, ending):
    io.write(SAID, tmp_path / f"r{ending}")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["report"] == META["report"]
    back = io.read(tmp_path / f"r{ending}")
    np.testing.assert_array_equal(back.signal, VALUES)
    assert (back.record, back.patient, back.labels, back.label_system, back.meta) == ("study 5", "P17", SAID.labels, "SCP-ECG", META)


def test_an_uncertain_label_is_uncertain_again(tmp_path):
    io.write(replace(BARE, labels={"AF": float("nan")}), tmp_path / "r.csv")
    assert "NaN" not in (tmp_path / "r.json").read_text() and np.isnan(io.read(tmp_path / "r.csv").labels["AF"])


def test_where_the_table_says_all_there_is_no_sidecar_and_no_old_one_stays(tmp_path):
    io.write(BARE, tmp_path / "r.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    io.write(SAID, tmp_path / "r.csv")
    io.write(replace(SAID, patient="P18"), tmp_path / "r.csv")
    assert io.read(tmp_path / "r.csv").patient == "P18"
    io.write(BARE, tmp_path / "r.csv")  # nobody's patient any more
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"] and io.read(tmp_path / "r.csv").patient is None


@pytest.mark.parametrize("content", ['{"fs": 500, "unit": "uV", "leads": ["I"]}', '{"beats": [1, 2]}', "no JSON"])
def test_the_json_of_another_file_is_never_written_over(tmp_path, content):
    np.save(tmp_path / "r.npy", VALUES[0])
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(FormatError, match=r"r\.json: is there, and speaks for another file; r\.csv needs it for record, patient, age"):
        io.write(SAID, tmp_path / "r.csv")
    assert (tmp_path / "r.json").read_text() == content and not (tmp_path / "r.csv").exists()


def test_two_tables_of_one_recording_share_its_sidecar(tmp_path):
    for ending in (".csv", ".tsv", ".csv"):
        io.write(SAID, tmp_path / f"r{ending}")
    with pytest.raises(FormatError, match="speaks for another file"):
        io.write(replace(SAID, patient="P18"), tmp_path / "r.csv")
    assert io.read(tmp_path / "r.tsv").patient == "P17"


def test_no_table_stands_without_its_sidecar(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("einthoven.io.table_write.put", lambda path, said: seen.append((path.exists(), said["patient"])))
    io.write(SAID, tmp_path / "r.csv")
    assert seen == [(False, "P17")]
    monkeypatch.undo()

    def fail(*_):
        raise EinthovenError("no room")

    monkeypatch.setattr("einthoven.io.sidecar_write.write_json", fail)
    with pytest.raises(EinthovenError, match="no room"):
        io.write(SAID, tmp_path / "s.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_what_the_file_says_itself_stands_and_a_file_of_many_has_no_one_patient(tmp_path):
    np.save(tmp_path / "r.npy", VALUES)
    told = {"fs": 500, "unit": "mV", "leads": list(TWELVE)}
    (tmp_path / "r.json").write_text(
        json.dumps({**told, "patient": 17, "age": 300, "sex": "unknown", "time": "2020-03-04 05:06", "more": []})
    )
    record = io.read(tmp_path / "r.npy")
    assert record.patient == "17" and record.meta == {"time": datetime(2020, 3, 4, 5, 6)} and record.record == "r"
    np.save(tmp_path / "r.npy", np.stack([VALUES, VALUES]))
    assert io.read(tmp_path / "r.npy", record=1).patient is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("age", "old"),
        ("patient", 10**400),
        ("sex", 1),
        ("time", "yesterday"),
        ("labels", ["AF"]),
        ("measurements", {"QT": "long"}),
        ("patient", True),
        ("report", 5),
    ],
)
def test_a_sidecar_that_cannot_be_understood_is_refused(tmp_path, key, value):
    io.write(BARE, tmp_path / "r.csv")
    (tmp_path / "r.json").write_text(json.dumps({key: value}))
    with pytest.raises(FormatError, match=rf"r\.json: expected .* as {key}; got .*; mend it, or leave it out\."):
        io.read(tmp_path / "r.csv")


def test_no_number_is_too_large_to_be_refused(tmp_path):
    np.save(tmp_path / "r.npy", VALUES)
    (tmp_path / "r.json").write_text(json.dumps({"fs": 10**400, "unit": "mV", "leads": list(TWELVE)}))
    with pytest.raises(FormatError, match="expected fs, told from outside, as a rate in Hz; got inf"):
        io.read(tmp_path / "r.npy")
    io.write(BARE, tmp_path / "s.csv")
    (tmp_path / "s.json").write_text(json.dumps({"age": 10**400}))
    assert "age" not in io.read(tmp_path / "s.csv").meta


def test_a_folder_of_converted_tables_ingests_with_who_was_recorded(tmp_path):
    for k in range(3):
        io.write(replace(SAID, signal=VALUES + k / 10, patient=f"P{k}"), tmp_path / f"r{k}.edf")
    made = convert_files([tmp_path], tmp_path / "csv", "csv")
    assert [outcome.target.name for outcome in made] == ["r0.csv", "r1.csv", "r2.csv"]
    again = convert_files([tmp_path], tmp_path / "csv", "csv")
    assert all(outcome.was_there for outcome in again) and len(again) == 3
    assert [(ref.record, ref.problem) for ref in folder.records(tmp_path / "csv")] == [(f"r{k}", None) for k in range(3)]
    ingest("folder", tmp_path / "csv", tmp_path / "store")
    store = Store(tmp_path / "store")
    assert sorted(store.table["patient"].to_pylist()) == ["P0", "P1", "P2"] and set(store.table["sex"].to_pylist()) == {"female"}
    assert set(store.table["time"].to_pylist()) == {META["time"]}
    back = convert_files(sorted((tmp_path / "csv").iterdir()), tmp_path / "edf", "edf")  # as a shell's * names them
    assert len(back) == 3 and {io.read(outcome.target).meta["report"] for outcome in back} == {"Sinus rhythm\nÄ"}


def test_a_sidecar_is_made_again_with_its_table(tmp_path):
    io.write(SAID, tmp_path / "r.edf")
    convert_files([tmp_path / "r.edf"], tmp_path / "out", "csv")
    io.write(replace(SAID, patient="P18"), tmp_path / "r.edf")
    convert_files([tmp_path / "r.edf"], tmp_path / "out", "csv", overwrite=True)
    assert io.read(tmp_path / "out/r.csv").patient == "P18"


def test_a_table_beside_its_source_does_not_take_the_sources_sidecar(tmp_path):
    np.save(tmp_path / "r.npy", VALUES)
    told = json.dumps({"fs": 500, "unit": "uV", "leads": list(TWELVE)})
    (tmp_path / "r.json").write_text(told)
    (outcome,) = convert_files([tmp_path / "r.npy"], tmp_path, "csv")
    assert "speaks for another file" in outcome.problem and (tmp_path / "r.json").read_text() == told
