"""CODE-test from an array and tables written in the publishers' layout, and its real tables where they are present."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from einthoven.errors import EinthovenError, FormatError
from einthoven.ingest.run import ingest
from einthoven.leads import TWELVE
from einthoven.sources import ribeiro
from einthoven.sources.vocabulary import CLASSES, targets
from einthoven.store.read import Store

HEADER = ",".join(ribeiro.CODES)


def array() -> np.ndarray:
    """Three exams (time, lead): whole, padded by unequal numbers of zeros at the ends with zeros inside as well, empty."""
    signal = np.random.default_rng(3).normal(0, 0.4, (3, 4096, 12)).astype(np.float32)
    signal[1, :300], signal[1, -99:], signal[1, 1000:1010], signal[2] = 0, 0, 0, 0
    return signal


def tables(root: Path, n: int = 3) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    gold = ["0,1,0,0,0,0", "0,0,0,0,1,1", "0,0,0,0,0,0"][:n]
    (root / "annotations" / "gold_standard.csv").write_text("\n".join([HEADER, *gold]) + "\n")
    (root / "annotations" / "dnn.csv").write_text("\n".join([HEADER, *["1,0,0,0,0,0"] * 3]) + "\n")
    (root / "attributes.csv").write_text("age,sex\n25,M\n,F\n70,?\n")


@pytest.fixture
def corpus(tmp_path) -> Path:
    tables(tmp_path)
    with h5py.File(tmp_path / ribeiro.SIGNALS, "w") as file:
        file["tracings"] = array()
    return tmp_path


def test_exams_have_the_gold_standards_yes_and_no_and_what_the_other_readers_said(corpus):
    refs = list(ribeiro.records(corpus))
    assert [ref.record for ref in refs] == ["0", "1", "2"]
    assert refs[1].labels == {"1dAVb": 0.0, "RBBB": 0.0, "LBBB": 0.0, "SB": 0.0, "AF": 1.0, "ST": 1.0}
    assert refs[0].meta == {"age": 25.0, "sex": "male", "readers": {"dnn": ["1dAVb"]}}
    assert refs[1].meta["sex"] == "female" and "age" not in refs[1].meta and "sex" not in refs[2].meta


def test_padding_is_cut_off_at_both_ends_and_nothing_inside(corpus):
    first, second, third = ribeiro.records(corpus)
    whole, cut = ribeiro.read(first), ribeiro.read(second)
    assert (whole.fs, whole.leads, whole.signal.shape) == (400.0, TWELVE, (12, 4096))
    np.testing.assert_array_equal(cut.signal, array()[1, 300:-99].T)
    with pytest.raises(FormatError, match="exam 2 is all zeros"):
        ribeiro.read(third)
    assert ribeiro.unpadded(np.zeros((12, 5))).shape == (12, 0)


def test_it_goes_through_ingest_and_answers_to_the_challenges_classes(corpus):
    summary = ingest("ribeiro", corpus, corpus / "store", fs=100, resampling="image", workers=1)
    assert (summary.n_records, summary.n_rejected) == (2, 1)
    stored = Store(corpus / "store")[1]
    assert stored["ecg"].shape == (12, int((4096 - 399) * 100 / 400)) and stored["meta"]["readers"] == {"dnn": ["1dAVb"]}
    found = targets(stored["labels"], stored["label_system"], CLASSES["cinc2021"])
    said = {one.abbreviation: value for one, value in zip(CLASSES["cinc2021"], found) if not np.isnan(value)}
    assert said == {"AF": 1, "STach": 1, "IAVB": 0, "CRBBB|RBBB": 0, "CLBBB|LBBB": 0, "SB": 0}


def test_tables_that_do_not_fit_are_refused(corpus):
    tables(corpus, n=2)
    with pytest.raises(EinthovenError, match=r"each of 3 exams.*it has 2"):
        list(ribeiro.records(corpus))
    tables(corpus)
    for text, words in (("1dAVb,RBBB\n0,1\n", "lacks the column LBBB"), (f"{HEADER}\n" + "0,0,0,0,0,2\n" * 3, "line 2: expected 0 or 1")):
        (corpus / "annotations" / "gold_standard.csv").write_text(text)
        with pytest.raises(EinthovenError, match=words):
            list(ribeiro.records(corpus))
    (corpus / "attributes.csv").unlink()
    with pytest.raises(EinthovenError, match=r"attributes\.csv is not in it"):
        list(ribeiro.records(corpus))


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    tables(tmp_path)
    (tmp_path / ribeiro.SIGNALS).write_bytes(b"not HDF5")
    with pytest.raises(FormatError, match="cannot be read as HDF5"):
        list(ribeiro.records(tmp_path))


@pytest.mark.data
def test_the_real_gold_standard_has_its_published_counts(data_root):
    rows = ribeiro._findings(data_root / "code-test-annotations" / ribeiro.GOLD, ribeiro.FACTS.records)
    counts = {code: sum(row[code] for row in rows) for code in ribeiro.CODES}
    assert counts == {"1dAVb": 28, "RBBB": 34, "LBBB": 30, "SB": 16, "AF": 13, "ST": 37}


def test_the_tables_of_another_folder_are_none_so_that_the_layout_can_be_told(tmp_path):
    from einthoven.ingest.run import ingest
    from einthoven.sources import SOURCES

    assert SOURCES["ribeiro"].tables(tmp_path) == []
    with pytest.raises(EinthovenError, match=r"are not in it; expected the folder with ecg_tracings.hdf5"):
        ingest("ribeiro", tmp_path, tmp_path / "store")
