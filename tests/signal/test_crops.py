"""Pieces and crops of recordings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.signal.crops import centred_start, chunks, random_start


def test_the_standard_windows_of_ten_seconds_are_seven():
    found = chunks(1000, 250, stride=125, shortest=250)
    assert len(found) == 7 and found[-1].tolist() == [750, 1000]
    assert chunks(1000, 1000, stride=500, shortest=1000).tolist() == [[0, 1000]]


@given(n=st.integers(1, 400), length=st.integers(1, 120), stride=st.integers(1, 90), start=st.integers(0, 50))
def test_pieces_are_what_a_loop_cuts(n, length, stride, start):
    expected, at = [], start
    while at < n and min(at + length, n) - at >= length // 2 + 1:
        expected.append([at, min(at + length, n)])
        at += stride
    assert chunks(n, length, stride=stride, start=start, shortest=length // 2 + 1).tolist() == expected
    # Whole windows alone are as many as a view of a store counts.
    if n >= length:
        assert len(chunks(n, length, stride=stride, shortest=length)) == (n - length) // stride + 1


def test_a_whole_recording_is_one_piece_and_a_short_one_none():
    assert chunks(300, start=20).tolist() == [[20, 300]] and chunks(300, shortest=301).tolist() == []
    assert chunks(10, start=10).tolist() == [] and chunks(300, repeat=2).tolist() == [[0, 300], [0, 300]]
    for wrong in ({"length": -1}, {"length": 5, "stride": 0}, {"repeat": 0}):
        with pytest.raises(ValueError, match="expected"):
            chunks(100, **wrong)


def test_every_place_is_drawn_the_last_one_too_unless_it_is_left_out():
    generator = np.random.default_rng(0)
    assert {random_start(255, 250, generator) for _ in range(200)} == set(range(6))
    assert {random_start(255, 250, generator, with_last=False) for _ in range(200)} == set(range(5))
    assert random_start(250, 250, generator) == random_start(250, 250, generator, with_last=False) == 0
    assert centred_start(255, 250) == 2 and centred_start(250, 250) == 0
    with pytest.raises(ValueError, match="1 to 249"):
        random_start(249, 250, generator)
