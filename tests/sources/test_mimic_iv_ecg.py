"""MIMIC-IV-ECG in the layout of PhysioNet, its tables written here; and the real tables' first rows where they are present."""

from __future__ import annotations

import csv
import gc
import gzip
import tempfile
import tracemalloc
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE, derive_limb_leads
from einthoven.sources import mimic_iv_ecg
from einthoven.sources.checking import check_store
from einthoven.sources.indexed_table import IndexedTable

ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")  # of the headers of MIMIC-IV-ECG
MACHINE = [
    "subject_id", "study_id", "cart_id", "ecg_time", *(f"report_{i}" for i in range(18)), "bandwidth", "filtering", *mimic_iv_ecg.MEASUREMENTS
]  # fmt: skip


def heart(seed: int) -> np.ndarray:
    """(lead, time) int16 of 5 µV in the headers' order, obeying the laws of the limb leads."""
    rng = np.random.default_rng(seed)
    i, ii = (np.cumsum(rng.normal(0, 6, (2, 5000)), axis=1) * 0.7).round() * 2
    iii, avr, avl, avf = derive_limb_leads(i, ii)
    return np.stack([i, ii, iii, avr, avf, avl, *rng.integers(-200, 200, (6, 5000))]).round().clip(-3000, 3000).astype("<i2")


def study(root: Path, subject: int, number: int, *, is_there: bool = True) -> list:
    """A recording as MIMIC stores it, and its row in record_list.csv."""
    path = f"files/p{str(subject)[:4]}/p{subject}/s{number}/{number}"
    if is_there:
        counts, place = heart(number), root / path
        place.parent.mkdir(parents=True)
        Path(f"{place}.dat").write_bytes(counts.T.tobytes())
        lines = [f"{number} 12 500 5000 8:44:00 23/07/2180"]
        lines += [
            f"{number}.dat 16 200.0(0)/mV 16 0 {row[0]} {int(row.astype(int).sum()) % 65536} 0 {name}" for name, row in zip(ORDER, counts)
        ]
        Path(f"{place}.hea").write_text("\n".join([*lines, f"# <subject_id>: {subject}"]) + "\n")
    return [subject, number, number, "2180-07-23 08:44:00", path]


