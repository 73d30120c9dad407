"""A file of which the end is missing says so: in every format, cut anywhere, in one line that tells what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from test_every_reader import WRITERS

from einthoven import io
from einthoven.errors import FormatError
from einthoven.leads import TWELVE
from einthoven.record import Record

CANNOT_BE_KNOWN = {"Apple Watch CSV"}
"""Of one column of numbers: fewer numbers are a shorter recording."""

TO_DO = ("again", "Ask for the whole file", "remove that row")


def says_that_it_is_cut(path: Path) -> None:
    with pytest.raises(FormatError) as error:
        io.read(path)
    message = str(error.value)
    assert "\n" not in message and "truncated" in message and any(words in message for words in TO_DO), message


@pytest.mark.parametrize("percent", [50, 90, 99])
@pytest.mark.parametrize("name", sorted(WRITERS.keys() - CANNOT_BE_KNOWN))
def test_every_format_says_that_a_file_is_cut_off(tmp_path, name, percent):
    path = WRITERS[name](tmp_path)
    path = path.with_name("r.dat") if name == "WFDB" else path
    data = path.read_bytes()
    place = len(data) * percent // 100
    if name == "table":  # a cut between two rows leaves a shorter table
        place = data.index(b";", place) - 3
    path.write_bytes(data[:place])
    says_that_it_is_cut(path)


REAL = [
    *("dicom/*.dcm", "ecgtoolkit-3formats/Example.*", "scp/*.scp", "muse-xml/*.xml", "cardiosoft-xml/*.xml", "philips-xml/*.xml"),
    *("schiller-xml/*.xml", "hl7-aecg/*.xml", "sph/SPH00001.h5", "edf/*.edf", "ishne/*.ecg", "cpsc2018/A*.mat", "code15-mat/*.mat"),
]


@pytest.mark.data
@pytest.mark.parametrize("pattern", REAL)
def test_a_real_file_says_that_it_is_cut_off(tmp_path, data_root, pattern):
    source = sorted(data_root.glob(pattern))[0]
    data = source.read_bytes()
    for percent in (10, 50, 90, 99):
        path = tmp_path / source.name
        path.write_bytes(data[: len(data) * percent // 100])
        says_that_it_is_cut(path)


@pytest.mark.data
def test_a_header_of_which_the_end_is_missing_says_so(tmp_path, data_root):
    source = sorted(data_root.glob("cinc2021/georgia/*.hea"))[0]
    shutil.copy(source.with_suffix(".mat"), tmp_path)
    (tmp_path / source.name).write_bytes(source.read_bytes()[:200])
    says_that_it_is_cut(tmp_path / source.name)


def test_a_cut_dicom_object_says_how_many_bytes_of_waveform_there_are(tmp_path):
    path = tmp_path / "r.dcm"
    io.write(Record(np.zeros((12, 5000)), 500, TWELVE), path)
    data = path.read_bytes()
    path.write_bytes(data[:-7001])
    with pytest.raises(FormatError, match=r"truncated DICOM object: the file ends after 112999 of 120000 bytes of waveform; copy it again"):
        io.read(path)
    for place in range(600, 900, 7):  # before the waveform: in a tag, in a length, in a value, between two elements
        path.write_bytes(data[:place])
        says_that_it_is_cut(path)


def test_a_cut_xml_file_says_in_which_line_and_element_it_ends(tmp_path):
    path = tmp_path / "r.xml"
    io.write(Record(np.zeros((12, 500)), 500, TWELVE), path)
    text = path.read_text()
    path.write_text(text[: text.rindex("<digits>") + 100])
    lines = text[: text.rindex("<digits>")].count("\n") + 1
    with pytest.raises(FormatError, match=rf"it ends in line {lines}, in <digits>, before </AnnotatedECG>; copy it again"):
        io.read(path)
