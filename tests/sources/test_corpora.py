"""Sources on corpora written in the layout of the publishers, and on the real recordings where they are present."""

from __future__ import annotations

import csv
import os
import unicodedata
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from einthoven import io, sources
from einthoven.errors import EinthovenError, FormatError
from einthoven.leads import TWELVE
from einthoven.sources import SOURCES, ptbxl
from einthoven.sources.physionet2021 import DATASETS, FACTS


def write(
    path: Path, *, fs: float = 500, comments=(), record: str | None = None, signal: str | None = None, counts=None, suffix=".mat"
) -> Path:
    """A record at ``path`` (without extension): header, and its signal unless it names another's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Seeded by the name, so that no two recordings are equal by accident.
    counts = np.random.default_rng(list(path.name.encode())).integers(-500, 500, (12, 60)) if counts is None else counts
    file = signal or f"{path.name}{suffix}"
    fmt, head = ("16+24", bytes(24)) if suffix == ".mat" else ("16", b"")
    if signal is None:
        Path(f"{path}{suffix}").write_bytes(head + counts.T.astype("<i2").tobytes())
    lines = [f"{record or path.name} 12 {fs} {counts.shape[1]}"]
    lines += [f"{file} {fmt} 1000/mV 16 0 {row[0]} {int(row.sum()) % 65536} 0 {lead}" for lead, row in zip(TWELVE, counts)]
    header = Path(f"{path}.hea")
    header.write_text("\n".join([*lines, *comments]) + "\n")
    return header


def problems(refs) -> dict[str, str]:
    return {ref.path.name: ref.problem for ref in refs if ref.problem is not None}


def test_every_source_has_the_same_face(tmp_path):
    for name, module in SOURCES.items():
        assert module.FACTS.name and callable(module.records) and callable(module.read)
        for root in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(EinthovenError, match="expected") as error:
                list(module.records(root))
            assert str(root) in str(error.value) and "\n" not in str(error.value), name


# ---------------------------------------------------------------- PhysioNet 2021


def challenge(root: Path) -> None:
    write(root / "georgia" / "g1" / "E00001", comments=["#Age: 51", "#Sex: Female", "#Dx: 426783006,164889003"])
    write(root / "georgia" / "g2" / "E00002", comments=["# Dx: Unknown"], record="E00002.mat")
    write(root / "ningbo" / "g1" / "JS1", comments=["#Patient ID: 77"])
    (root / "ningbo" / "g1" / "JS2.mat").write_bytes(bytes(100))
    write(root / "ptb" / "S0001", fs=1000).write_text("garbage")


@pytest.mark.parametrize("below", ["", "training"])
def test_the_challenge_is_read_from_every_level_of_its_folder(tmp_path, below):
    challenge(tmp_path / below)
    refs = list(SOURCES["physionet2021"].records(tmp_path))
    assert [(ref.record, ref.meta["dataset"]) for ref in refs] == [
        ("E00001", "georgia"),
        ("E00002", "georgia"),
        ("JS1", "ningbo"),
        ("JS2", "ningbo"),
        ("S0001", "ptb"),
    ]
    assert refs[0].labels == {"426783006": 1.0, "164889003": 1.0} and refs[0].label_system == "SNOMED CT"
    assert refs[0].meta == {"age": 51.0, "sex": "female", "dataset": "georgia"} and refs[0].patient is None
    assert refs[1].labels is None and refs[1].label_system is None
    assert refs[2].patient == "77"
    assert set(problems(refs)) == {"JS2.mat", "S0001.hea"} and "JS2.hea is not there" in problems(refs)["JS2.mat"]
    one = list(SOURCES["physionet2021"].records(tmp_path / below / "georgia"))
    assert [(ref.record, ref.meta["dataset"]) for ref in one] == [("E00001", "georgia"), ("E00002", "georgia")]


def test_equal_names_in_two_sets_stay_apart(tmp_path):
    write(tmp_path / "a" / "R1")
    write(tmp_path / "b" / "R1")
    assert [ref.record for ref in SOURCES["physionet2021"].records(tmp_path)] == ["a/R1", "b/R1"]


def test_the_sets_sum_up_to_the_challenge():
    assert sum(facts.records or 0 for facts in DATASETS.values()) == FACTS.records and len(DATASETS) == 8


@pytest.mark.data
def test_real_challenge_records_have_labels_and_stated_rates(data_root):
    refs = list(SOURCES["physionet2021"].records(data_root / "cinc2021"))
    assert refs and not problems(refs) and len({ref.record for ref in refs}) == len(refs)
    for ref in refs:
        record = sources.read(ref)
        facts = DATASETS.get(ref.meta["dataset"])
        assert record.leads == TWELVE and (facts is None or facts.fs == record.fs)
        assert ref.labels and set(ref.labels) <= set(sources.vocabulary.snomed_names())


# ---------------------------------------------------------------- PTB-XL

COLUMNS = "ecg_id,patient_id,age,sex,height,weight,recording_date,report,scp_codes,heart_axis,validated_by_human,strat_fold,filename_lr,filename_hr".split(
    ","
)


def table(root: Path, *rows: dict) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "ptbxl_database.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, row in enumerate(rows, start=1):
            names = {"filename_lr": f"records100/00000/{number:05d}_lr", "filename_hr": f"records500/00000/{number:05d}_hr"}
            writer.writerow(
                {
                    "ecg_id": number,
                    "patient_id": "15709.0",
                    "age": 56.0,
                    "sex": 1,
                    "scp_codes": "{'NORM': 100.0, 'SR': 0.0}",
                    "strat_fold": 3,
                    **names,
                }
                | row
            )


def test_a_row_of_ptb_xl_becomes_a_reference(tmp_path):
    table(
        tmp_path,
        {
            "recording_date": "1984-11-09 09:17:34",
            "report": "sinusrhythmus, alt",
            "weight": "63.0",
            "heart_axis": "MID",
            "validated_by_human": "True",
        },
        {"patient_id": "", "age": "300.0", "sex": "0", "scp_codes": "{}"},
        {"scp_codes": "__import__('os')"},
    )
    for number in (1, 2, 3):
        write(tmp_path / "records100" / "00000" / f"{number:05d}_lr", fs=100, suffix=".dat")
    first, second, third = SOURCES["ptbxl"].records(tmp_path)
    assert (first.record, first.patient, first.fold, first.label_system, first.problem) == ("1", "15709", "3", "SCP-ECG", None)
    assert first.labels == {"NORM": 1.0, "SR": 1.0} and first.meta["likelihoods"] == {"NORM": 100.0, "SR": 0.0}
    assert {name: first.meta[name] for name in ("age", "sex", "time", "report", "weight", "heart_axis", "validated_by_human")} == {
        "age": 56.0, "sex": "female", "time": "1984-11-09T09:17:34", "report": "sinusrhythmus, alt", "weight": 63.0, "heart_axis": "MID", "validated_by_human": True,
    }  # fmt: skip
    assert second.patient is None and second.labels is None and second.meta == {"age_over": 89.0, "sex": "male"}
    assert "scp_codes" in third.problem and "line 4" in third.problem
    record = sources.read(first)
    assert (record.fs, record.patient, record.record, record.meta["report"]) == (100, "15709", "1", "sinusrhythmus, alt")
    assert record.meta["time"] == datetime(1984, 11, 9, 9, 17, 34)
    with pytest.raises(FormatError, match="scp_codes"):
        sources.read(third)


def test_the_best_resolution_is_the_finest_on_disk(tmp_path):
    table(tmp_path, {}, {}, {})
    write(tmp_path / "records500" / "00000" / "00001_hr", suffix=".dat")
    for number in (1, 2, 9):
        write(tmp_path / "records100" / "00000" / f"{number:05d}_lr", fs=100, suffix=".dat")
    refs = list(ptbxl.records(tmp_path))
    assert [ref.path.stem for ref in refs] == ["00001_hr", "00002_lr", "00003_hr", "00009_lr"]
    assert set(problems(refs)) == {"00003_hr.hea", "00009_lr.hea"} and "no row" in refs[3].problem
    assert [ref.path.stem for ref in ptbxl.records(tmp_path, resolution="100") if not ref.problem] == ["00001_lr", "00002_lr"]
    assert [ref.path.stem for ref in ptbxl.records(tmp_path, resolution="500") if not ref.problem] == ["00001_hr"]
    with pytest.raises(EinthovenError, match="best, 500, 100"):
        list(ptbxl.records(tmp_path, resolution="250"))


def test_a_table_of_another_kind_is_refused(tmp_path):
    (tmp_path / "ptbxl_database.csv").write_text("id,label\n1,NORM\n")
    with pytest.raises(EinthovenError, match="lacks the column ecg_id"):
        list(ptbxl.records(tmp_path))


@pytest.mark.data
def test_real_ptb_xl_is_the_list_of_the_recordings_there(data_root):
    refs = list(ptbxl.records(data_root / "ptb-xl"))
    assert refs and not problems(refs) and len({ref.record for ref in refs}) == len(refs)
    with open(data_root / "records.csv", newline="") as file:
        listed = {Path(row["path"]).name: row for row in csv.DictReader(file) if row["source"] == "ptb-xl"}
    for ref in refs[::5]:
        row, record = listed[ref.path.stem], sources.read(ref)
        assert record.fs == float(row["fs"]) and record.signal.shape[1] == int(row["n_samples"])
        assert ref.patient == str(int(float(row["patient_id"]))) and ref.meta["sex"] == row["sex"]
        assert set(ref.labels) == set(row["labels"].split(";")) and row["note"].startswith(f"fold {ref.fold}")
    assert {record.fs for record in map(sources.read, refs[::10])} <= {100.0, 500.0}


# ---------------------------------------------------------------- a folder


def test_a_folder_lists_each_recording_once_and_everything_else_with_its_problem(tmp_path):
    write(tmp_path / "b" / "r2", suffix=".dat", comments=["# Patient ID: 5"])
    write(tmp_path / "r1")
    (tmp_path / "r1.atr").write_bytes(b"\x01\x70\x02\x04")  # an annotation: the record's own
    (tmp_path / "orphan.dat").write_bytes(bytes(48))
    (tmp_path / "r1.dat").write_bytes(bytes(48))  # the header reads r1.mat
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "r1.xml").write_text("<svg/>")
    (tmp_path / ".hidden").write_text("x")
    write(tmp_path / "lost").with_suffix(".mat").unlink()
    refs = list(SOURCES["folder"].records(tmp_path))
    good = [ref for ref in refs if ref.problem is None]
    assert [(ref.record, ref.patient) for ref in good] == [("b/r2", "5"), ("r1.hea", None)]
    found = problems(refs)
    assert set(found) == {"orphan.dat", "r1.dat", "report.pdf", "r1.xml", "lost.hea"}
    assert "orphan.hea is not there" in found["orphan.dat"] and "does not name" in found["r1.dat"]
    assert "PDF" in found["report.pdf"] and "XML of a kind we do not know" in found["r1.xml"] and "lost.mat" in found["lost.hea"]
    assert len({ref.record for ref in refs}) == len(refs)


def test_segments_belong_to_their_record(tmp_path):
    for name in ("s1", "s2"):
        write(tmp_path / name, suffix=".dat")
    (tmp_path / "m.hea").write_text("m/2 12 500 120\ns1 60\ns2 60\n")
    refs = list(SOURCES["folder"].records(tmp_path))
    assert [(ref.record, ref.problem) for ref in refs] == [("m", None)]
    assert sources.read(refs[0]).signal.shape == (12, 120)


def test_a_header_of_another_name_and_rate_on_the_same_signal_is_a_problem_and_the_original_is_not(tmp_path):
    write(tmp_path / "9190", fs=400)
    write(tmp_path / "9190_low", fs=300, record="9190", signal="9190.mat")
    write(tmp_path / "skew", fs=400, signal="9190.mat")  # the same rate: another view of one recording
    write(tmp_path / "slow", fs=100, signal="9190.mat")  # its own name, another rate
    found = problems(SOURCES["folder"].records(tmp_path))
    assert set(found) == {"9190_low.hea", "slow.hea"}
    assert "another record's signal" in found["9190_low.hea"] and "9190.hea says 400 Hz" in found["slow.hea"]


def test_a_copy_of_the_samples_at_another_rate_is_a_problem(tmp_path):
    counts = np.random.default_rng(5).integers(-500, 500, (12, 60))
    write(tmp_path / "77", fs=400, counts=counts)
    write(tmp_path / "77_low_rate", fs=300, counts=counts)
    write(tmp_path / "flat1", fs=400, counts=np.zeros((12, 60), dtype=int))
    write(tmp_path / "flat2", fs=300, counts=np.zeros((12, 60), dtype=int))
    write(tmp_path / "same", fs=400, counts=counts)
    found = problems(SOURCES["folder"].records(tmp_path))
    assert set(found) == {"77_low_rate.hea", "same.hea"}  # of two names of which neither continues the other, neither is believed
    assert "300 instead of 400 Hz" in found["77_low_rate.hea"]


@pytest.mark.data
def test_the_broken_copies_of_code_15_end_with_a_reason_and_the_others_are_read(data_root):
    from einthoven.signal.quality import check

    refs = list(SOURCES["folder"].records(data_root / "code15-wfdb"))
    reasons = problems(refs)
    for ref in refs:
        if ref.problem is None:
            record = sources.read(ref)
            problem = check(record.signal, record.fs, record.leads).problem
            if problem:
                reasons[ref.path.name] = problem
            else:
                assert ref.patient is not None and "chagas" in ref.meta
    broken = [
        path.name for path in (data_root / "code15-wfdb").glob("*.hea") if path.stem.endswith(("_all_data_is_zero", "_low_sample_rate"))
    ]
    assert broken and sorted(reasons) == sorted(broken)
    assert len(refs) == len(list((data_root / "code15-wfdb").glob("*.hea")))


def test_labels_of_a_table_go_before_those_of_the_file(tmp_path):
    write(tmp_path / "in" / "a", comments=["#Age: 30", "#Dx: 426783006", "#Patient ID: 1"])
    write(tmp_path / "in" / "b")
    write(tmp_path / "in" / "c", comments=["#Dx: 426783006"])
    rows = ["record;patient;age;fold;labels;AF;LBBB", "a;p1;41;test;;1;", "in/b.hea;p2;;;X|Y;0;true", "ghost;;;;;1;0", "c;;;;;;"]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    refs = {ref.record: ref for ref in SOURCES["folder"].records(tmp_path)}
    assert np.isnan(refs["in/a"].labels["LBBB"]) and refs["in/a"].labels["AF"] == 1.0  # an empty cell is not a no
    assert (refs["in/a"].patient, refs["in/a"].fold, refs["in/a"].meta["age"], refs["in/a"].label_system) == ("p1", "test", 41.0, "own")
    assert refs["in/b"].labels == {"X": 1.0, "Y": 1.0, "AF": 0.0, "LBBB": 1.0}
    assert refs["in/c"].labels == {"426783006": 1.0} and refs["in/c"].label_system == "SNOMED CT"
    assert "line 4" in refs["ghost"].problem and len(refs) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,AF\na,1\n", "a column named record"),
        ("record,AF\na,1\na,0\n", "line 3.*line 2"),
        ("record,AF\na,perhaps\n", "column AF.*perhaps"),
        ("record,age\na,old\n", "age in years"),
        ("record,AF\n,1\n", "names no record"),
        ("record,labels\na,AF,LBBB\n", "line 2: has more values"),
        (",record,AF\n7,a,1\n", "line 2: has more values"),
        ("record,AF,AF\na,1,0\n", "AF is there twice"),
        ("record,time\na,12.03.2020 10:00\n", "line 2: expected a time such as.*'12.03.2020 10:00'"),
        ("record,sex\na,w\n", "female or male.*'w'"),
        ('record,report,AF\na,"never closed,1\nb,,1\n', "cannot be read as CSV"),
    ],
)
def test_a_label_table_that_cannot_be_understood_is_refused(tmp_path, text, words):
    write(tmp_path / "a")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(EinthovenError, match=words):
        list(SOURCES["folder"].records(tmp_path))


def test_a_file_that_broke_since_it_was_listed_is_refused_when_it_is_read(tmp_path):
    write(tmp_path / "a")
    (ref,) = SOURCES["folder"].records(tmp_path)
    (tmp_path / "a.mat").write_bytes(bytes(30))
    with pytest.raises(FormatError, match="truncated"):
        sources.read(ref)
    assert io.recognise(ref.path) == "WFDB"


def test_no_folder_is_listed_twice_whatever_the_links(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(root / "a" / "one")
    write(root / ".hidden" / "two")
    write(outside / "three")
    links = {
        "up": root,
        "out": outside,
        "out2": outside,
        "b": root / "a",
        "shown": root / ".hidden",
        "above": tmp_path,
        "a/loop": root / "a",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (outside / "back").symlink_to(root)
    listed = [ref.path.resolve() for ref in SOURCES["folder"].records(root)]
    assert sorted(path.stem for path in listed) == ["one", "three", "two"]


def test_a_folder_that_may_not_be_listed_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    write(tmp_path / "a" / "one")
    scan = os.scandir

    def forbidden(path):
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    write(tmp_path / "two")
    refs = list(SOURCES["folder"].records(tmp_path))
    assert [(ref.record, ref.problem) for ref in refs if ref.problem is not None] == [
        ("a/", "this folder cannot be listed: Permission denied; what is in it is not taken in.")
    ]
    assert [ref.record for ref in refs if ref.problem is None] == ["two"]
    with pytest.raises(EinthovenError, match="cannot be listed: Permission denied"):  # a corpus that is known to be whole
        list(SOURCES["physionet2021"].records(tmp_path))
    with pytest.raises(EinthovenError, match="cannot be listed: Permission denied"):
        list(SOURCES["folder"].records(tmp_path / "a"))


def test_a_label_table_in_another_encoding_is_refused_before_it_merges_two_patients(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "labels.csv").write_bytes("record,patient\na,Müller\nb,Möller\n".encode("latin-1"))
    with pytest.raises(EinthovenError, match="line 2: expected UTF-8"):
        list(SOURCES["folder"].records(tmp_path))


def test_reports_of_several_lines_and_empty_columns_of_a_spreadsheet_are_no_labels(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    text = 'record,report,AF,sex,\na,"first\u2028line\r\nsecond",1,unknown,\nb,,0,F,\n'
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-8-sig"))
    first, second = SOURCES["folder"].records(tmp_path)
    assert first.labels == {"AF": 1.0} and first.meta["report"] == "first\u2028line\r\nsecond" and "sex" not in first.meta
    assert second.labels == {"AF": 0.0} and second.meta["sex"] == "female"


def test_a_name_with_an_umlaut_is_found_in_either_way_of_writing_it(tmp_path):
    for form in ("NFC", "NFD"):
        root = tmp_path / form
        write(root / unicodedata.normalize("NFD" if form == "NFC" else "NFC", "Größe"))
        (root / "labels.csv").write_text("record,AF\n" + unicodedata.normalize(form, "Größe") + ",1\n", encoding="utf-8")
        (ref,) = SOURCES["folder"].records(root)
        assert ref.labels == {"AF": 1.0} and ref.problem is None
