"""What is wrong with a corpus's table is told in one line, in the same words for every corpus; what is missing of a corpus is told by name."""

from __future__ import annotations

import pytest
from published_layouts import LAYOUTS

from einthoven.errors import EinthovenError
from einthoven.sources import SOURCES, code15, ecgqa
from einthoven.sources.csv_table import read_csv

TABLES = [
    ("cpsc2018", "REFERENCE.csv"),
    ("ptbxl", "ptbxl_database.csv"),
    ("zheng", "Diagnostics.csv"),
    ("ribeiro", "attributes.csv"),
    ("ribeiro", "annotations/gold_standard.csv"),
    ("mimic_iv_ecg", "record_list.csv"),
    ("mimic_iv_ecg", "machine_measurements.csv"),
    ("mimic_iv_ecg", "waveform_note_links.csv"),
    ("code15", "exams.csv"),
    ("sph", "metadata.csv"),
    ("fairseq_signals", "code_15/meta.csv"),
    ("fairseq_signals", "code_15/labels/label_def.csv"),
]


def refusal(name, root) -> str:
    with pytest.raises(EinthovenError) as told:
        list(SOURCES[name].records(root))
    text = str(told.value)
    assert "\n" not in text and "codec" not in text
    return text


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_another_table_and_a_damaged_one_are_told_with_what_was_expected_and_what_came(name, table, tmp_path):
    root = LAYOUTS[name].build(tmp_path)
    path = root / table
    (root / "Diagnostics.xlsx").unlink(missing_ok=True)
    header = path.read_bytes().splitlines()[0] if path.is_file() else b"FileName,Rhythm,Beat,PatientAge,Gender"
    path.write_bytes(b"when,what\n1,2\n")
    text = refusal(name, root)
    assert text.startswith(f"{path}: lacks the column ") and "; expected " in text and text.endswith("; it has when, what.")
    for content in (b"\xfcber,2\n", b'"never closed,2\n'):
        path.write_bytes(header + b"\n" + content)
        assert refusal(name, root).startswith(f"{path}: cannot be read as a table in UTF-8"), content


def test_of_a_table_of_many_columns_some_are_shown(tmp_path):
    (tmp_path / "wide.csv").write_text(",".join(f"c{k}" for k in range(40)) + "\n")
    with pytest.raises(EinthovenError, match=r"lacks the column id; expected a table; it has c0, c1, .*c11, …\."):
        list(read_csv(tmp_path / "wide.csv", ("id",), "a table"))


def test_values_that_are_not_there_are_empty_and_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_bytes('\ufeffid, text \n1,"two\nlines"\n\n2\n3,a,more\n'.encode())
    assert list(read_csv(tmp_path / "t.csv", ("id", "text"), "a table")) == [
        (3, {"id": "1", "text": "two\nlines"}),
        (5, {"id": "2", "text": ""}),
        (6, {"id": "3", "text": "a"}),
    ]


def test_parts_that_no_count_tells_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert code15.missing(LAYOUTS["code15"].build(tmp_path / "a")) == [f"exams_part{part}.hdf5" for part in range(2, 18)]
    root = LAYOUTS["ecgqa"].build(tmp_path / "b")
    assert ecgqa.missing(root) == []
    (root / "paraphrased" / "test" / "00000.json").unlink()
    assert ecgqa.missing(root) == ["paraphrased/test"]
