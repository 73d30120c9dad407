"""What a file is, found by its content."""

from __future__ import annotations

import bz2
import gzip
import inspect
import zipfile
from io import BytesIO

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io import wfdb


def refused(path, *words: str) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path)
    message = str(error.value)
    assert "\n" not in message and str(path) in message and all(word in message for word in words), message


BEGINNINGS = [
    (b"%PDF-1.7 ...", "PDF"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    (bytes(128) + b"DICM" + bytes(20), "DICOM"),
    (b"0".ljust(184) + b"512".ljust(8) + b"EDF+C".ljust(60) + b"1".ljust(4) + bytes(40), "EDF"),
    (b"0".ljust(184) + b"512     ", "text"),  # cut off before it says how many signals
    (b"\xffBIOSEMI", "BDF"),
    (b"ISHNE1.0....", "ISHNE Holter"),
    (b"<?xml version='1.0'?>\n<!DOCTYPE RestingECG>\n<RestingECG>", "GE MUSE XML"),
    ("\ufeff<?xml version='1.0' encoding='UTF-16'?><restingecgdata xmlns='x'>".encode("utf-16"), "Philips SierraECG XML"),
    (b"<?xml version='1.0'?><hl7:AnnotatedECG>", "HL7 aECG XML"),
    (b"<svg>", "XML of a kind we do not know"),
    (b"time,I,II\n" + b"".join(b"%.3f,%d,2\n" % (n / 500, n) for n in range(9)), "table"),
    (b"record,patient,age\nr1,p1,40\nr2,p2,50\n", "text"),
    (b"# A page\n\nof words, with 2 numbers, 3, 4.\n", "text"),
    (b"\x80\x04\x95", "Python pickle"),
    (bytes(range(128, 160)) * 3, "no kind that we know"),
]


@pytest.mark.parametrize(("content", "name"), BEGINNINGS)
@pytest.mark.parametrize("suffix", [".bin", ".mat", ".hea", ".ecg"])
def test_a_file_is_named_by_its_content_whatever_its_ending(tmp_path, content, name, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    if suffix == ".hea" and name in ("text", "table", "no kind that we know"):
        refused(path)  # a header that cannot be understood
    elif suffix != ".hea" and name in io.READERS:
        assert io.recognise(path) == name
        refused(path)  # it is damaged, and its reader says so
    else:
        refused(path, name)


NO_ECGS = {
    "labels.csv": "record,patient,age,sex,labels\n" + "".join(f"r{n},p{n},{40 + n},f,426783006;164889003\n" for n in range(20)),
    "ptbxl_database.csv": "ecg_id,patient_id,age,sex,height\n" + "".join(f"{n},{15709.0 + n},{56.0 + n},{n % 2},\n" for n in range(20)),
    "findings.csv": "1dAVb,RBBB,LBBB,SB,AF,ST\n" + "0,0,1,0,0,0\n1,0,0,0,0,0\n" * 10,
    "without_a_header.csv": "0,0,1,0\n1,0,0,0\n0,1,0,0\n" * 9,
    "training.csv": "epoch,loss,auroc\n" + "".join(f"{n},{1 / (n + 1):.3f},{n / 20}\n" for n in range(20)),
    "labels.tsv": "name\tage\tAF\n" + "".join(f"r{n}\t{n}\t{n % 2}\n" for n in range(20)),
    "beats.txt": "".join(f"{n * 287 + 18}\n" for n in range(300)),
    "beats_rdann.txt": "".join(f"    0:{n:02d}.050  {n * 287 + 18:7d}     N    0    0    0\n" for n in range(60)),
    "RECORDS": "".join(f"A{n:04d}\n" for n in range(200)),
    "RECORDS-of-numbers": "".join(f"{n}\n" for n in range(100, 235)),
    "files.txt": "".join(f"g1/A{n:04d}.mat 0.5\n" for n in range(50)),
    "SHA256SUMS": "".join(f"{n:064x}  g1/A{n:04d}.mat\n" for n in range(30)),
    "numbers.json": "[" + ", ".join(f"{n / 7:.3f}" for n in range(500)) + "]",
    "lines.json": "[\n" + ",\n".join(f"  {n / 7:.3f}" for n in range(500)) + "\n]\n",
    "config.json": '{"fs": 500, "unit": "uV", "leads": ["I", "II"]}',
    "lines.jsonl": "".join(f'{{"step": {n}, "loss": {1 / (n + 1)}}}\n' for n in range(50)),
    "README.md": "# Results\n\n| lead | AUROC |\n| --- | --- |\n" + "".join(f"| V{n} | 0.9{n} |\n" for n in range(1, 7)) * 9,
    "recipe.yaml": "seed: 1\nlr: 0.001\n" + "".join(f"  - {n / 10}\n" for n in range(50)),
    "page.html": "<!DOCTYPE html>\n<html><body><table><tr><td>0.1</td></tr></table></body></html>",
    "fragment.html": "<div>\n" + "0.12 0.13 0.14\n" * 50 + "</div>",
    "source.py": inspect.getsource(wfdb),
    "source.c": "#include <stdio.h>\nstatic const short table[] = {\n" + "  1, 2, 3, 4,\n" * 60 + "};\n",
    "log.txt": "".join(f"2021-05-01 10:{n:02d}:00 INFO step {n} loss 0.{n}\n" for n in range(60)),
    "letter.txt": "To whom it may concern,\n\n" + "the ECG of 12 March shows 3 premature beats, 1 of them ventricular.\n" * 30,
    "refs.bib": "@article{a,\n  year = {2020},\n  volume = {7},\n}\n" * 20,
}


@pytest.mark.parametrize("name", NO_ECGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_lies_beside_recordings_is_never_taken_for_one(tmp_path, name, line_end):
    path = tmp_path / name
    path.write_bytes(NO_ECGS[name].replace("\n", line_end).encode())
    refused(path, "cannot be read as an ECG")


def test_a_table_that_begins_with_zero_and_blanks_is_no_edf(tmp_path):
    path = tmp_path / "table.txt"
    time, lead = np.arange(50) / 500, np.round(np.sin(np.arange(50)), 3)
    path.write_text("".join(f"{t:<12g}{v:g}\n" for t, v in zip(time, lead)))
    assert path.read_bytes().startswith(b"0       ") and io.recognise(path) == "table"
    record = io.read(path, names=("time", "II"), unit="mV")
    np.testing.assert_allclose(record.signal[0], lead, atol=1e-6)
    assert record.fs == 500


def zipped(*names: str) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return file.getvalue()


OTHERS = [
    (b"%PDF-1.7", "looks like PDF document; a printed ECG is no signal, export the recording itself"),
    (b"\x89PNG\r\n\x1a\n", "looks like PNG picture; a printed"),
    (b"\xff\xd8\xff\xe0", "looks like JPEG picture; a printed"),
    (b"II*\0", "looks like TIFF picture; a printed"),
    (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "looks like HTML; a page, such as a server answers with"),
    (gzip.compress(b"0,1"), "looks like gzip archive; unpack it first"),
    (bz2.compress(b"0,1"), "looks like bzip2 archive; unpack it first"),
    (zipped("exports/a.xml"), "looks like zip archive; unpack it first"),
    (zipped("[Content_Types].xml", "word/document.xml"), "looks like Word document (.docx); a printed"),
    (zipped("docProps/app.xml", "xl/workbook.xml"), "looks like Excel workbook (.xlsx); save the sheet as CSV"),
    (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "looks like Office document (.doc, .xls, .ppt); a printed"),
    (b"SQLite format 3\0" + bytes(100), "looks like SQLite database"),
    (b'{"record": "a"}', "looks like JSON"),
    (b"Dear colleague,\nthe ECG is normal.\n", "looks like text"),
    (bytes(range(128, 160)) * 3, "its content is of no kind that we know"),
]


@pytest.mark.parametrize(("content", "words"), OTHERS)
def test_another_thing_is_named_with_what_to_do_and_not_with_all_formats(tmp_path, content, words):
    path = tmp_path / "a.ecg"
    path.write_bytes(content)
    refused(path, words, "(what is read: docs/data.md, einthoven.io.READERS)")
    with pytest.raises(FormatError) as error:
        io.recognise(path)
    assert len(str(error.value).removeprefix(str(path))) < 200


@pytest.mark.parity
def test_a_real_workbook_is_named(parity_root):
    refused(parity_root / "ecg_selfsupervised/prepare/zheng/raw/Diagnostics.xlsx", "Excel workbook")


def test_a_folder_an_empty_and_an_absent_file_are_told_apart(tmp_path):
    empty = tmp_path / "empty.hea"
    empty.touch()
    refused(empty, "is empty")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "nothing", "no such file")
    refused(tmp_path / "nothing.hea", "no such file")


@pytest.mark.data
@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("dicom/*.dcm", "DICOM"),
        ("scp/*.scp", "SCP-ECG"),
        ("muse-xml/*.xml", "GE MUSE XML"),
        ("cardiosoft-xml/*.xml", "GE CardioSoft XML"),
        ("philips-xml/*orig.xml", "Philips SierraECG XML"),
        ("schiller-xml/*.xml", "Schiller EDI XML"),
        ("sph/*.h5", "HDF5"),
        ("edf/*.edf", "EDF"),
        ("ishne/*.ecg", "ISHNE Holter"),
        ("hl7-aecg/*.xml", "HL7 aECG XML"),
        ("text/apple*.csv", "Apple Watch CSV"),
        ("text/*.txt", "table"),
    ],
)
def test_real_files_are_named(data_root, pattern, name):
    found = list(data_root.glob(pattern))
    assert found and {io.recognise(path) for path in found} == {name}


def test_annotations_that_begin_with_the_byte_of_a_tag_are_no_xml(tmp_path):
    (tmp_path / "r1.hea").write_text("r1 0 500\n")
    (tmp_path / "r1.atr").write_bytes(b"<\x04" + bytes([12, 4, 200, 4, 0, 0] * 20))
    assert io.is_annotation(tmp_path / "r1.atr")


def test_a_link_that_leads_nowhere_is_called_so(tmp_path):
    (tmp_path / "r1.hea").symlink_to("elsewhere.hea")
    with pytest.raises(FormatError, match=r"is a link to elsewhere\.hea, which is not there"):
        wfdb.read_header(tmp_path / "r1.hea")
