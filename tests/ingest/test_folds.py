"""Folds that a corpus publishes and that put one patient on two sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_corpus import Corpus

from einthoven.errors import StoreError
from einthoven.ingest.run import ingest
from einthoven.store.read import Store


class Folds(Corpus):
    """Ten folds drawn by recording; ``named``: the tables name the patients, else only the files do."""

    named = True

    def records(self, root, split="old"):
        for i, ref in enumerate(super().records(root)):
            yield replace(ref, fold=str(i % 10 + 1) if split == "old" else None, patient=ref.patient if self.named else None)

    def read(self, ref):
        return replace(super().read(ref), patient=f"p{int(ref.record[3:]) // 3}")


def test_folds_that_part_patients_are_refused_before_anything_is_read(tmp_path):
    class Unread(Folds):
        def read(self, ref):
            raise AssertionError("read")

    with pytest.raises(StoreError, match=r"put 8 patients on two sides of the split, for one p2, .*--option split=new"):
        ingest(Unread(), tmp_path, tmp_path / "store", workers=1)
    assert not (tmp_path / "store").exists()
    ingest(Folds(), tmp_path, tmp_path / "store", workers=1, source_options={"split": "new"})
    assert Store(tmp_path / "store").split_rule["strategy"] == "random"

    class WithTable(Unread):
        def records(self, root):
            return super().records(root)

        def tables(self, root):
            return [Path(root) / "labels.csv"]

    (tmp_path / "labels.csv").write_text("fold")
    with pytest.raises(StoreError, match=r"mend the folds in labels\.csv, or leave them out"):
        ingest(WithTable(), tmp_path, tmp_path / "other", workers=1)


def test_folds_that_only_the_files_show_to_part_patients_lose_no_shard_and_are_left_aside_with_a_word(tmp_path):
    class Unnamed(Folds):
        named = False

    summary = ingest(Unnamed(), tmp_path, tmp_path / "store", workers=1)
    store = Store(tmp_path / "store")
    assert any(line.startswith("its folds are not used: ") and "for one p" in line for line in summary.differences)
    assert len(store) == 51 and set(store.column("fold")) == {str(fold) for fold in range(1, 11)}
    sides = dict(zip(store.column("patient"), store.column("split")))
    assert all(sides[patient] == side for patient, side in zip(store.column("patient"), store.column("split")))
    again = ingest(Unnamed(), tmp_path, tmp_path / "store", workers=1)
    assert again.was_there and again.differences == summary.differences
    ingest(Corpus(), tmp_path, tmp_path / "two", workers=1)
    appended = ingest(Unnamed(), tmp_path / "b", tmp_path / "two", workers=1, append=True, name="b")
    assert any(line.startswith("its folds are not used: ") for line in appended.differences)
