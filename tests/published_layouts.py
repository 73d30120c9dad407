"""Every corpus, small, as its publishers lay it out: folders, tables and files under their names, signals of the synthetic heart.

``LAYOUTS`` has one for each source, so that a test over all sources needs nothing but this table; one that is missing is told by
``tests/cli/test_cli_data.py``. What is peculiar to a corpus (broken rows, odd encodings, its real files) is tested beside its source.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from muse_xml import EIGHT, PERSON, muse_xml, waveform
from scipy.io import savemat

from einthoven.leads import TWELVE, select, to_vcg
from einthoven.simulate import simulate


@dataclass(frozen=True)
class Layout:
    """One corpus.

    build   : writes it into a folder that is there, and gives the root that a person names
    n       : recordings that a store of it has
    labels  : every code in it
    persons : who can be told apart; 0 where the corpus names nobody
    words   : what else the command needs, ``{}`` for the folder that was built in
    """

    build: Callable[[Path], Path]
    n: int
    labels: frozenset[str]
    persons: int = 0
    words: str = ""


@lru_cache(maxsize=64)
def heart(person: int, seconds: float = 10.0, fs: float = 500.0) -> np.ndarray:
    """(lead, time) float32 mV, the twelve leads in their usual order"""
    return simulate(5, person=person, visit=0, seconds=seconds, fs=fs).record.signal


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_wfdb(
    path: Path, ecg: np.ndarray, fs: float, leads: Sequence[str] = TWELVE, comments: Sequence[str] = (), *, suffix: str = ".dat"
) -> None:
    """A record at ``path`` (without extension); the ``.mat`` of the challenges has 24 bytes before its samples, Frank's leads a file of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.rint(np.asarray(ecg, dtype=np.float64) * 1000).astype("<i2")
    lines = [f"{path.name} {len(leads)} {fs:g} {counts.shape[1]}"]
    kind, head = ("16+24", bytes(24)) if suffix == ".mat" else ("16", b"")
    frank = [lead in ("vx", "vy", "vz") for lead in leads]
    for ending, rows in ((suffix, [k for k, is_frank in enumerate(frank) if not is_frank]), (".xyz", list(np.flatnonzero(frank)))):
        if rows:
            Path(f"{path}{ending}").write_bytes(head + counts[rows].T.tobytes())
        for k in rows:
            total = int(counts[k].astype(np.int64).sum()) & 0xFFFF
            lines.append(f"{path.name}{ending} {kind} 1000/mV 16 0 {counts[k, 0]} {total} 0 {leads[k]}")
    Path(f"{path}.hea").write_text("\n".join([*lines, *comments]) + "\n")


def challenge_2021(folder: Path) -> Path:
    for person, place, fs, dx in (
        (1, "cpsc_2018/g1/A0001", 500, "59118001"),
        (2, "georgia/g1/E00001", 500, "426783006"),
        (3, "ptb/g1/S0001", 1000, "164865005"),
        (4, "st_petersburg_incart/g1/I0001", 257, "164889003"),
    ):
        comments = ["#Age: 56", "#Sex: Female", f"#Dx: {dx}"]
        write_wfdb(folder / "training" / place, heart(person, fs=fs), fs, comments=comments, suffix=".mat")
    return folder


def challenge_2020(folder: Path) -> Path:
    for person, place, fs in ((1, "Training_WFDB/A0001", 500), (2, "WFDB/HR00001", 500), (3, "Training_StPetersburg/I0001", 257)):
        write_wfdb(folder / place, heart(person, fs=fs), fs, comments=["#Age: 60", "#Sex: M", "#Dx: 426783006"], suffix=".mat")
    return folder


def cpsc2018(folder: Path) -> Path:
    for person in (1, 2):
        (folder / "TrainingSet1").mkdir(exist_ok=True)
        record = {"sex": "Female", "age": 40 + person, "data": heart(person).astype(np.float64)}
        savemat(folder / "TrainingSet1" / f"A000{person}.mat", {"ECG": record})
    write_csv(
        folder / "REFERENCE.csv", ["Recording", "First_label", "Second_label", "Third_label"], [["A0001", 5, 2, ""], ["A0002", 1, "", ""]]
    )
    return folder


def cpsc2021(folder: Path) -> Path:
    for name, person, said in (("data_10_2", 1, "non atrial fibrillation"), ("data_10_3", 2, "non atrial fibrillation"), ("data_9_11", 3, "persistent atrial fibrillation")):  # fmt: skip
        write_wfdb(folder / "Training_set_I" / name, heart(person, fs=200.0)[:2], 200, ("I", "II"), [f"#{said}"])
    return folder


PTBXL_COLUMNS = ["ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr", "recording_date", "report"]


