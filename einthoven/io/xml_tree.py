"""XML files as a tree of elements, whatever their encoding, and nothing in them is ever expanded or fetched.

Parsing is defusedxml's: entity declarations and external references are refused; the ``<!DOCTYPE RestingECG SYSTEM "restecg.dtd">`` that MUSE writes
is passed over. Tags and attributes come without their namespaces. A bare ``&``, which several exports write (``SMITH & SONS``), is taken for the
character; any other fault of form is an error.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder

from einthoven.errors import FormatError

MAX_BYTES = 256_000_000
"""A resting ECG has a tenth of a megabyte, an exercise test of half an hour thirty."""

MAX_ELEMENTS = 2_000_000
MAX_DEPTH = 200
_ENDS_TOO_EARLY = (3, 5, 6, 20)
"""What expat finds at the end of a cut file: elements, a token, a character or a CDATA section that do not end (XML_ERROR_… of expat.h)."""

_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*?\?>")
_ENCODING = re.compile(rb"""\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]{1,40})["']""")
# By Python's names. What a file declares may not choose any codec that there is: some are slow, some run over their end.
_CODECS = re.compile(
    r"ascii|utf-8|iso8859-\d+|cp125\d|cp437|cp85\d|koi8-[ru]|mac-roman|gb2312|gbk|gb18030|big5|cp9\d\d|shift_jis|euc_(?:jp|kr)"
)
_BARE = re.compile(r"&(?!(?:#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);)")


def read_tree(path: Path, root: str | None = None) -> Element:
    """The root element of an XML file.

    root : the name that it must have (case does not matter); None takes any

    Raises FormatError: damaged, too large, declares entities, another root.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path}: expected an XML file of at most {MAX_BYTES // 1_000_000} MB; it is larger; export the ECG again.")
    return parse_tree(decoded(data), path, root)


def decoded(data: bytes) -> str:
    """The text of an XML file, by its byte order mark, its zero bytes, or the encoding that it declares.

    What is not in the encoding that it claims is read as Latin-1, which has a character for every byte: numbers and waveforms are ASCII, and an
    umlaut in a name is no reason to refuse a recording.
    """
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            return data[len(mark) :].decode(name, errors="replace")
    if data[:2] in (b"<\0", b"\0<"):
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    declared = _ENCODING.match(data[:200])
    name = "utf-8"
    if declared:
        try:
            name = codecs.lookup(declared[1].decode("ascii")).name
        except LookupError:
            name = "iso8859-1"
    try:
        return data.decode(name if _CODECS.fullmatch(name) else "utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_tree(text: str, path: Path, root: str | None = None) -> Element:
    """The root element of a text in XML. Raises FormatError as ``read_tree`` does; ``path`` is for its message."""
    from defusedxml.common import DefusedXmlException, DTDForbidden
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    if declaration := _DECLARATION.match(text):
        text = text[declaration.end() :]
    builder = _Builder(path)
    parser = DefusedXMLParser(target=builder, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(_with_bare_ampersands_escaped(text))
        tree = parser.close()
    except DTDForbidden as error:
        raise FormatError(f"{path}: declares a document type, which is not read: {error}; export the ECG again.") from None
    except DefusedXmlException:
        raise FormatError(
            f"{path}: expected an ECG; came XML that declares entities or refers to other files, which are never expanded or fetched; export the ECG again."
        ) from None
    except ParseError as error:
        raise FormatError(
            f"{path}: expected well-formed XML; {_fault(error, text, builder)}; copy it again, whole, or export it again."
        ) from None
    except (ValueError, AssertionError) as error:  # a lone surrogate; an end without a beginning
        raise FormatError(f"{path}: expected well-formed XML: {error}; export the ECG again.") from None
    if root is not None and tree.tag.lower() != root.lower():
        raise FormatError(f"{path}: expected XML whose root is <{root}>; came <{shown(tree.tag)}>; export the ECG again.")
    return tree


def _fault(error: SyntaxError, text: str, builder: _Builder) -> str:
    """What is wrong with a file's form: that it ends too early, or what else and where."""
    said = str(error)
    if getattr(error, "code", None) in _ENDS_TOO_EARLY and builder.open:
        line = text.count("\n") + 1
        said = f"it ends in line {line}, in <{shown(builder.open[-1])}>, before </{shown(builder.open[0])}>"
    return f"came a damaged or truncated file: {said}"


def _with_bare_ampersands_escaped(text: str) -> str:
    """Every ``&`` that begins neither one of XML's own five entities nor a character's number becomes ``&amp;``, but for those in CDATA."""
    if "&" not in text:
        return text
    pieces, place = [], 0
    while (begin := text.find("<![CDATA[", place)) >= 0 and (end := text.find("]]>", begin)) >= 0:
        pieces += [_BARE.sub("&amp;", text[place:begin]), text[begin:end]]
        place = end
    return "".join([*pieces, _BARE.sub("&amp;", text[place:])])


class _Builder:
    """Builds the tree without namespaces, and stops where a file would fill the memory with elements."""

    def __init__(self, path: Path):
        self._path, self._tree, self._n_elements = path, TreeBuilder(), 0
        self.open: list[str] = []
        """The elements that have begun and not ended, the root first."""

    def start(self, tag: str, attributes: Mapping[str, str]) -> Element:
        self._n_elements += 1
        self.open.append(_local(tag))
        if self._n_elements > MAX_ELEMENTS or len(self.open) > MAX_DEPTH:
            self._refuse()
        return self._tree.start(_local(tag), {_local(name): value for name, value in attributes.items()})

    def end(self, tag: str) -> Element:
        self.open.pop()
        return self._tree.end(_local(tag))

    def data(self, text: str) -> None:
        self._tree.data(text)

    def close(self) -> Element:
        return self._tree.close()

    def _refuse(self) -> NoReturn:
        raise FormatError(
            f"{self._path}: expected an ECG; came XML with over {MAX_ELEMENTS} elements, or elements nested {MAX_DEPTH} deep; export the ECG again."
        )


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def text_at(element: Element, path: str = ".") -> str | None:
    """What the first element at a path below contains, without the space around it; None where it is not there or empty."""
    found = element if path == "." else element.find(path)
    return (found.text or "").strip() or None if found is not None else None


def shown(text: str | None) -> str:
    """A text of the file as an error may quote it: its beginning, in one line."""
    return " ".join(text[:60].split()) if text else "nothing"


def number_at(element: Element, path: str = ".") -> float | None:
    """The number at a path below; None where there is none, or what is there is no finite number (``-``, ``Failed``)."""
    return as_number(text_at(element, path))


def as_number(text: str | None) -> float | None:
    """A finite number that a text states, else None."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
