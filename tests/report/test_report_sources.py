"""``einthoven sources``: what there is, and what a person has to know of one corpus, in terminals of any width."""

import io

import pytest
from rich.console import Console

from einthoven.report.sources import corpora_table, corpus_table, formats_table
from einthoven.sources import SOURCES
from einthoven.sources.options import meanings_of, parameters_of


def shown(what, width: int) -> list[str]:
    file = io.StringIO()
    Console(width=width, file=file).print(what)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("name", SOURCES)
def test_a_page_teaches_how_to_get_a_corpus_and_how_to_take_it_in(name: str):
    module, text = SOURCES[name], " ".join(line.strip() for line in shown(corpus_table(name), 200))
    facts = module.FACTS
    assert f"einthoven ingest {name} FOLDER STORE" in text and text.startswith(name)
    said = [facts.url, facts.licence, facts.version, facts.label_system, *getattr(module, "DATASETS", {}), *getattr(module, "VERSIONS", {})]
    assert all(one in text for one in said if one)
    for number in (facts.records, facts.patients):
        assert number is None or f"{number:,}" in text
    for option in parameters_of(name):
        assert f"--option {option}=" in text
    assert "``" not in text


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_lines_are_as_long_as_the_terminal_up_to_what_can_be_read_and_no_word_is_lost(width: int):
    for name in SOURCES:
        lines = shown(corpus_table(name), width)
        assert max(map(len, lines)) <= min(width, 110)
        # A paragraph that was broken where the source file breaks it, and again at the terminal's width, leaves lines of a few words.
        paragraphs = "\n".join(lines).split("\n\n")[-1].splitlines()
        if len(paragraphs) > 2 and not any(line.startswith("  ") for line in paragraphs):
            assert min(map(len, paragraphs[:-1])) > min(width, 110) - 30, name
        assert "".join(lines).replace(" ", "") == "".join(shown(corpus_table(name), 200)).replace(" ", "")


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_the_table_of_corpora_says_more_where_there_is_more_room(width: int):
    lines = shown(corpora_table(), width)
    head = next(line for line in lines if line.startswith("name")).split()
    assert head[:5] == ["name", "corpus", "recordings", "patients", "Hz"]
    assert [name for name in ("labels", "licence", "options") if name in head] == ["labels", "licence", "options"][: len(head) - 5]
    assert (len(head) == 8) == (width >= 136) and max(map(len, lines)) <= width
    assert not any("…" in line for line in lines) and all(any(line.startswith(name) for line in lines) for name in SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_every_option_says_what_it_means(name: str):
    meanings = meanings_of(name)
    assert meanings.keys() == parameters_of(name).keys() and all(len(text) > 10 for text in meanings.values())


def test_a_meaning_that_goes_on_in_the_next_line_is_told_whole():
    assert meanings_of("cinc2020")["subset"].endswith("empty: all, also folders of a name that we do not know")


def test_formats_say_whether_they_are_written():
    text = "\n".join(shown(formats_table(), 80))
    assert "WFDB" in text and "yes, .edf" in text
