"""A simulated corpus lies as the Challenge 2021 does, and is not measured by what that published; a part of the real thing is."""

import shutil
from pathlib import Path

import pytest
from command_line import einthoven


def notes(outcome) -> list[str]:
    assert outcome.code == 0, outcome.err
    return [line for line in outcome.out.splitlines() if line.startswith("note:")]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    assert einthoven("simulate corpus --records 3 --patients 2 --seconds 4 -j 1", tmp_path).code == 0
    return tmp_path / "corpus"


@pytest.mark.parametrize("source", ["physionet2021", "cinc2020"])
@pytest.mark.parametrize("root", ["corpus", "corpus/training", "corpus/training/synthetic"])
def test_who_simulates_is_not_told_what_is_missing_of_the_challenge(source, root, corpus, tmp_path):
    assert notes(einthoven(f"ingest {source} {root} store -j 1", tmp_path)) == []


def test_a_real_set_beside_it_is_measured_and_a_copy_without_the_marker_as_well(corpus, tmp_path):
    real = corpus / "training" / "georgia" / "g1"
    real.mkdir(parents=True)
    for path in (corpus / "training" / "synthetic" / "g1").glob("S00001.*"):
        content = path.read_bytes().replace(b"S00001", b"E00001") if path.suffix == ".hea" else path.read_bytes()
        (real / path.name.replace("S", "E")).write_bytes(content)
    said = notes(einthoven("ingest physionet2021 corpus store -j 1", tmp_path))
    assert said[0] == "note: georgia: 10,344 recordings published, 1 here" and said[1].startswith("note: 7 of 8 sets are not here")
    assert len(said) == 2 and not any("synthetic" in line for line in said)
    shutil.copytree(corpus, tmp_path / "copy", ignore=shutil.ignore_patterns("simulate.json"))
    said = notes(einthoven("ingest physionet2021 copy other -j 1", tmp_path))
    assert "note: synthetic: 3 recordings here, of a set that PhysioNet/CinC Challenge 2021 does not have" in said
