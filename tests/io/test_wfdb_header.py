"""Header texts as corpora write them, and as nobody should."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io.wfdb_comments import describe
from einthoven.io.wfdb_header import Header, parse_header
from einthoven.record import Record


def test_fields_that_are_left_out_have_the_defaults_of_header_5():
    header = parse_header(
        "# before\n100 2\n\n100.dat 212\n100.dat 212 0 11 1024 995 -22131 0 MLII lead \n# 69 M 1085 1629 x1\n#b", "100.hea"
    )
    assert (header.record, header.fs, header.n_samples, header.time) == ("100", 250.0, None, None)
    first, second = header.signals
    assert (first.gain, first.baseline, first.unit, first.name, first.checksum) == (200.0, 0, "mV", "", None)
    assert (second.gain, second.baseline, second.initial, second.checksum, second.name) == (200.0, 1024, 995, -22131, "MLII lead")
    assert header.comments == ("before", "69 M 1085 1629 x1", "b")


def test_a_comment_in_another_encoding_does_not_become_a_signal_line(tmp_path):
    path = tmp_path / "r.hea"
    (tmp_path / "r.dat").write_bytes(bytes(20))
    path.write_bytes("\ufeffr 1 500 10\r\nr.dat 16 1000/mV 16 0 0 0 0 II\r\n# Diagnose: Überleitung\x85 ja\r\n".encode("latin-1", "ignore"))
    assert io.read(path).leads == ("II",)
    path.write_text("\ufeffr 1 500 10\nr.dat 16 1000/mV 16 0 0 0 0 II\n", encoding="utf-8")
    assert io.read(path).fs == 500


def test_formats_carry_their_details():
    (signal,) = parse_header("a 1 500/250(-3.5) 10\na.mat 16x4:3+24 1000.5(-12)/uV 16 0 0 0 0 I", "a.hea").signals
    assert (signal.format, signal.samples_per_frame, signal.skew, signal.offset) == ("16", 4, 3, 24)
    assert (signal.gain, signal.baseline, signal.unit) == (1000.5, -12.0, "uV")


def test_only_a_time_in_wfdb_order_is_the_time_of_recording():
    assert parse_header("a 0 500 0 05:05:15 08/05/2014", "a").time == datetime(2014, 5, 8, 5, 5, 15)
    assert parse_header("a 0 500 0 05-May-2020 14:50:55", "a").time is None
    assert parse_header("a 0 500 0     0:01", "a").time is None


def test_segments_are_listed():
    header = parse_header("041s/2 7 125 2000 8:26:04 26/10/1994\n041s01 1000\n041s02 1000", "041s.hea")
    assert header.segments == (("041s01", 1000), ("041s02", 1000)) and header.signals == ()


@pytest.mark.parametrize(
    ("comments", "meta"),
    [
        (["Age: 84", "Sex: Female"], {"age": 84.0, "sex": "female"}),
        (["Age: NaN", "Sex: Unknown"], {}),
        (["age: 81", "sex: m"], {"age": 81.0, "sex": "male"}),
        (["<age>: 49 <sex>: M"], {"age": 49.0, "sex": "male"}),
        (["69 M 1085 1629 x1"], {"age": 69.0, "sex": "male"}),
        (["Age: 300"], {}),
        (["Age: -1"], {}),
        (["Age: fifty"], {}),
        (["Exam ID: 9190", "Chagas label: False"], {"exam_id": "9190", "chagas": False}),
        (["Chagas label: maybe"], {}),
        (["Recording time: 2021-03-04T05:06:07"], {"time": datetime(2021, 3, 4, 5, 6, 7)}),
        (["Recording time: yesterday"], {}),
    ],
)
def test_only_what_is_known_of_the_person_is_told(comments, meta):
    said, labels, patient = describe(tuple(comments))
    said.pop("comments")
    assert said == meta and labels is None and patient is None


@pytest.mark.parametrize(
    ("line", "codes"),
    [("Dx: 426783006", ["426783006"]), ("Dx: 164889003,59118001", ["164889003", "59118001"]), ("Dx:  67741000119109 , 1111111;222222", ["67741000119109", "1111111", "222222"]), ("Dx: Unknown", None), ("Dx:", None), ("Dx: NaN", None)],
)  # fmt: skip
def test_diagnoses_are_snomed_codes_or_not_known(line, codes):
    assert describe((line,))[1] == (dict.fromkeys(codes, 1.0) if codes else None)


def test_the_patient_is_taken_from_its_field_alone():
    assert describe(("Patient ID: 513956", "Dx: 426783006"))[2] == "513956"
    assert describe(("Patient ID: Unknown",))[2] is None


def test_what_our_writer_says_of_a_record_is_read_again(tmp_path):
    meta = {
        "age": 54.5,
        "sex": "female",
        "time": datetime(2020, 3, 4, 5, 6, 7, 8000),
        "report": "Sinus rhythm\nAge: normal for it",
        "device": "MAC 5",
    }
    labels = {"426783006": 1.0, "164889003": 1.0}
    record = Record(np.zeros((1, 9)), 500, ("II",), patient="P17", labels=labels, label_system="SNOMED CT", meta=meta)
    io.write(record, tmp_path / "r.hea")
    back = io.read(tmp_path / "r.hea")
    comments = back.meta.pop("comments")
    assert back.meta == meta and back.patient == "P17" and back.labels == labels
    io.write(back, tmp_path / "again.hea")  # what was written once is not written twice
    assert io.read(tmp_path / "again.hea").meta["comments"] == comments and len(comments) == 8


def test_a_report_that_says_nothing_is_none():
    assert describe(("Report: ---", "Report:"))[0].keys() == {"comments"}


LINES = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"[a-z0-9]{1,5}(/[0-9]{1,3})? [0-9]{1,3}( [0-9.e+-]{1,8}(/[0-9]{1,3})?( [0-9]{1,20})?)?", fullmatch=True),
    st.from_regex(r"[a-z./~-]{1,8} [0-9]{1,3}(x[0-9])?(:[0-9])?(\+[0-9]{1,4})?( [0-9.e()-]{1,8}(/[a-zA-Z]{0,4})?( -?[0-9]{1,4}){0,5}( .{0,8})?)?", fullmatch=True),
    st.from_regex(r"# ?(Age|Sex|Dx|Patient ID|<age>): .{0,20}", fullmatch=True),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=6).map("\n".join))
@example("r 1 500 10\nr.dat 16 1e999/mV")
@example("r 1 1e999 10\nr.dat 16")
@example("r 1 500 10\nr.dat 16 1(1e999)/mV")
@example("r/0 1 500 10")
@example("r 1 500 ٣\nr.dat 16 200 16 ٣")
def test_any_text_is_a_header_or_a_format_error(text):
    try:
        header = parse_header(text, "x.hea")
    except FormatError as error:
        assert "x.hea" in str(error) and "\n" not in str(error)
    else:
        assert isinstance(header, Header)
        assert header.segments or header.signals or text
        describe(header.comments)


@settings(max_examples=100, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.sampled_from(
            [
                b"MATLAB 5.0 ",
                b"\x1e\0\0\0\x0c\0\0\0\x88\x13\0\0\0\0\0\0\x04\0\0\0val\0",
                b"\x89HDF\r\n\x1a\n",
                b"<RestingECG>",
                b"r 1 500 10\nr.dat 16\n",
            ]
        ).flatmap(lambda head: st.binary(max_size=120).map(lambda tail: head + tail)),
    ),
    suffix=st.sampled_from([".hea", ".mat", ".dat", ".xml", ""]),
    signal=st.binary(max_size=60),
)
def test_any_short_file_is_an_ecg_or_a_format_error(tmp_path_factory, content, suffix, signal):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "r.dat").write_bytes(signal)
    path = folder / f"r{suffix}"
    path.write_bytes(content)
    try:
        record = io.read(path)
    except FormatError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        assert record.signal.size < 10_000
