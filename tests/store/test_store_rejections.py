"""Why recordings were rejected, in a few lines."""

from __future__ import annotations

import pytest
from fake_corpus import Corpus

from einthoven.errors import FormatError, StoreError
from einthoven.ingest.run import ingest
from einthoven.store.rejections import grouped, rejections


def test_reasons_that_differ_in_names_and_numbers_are_one(tmp_path):
    summary = ingest(Corpus(), tmp_path, tmp_path / "store", workers=1)
    assert summary.rejections == (
        ("its table names no signal", 3),
        ("truncated", 3),
        ('could not be read: KeyError: "a reader\'s mistake"', 3),
    )
    assert rejections(tmp_path / "store") == summary.rejections
    with pytest.raises(StoreError, match="there is no store"):
        rejections(tmp_path / "nothing")
    reasons = [
        "expected 12 leads; it has V1, V2, V3",
        "the header names b/a.dat, which is not there",
        "expected 8 leads; it has V1",
        "the header names c.dat, which is not there",
        "holds 'x y'; name the signal",
        "all recorded leads are flat",
        "holds 'z'; name the signal",
        "expected 12 leads; it has V2 and V6",
    ]
    assert grouped(reasons) == ((reasons[0], 3), (reasons[1], 2), (reasons[4], 2), (reasons[5], 1))


def test_of_a_store_that_could_not_be_made_the_reasons_are_there(tmp_path):
    class Hopeless(Corpus):
        def read(self, ref):
            raise FormatError(f"{ref.path}: has {ref.record} bytes")

    with pytest.raises(StoreError, match="none of the 15 recordings"):
        ingest(Hopeless(n=15), tmp_path, tmp_path / "store")
    assert rejections(tmp_path / "store") == (("has rec0000 bytes", 15),)
