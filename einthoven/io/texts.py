"""Texts out of files of which nobody says how they were encoded."""

from __future__ import annotations


def decoded(data: bytes) -> str:
    """UTF-16 or UTF-8 by the byte order mark, else UTF-8, else Latin-1, which has a character for every byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def one_line(text: str) -> str:
    """A text without control characters, and with one blank where it has several."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
