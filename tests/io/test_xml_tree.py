"""Any file of XML, in any encoding, as a tree; nothing in it is expanded, fetched or believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import FormatError
from einthoven.io import xml_tree
from einthoven.io.xml_leads import numbers_in, stacked
from einthoven.io.xml_tree import number_at, parse_tree, read_tree, shown, text_at

NAME = "Müller"


def tree(tmp_path: Path, data: bytes | str, root: str | None = None):
    path = tmp_path / "x.xml"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_tree(path, root)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("utf-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("ISO-8859-1", "latin-1"),
        ("ISO8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        (None, "utf-8"),
        ("utf-8", "latin-1"),  # not what it says it is
        ("no-such-encoding", "latin-1"),
    ],
)
def test_a_name_is_read_in_every_encoding(tmp_path, declared, codec):
    head = f"<?xml version='1.0' encoding='{declared}'?>\n" if declared else ""
    assert text_at(tree(tmp_path, f"{head}<a><b>{NAME}</b></a>".encode(codec)), "b") == NAME


def test_a_chinese_export_is_read_in_its_encoding(tmp_path):
    assert text_at(tree(tmp_path, "<?xml version='1.0' encoding='GB2312'?><a>窦性心律</a>".encode("gb2312"))) == "窦性心律"


def test_a_text_that_says_utf_16_and_is_none_is_read_all_the_same(tmp_path):
    assert text_at(tree(tmp_path, "<?xml version='1.0' encoding='utf-16'?><a>x</a>")) == "x"


def test_a_bare_ampersand_is_a_character_and_an_escaped_one_stays_what_it_is(tmp_path):
    root = tree(tmp_path, "<a><b>SMITH & SONS</b><c>R&D;&amp;&#65;&#x42;&lt;</c><d><![CDATA[x & y]]></d><e>& &</e></a>")
    assert [text_at(root, name) for name in "bcde"] == ["SMITH & SONS", "R&D;&AB<", "x & y", "& &"]


def test_many_ampersands_and_openings_take_no_longer_than_they_are_long(tmp_path):
    with pytest.raises(FormatError, match="well-formed"):
        tree(tmp_path, "<a>" + "<![CDATA[&" * 300_000)


def test_namespaces_are_left_out_of_tags_and_attributes(tmp_path):
    root = tree(tmp_path, '<p:a xmlns:p="urn:x" xmlns="urn:y" p:q="1"><b r="2">3</b></p:a>', root="A")
    assert root.tag == "a" and root.attrib == {"q": "1"} and number_at(root, "b") == 3.0 and root.find("b").get("r") == "2"


def test_a_document_type_that_names_a_file_is_passed_over(tmp_path):
    assert tree(tmp_path, '<!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG/>', root="RestingECG").tag == "RestingECG"


BOMB = (
    "<!DOCTYPE a [<!ENTITY x 'ha'>" + "".join(f"<!ENTITY x{n} '{f'&x{n - 1};' * 9 if n else '&x;'}'>" for n in range(9)) + "]><a>&x8;</a>"
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://h/x.dtd"> %x;]><a/>',
    ],
    ids=["bomb", "file", "parameter"],
)
def test_entities_are_neither_expanded_nor_fetched(tmp_path, text):
    with pytest.raises(FormatError, match="never expanded or fetched"):
        tree(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no element found"),
        ("<a><b></a>", "mismatched tag"),
        ("<a><b>", "damaged or truncated"),
        ("no xml", "syntax error"),
        ("<a>\x01</a>", "not well-formed"),
        ("<a>&#0;</a>", "invalid character number"),
        ("<b/>", "whose root is <a>; came <b>"),
        ("<a>" * 300 + "</a>" * 300, "nested 200 deep"),
    ],
)
def test_what_is_no_such_xml_is_refused_in_one_line(tmp_path, text, reason):
    with pytest.raises(FormatError, match=reason) as caught:
        tree(tmp_path, text, root="a")
    assert "\n" not in str(caught.value) and str(tmp_path / "x.xml") in str(caught.value)


def test_a_file_of_nothing_but_elements_stops_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_tree, "MAX_ELEMENTS", 1000)
    assert len(tree(tmp_path, "<a>" + "<b/>" * 999 + "</a>")) == 999
    with pytest.raises(FormatError, match="over 1000 elements"):
        tree(tmp_path, "<a>" + "<b/>" * 1000 + "</a>")


def test_a_file_over_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_tree, "MAX_BYTES", 100)
    with pytest.raises(FormatError, match="it is larger"):
        tree(tmp_path, "<a>" + " " * 100 + "</a>")


def test_texts_and_numbers_are_found_or_are_none():
    root = parse_tree("<a><b> x </b><c/><d>1e3</d><e>nan</e><f>-</f></a>", Path("x"))
    assert [text_at(root, name) for name in "bcz"] == ["x", None, None]
    assert [number_at(root, name) for name in "defz"] == [1000.0, None, None, None]


def test_an_error_quotes_a_file_in_one_short_line():
    assert shown("a\nb \t c") == "a b c" and shown(None) == shown("") == "nothing" and len(shown("x" * 999)) == 60


def test_numbers_are_read_as_they_stand_or_not_at_all():
    np.testing.assert_array_equal(numbers_in(" 1, -2,\n3,4 ,"), [1, -2, 3, 4])
    np.testing.assert_array_equal(numbers_in("1.5,-2e1"), [1.5, -20])
    np.testing.assert_array_equal(numbers_in("1 2\n 3\t4 ", " "), [1, 2, 3, 4])
    assert numbers_in("").shape == (0,)
    for text in ("1,,2", "1,x,2", "1;2", "1 2,3", "nan", "1,inf", ",1"):
        with pytest.raises(ValueError, match="expected"):
            numbers_in(text)
    assert numbers_in("99999999999999999999").item() == 1e20


def test_leads_of_different_lengths_are_no_recording():
    with pytest.raises(FormatError, match="I has 2 samples, II 3"):
        stacked(["I", "II"], [np.zeros(2), np.zeros(3)], Path("x"))
    with pytest.raises(FormatError, match="it has 0"):
        stacked([], [], Path("x"))
    with pytest.raises(FormatError, match="no samples"):
        stacked(["I"], [np.zeros(0)], Path("x"))
