"""Products of fairseq-signals, written here with scipy in its layout: files of both pipelines, tables, labels, and every kind of
manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import fairseq_signals
from einthoven.store.read import Store

savemat = pytest.importorskip("scipy.io").savemat
FS = 100


def ecg(seed: int, seconds: float = 4.0, n_leads: int = 12) -> np.ndarray:
    """(lead, time) mV: spikes on a wave, different in every lead."""
    t = np.arange(int(seconds * FS)) / FS
    beat = np.exp(-(((t + 0.01 * seed) % 0.8 - 0.3) ** 2) / 0.001)
    return np.stack([(1 + 0.1 * lead) * beat + 0.1 * np.sin(t * (1 + lead) + seed) for lead in range(n_leads)])


def write(path: Path, feats: np.ndarray, **keys) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"curr_sample_rate": FS, **keys, "feats": feats})
    return path


def write_segments(folder: Path, stem: str, signal: np.ndarray, n: int = 2, **keys) -> None:
    for number, window in enumerate(np.split(signal, n, axis=1)):
        write(folder / f"{stem}_{number}.mat", window, **keys)


def manifest(path: Path, root: str, rows: list[tuple], *, ending: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [root, *([ending] if ending else []), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def processed(
    root: Path, *, n: int = 6, parts=("train", "train", "train", "valid", "test", "test"), stage: str = "preprocessed", more: str = ""
) -> Path:
    """A source of the newer pipeline, with its z-scored files; record k has the label A where k is even."""
    source = root / "code_15"
    extra = more.split(",") if more else []
    meta = [",".join(["idx", "save_file", "age", "is_male", "patient_id", *extra])]
    for k in range(n):
        signal = ecg(k)
        mean, std = signal.mean(axis=1, keepdims=True), signal.std(axis=1, keepdims=True)
        if stage == "preprocessed":
            write(source / stage / f"code_15_{k}.mat", (signal - mean) / std, mean=mean, std=std, idx=10 + k)
        elif stage == "segmented":
            write_segments(source / stage, f"code_15_{k}", (signal - mean) / std, mean=mean, std=std, idx=10 + k)
        meta.append(
            ",".join(
                [
                    str(10 + k),
                    f"code_15_{k}.mat",
                    str(40 + k),
                    str(k % 2 == 0),
                    f"{k // 2}.0",
                    *("uv" if name == "units" else "" for name in extra),
                ]
            )
        )
    (source / "meta.csv").write_text("\n".join(meta) + "\n")
    rows = [f"{10 + k},code_15_{k}.mat,{part}" for k, part in enumerate(parts) if part]
    (source / "meta_split.csv").write_text("\n".join(["idx,save_file,split", *rows]) + "\n")
    return source


def label(
    source: Path, y: np.ndarray, *, names=("A", "B"), weights: str | None = None, table: str | None = None, n_counted: int | None = None
) -> None:
    folder = source / "labels"
    folder.mkdir()
    np.save(folder / "y.npy", y)
    n_counted = n_counted or len(y)
    rows = [f"{name},{int(count)},{count / n_counted}" for name, count in zip(names, np.nansum(y, axis=0))]
    (folder / "label_def.csv").write_text("\n".join(["name,pos_count_all,pos_percent_all", *rows]) + "\n")
    if weights is not None:
        (folder / "pos_weight.txt").write_text(weights)
    if table is not None:
        (folder / "labels.csv").write_text(table)


def refs_of(root: Path, **options) -> dict:
    return {ref.record: ref for ref in fairseq_signals.records(root, **options)}


# ------------------------------------------------------------------------------------------------------- processed folders


def test_a_standardised_file_is_millivolt_again_with_what_its_tables_say(tmp_path):
    processed(tmp_path)
    refs = refs_of(tmp_path)
    assert list(refs) == [str(k) for k in range(6)]
    record = fairseq_signals.read(refs["3"])
    np.testing.assert_allclose(record.signal, ecg(3), atol=1e-6)
    assert record.leads == TWELVE and record.fs == FS and record.patient == "1" and record.labels is None
    assert refs["3"].fold == "valid" and record.meta["age"] == 43 and record.meta["sex"] == "female"
    ingest(fairseq_signals, tmp_path / "code_15", tmp_path / "store", fs=FS, source_options={"split": "new"})
    assert Store(tmp_path / "store").split_rule["strategy"] == "random"


def test_segments_become_the_recording_or_stay_of_one_person(tmp_path):
    processed(tmp_path, stage="segmented")
    joined = refs_of(tmp_path)
    assert list(joined) == [str(k) for k in range(6)] and joined["0"].meta["segments"] == 2
    np.testing.assert_allclose(fairseq_signals.read(joined["4"]).signal, ecg(4), atol=1e-6)
    kept = refs_of(tmp_path, segments="keep")
    assert len(kept) == 12 and kept["4_1"].patient == "2" and kept["4_1"].fold == "test"
    np.testing.assert_allclose(fairseq_signals.read(kept["4_1"]).signal, ecg(4)[:, 200:], atol=1e-6)
    (tmp_path / "code_15" / "segmented" / "code_15_5_0.mat").unlink()  # not all from 0 on: nothing is put together
    assert "5_1" in refs_of(tmp_path) and "5" not in refs_of(tmp_path)


def test_a_filtered_recording_a_row_without_file_and_a_file_without_row_are_told(tmp_path):
    source = processed(tmp_path, parts=("train", "train", None, "valid", "test", "test"))
    (source / "preprocessed" / "code_15_1.mat").unlink()
    write(source / "preprocessed" / "code_15_77.mat", ecg(0))
    refs = refs_of(tmp_path)
    assert "leaves this recording out" in refs["2"].problem and "not there" in refs["1"].problem
    assert "no row" in refs["code_15_77"].problem
    assert refs_of(tmp_path, split="new")["2"].problem is None
    summary = ingest(fairseq_signals, tmp_path, tmp_path / "store", fs=FS)
    assert summary.n_records == 4 and summary.n_rejected == 3
    assert Store(tmp_path / "store").column("split").tolist() == ["train", "valid", "test", "test"]


def test_labels_are_found_by_the_global_number(tmp_path):
    source = processed(tmp_path)
    y = np.zeros((16, 2))
    y[10:16:2, 0] = 1
    y[11, 1] = np.nan
    label(source, y, table="idx,A,B\n10,1,0\n11,0,\n12,1,0\n14,1,0\n")
    refs = refs_of(tmp_path)
    assert refs["0"].labels == {"A": 1.0, "B": 0.0} and refs["0"].label_system == "own"
    assert refs["1"].labels["A"] == 0 and np.isnan(refs["1"].labels["B"])
    assert refs["3"].labels is None  # zeros, and not in labels.csv


def test_a_row_of_zeros_is_a_no_only_where_somebody_counted_it(tmp_path):
    y = np.zeros((16, 2))
    y[10, 0] = 1
    label(processed(tmp_path / "a"), y, n_counted=16)
    label(processed(tmp_path / "b"), y, n_counted=3)
    assert refs_of(tmp_path / "a")["1"].labels == {"A": 0.0, "B": 0.0}
    assert refs_of(tmp_path / "b")["1"].labels is None and refs_of(tmp_path / "b")["0"].labels == {"A": 1.0, "B": 0.0}


def test_names_of_the_challenge_become_its_codes(tmp_path):
    y = np.ones((16, 2))
    y[11, 1] = 0
    label(processed(tmp_path), y, names=("AF", "CLBBB|LBBB"))
    refs = refs_of(tmp_path)
    assert refs["0"].labels == {"164889003": 1.0, "733534002": 1.0} and refs["0"].label_system == "SNOMED CT"
    assert refs["1"].labels == {"164889003": 1.0, "733534002": 0.0, "164909002": 0.0}


def test_weights_of_another_run_are_refused(tmp_path):
    y = np.zeros((16, 2))
    y[10:14, 0] = [1, 0, 1, 1]  # 2 of 3 that train
    y[10, 1] = 1
    label(processed(tmp_path / "right"), y, weights="[0.5,2.0]")
    assert refs_of(tmp_path / "right")
    label(processed(tmp_path / "wrong"), y, weights="[0.5,3.0]")
    with pytest.raises(EinthovenError, match=r"pos_weight\.txt: gives 3 for B where .* give 2"):
        refs_of(tmp_path / "wrong")


def test_units_of_the_first_stage_are_made_millivolt(tmp_path):
    source = processed(tmp_path, more="units")
    for k in range(6):
        write(source / "org" / f"code_15_{k}.mat", 1000 * ecg(k))
    np.testing.assert_allclose(fairseq_signals.read(refs_of(tmp_path)["2"]).signal, ecg(2), rtol=1e-5, atol=1e-6)
    text = (source / "meta.csv").read_text()
    (source / "meta.csv").write_text(text.replace(",uv", ",bits"))
    assert "no voltage" in refs_of(tmp_path)["2"].problem and refs_of(tmp_path, stage="preprocessed")["2"].problem is None


def test_fewer_leads_have_the_names_of_the_table(tmp_path):
    source = tmp_path / "src"
    write(source / "org" / "src_1.mat", ecg(1, n_leads=3))
    (source / "meta.csv").write_text("idx,save_file,lead_order\n0,src_1.mat,\"['I', 'II', 'V2']\"\n")
    assert fairseq_signals.read(refs_of(tmp_path)["1"]).leads == ("I", "II", "V2")
    (source / "meta.csv").write_text("idx,save_file,lead_order\n0,src_1.mat,\"['I', 'II']\"\n")
    with pytest.raises(FormatError, match="has 3 rows where its leads are I II"):
        fairseq_signals.read(refs_of(tmp_path)["1"])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda source: (source / "meta.csv").write_text("a,b\n1,2\n"), "lacks the column idx, save_file"),
        (lambda source: (source / "meta.csv").write_text("idx,save_file\nx,code_15_0.mat\n"), "a number as idx; got 'x'"),
        (lambda source: (source / "meta.csv").write_bytes(b"idx,save_file\n\xff\xfe\n"), "cannot be read as a table"),
        (lambda source: label(source, np.zeros((16, 3))), "label_def.csv names 2 labels"),
        (
            lambda source: (label(source, np.zeros((16, 2))), (source / "labels" / "y.npy").write_bytes(b"\x80\x04K\x01.")),
            "y.npy: cannot be read",
        ),
        (lambda source: label(source, np.zeros((16, 2)), weights="heavy"), r"expected \[w1,w2,…\]"),
    ],
)
def test_a_damaged_table_is_told_in_one_line(tmp_path, change, what):
    change(processed(tmp_path))
    with pytest.raises(EinthovenError, match=what) as told:
        refs_of(tmp_path)
    assert "\n" not in str(told.value)


# ------------------------------------------------------------------------------------------------------------- manifests


def test_a_folder_of_manifests_gives_the_parts_whatever_the_first_line_begins_with(tmp_path):
    for k in range(4):
        write_segments(tmp_path / "data" / "georgia", f"E{k}", ecg(k), label=np.eye(26)[[k]].astype(np.uint8), age=0, sex=1, patient_id=k)
    for part, names in (("train", ("E0", "E3")), ("valid", ("E1",)), ("test", ("E2",))):
        rows = [(f"georgia/{name}_{number}.mat", 200) for name in names for number in (0, 1)]
        manifest(tmp_path / "m" / f"{part}.tsv", ("\t" if part == "valid" else "") + str(tmp_path / "data"), rows)
    refs = refs_of(tmp_path / "m")
    assert {name: ref.fold for name, ref in refs.items()} == {"E0": "train", "E3": "train", "E1": "valid", "E2": "test"}
    record = fairseq_signals.read(refs["E1"])
    np.testing.assert_allclose(record.signal, ecg(1), atol=1e-6)
    assert record.labels["164890007"] == 1 and sum(record.labels.values()) == 1 and record.label_system == "SNOMED CT"
    assert "age" not in record.meta and "sex" not in record.meta and record.patient is None and record.meta["dataset"] == "georgia"
    ingest(fairseq_signals, tmp_path / "m", tmp_path / "store", fs=FS)
    assert sorted(Store(tmp_path / "store").column("split")) == ["test", "train", "train", "valid"]


def test_a_manifest_whose_folder_moved_is_found_again_beside_it_or_where_it_is_told(tmp_path):
    write_segments(tmp_path / "moved" / "physionet" / "segmented", "r1", ecg(1))
    rows = [("segmented/r1_0.mat", 200), ("segmented/r1_1.mat", 200)]
    beside = manifest(tmp_path / "moved" / "manifests" / "train.tsv", "/old/machine/physionet", rows)
    assert refs_of(beside)["r1"].path == tmp_path / "moved" / "physionet" / "segmented" / "r1_0.mat"
    away = manifest(tmp_path / "elsewhere" / "deep" / "down" / "in" / "it" / "train.tsv", "C:\\old\\physionet", rows)
    with pytest.raises(EinthovenError, match="say files=FOLDER"):
        refs_of(away)
    assert refs_of(away, files=tmp_path / "moved")["r1"].problem is None


def test_pairs_and_persons_of_manifests_are_read(tmp_path):
    for k in range(4):
        write_segments(tmp_path / "d", f"r_{k}", ecg(k))
    pairs = manifest(tmp_path / "cmsc" / "train.tsv", str(tmp_path / "d"), [("r_0", 200, 0, "0,1"), ("r_2", 200, 0, "0,1")], ending="mat")
    assert set(refs_of(pairs)) == {"r_0", "r_2"} and refs_of(pairs)["r_2"].meta["segments"] == 2
    folder = tmp_path / "identify"
    manifest(folder / "train.tsv", str(tmp_path / "d"), [("r_0_0.mat", 200, 0), ("r_0_1.mat", 200, 0)])
    manifest(folder / "valid_gallery.tsv", str(tmp_path / "d"), [("r_1_0.mat", 200, 0), ("r_2_0.mat", 200, 1)])
    manifest(folder / "valid_probe.tsv", str(tmp_path / "d"), [("r_3_0.mat", 200, 1)])
    refs = refs_of(folder)
    assert refs["r_2"].patient == refs["r_3"].patient != refs["r_1"].patient != refs["r_0"].patient
    assert refs["r_3"].fold == "valid" and refs["r_0"].fold == "train"


def test_a_split_by_segment_is_refused_and_can_be_made_anew(tmp_path):
    for k in range(3):
        write_segments(tmp_path / "d", f"r_{k}", ecg(k))
    manifest(tmp_path / "m" / "train.tsv", str(tmp_path / "d"), [("r_0_0.mat", 200), ("r_1_0.mat", 200), ("r_1_1.mat", 200)])
    manifest(tmp_path / "m" / "test.tsv", str(tmp_path / "d"), [("r_0_1.mat", 200), ("r_2_0.mat", 200), ("r_2_1.mat", 200)])
    with pytest.raises(EinthovenError, match=r"1 recordings have segments on two sides of the split, for one r_0 \(test and train\)"):
        refs_of(tmp_path / "m")
    refs = refs_of(tmp_path / "m", split="new")
    assert set(refs) == {"r_0", "r_1", "r_2"} and {ref.fold for ref in refs.values()} == {None}
    kept = refs_of(tmp_path / "m", split="new", segments="keep")
    assert len(kept) == 6 and kept["r_0_0"].patient == kept["r_0_1"].patient is not None


def test_a_file_that_a_manifest_names_and_that_is_gone_is_told(tmp_path):
    write_segments(tmp_path / "d", "r_0", ecg(0))
    path = manifest(tmp_path / "train.tsv", str(tmp_path / "d"), [("r_0_0.mat", 200), ("gone.mat", 200)])
    refs = refs_of(path)
    assert refs["r_0"].problem is None and "not there" in refs["gone"].problem


def test_labels_of_files_without_tables_are_told_by_their_number(tmp_path):
    y = np.zeros((16, 2))
    y[12, 1] = 1
    source = tmp_path / "labels_only"
    source.mkdir()
    label(source, y)
    write(tmp_path / "d" / "a.mat", ecg(0), idx=12)
    write(tmp_path / "d" / "b.mat", ecg(1))
    path = manifest(tmp_path / "train.tsv", str(tmp_path / "d"), [("a.mat", 400), ("b.mat", 400)])
    refs = refs_of(path, labels=source / "labels")
    assert refs["a"].labels == {"A": 0.0, "B": 1.0} and refs["b"].labels is None
    with pytest.raises(EinthovenError, match=r"with y\.npy and label_def\.csv"):
        refs_of(path, labels=tmp_path / "d")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("/d\n", "it has no files"),
        ("/d\na.mat\t1\t2\t3\t4\n", "line 2: expected path, samples"),
        ("/d\n../../secret.mat\t100\n", "line 2: expected path, samples"),
        ("/d\n/etc/passwd.mat\t100\n", "line 2: expected path, samples"),
        ("/d\nmat\nr_0\t200\t0\tx,y\n", "line 3: expected stem, samples, 0, first,second"),
        ("/d\na.mat\t100\n", "say files=FOLDER"),
    ],
)
def test_a_damaged_manifest_is_told_by_its_line(tmp_path, text, what):
    (tmp_path / "train.tsv").write_text(text)
    with pytest.raises(EinthovenError, match=what) as told:
        refs_of(tmp_path / "train.tsv")
    assert "\n" not in str(told.value)


# ------------------------------------------------------------------------------------------------- files without any table


def test_persons_of_the_older_pipeline_are_those_that_the_names_begin_with(tmp_path):
    write(tmp_path / "15709_00001_hr.mat", ecg(0), patient_id=15709)
    write(tmp_path / "15709_00002_hr.mat", ecg(1), patient_id=15709)
    write(tmp_path / "E7_0.mat", ecg(2), patient_id=3)
    refs = refs_of(tmp_path)
    assert [fairseq_signals.read(ref).patient for ref in refs.values()] == ["15709", "15709", None]
    assert refs_of(tmp_path, patient_id="person")["E7"].patient == "3"


def test_records_of_one_name_in_two_folders_keep_their_folders(tmp_path):
    write(tmp_path / "georgia" / "r1_0.mat", ecg(0))
    write(tmp_path / "ningbo" / "r1_0.mat", ecg(1))
    assert set(refs_of(tmp_path)) == {"georgia/r1", "ningbo/r1"}


def test_segments_that_do_not_fit_one_another_are_refused(tmp_path):
    write(tmp_path / "r_0.mat", ecg(0))
    write(tmp_path / "r_1.mat", ecg(0), curr_sample_rate=200)
    with pytest.raises(FormatError, match="does not continue"):
        fairseq_signals.read(refs_of(tmp_path)["r"])
    (tmp_path / "r_1.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(FormatError, match=r"r_1\.mat"):
        fairseq_signals.read(refs_of(tmp_path)["r"])


@pytest.mark.parametrize("options", [{"stage": "raw"}, {"segments": "some"}, {"split": "mine"}, {"patient_id": "yes"}])
def test_an_option_that_means_nothing_is_refused(tmp_path, options):
    processed(tmp_path)
    with pytest.raises(EinthovenError, match=r"expected .* as one of"):
        refs_of(tmp_path, **options)


def test_a_folder_of_another_kind_is_refused_with_what_is_expected(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(EinthovenError, match="expected a processed folder of fairseq-signals"):
            refs_of(root)


@pytest.mark.data
def test_real_files_of_the_first_stage_are_read_with_their_table(data_root):
    """Five exams of CODE-15 % as ECG-FM published them, against the table of the folder of real recordings."""
    import csv

    with open(data_root / "records.csv", newline="") as file:
        told = {Path(row["path"]).stem: row for row in csv.DictReader(file) if row["source"] == "code15-mat"}
    refs = {ref.path.stem: ref for ref in fairseq_signals.records(data_root / "code15-mat")}
    assert refs.keys() == told.keys() and len(refs) == 5
    for name, ref in refs.items():
        record, row = fairseq_signals.read(ref), told[name]
        assert f"code_15_{ref.record}" == name and record.leads == TWELVE
        assert (record.fs, record.signal.shape[1], record.patient) == (float(row["fs"]), int(row["n_samples"]), row["patient_id"])
        assert record.meta["age"] == float(row["age"]) and record.meta["sex"] == row["sex"]
        assert [code for code, value in record.labels.items() if value == 1] == row["labels"].split(";") and record.label_system == "CODE"


def test_damaged_tables_and_manifests_never_raise_anything_else(tmp_path):
    source = processed(tmp_path / "p")
    y = np.zeros((16, 2))
    y[10:14, 0] = [1, 0, 1, 1]
    label(source, y, weights="[0.5,inf]", table="idx,A,B\n" + "".join(f"{k},0,0\n" for k in range(10, 16)))
    rows = [(f"code_15/preprocessed/code_15_{k}.mat", 400) for k in range(6)]
    files = [
        *sorted(source.glob("*.csv")),
        *sorted((source / "labels").iterdir()),
        manifest(tmp_path / "train.tsv", str(tmp_path / "p"), rows),
    ]
    draw = np.random.default_rng(1)
    n_refused = 0
    for path in files:
        good = path.read_bytes()
        for _ in range(25):
            bad = bytearray(good)
            for place in draw.integers(len(bad), size=draw.integers(1, 5)):
                bad[place] = draw.choice([0, 10, 34, 44, 45, 47, 48, 57, 101, 110, 255])
            path.write_bytes(bad[: draw.integers(0, len(bad) + 1)] if draw.random() < 0.3 else bad)
            try:
                list(fairseq_signals.records(tmp_path / "p"))
                list(fairseq_signals.records(tmp_path / "train.tsv"))
            except EinthovenError:
                n_refused += 1
        path.write_bytes(good)
    assert n_refused > 20


def test_rows_of_fewer_leads_without_a_table_are_named_by_the_person_who_knows(tmp_path):
    write(tmp_path / "r_0.mat", ecg(0, n_leads=2))
    assert fairseq_signals.read(refs_of(tmp_path)["r"]).leads == ("lead 1", "lead 2")
    for leads in (("II", "V1"), "II,V1"):
        assert fairseq_signals.read(refs_of(tmp_path, leads=leads)["r"]).leads == ("II", "V1")


def test_recordings_of_one_name_in_two_sources_are_told_apart(tmp_path):
    processed(tmp_path / "one", stage="segmented")
    (tmp_path / "one" / "code_15").rename(tmp_path / "a")
    processed(tmp_path / "two", stage="segmented")
    (tmp_path / "two" / "code_15").rename(tmp_path / "b")
    for folder in ("one", "two"):
        (tmp_path / folder).rmdir()
    refs = refs_of(tmp_path)
    assert len(refs) == 12 and {name.split("/")[0] for name in refs} == {"a", "b"}
    rows = [(f"{source}/segmented/code_15_{k}_{number}.mat", 200) for source in "ab" for k in range(6) for number in (0, 1)]
    names = refs_of(manifest(tmp_path / "m" / "train.tsv", str(tmp_path), rows))
    assert len(names) == 12 and {name.split("/")[0] for name in names} == {"a", "b"}