def ptbxl(folder: Path) -> Path:
    root = folder / "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3"
    rows = []
    for k in range(1, 7):
        low, high = f"records100/00000/{k:05d}_lr", f"records500/00000/{k:05d}_hr"
        for path, fs in ((low, 100), (high, 500)):
            write_wfdb(root / path, heart(k, fs=fs), fs, [name.replace("aV", "AV") for name in TWELVE])
        codes = "{'NORM': 100.0, 'SR': 0.0}" if k % 2 else "{'IMI': 80.0}"
        rows.append([k, f"{15000 + (k + 1) // 2}.0", 56.0, k % 2, codes, k, low, high, f"198{k}-11-09 09:17:34", "sinusrhythmus"])
    write_csv(root / "ptbxl_database.csv", PTBXL_COLUMNS, rows)
    return root


def zheng(folder: Path) -> Path:
    rows = [
        ["FileName", "Rhythm", "Beat", "PatientAge", "Gender", "VentricularRate"],
        ["MUSE_1", "AFIB", "RBBB TWC", 85, "MALE", 117],
        ["MUSE_2", "SB", "NONE", 59, "FEMALE", 52],
    ]
    cells = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' if isinstance(cell, str) else f"<c><v>{cell}</v></c>" for cell in row) + "</row>"
        for row in rows
    )  # fmt: skip
    main, relation = (
        f"http://schemas.openxmlformats.org/{kind}" for kind in ("spreadsheetml/2006/main", "officeDocument/2006/relationships")
    )
    with zipfile.ZipFile(folder / "Diagnostics.xlsx", "w") as file:
        file.writestr("xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{relation}"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>')  # fmt: skip
        file.writestr("xl/_rels/workbook.xml.rels", '<Relationships><Relationship Id="r1" Target="worksheets/a.xml"/></Relationships>')
        file.writestr("xl/worksheets/a.xml", f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>')
    (folder / "ECGData").mkdir()
    for k in (1, 2):  # µV
        np.savetxt(folder / "ECGData" / f"MUSE_{k}.csv", 1000 * heart(k).T, "%.2f", ",", header=",".join(TWELVE), comments="")
    return folder


CODE = ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"]


def ribeiro(folder: Path) -> Path:
    write_csv(folder / "annotations" / "gold_standard.csv", CODE, [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]])
    write_csv(folder / "annotations" / "dnn.csv", CODE, [[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    write_csv(folder / "attributes.csv", ["age", "sex"], [[25, "M"], ["", "F"]])
    with h5py.File(folder / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = padded((1, 2))
    return folder


def padded(persons: Sequence[int]) -> np.ndarray:
    """(exam, 4096, lead) at 400 Hz, zeros before and behind the signal"""
    array = np.zeros((len(persons), 4096, 12), np.float32)
    for k, person in enumerate(persons):
        array[k, 48:4048] = heart(person, fs=400.0).T
    return array


def mimic_iv_ecg(folder: Path) -> Path:
    root = folder / "mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0"
    order = ("I", "II", "III", "aVR", "aVF", "aVL", *TWELVE[6:])
    rows, said = [], []
    for person, subject, study in ((1, 10000032, 40689238), (2, 10000032, 44458630), (3, 10000117, 45090959)):
        path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
        write_wfdb(root / path, select(heart(person), TWELVE, order), 500, order)
        rows.append([subject, study, study, "2180-07-23 08:44:00", path])
        reports = ["Sinus rhythm", "", "Borderline ECG", *[""] * 15]
        said.append(
            [subject, study, 6848296, rows[-1][3], *reports, "0.005-150 Hz", "60 Hz notch", 659, 40, 128, 170, 258, 518, 81, 77, 79]
        )
    write_csv(root / "record_list.csv", ["subject_id", "study_id", "file_name", "ecg_time", "path"], rows)
    numbers = ["rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis"]
    columns = ["subject_id", "study_id", "cart_id", "ecg_time", *(f"report_{k}" for k in range(18)), "bandwidth", "filtering", *numbers]
    write_csv(root / "machine_measurements.csv", columns, said[::-1])
    write_csv(
        root / "waveform_note_links.csv",
        ["subject_id", "study_id", "waveform_path", "note_id", "note_seq", "charttime"],
        [[10000032, 40689238, "", "10000032-EK-4", 4, ""]],
    )
    return root


def code15(folder: Path) -> Path:
    columns = "exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,normal_ecg,trace_file".split(",")
    yes_no = [[False, True, False, False, False, False], [False] * 6, [False, False, False, False, False, True]]
    rows = [[11 + k, 38 + k, k == 0, 40.2, *yes_no[k], 500 + k // 2, "", "", k == 1, f"exams_part{k // 2}.hdf5"] for k in range(3)]
    write_csv(folder / "exams.csv", columns, rows)
    for part, exams in ((0, (11, 12)), (1, (13,))):
        with h5py.File(folder / f"exams_part{part}.hdf5", "w") as file:
            file["exam_id"] = np.array([*exams, 0], dtype=np.int64)  # the last entry of a part is none
            file["tracings"] = np.concatenate([padded(exams), np.zeros((1, 4096, 12), np.float32)])
    return folder


def sph(folder: Path) -> Path:
    rows = [["A00001", "22;23", "S00001", 55, "M", 5000, "2020-03-04"], ["A00002", "1", "S00002", 32, "F", 6000, "2019-09-03"]]
    write_csv(folder / "metadata.csv", ["ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex", "N", "Date"], rows)
    (folder / "records").mkdir()
    for k, row in enumerate(rows):
        with h5py.File(folder / "records" / f"{row[0]}.h5", "w") as file:
            file.create_dataset("ecg", data=heart(k, seconds=row[5] / 500).astype(np.float16), compression="gzip")
    return folder


def ptbdb(folder: Path) -> Path:
    leads = [*(name.lower() for name in TWELVE), "vx", "vy", "vz"]
    for person, place, reason in ((1, "patient001/s0010_re", "Myocardial infarction"), (2, "patient285/s0544_re", "Healthy control")):
        ecg = heart(person, fs=1000.0)
        comments = ["# age: 81", "# sex: female", "# ECG date: 01/10/1990", f"# Reason for admission: {reason}"]
        write_wfdb(folder / place, np.concatenate([ecg, to_vcg(ecg, TWELVE)]), 1000, leads, comments)
    return folder


def ludb(folder: Path) -> Path:
    for k in (1, 2):
        comments = ["#<age>: 64", "#<sex>: M", "#<diagnoses>:", "#Rhythm: Sinus rhythm."]
        write_wfdb(folder / "data" / str(k), heart(k), 500, [name.lower() for name in TWELVE], comments)
    return folder


def qtdb(folder: Path) -> Path:
    for person, name in ((1, "sel100"), (2, "sel102")):
        comments = ["#69 M 1085 1629 x1", f"#Produced by xform from record {name[3:]}, beginning at 7:00.000"]
        write_wfdb(folder / name, heart(person, fs=250.0)[[1, 10]], 250, ("MLII", "V5"), comments)
    return folder


def ecgid(folder: Path) -> Path:
    for k, place in enumerate(("Person_01/rec_1", "Person_01/rec_2", "Person_02/rec_1")):
        write_wfdb(
            folder / place,
            np.stack([heart(k)[0]] * 2),
            500,
            ("ECG I", "ECG I filtered"),
            ["#Age: 25", "#Sex: female", "#ECG date: 08.12.2004"],
        )
    return folder


def ecgqa(folder: Path) -> Path:
    """Beside PTB-XL, five of whose six recordings it asks about."""
    ptbxl(folder)
    root = folder / "ecgqa" / "ptbxl"
    for wording, text in (("template", "Does this ECG show {}?"), ("paraphrased", "Is there {} in this ECG?")):
        for sample, (part, ecgs) in enumerate((("train", [1, 2]), ("valid", [3]), ("test", [5, 6]))):
            question = {
                **{"template_id": 1, "question_id": 7, "sample_id": sample, "attribute_type": "scp_code"},
                **{"question_type": "single-verify" if len(ecgs) == 1 else "comparison_irrelevant-verify"},
                **{"question": text.format("normal ecg"), "answer": ["yes"], "ecg_id": ecgs, "attribute": ["normal ecg"]},
            }
            path = root / wording / part / "00000.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps([question]))
    return root


def muse(folder: Path) -> Path:
    for k in (1, 2):
        counts = np.rint(select(heart(k), TWELVE, EIGHT) * 1000 / 4.88).astype(np.int64)
        (folder / f"MUSE_{k}.xml").write_bytes(
            muse_xml(
                waveform(counts[:, :600], kind="Median"), waveform(counts), person={**PERSON, "PatientID": f"08{k}"}, test_id=f"SKJ{k}"
            )
        )
    write_csv(folder / "labels.csv", ["record", "AF"], [["MUSE_1", 1], ["SKJ2", 0]])
    return folder


def fairseq_signals(folder: Path) -> Path:
    """A source of the newer pipeline, standardised and cut into segments of 5 s, with labels."""
    source, y = folder / "processed" / "code_15", np.zeros((14, 2))
    rows = []
    for k in range(4):
        ecg = heart(k).astype(np.float64)
        mean, std = ecg.mean(axis=1, keepdims=True), ecg.std(axis=1, keepdims=True)
        (source / "segmented").mkdir(parents=True, exist_ok=True)
        for number, piece in enumerate(np.split((ecg - mean) / std, 2, axis=1)):
            file = source / "segmented" / f"code_15_{k}_{number}.mat"
            savemat(file, {"feats": piece, "curr_sample_rate": 500, "idx": 10 + k, "mean": mean, "std": std})
        y[10 + k, k % 2] = 1
        rows.append([10 + k, f"code_15_{k}.mat", 40 + k, k % 2 == 0, f"{k // 2}.0"])
    write_csv(source / "meta.csv", ["idx", "save_file", "age", "is_male", "patient_id"], rows)
    parts = ("train", "train", "test", "test")
    write_csv(source / "meta_split.csv", ["idx", "save_file", "split"], [[row[0], row[1], part] for row, part in zip(rows, parts)])
    (source / "labels").mkdir()
    np.save(source / "labels" / "y.npy", y)
    write_csv(source / "labels" / "label_def.csv", ["name", "pos_count_all", "pos_percent_all"], [["AF", 2, 0.5], ["SB", 2, 0.5]])
    write_csv(source / "labels" / "labels.csv", ["idx", "AF", "SB"], [[10 + k, int(k % 2 == 0), int(k % 2)] for k in range(4)])
    return folder / "processed"


def ecg_selfsupervised(folder: Path) -> Path:
    """Two data sets at 100 Hz; leads in the order of that program."""
    order = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")
    for name, persons in (("zheng_fs100", (1, 2)), ("ptb_xl_fs100", (3, 4))):
        place = folder / "data" / name
        place.mkdir(parents=True)
        signals = [select(heart(person, fs=100.0), TWELVE, order).T for person in persons]
        np.concatenate(signals).astype(np.float32).tofile(place / "memmap.npy")
        n = len(signals[0])
        index = {"start": [0, n], "length": [n, n], "shape": [[2 * n, 12]], "file_idx": [0, 0], "filenames": ["memmap.npy"]}
        dtype = np.array(np.dtype("float32"), dtype=object)
        np.savez(place / "memmap_meta.npz", **{key: np.array(value) for key, value in index.items()}, dtype=dtype)
        dataset = name.removesuffix("_fs100")
        write_csv(place / "df_memmap.csv", ["", "data", "label", "dataset"], [[k, k, f"[{k}]", dataset] for k in range(2)])
        np.save(place / "lbl_itos.npy", np.array(["AFIB", "SR"]))
    return folder / "data"


def own_folder(folder: Path) -> Path:
    for k in (1, 2, 3):
        write_wfdb(folder / f"ward{k % 2}" / f"r{k}", heart(k, fs=250.0), 250)
    write_csv(folder / "labels.csv", ["record", "patient", "age", "AF"], [["r1", "p1", 41, 1], ["r2", "p2", "", 0], ["r3", "p1", 42, ""]])
    return folder


LAYOUTS: dict[str, Layout] = {
    "physionet2021": Layout(challenge_2021, 4, frozenset({"59118001", "426783006", "164865005", "164889003"})),
    "cinc2020": Layout(challenge_2020, 3, frozenset({"426783006"})),
    "cpsc2018": Layout(cpsc2018, 2, frozenset({"59118001", "164889003", "426783006"})),
    "cpsc2021": Layout(cpsc2021, 3, frozenset(f"{kind} atrial fibrillation" for kind in ("non", "paroxysmal", "persistent")), persons=2),
    "ptbxl": Layout(ptbxl, 6, frozenset({"NORM", "SR", "IMI"}), persons=3),
    "zheng": Layout(zheng, 2, frozenset({"AFIB", "RBBB", "TWC", "SB"})),
    "ribeiro": Layout(ribeiro, 2, frozenset(CODE)),
    "mimic_iv_ecg": Layout(mimic_iv_ecg, 3, frozenset(), persons=2),
    "code15": Layout(code15, 3, frozenset({*CODE, "normal_ecg"}), persons=2),
    "sph": Layout(sph, 2, frozenset({"22", "23", "1"}), persons=2),
    "ptbdb": Layout(ptbdb, 2, frozenset({"Myocardial infarction", "Healthy control"}), persons=2),
    "ludb": Layout(ludb, 2, frozenset({"Rhythm: Sinus rhythm"}), persons=2),
    "qtdb": Layout(qtdb, 2, frozenset()),
    "ecgid": Layout(ecgid, 3, frozenset(), persons=2),
    "ecgqa": Layout(
        ecgqa,
        5,
        frozenset({"NORM", "SR", "IMI"}),
        persons=3,
        words="--option ecgs={}/ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3",
    ),
    "muse": Layout(muse, 2, frozenset({"AF"}), persons=2),
    "fairseq_signals": Layout(fairseq_signals, 4, frozenset({"164889003", "426177001"}), persons=2),
    "ecg_selfsupervised": Layout(ecg_selfsupervised, 4, frozenset({"AFIB", "SR"})),
    "folder": Layout(own_folder, 3, frozenset({"AF"}), persons=2),
}
"""Name of a source -> its corpus."""
