"""What the two pipelines of fairseq-signals wrote, from a store of the same raw files; and their files, read into a store.

The raw files hold whole microvolts at 500 Hz, so that a store rounds nothing there. Which recording is in which part, and hence what is
counted per part, was made by hand in the golden tables: the store is given the same split.
"""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from parity_cases import ROOT

from einthoven.export import fairseq_signals as export_fairseq
from einthoven.export import fairseq_signals_old as export_fairseq_old
from einthoven.export.fairseq_manifests import pairs
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import fairseq_signals
from einthoven.store.published_split import split_from_table
from einthoven.store.read import Store
from einthoven.store.split import assign

PIPELINE, OLD = ROOT / "fairseq_signals" / "preprocess_pipeline", ROOT / "fairseq_signals" / "preprocess_physionet2021_old"
MANIFESTS = ROOT / "fairseq_signals" / "cmsc_manifest"
RAW = OLD / "raw"
pytestmark = pytest.mark.parity
A_COUNT = 0.001


def variants(case) -> list:
    if not (case / "expected").is_dir():
        return [pytest.param("", "", id=case.name, marks=pytest.mark.skip(reason="no golden values: set EINTHOVEN_PARITY"))]
    options = dict(re.findall(r"^- `(\w+)`: options `([^`]*)`", (case / "README.md").read_text(), flags=re.MULTILINE))
    return [
        pytest.param(path.name, options.get(path.name, ""), id=path.name)
        for path in sorted((case / "expected").iterdir())
        if path.name != "as_written"
    ]


def option(text: str, name: str, default: str) -> str:
    found = re.search(rf"--{name} (\S+)", text)
    return found[1] if found else default


def leads_of(options: str) -> list[str]:
    return [TWELVE[int(number)] for number in option(options, "leads", ",".join(map(str, range(12)))).split(",")]


@pytest.fixture(scope="module")
def store(tmp_path_factory, parity_root):
    """The raw files, with the split of the golden tables."""
    path = tmp_path_factory.mktemp("raw") / "store"
    ingest("physionet2021", RAW, path)
    tables = sorted(PIPELINE.glob("expected/*/tables/meta_split.csv"))
    if tables:
        assign(path, *split_from_table(Store(path), tables[0]))
    return Store(path)


def mat(path) -> dict:
    from scipy.io import loadmat

    return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}


def same_file(path, golden, atol: float) -> None:
    ours = mat(path)
    with np.load(golden, allow_pickle=False) as file:
        theirs = {name.replace("feats_float32", "feats"): file[name] for name in file.files}
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if name in ("patient_id", "age", "sex") and "label" in theirs:
            continue  # not to be compared: they were wrong there
        if name == "feats":
            assert ours[name].dtype == np.float64
        else:
            assert ours[name].dtype == value.dtype, name
        assert ours[name].shape == value.shape, name
        if name in ("feats", "mean", "std"):
            np.testing.assert_allclose(ours[name], value, atol=atol, rtol=1e-6, err_msg=f"{path.name}: {name}")
        else:
            np.testing.assert_array_equal(ours[name], value, err_msg=f"{path.name}: {name}")


@pytest.mark.parametrize(("variant", "options"), variants(PIPELINE))
def test_every_file_of_the_newer_pipeline_is_the_old_one(store, tmp_path, variant, options):
    fs, seconds = float(option(options, "desired_sample_rate", "500")), float(option(options, "segment_seconds", "5"))
    stages = [stage for stage in export_fairseq.STAGES if stage not in option(options, "skip", "").split(",")]
    export_fairseq.export(store, tmp_path / "out", stage=stages, seconds=seconds, fs=fs, leads=leads_of(options))
    golden = sorted((PIPELINE / "expected" / variant).rglob("*.npz"))
    assert golden
    for path in golden:
        stage = path.parent.name
        same_file(tmp_path / "out" / "physionet2021" / stage / f"{path.stem}.mat", path, 1e-6 if stage == "org" else 1e-5)
    assert {path.name for path in (tmp_path / "out" / "physionet2021").iterdir()} & set(export_fairseq.STAGES) == set(stages)


@pytest.mark.parametrize(("variant", "options"), variants(PIPELINE))
def test_every_table_of_the_newer_pipeline_is_the_old_one(store, tmp_path, variant, options):
    tables = PIPELINE / "expected" / variant / "tables"
    fs = float(option(options, "desired_sample_rate", "500"))
    stages = [stage for stage in export_fairseq.STAGES if stage not in option(options, "skip", "").split(",")]
    out = tmp_path / "out"
    export_fairseq.export(store, out, stage=stages, fs=fs, leads=leads_of(options))
    compared = 0
    for golden in sorted(path for path in tables.rglob("*") if path.is_file()):
        name = golden.relative_to(tables).as_posix()
        ours = out / (
            "manifest.csv" if name == "multi_source_manifest.csv" else name if name.startswith("manifests/") else f"physionet2021/{name}"
        )
        compared += 1
        if golden.suffix == ".npy":
            mine, theirs = np.load(ours, allow_pickle=False), np.load(golden, allow_pickle=False)
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
            continue
        text = ours.read_text(encoding="utf-8").replace(f"{out.as_posix()}/", "PROCESSED/").replace(RAW.as_posix(), "RAW/training")
        if golden.name != "meta.csv":
            assert text == golden.read_text(encoding="utf-8"), name
            continue
        mine, theirs = list(csv.DictReader(text.splitlines())), list(csv.DictReader(golden.read_text(encoding="utf-8").splitlines()))
        assert list(mine[0]) == list(theirs[0]) and len(mine) == len(theirs)
        for one, other in zip(mine, theirs):
            for column in one:
                if column.startswith(("mean_", "std_")):
                    np.testing.assert_allclose(float(one[column]), float(other[column]), rtol=1e-6, atol=1e-12)
                elif column == "diagnosis":  # a store sorts the codes
                    assert sorted(one[column].split(",")) == sorted(other[column].split(","))
                else:
                    assert one[column] == other[column], column
    assert compared >= 3