def write(path: Path, header: list, rows: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def said(subject: int, number: int, reports: list[str], numbers: list) -> list:
    return [subject, number, 6848296, "2180-07-23 08:44:00", *reports, *[""] * (18 - len(reports)), "0.005-150 Hz", "60 Hz notch", *numbers]


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Four studies of three subjects, one not there, and one on disk that no row names. The machine's rows are in another order."""
    root = tmp_path / "mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0"
    rows = [
        study(root, 10000032, 40689238),
        study(root, 10000032, 44458630),
        study(root, 10000117, 45090959),
        study(root, 11000635, 40000001, is_there=False),
    ]
    study(root, 10000117, 49999999)
    write(root / "record_list.csv", ["subject_id", "study_id", "file_name", "ecg_time", "path"], rows)
    write(
        root / "machine_measurements.csv",
        MACHINE,
        [
            said(10000117, 45090959, ['Atrial fibrillation, "rapid"', "two\nlines"], [65535, 29999, 29999, 200, 302, 636, 29999, -18, -67]),
            said(10000032, 44458630, [], [29999] * 9),
            said(10000032, 40689238, ["Sinus rhythm", "", "Borderline ECG"], [659, 40, 128, 170, 258, 518, 81, 77, 79]),
        ],
    )
    write(
        root / "waveform_note_links.csv",
        ["subject_id", "study_id", "waveform_path", "note_id", "note_seq", "charttime"],
        [[10000032, 40689238, "", f"10000032-EK-{i}", i, ""] for i in (4, 5)],
    )
    return root


@pytest.fixture
def hospital(tmp_path) -> Path:
    write(
        tmp_path / "mimic-iv" / "hosp" / "patients.csv.gz",
        ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"],
        [[11000635, "M", 91, 2179, "2014 - 2016", ""], [10000032, "F", 52, 2180, "2014 - 2016", "2180-09-09"]],
    )
    return tmp_path / "mimic-iv"


def test_reports_and_measurements_belong_to_their_study_not_to_the_row_beside(corpus):
    first, second, third, stray, absent = mimic_iv_ecg.records(corpus)
    assert (first.record, first.patient, first.problem, first.labels) == ("40689238", "10000032", None, None)
    assert first.meta["report"] == "Sinus rhythm\nBorderline ECG" and first.meta["time"] == "2180-07-23T08:44:00"
    assert first.meta["measurements"] == dict(zip(mimic_iv_ecg.MEASUREMENTS, [659, 40, 128, 170, 258, 518, 81, 77, 79]))
    assert first.meta["note_ids"] == ["10000032-EK-4", "10000032-EK-5"] and first.meta["bandwidth"] == "0.005-150 Hz"
    assert second.meta.keys() == {"time", "bandwidth", "filtering", "cart_id"}
    assert third.meta["report"] == 'Atrial fibrillation, "rapid"\ntwo\nlines'
    assert third.meta["measurements"] == {"qrs_onset": 200, "qrs_end": 302, "t_end": 636, "qrs_axis": -18, "t_axis": -67}
    assert (stray.record, absent.record) == ("49999999", "40000001")
    assert "no row" in stray.problem and "not there" in absent.problem


def test_leads_are_told_apart_by_their_names(corpus):
    record = mimic_iv_ecg.read(next(mimic_iv_ecg.records(corpus)))
    assert record.leads == ORDER and record.patient == "10000032" and record.meta["time"] == datetime(2180, 7, 23, 8, 44)
    np.testing.assert_allclose(record.signal, heart(40689238) / 200, atol=1e-6)
    i, ii, avf, avl = (record.signal[record.leads.index(name)] for name in ("I", "II", "aVF", "aVL"))
    np.testing.assert_allclose(np.stack([avl, avf]), derive_limb_leads(i, ii)[2:], atol=0.006)


def test_sex_and_age_come_from_the_hospitals_table(corpus, hospital):
    first, _, third, _, absent = mimic_iv_ecg.records(corpus, mimic_iv=hospital)
    days = (datetime(2180, 7, 23, 8, 44) - datetime(2180, 1, 1)).total_seconds() / 86400
    assert first.meta["sex"] == "female" and first.meta["age"] == pytest.approx(52 + days / 365.25, abs=1e-3)
    assert "sex" not in third.meta and "age" not in third.meta
    assert absent.meta["sex"] == "male" and absent.meta["age_over"] == 89 and "age" not in absent.meta


def test_ages_are_those_of_the_old_pipeline(corpus, hospital):
    """fairseq-signals moves the dates to the middle of the group of years first: the same but for a leap day or two."""
    first = next(mimic_iv_ecg.records(corpus, mimic_iv=hospital))
    middle = 2015
    moved = datetime(2180, 7, 23, 8, 44).timestamp() + (middle - 2180) * 365.25 * 86400
    old = 52 + (moved - datetime(middle, 1, 1).timestamp()) / 86400 / 365.25
    assert first.meta["age"] == pytest.approx(old, abs=2 / 365.25)


def test_it_goes_through_ingest_and_its_differences_are_told(corpus, hospital, tmp_path):
    summary = ingest("mimic_iv_ecg", corpus, tmp_path / "store", fs=250, source_options={"mimic_iv": hospital}, workers=1)
    assert (summary.n_records, summary.n_rejected, summary.n_patients) == (3, 2, 2)
    table = pq.read_table(tmp_path / "store" / "records.parquet")
    assert table["leads"].to_pylist() == [" ".join(TWELVE)] * 3 and table["sex"].to_pylist() == ["female", "female", None]
    assert table["time"].to_pylist()[0] == datetime(2180, 7, 23, 8, 44)
    assert check_store(tmp_path / "store", mimic_iv_ecg) == [
        "800,035 recordings published, 5 here, 2 of them rejected",
        "161,352 patients published for version 1.0, 2 among the recordings here",
    ]


def test_missing_tables_and_columns_are_told_in_one_line(corpus, tmp_path):
    def refused(match: str, root: Path = corpus, **options) -> None:
        with pytest.raises(EinthovenError, match=match) as error:
            list(mimic_iv_ecg.records(root, **options))
        assert "\n" not in str(error.value)

    refused("hosp/patients.csv.gz is not in it", mimic_iv=tmp_path)
    (tmp_path / "hosp").mkdir()
    (tmp_path / "hosp" / "patients.csv.gz").write_bytes(b"no gzip at all")
    refused("cannot be read as MIMIC-IV's table", mimic_iv=tmp_path)
    write(tmp_path / "hosp" / "patients.csv.gz", ["subject_id", "sex"], [])
    refused("lacks the column gender, anchor_age, anchor_year", mimic_iv=tmp_path)
    machine = corpus / "machine_measurements.csv"
    machine.rename(tmp_path / "aside.csv")
    refused("machine_measurements.csv is not in it.*machine=False")
    assert "report" not in next(mimic_iv_ecg.records(corpus, machine=False)).meta
    write(machine, ["study_id", "report_0"], [])
    refused("lacks the column rr_interval, p_onset")
    (corpus / "record_list.csv").write_text("subject_id,study_id,file_name,ecg_time,path\n10000032,fourty,x,,files/a/b/c\n")
    refused("expected a whole number in the column study_id; got 'fourty'", machine=False)
    (corpus / "record_list.csv").write_bytes(b'subject_id,study_id,file_name,ecg_time,path\n1,2,"never closed\n')
    refused("cannot be read as a table", machine=False)
    (corpus / "record_list.csv").unlink()
    refused("record_list.csv is not in it; expected MIMIC-IV-ECG's folder")
    refused("no such folder; expected MIMIC-IV-ECG's folder", tmp_path / "nowhere")


def test_a_study_that_is_named_twice_is_not_taken_twice(corpus):
    with open(corpus / "record_list.csv", "a") as file:
        file.write("10000032,40689238,40689238,,files/p1000/p10000032/s40689238/40689238\n")
    refs = [ref for ref in mimic_iv_ecg.records(corpus) if ref.record == "40689238"]
    assert len(refs) == 2 and all("more than once" in ref.problem for ref in refs)


def test_a_recording_without_its_signal_is_refused_when_it_is_read(corpus):
    first = next(mimic_iv_ecg.records(corpus))
    first.path.unlink()
    with pytest.raises(FormatError):
        mimic_iv_ecg.read(first)


def test_memory_does_not_grow_with_the_length_of_the_reports(tmp_path):
    n = 10_000
    rows = [[i % 500, 40_000_000 + i, i, "", f"files/p1/p{i // 100}/s{i}/{i}"] for i in range(n)]
    write(tmp_path / "record_list.csv", ["subject_id", "study_id", "file_name", "ecg_time", "path"], rows)
    write(tmp_path / "machine_measurements.csv", MACHINE, [said(1, row[1], ["x" * 200] * 5, [500] * 9) for row in reversed(rows)])
    gc.collect()
    gc.freeze()  # in a large process the collector comes by more rarely
    tracemalloc.start()
    reports = sum(len(ref.meta["report"]) for ref in mimic_iv_ecg.records(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.unfreeze()
    assert reports == n * 1004 and peak < 9e6  # the reports alone are 10 MB


def test_an_indexed_table_finds_its_rows_by_number(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeffid,text\n7,"a\nb"\n\n-3,c\n7,"d,""e"""\n12\n', encoding="utf-8")
    with IndexedTable(tmp_path / "t.csv", "id", ("text",)) as table:
        assert len(table) == 4 and 7 in table and 8 not in table and table.twice() == {7}
        assert [row["text"] for row in table.rows(7)] == ["a\nb", 'd,"e"'] and table.row(8) is None
        seen = []
        for row in table:  # rows may be looked up meanwhile
            assert table.row(-3) == {"id": "-3", "text": "c"}
            seen.append(row["id"])
        assert seen == ["7", "-3", "7", "12"]


@given(
    st.lists(
        st.tuples(st.integers(-(10**12), 10**12), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)),
        max_size=9,
    )
)
def test_an_indexed_table_reads_what_pythons_csv_wrote(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows([["id", "text"], *rows])
        with IndexedTable(path, "id", ("text",)) as table:
            assert [(int(row["id"]), row["text"]) for row in table] == [(number, text.strip()) for number, text in rows]
            for number in {number for number, _ in rows}:
                assert [row["text"] for row in table.rows(number)] == [text.strip() for other, text in rows if other == number]


@pytest.mark.data
def test_the_real_tables_are_read(data_root, tmp_path):
    for name in ("record_list.csv", "machine_measurements.csv", "waveform_note_links.csv"):
        (tmp_path / name).write_bytes((data_root / "mimic-iv-ecg-tables" / name).read_bytes())
    (ref,) = mimic_iv_ecg.records(tmp_path)
    assert (ref.record, ref.patient) == ("40689238", "10000032") and "not there" in ref.problem
    assert ref.meta["report"].splitlines() == ["Sinus rhythm", "Possible right atrial abnormality", "Borderline ECG"]
    assert ref.meta["measurements"]["rr_interval"] == 659 and ref.meta["note_ids"] == ["10000032-EK-4"]
