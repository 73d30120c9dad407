"""Chapman-Shaoxing from its workbook and its CSV files, written here in the publishers' layout."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import SOURCES, spreadsheet, zheng
from einthoven.sources.spreadsheet import read_sheet
from einthoven.store.read import Store

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
ROWS = [
    ["FileName", "Rhythm", "Beat", "PatientAge", "Gender", "VentricularRate"],
    ["M1", "AFIB", "RBBB TWC", 85, "MALE", 117],
    ["M2", "SB", "NONE", 59, "FEMALE", 52],
    ["M3", "SR", "NONE", 20, "FEMALE", 67],
]


def workbook(path: Path, rows: list[list], *, shared: bool = True, sheet: str | bytes | None = None) -> None:
    """An .xlsx as Excel writes it (texts shared, the sheet under a relative name) or as openpyxl does (texts in their cells)."""
    texts = sorted({value for row in rows for value in row if isinstance(value, str)})
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for letter, value in zip("ABCDEFGH", row):
            if value is None:
                continue
            if not isinstance(value, str):
                cells.append(f'<c r="{letter}{number}"><v>{value}</v></c>')
            elif shared:
                cells.append(f'<c r="{letter}{number}" t="s"><v>{texts.index(value)}</v></c>')
            else:
                cells.append(f'<c r="{letter}{number}" t="inlineStr"><is><t>{value}</t></is></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(
            "xl/workbook.xml",
            f'<workbook {MAIN} xmlns:r="{relation}"><sheets><sheet name="a" sheetId="3" r:id="rId7"/></sheets></workbook>',
        )
        target = "worksheets/table.xml" if shared else "/xl/worksheets/table.xml"
        file.writestr("xl/_rels/workbook.xml.rels", f'<Relationships><Relationship Id="rId7" Target="{target}"/></Relationships>')
        file.writestr("xl/worksheets/table.xml", sheet or f"<worksheet {MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>")
        if shared:
            # A text in two formats, and one with a reading aid that is not part of it.
            runs = "".join(f"<si><r><t>{one[:1]}</t></r><r><t>{one[1:]}</t></r><rPh><t>x</t></rPh></si>" for one in texts)
            file.writestr("xl/sharedStrings.xml", f"<sst {MAIN}>{runs}</sst>")


def corpus(root: Path, *, shared: bool = True) -> dict[str, np.ndarray]:
    root.mkdir(exist_ok=True)
    workbook(root / "Diagnostics.xlsx", ROWS, shared=shared)
    signals = {}
    for name in ("M1", "M2", "M3"):
        signals[name] = np.random.default_rng(list(name.encode())).normal(0, 300, (12, 2500)).round(3)
        for folder, header in (("ECGData", ",".join(TWELVE)), ("ECGDataDenoised", "")):
            (root / folder).mkdir(exist_ok=True)
            values = signals[name] if header else signals[name] / 2
            np.savetxt(root / folder / f"{name}.csv", values.T, delimiter=",", fmt="%.3f", header=header, comments="")
        (root / "ECGDataDenoised" / f"{name}.csv").write_text((root / "ECGDataDenoised" / f"{name}.csv").read_text().lstrip("\n"))
    return signals


@pytest.mark.parametrize("shared", [True, False])
def test_rows_of_the_workbook_become_references_and_microvolts_millivolts(tmp_path, shared):
    signals = corpus(tmp_path, shared=shared)
    refs = list(zheng.records(tmp_path))
    assert [ref.record for ref in refs] == ["M1", "M2", "M3"] and not any(ref.problem for ref in refs)
    assert refs[0].labels == {"RBBB": 1.0, "TWC": 1.0, "AFIB": 1.0} and refs[1].labels == {"SB": 1.0}
    assert refs[0].meta == {"age": 85.0, "sex": "male", "measurements": {"VentricularRate": 117.0}}
    record = zheng.read(refs[0])
    assert (record.fs, record.leads, record.record, record.meta["age"]) == (500.0, TWELVE, "M1", 85.0)
    np.testing.assert_allclose(record.signal, signals["M1"] * 0.001, rtol=1e-6)
    (denoised, *_) = zheng.records(tmp_path, signals="denoised")
    np.testing.assert_allclose(zheng.read(denoised).signal, signals["M1"] * 0.0005, atol=1e-6)
    assert zheng.read(denoised).leads == TWELVE


def test_the_export_of_the_table_is_read_where_there_is_no_workbook(tmp_path):
    corpus(tmp_path)
    expected = list(zheng.records(tmp_path))
    (tmp_path / "Diagnostics.xlsx").unlink()
    (tmp_path / "Diagnostics.csv").write_text("\n".join(",".join(map(str, row)) for row in ROWS) + "\n")
    assert list(zheng.records(tmp_path)) == expected and zheng.tables(tmp_path) == [tmp_path / "Diagnostics.csv"]


def test_what_does_not_fit_together_is_given_with_its_problem(tmp_path):
    corpus(tmp_path)
    (tmp_path / "ECGData" / "M2.csv").unlink()
    (tmp_path / "ECGData" / "M9.csv").write_text("x")
    workbook(tmp_path / "Diagnostics.xlsx", [*ROWS, ["M3", "SR", "NONE", None, "", 60], []])
    found = [(ref.record, ref.problem) for ref in zheng.records(tmp_path) if ref.problem]
    assert [name for name, _ in found] == ["M2", "M3", "M9"]
    assert "M2.csv is not there" in found[0][1] and "second time" in found[1][1] and "no row" in found[2][1]
    with pytest.raises(FormatError, match=r"M2\.csv"):
        zheng.read(next(ref for ref in zheng.records(tmp_path) if ref.record == "M2"))
    (tmp_path / "ECGData" / "M1.csv").write_text("I,II\n1,2\nx,3\n")
    with pytest.raises(FormatError, match="table of microvolts"):
        zheng.read(next(zheng.records(tmp_path)))
    (tmp_path / "ECGData" / "M1.csv").write_text("I,II\n1\n3\n")
    with pytest.raises(FormatError, match="it has 1 columns"):
        zheng.read(next(zheng.records(tmp_path)))
    for table, words in ((ROWS[1:], "lacks the column FileName"), ([], "lacks the column")):
        workbook(tmp_path / "Diagnostics.xlsx", table)
        with pytest.raises(EinthovenError, match=words):
            list(zheng.records(tmp_path))
    with pytest.raises(EinthovenError, match="recorded, denoised"):
        list(zheng.records(tmp_path, signals="clean"))


def test_a_workbook_is_read_as_text_and_gaps_stay_gaps(tmp_path):
    workbook(tmp_path / "a.xlsx", [["a", None, "c"], [1, 2.5], [None, "x & y".replace("&", "and")], [3.0]])
    assert read_sheet(tmp_path / "a.xlsx") == [["a", "", "c"], ["1", "2.5"], ["", "x and y"], ["3"]]


def test_a_workbook_that_is_none_or_would_unfold_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"FileName,Rhythm\n")
    with pytest.raises(FormatError, match="save its first sheet as CSV"):
        read_sheet(path)
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + f"<worksheet {MAIN}><sheetData/></worksheet>"
    workbook(path, ROWS, sheet=bomb)
    with pytest.raises(FormatError, match="declares XML entities"):
        read_sheet(path)
    workbook(path, ROWS, sheet="<worksheet")
    with pytest.raises(FormatError, match="cannot be read as an Excel workbook"):
        read_sheet(path)
    workbook(path, ROWS, sheet=f'<worksheet {MAIN}><sheetData><row><c t="s"><v>99</v></c></row></sheetData></worksheet>')
    with pytest.raises(FormatError, match="names a text that is not in it"):
        read_sheet(path)
    workbook(path, ROWS)
    monkeypatch.setattr("einthoven.sources.spreadsheet.LARGEST", 50)
    with pytest.raises(FormatError, match="has more than"):
        read_sheet(path)


def test_it_goes_through_ingest(tmp_path):
    corpus(tmp_path / "raw")
    (tmp_path / "raw" / "ECGData" / "M3.csv").unlink()
    summary = ingest("zheng", tmp_path / "raw", tmp_path / "store", fs=100, resampling="image", workers=1)
    assert (summary.n_records, summary.n_rejected) == (2, 1)
    store = Store(tmp_path / "store")
    assert store[0]["labels"] == {"AFIB": 1.0, "RBBB": 1.0, "TWC": 1.0} and store[0]["ecg"].shape == (12, 500)
    assert store.record(0).meta["measurements"] == {"VentricularRate": 117.0} and SOURCES["zheng"] is zheng


def test_entities_in_another_encoding_and_cells_without_end_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "Diagnostics.xlsx"
    bomb = f'<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet {MAIN}><sheetData/></worksheet>'
    workbook(path, ROWS, sheet=bomb.encode("utf-16"))
    with pytest.raises(FormatError, match="declares XML entities"):
        read_sheet(path)
    far = '<row><c r="ZZZ1"/></row>'
    workbook(path, ROWS, sheet=f"<worksheet {MAIN}><sheetData>{far * 3}</sheetData></worksheet>")
    monkeypatch.setattr(spreadsheet, "MOST_CELLS", 50_000)
    with pytest.raises(FormatError, match="more than 50,000 cells"):
        read_sheet(path)
    with pytest.raises(FormatError, match="cannot be read as an Excel workbook"):
        read_sheet(tmp_path / "nowhere.xlsx")