@pytest.mark.parametrize(("variant", "options"), variants(OLD))
def test_every_file_of_the_older_pipeline_is_the_old_one(store, tmp_path, variant, options):
    fs, seconds = float(option(options, "sample-rate", "500")), float(option(options, "sec", "5"))
    out = tmp_path / "out"
    export_fairseq_old.export(store, out, seconds=seconds, fs=fs, leads=leads_of(options))
    golden = sorted((OLD / "expected" / variant).rglob("*.npz"))
    assert golden
    for path in golden:
        same_file(out / path.parent.name / f"{path.stem}.mat", path, 1e-6)
    root, *rows = (out / "manifests" / "train.tsv").read_text().splitlines()
    assert root == out.as_posix() and all(int(row.split("\t")[1]) == round(seconds * fs) for row in rows)
    assert {row.split("\t")[0] for row in rows} <= {path.relative_to(out).as_posix() for path in out.rglob("*.mat")}


@pytest.mark.parametrize("name", sorted(path.name for path in (MANIFESTS / "in").glob("*.tsv")) if MANIFESTS.is_dir() else [])
def test_the_manifest_of_pairs_is_the_old_one_to_the_letter(name):
    root, *lines = (MANIFESTS / "in" / name).read_text().splitlines()
    segments = []
    for line in lines:
        path, n = line.split("\t")
        stem, number = path.removesuffix(".mat").rsplit("_", 1)
        segments.append((stem, int(number), int(n)))
    assert pairs(root, segments) == (MANIFESTS / "out" / name).read_text()


# --------------------------------------------------------------------------------------------------------------------- in


@pytest.fixture(scope="module")
def written(tmp_path_factory, parity_root):
    """The golden products as they would lie on a disk: the arrays as ``.mat`` files again, beside their tables."""
    from scipy.io import savemat

    if not (PIPELINE / "expected" / "default" / "tables").is_dir():
        pytest.skip("no golden tables here")
    root = tmp_path_factory.mktemp("processed") / "physionet2021"
    for golden in (PIPELINE / "expected" / "default").rglob("*.npz"):
        path = root / golden.parent.name / f"{golden.stem}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        with np.load(golden, allow_pickle=False) as file:
            savemat(path, {name.replace("feats_float32", "feats"): file[name] for name in file.files})
    tables = PIPELINE / "expected" / "default" / "tables"
    for golden in tables.rglob("*"):
        if golden.is_file():
            name = golden.relative_to(tables)
            path = (root.parent if name.parts[0] == "manifests" else root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(golden.read_bytes())
    return root.parent


@pytest.mark.parametrize("what", [{"stage": "segmented"}, "manifests", "manifests/cmsc"])
def test_the_golden_segments_are_the_recordings_that_they_were_cut_from(store, written, tmp_path, what):
    root, options = (written / what, {}) if isinstance(what, str) else (written, what)
    ingest(fairseq_signals, root, tmp_path / "back", source_options=options)
    back = Store(tmp_path / "back")
    records = {name.rsplit("_", 1)[1]: row for row, name in enumerate(back.column("record").tolist())}
    assert records.keys() == set(store.column("record").tolist())
    for row, name in enumerate(store.column("record").tolist()):
        one, other = store.record(row), back.record(records[name])
        np.testing.assert_allclose(other.signal, one.signal, atol=A_COUNT / 2 + 1e-6)
        assert (other.fs, other.leads, other.labels, other.label_system) == (one.fs, one.leads, one.labels, one.label_system)
        assert other.meta["age"] == one.meta["age"] and other.meta["sex"] == one.meta["sex"]
        assert other.meta["dataset"] == one.meta["dataset"]
    assert back.split_rule["strategy"] == "fold"
    parts = {name: part for name, part in zip(store.column("record"), store.column("split"))}
    assert all(back.column("split")[row] == parts[name] for name, row in records.items())


def test_a_recording_without_its_file_in_a_stage_is_told(written):
    refs = list(fairseq_signals.records(written))  # "org", of which the golden values hold one file
    assert sum(ref.problem is None for ref in refs) == 1 and sum("not there" in (ref.problem or "") for ref in refs) == len(refs) - 1
    assert fairseq_signals.read(next(ref for ref in refs if ref.problem is None)).signal.shape == (12, 5000)


def test_the_file_of_the_older_pipeline_gives_its_labels_and_no_false_age(parity_root):
    folder = OLD / "expected" / "as_written"
    if not folder.is_dir():
        pytest.skip("no file as written here")
    for ref in fairseq_signals.records(folder):
        record = fairseq_signals.read(ref)
        assert {code for code, value in record.labels.items() if value == 1} == {"426177001"} and record.label_system == "SNOMED CT"
        assert "age" not in record.meta and "sex" not in record.meta and record.patient is None
