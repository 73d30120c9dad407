"""What else lies in a folder of exports: files that may not be opened, pipes, links to nowhere, hidden ones."""

import os
from importlib import import_module

import pytest

from einthoven.sources import SOURCES

recognise = import_module("einthoven.io.recognise")  # ``einthoven.io.recognise`` is the function


def problems(name, root):
    return {ref.path.name: ref.problem for ref in SOURCES[name].records(root)}


@pytest.mark.parametrize("name", ["folder", "muse"])
def test_pipes_and_links_to_nowhere_are_set_aside_and_never_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / "pipe.xml")
    (tmp_path / "gone.xml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.xml").symlink_to("self.xml")
    assert set(problems(name, tmp_path)) == {"pipe.xml", "gone.xml", "self.xml"}
    assert all("is no file that can be opened" in problem for problem in problems(name, tmp_path).values())


def test_a_file_that_may_not_be_read_is_set_aside_and_the_others_go_on(tmp_path, monkeypatch):
    (tmp_path / "closed.xml").write_text("<RestingECG></RestingECG>")
    (tmp_path / "notes.txt").write_text("nothing")
    head_of = recognise.head_of

    def forbidden(path):
        if path.name == "closed.xml":
            raise PermissionError(13, "Permission denied", str(path))
        return head_of(path)

    monkeypatch.setattr(recognise, "head_of", forbidden)
    found = problems("folder", tmp_path)
    assert found["closed.xml"] == "cannot be read: Permission denied; make it readable, or leave it out."
    assert "looks like text" in found["notes.txt"]


def test_a_row_of_the_table_whose_file_is_hidden_is_told_so(tmp_path):
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old" / "a.edf").write_text("x")
    (tmp_path / "labels.csv").write_text("record,age\n.old/a.edf,50\nb.edf,60\n")
    (tmp_path / "c.txt").write_text("x")
    found = problems("folder", tmp_path)
    assert "hidden" in found["a.edf"] and "not taken in" in found["a.edf"]
    assert "no such file is there" in found["b.edf"]
