"""Rows that were put on disk come back: all of them, range after range, and never more at once than was allowed."""

from __future__ import annotations

import shutil
from itertools import pairwise

import numpy as np
import pytest

from einthoven.audit import spill
from einthoven.audit.spill import Spill
from einthoven.errors import StoreError

ROW = np.dtype([("key", "<u8"), ("place", "<u4")])


def rows_of(keys: np.ndarray) -> np.ndarray:
    rows = np.empty(len(keys), dtype=ROW)
    rows["key"], rows["place"] = keys, np.arange(len(keys))
    return rows


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(spill, "LIMIT", 100 * ROW.itemsize)
    monkeypatch.setattr(spill, "BUFFER", 70 * ROW.itemsize)


@pytest.mark.parametrize("spread", ["even", "in one corner"])
def test_all_rows_come_back_in_ranges_that_rise_and_are_small(small, spread, tmp_path):
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64 - 1, 5000, dtype=np.uint64) if spread == "even" else rng.integers(7, 900, 5000).astype(np.uint64)
    kept, rows = Spill(tmp_path / "rows", ROW, "key", 2**64), rows_of(keys)
    for some in np.array_split(rows, 37):
        kept.add(some)
    parts = list(kept.parts())
    assert kept.n_bytes == rows.nbytes and all(len(part) <= 100 for part in parts)
    assert all(one["key"].max() < two["key"].min() for one, two in pairwise(parts))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts), order="place"), rows)
    assert not list((tmp_path / "rows").rglob("*.rows"))


def test_rows_of_one_number_stay_together_in_their_order_however_many(small, tmp_path):
    kept = Spill(tmp_path / "rows", ROW, "key", 1000)
    kept.add(rows_of(np.full(300, 5, dtype=np.uint64)))
    (part,) = kept.parts()
    np.testing.assert_array_equal(part["place"], np.arange(300))


def test_nothing_gives_nothing_and_a_disk_that_is_gone_is_told(tmp_path):
    assert list(Spill(tmp_path / "none", ROW, "key", 1000).parts()) == []
    kept = Spill(tmp_path / "gone", ROW, "key", 1000)
    kept.add(rows_of(np.arange(9, dtype=np.uint64)))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(StoreError, match=r"gone: cannot be written .*; make room, or choose another folder"):
        list(kept.parts())
