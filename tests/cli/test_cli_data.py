"""Commands about recordings, by their command lines: every corpus goes in by one, and what is wrong is told in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import RECORDING, World, einthoven, one_line
from published_layouts import LAYOUTS

import einthoven as package
from einthoven.sources import SOURCES


def test_every_source_has_a_corpus_in_the_real_layout():
    assert LAYOUTS.keys() == SOURCES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_a_corpus_in_the_real_layout_ingests_by_one_command(name: str, tmp_path: Path):
    layout = LAYOUTS[name]
    root = layout.build(tmp_path)
    outcome = einthoven(["ingest", name, str(root), "STORE", "-j", "1", *layout.words.format(tmp_path).split()], tmp_path)
    assert outcome.code == 0, outcome.err
    persons = f"{layout.persons} patients" if layout.persons else "patients not known"
    assert outcome.out.startswith(f"{layout.n} recordings: {layout.n} stored, none rejected; {persons}, ")
    store = package.Store(tmp_path / "STORE")
    assert len(store) == layout.n and set(store.table["source"].to_pylist()) == {name}
    assert {code for one in store.table["labels"].to_pylist() for code, _ in one or ()} == layout.labels
    assert len({one for one in store.table["patient"].to_pylist() if one}) == layout.persons
    for row in range(len(store)):
        assert 0.02 < np.nanstd(store.record(row).signal) < 2  # mV; uV or counts would be far outside
    assert einthoven(["ingest", name, str(root), "STORE", "-j", "1", *layout.words.format(tmp_path).split()], tmp_path).code == 0


@pytest.mark.parametrize("name", SOURCES)
def test_a_wrong_root_is_told_in_one_line_and_leaves_no_store(name: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for root in ("nowhere", "empty"):
        outcome = einthoven(["ingest", name, root, "STORE", "-j", "1"], tmp_path)
        one_line(outcome, root, "expected")
        assert outcome.code == 2 and not (tmp_path / "STORE").exists()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("cpsc2018", "REFERENCE.csv"),
        ("ptbxl", "ptbxl_database.csv"),
        ("zheng", "Diagnostics.xlsx"),
        ("ribeiro", "attributes.csv"),
        ("mimic_iv_ecg", "record_list.csv"),
        ("mimic_iv_ecg", "machine_measurements.csv"),
        ("code15", "exams.csv"),
        ("sph", "metadata.csv"),
    ],
)
def test_a_missing_table_is_told_in_one_line(name: str, table: str, tmp_path: Path):
    root = LAYOUTS[name].build(tmp_path)
    (root / table).unlink()
    outcome = einthoven(["ingest", name, str(root), "STORE", "-j", "1"], tmp_path)
    one_line(outcome, Path(table).stem)
    assert outcome.code == 2 and not (tmp_path / "STORE").exists()


def test_a_version_that_we_do_not_know_is_told(tmp_path: Path):
    root = LAYOUTS["ptbxl"].build(tmp_path)
    newer = root.rename(root.with_name("ptb-xl-1.0.9"))
    outcome = einthoven(["ingest", "ptbxl", str(newer), "STORE", "-j", "1"], tmp_path)
    assert outcome.code == 0 and "note: version 1.0.9 is here, which we do not know" in outcome.out


def test_sources_lists_every_corpus_and_explains_one(tmp_path: Path):
    outcome = einthoven("sources", tmp_path)
    assert outcome.code == 0 and all(name in outcome.out for name in SOURCES) and "SCP-ECG" in outcome.out
    one = einthoven("sources ptbxl", tmp_path)
    assert one.code == 0 and "--option resolution=" in one.out and "ptbxl_database.csv" in one.out
    one_line(einthoven("sources ptbx", tmp_path), "there is no source 'ptbx'", "did you mean ptbxl?")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("ingest ptbx ROOT STORE", ["there is no source 'ptbx'", "did you mean ptbxl?"]),
        ("ingest ptbxl ROOT STORE --option resolutoin=100", ["has no option resolutoin", "did you mean resolution?"]),
        ("ingest ptbxl ROOT STORE --option resolution", ["expected KEY=VALUE"]),
        ("ingest ptbxl ROOT STORE --option resolution=250", ["best, 500, 100", "250"]),
        ("ingest mimic_iv_ecg ROOT STORE --option machine=perhaps", ["expected a value such as True", "perhaps"]),
        ("ingest ptbxl ROOT STORE --subset a", ["--subset: ptbxl has no named parts"]),
        ("ingest ptbxl ROOT STORE --shards 4/3", ["--shards: expected i/n"]),
        ("ingest ptbxl ROOT STORE --append", ["STORE"]),
        ("export STORE out --as fairseq", ["--as fairseq: expected fairseq-signals", "did you mean"]),
        ("export STORE out --as edf --fs 100", ["--fs: has no meaning with --as edf"]),
        ("export STORE out --as fairseq-signals --where age>3", ["--where: has no meaning with --as fairseq-signals"]),
        ("store nowhere", ["nowhere"]),
        ("audit nowhere", ["nowhere"]),
    ],
)
def test_a_wrong_word_is_told_in_one_line(words: str, parts: list[str], tmp_path: Path):
    root = LAYOUTS["ptbxl"].build(tmp_path).rename(tmp_path / "ROOT")
    assert root.is_dir()
    assert one_line(einthoven(words, tmp_path), *parts) and einthoven(words, tmp_path).code == 2


def test_options_of_every_kind_reach_the_source(tmp_path: Path):
    root = LAYOUTS["physionet2021"].build(tmp_path)
    assert einthoven(["ingest", "physionet2021", str(root), "A", "-o", "subset=ptb,georgia", "-j", "1"], tmp_path).code == 0
    assert len(package.Store(tmp_path / "A")) == 2
    (tmp_path / "m").mkdir()
    mimic = LAYOUTS["mimic_iv_ecg"].build(tmp_path / "m")
    assert einthoven(["ingest", "mimic_iv_ecg", str(mimic), "B", "-o", "machine=false", "-j", "1"], tmp_path).code == 0
    assert "report" not in package.Store(tmp_path / "B").record(0).meta


@pytest.mark.slow
def test_a_second_corpus_is_added_and_a_cluster_on_this_machine_gives_the_same(world: World, tmp_path: Path):
    zheng = LAYOUTS["zheng"].build(tmp_path)
    shutil.copytree(world.folder / "store", tmp_path / "store")
    outcome = einthoven(["ingest", "zheng", str(zheng), "store", "--append", "-j", "1"], tmp_path)
    assert outcome.code == 0, outcome.err
    store = package.Store(tmp_path / "store")
    assert len(store) == 42 and store.table["source"].to_pylist()[-2:] == ["zheng"] * 2
    outcome = einthoven(["ingest", "zheng", str(zheng), "local", "--scheduler", "local:2"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert len(package.Store(tmp_path / "local")) == 2


def test_a_split_is_made_in_every_way(own: Path):
    for words in ("--strategy random --fractions 0.6,0.2,0.2", "--strategy stratified", "--strategy source --test synthetic"):
        outcome = einthoven(f"split store {words}", own)
        assert outcome.code == 0 and outcome.out.startswith("train "), outcome
    records = package.Store(own / "store").table["record"].to_pylist()
    persons = package.Store(own / "store").table["patient"].to_pylist()
    lines = [f"physionet2021_{one}.mat,{'test' if who == persons[0] else 'train'}" for one, who in zip(records[:-1], persons)]
    (own / "split.csv").write_text("\n".join(["save_file,split", *lines]) + "\n")
    outcome = einthoven("split store --table split.csv", own)
    assert outcome.code == 0 and outcome.out.endswith("in no part 1\n"), outcome
    one_line(einthoven("split store --fractions a,b", own), "--fractions: expected three numbers")
    one_line(einthoven("split store --test x", own), "add --strategy fold or --strategy source")


def test_folds_take_their_turn(own: Path):
    tested: list[str] = []
    for fold in range(1, 6):
        assert einthoven(f"split store --strategy stratified --folds 5 --valid {fold % 5 + 1} --test {fold}", own).code == 0
        store = package.Store(own / "store")
        tested += store.column("record")[store.column("split") == "test"].tolist()
    assert sorted(tested) == sorted(package.Store(own / "store").column("record").tolist())
    assert package.Store(own / "store").split_rule["fractions"] == pytest.approx([0.6, 0.2, 0.2])  # for patients who come later
    one_line(einthoven("split store --folds 5", own), "--folds: are made by --strategy stratified")
    one_line(einthoven("split store --strategy stratified --folds 5 --test 9", own), "there is no fold 9")


def test_an_audit_fills_the_table_so_that_quality_can_choose(own: Path):
    outcome = einthoven("audit store --dry -j 1", own)
    assert outcome.code == 0, outcome.err
    one_line(einthoven(["store", "store", "--html", "page.html", "--where", "quality.ok"], own), "quality")
    outcome = einthoven("audit store --html audit.html --out found -j 1", own)
    assert outcome.code == 0, outcome.err
    assert (own / "audit.html").read_text().lstrip().lower().startswith("<!doctype html") and (own / "found" / "audit.json").is_file()
    assert einthoven(["store", "store", "--html", "page.html", "--where", "quality.ok", "--records", "2"], own).code == 0
    assert (own / "page.html").is_file() and einthoven("store store", own).code == 0
    tiny = "encoder=tiny encoder.depth=1 steps=1 batch=4 validate_every=0 device=cpu run=run"
    outcome = einthoven(["pretrain", "w2v", "data=store", "where=quality.ok", *tiny.split()], own)
    assert outcome.code == 0, outcome.err
    assert json.loads((own / "run" / "recipe.json").read_text())["recipe"]["where"] == "quality.ok"


def test_signals_are_converted_file_by_file_and_by_the_folder(world: World, tmp_path: Path):
    source = world.folder / RECORDING
    assert einthoven(["convert-signal", str(source), "--out", "one.edf"], tmp_path).code == 0
    one, other = package.read(source), package.read(tmp_path / "one.edf")
    np.testing.assert_allclose(one.signal, other.signal[:, : one.signal.shape[1]], atol=0.002)
    one_line(einthoven(["convert-signal", str(source), "--out", "one.edf"], tmp_path), "is there already; add --overwrite")
    assert einthoven(["convert-signal", str(source), "--out", "one.edf", "--overwrite"], tmp_path).code == 0
    (tmp_path / "in").mkdir()
    shutil.copy(tmp_path / "one.edf", tmp_path / "in" / "good.edf")
    (tmp_path / "in" / "bad.edf").write_bytes((tmp_path / "one.edf").read_bytes()[:300])
    outcome = einthoven("convert-signal in --to csv --out out", tmp_path)
    assert outcome.code == 1 and "not converted: in/bad.edf: " in outcome.out and "1 of 2 recordings in out" in outcome.out
    one_line(einthoven(["convert-signal", str(source), "--out", "folder"], tmp_path), "a folder needs --to FORMAT")


def test_what_a_file_does_not_say_is_told(tmp_path: Path):
    np.save(tmp_path / "bare.npy", (1000 * np.sin(np.arange(2000) / 20) * np.ones((2, 1))).astype(np.float32))
    assert einthoven("convert-signal bare.npy --out told.csv", tmp_path).code == 2
    outcome = einthoven("convert-signal bare.npy --out told.csv --fs 250 --unit uV --leads I,V1", tmp_path)
    assert outcome.code == 0, outcome.err
    record = package.read(tmp_path / "told.csv")
    assert (record.fs, record.leads) == (250, ("I", "V1")) and 0.9 < record.signal.max() < 1.1


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("fairseq-signals", "manifests"),
        ("fairseq-signals-old", "manifests"),
        ("ecg-selfsupervised", "memmap_meta.npz"),
        ("dicom", "S00001.dcm"),
    ],
)
def test_a_store_is_exported_in_each_form(world: World, tmp_path: Path, kind: str, there: str):
    (tmp_path / "store").symlink_to(world.folder / "store")
    outcome = einthoven(f"export store out --as {kind}", tmp_path)
    assert outcome.code == 0, outcome.err
    assert list((tmp_path / "out").rglob(there))


def test_a_condition_chooses_what_is_exported_and_the_folder_goes_in_again(world: World, tmp_path: Path):
    (tmp_path / "store").symlink_to(world.folder / "store")
    outcome = einthoven(["export", "store", "out", "--as", "wfdb", "--where", "sex == female"], tmp_path)
    assert outcome.code == 0, outcome.err
    assert einthoven("ingest folder out again", tmp_path).code == 0
    chosen, whole = package.Store(tmp_path / "again"), package.Store(tmp_path / "store")
    assert 0 < len(chosen) == (whole.column("sex") == "female").sum() < len(whole)
    assert set(chosen.column("record")) == set(whole.column("record")[whole.column("sex") == "female"])


def test_a_recording_of_a_store_is_shown(world: World, tmp_path: Path):
    (tmp_path / "store").symlink_to(world.folder / "store")
    assert "written: S00003.png" in einthoven("show store --record S00003", tmp_path).out
    assert "written: S00003.svg" in einthoven("show store --record 2 --out S00003.svg", tmp_path).out
    one_line(einthoven("show store", tmp_path), "store is a store of 40 recordings", "--record")
    one_line(einthoven("show store --record S1", tmp_path), "has no recording 'S1'", "S00001")


def test_a_recording_of_a_file_that_holds_many_is_shown(tmp_path: Path):
    import h5py

    with h5py.File(tmp_path / "many.hdf5", "w") as file:
        file["tracings"] = np.random.default_rng(0).normal(0, 0.3, (2, 4096, 12)).astype(np.float32)
        file["exam_id"] = [7, 8]
    outcome = einthoven("show many.hdf5 --record 8", tmp_path)
    assert outcome.code == 0 and "written: 8.png" in outcome.out, outcome.err
