"""Annotations of WFDB against the wfdb package, in both directions and to the byte."""

from __future__ import annotations

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import FormatError
from einthoven.io import wfdb_annotations
from einthoven.io.wfdb_annotations import CODES

SAMPLES = np.array([0, 0, 18, 1041, 2065, 70_000, 70_001, 2**31 + 90_000])
SYMBOLS = ["+", "N", "(", "p", ")", "V", "~", "/"]
NUMBERS = np.array([0, 0, 1, 1, 3, 127, 0, 0])


def test_the_codes_are_those_of_the_wfdb_package():
    table = {label.symbol: label.label_store for label in wfdb.io.annotation.ann_labels}
    assert {symbol: code for symbol, code in table.items() if code} == CODES


@pytest.mark.parametrize("fs", [500.0, 250, 511.844, 360.5])
def test_a_file_is_to_the_byte_the_one_of_the_wfdb_package(tmp_path, fs):
    wfdb.wrann("theirs", "atr", SAMPLES, symbol=SYMBOLS, num=NUMBERS, fs=fs, write_dir=str(tmp_path))
    wfdb_annotations.write(tmp_path / "ours.atr", SAMPLES, SYMBOLS, NUMBERS, fs)
    assert (tmp_path / "ours.atr").read_bytes() == (tmp_path / "theirs.atr").read_bytes()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(0, 3000) | st.integers(0, 2**33), min_size=1, max_size=20),
    seed=st.integers(0, 2**16),
    fs=st.sampled_from((128.0, 360.0, 999.75)),
)
def test_what_is_written_is_read_again(tmp_path_factory, steps, seed, fs):
    draw = np.random.default_rng(seed)
    samples, symbols = np.cumsum(steps), [str(symbol) for symbol in draw.choice(sorted(CODES), len(steps))]
    numbers = draw.integers(-128, 128, len(steps))
    path = tmp_path_factory.getbasetemp() / "r.atr"
    wfdb_annotations.write(path, samples, symbols, numbers, fs)
    found = wfdb_annotations.read(path)
    np.testing.assert_array_equal(found.samples, samples)
    np.testing.assert_array_equal(found.numbers, numbers)
    assert found.symbols == tuple(symbols) and found.fs == fs and set(found.notes) == {""}


def test_notes_are_read(tmp_path):
    notes = ["(AFIB", "", "a note of odd length!"]
    wfdb.wrann("r", "atr", np.array([5, 9, 4000]), symbol=["+", "N", '"'], aux_note=notes, write_dir=str(tmp_path))
    found = wfdb_annotations.read(tmp_path / "r.atr")
    assert found.notes == tuple(notes) and found.symbols == ("+", "N", '"') and found.samples.tolist() == [5, 9, 4000] and found.fs is None


@pytest.mark.data
def test_the_annotations_of_real_corpora_are_those_that_the_wfdb_package_reads(data_root):
    paths = [
        path
        for folder in ("mitdb", "qtdb", "svdb", "cpsc2021")
        for path in sorted((data_root / folder).glob("*.*"))
        if path.suffix in (".atr", ".pu1", ".q1c")
    ]
    if not paths:
        pytest.skip("no annotations here")
    for path in paths:
        ours, theirs = wfdb_annotations.read(path), wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
        np.testing.assert_array_equal(ours.samples, theirs.sample, err_msg=str(path))
        np.testing.assert_array_equal(ours.numbers, theirs.num)
        assert list(ours.symbols) == theirs.symbol and list(ours.notes) == [note.rstrip("\0") for note in theirs.aux_note]


@pytest.mark.parametrize(
    ("samples", "symbols", "numbers", "words"),
    [
        ([], [], [], "at least one mark"),
        ([5, 4], ["N", "N"], [0, 0], "in order of time"),
        ([-1], ["N"], [0], "in order of time"),
        ([1], ["ß"], [0], "symbols of WFDB; came ß"),
        ([1], ["N"], [128], "from -128 to 127"),
    ],
)
def test_what_the_format_does_not_hold_is_refused(tmp_path, samples, symbols, numbers, words):
    with pytest.raises(ValueError, match=words):
        wfdb_annotations.write(tmp_path / "r.atr", np.array(samples, dtype=int), symbols, np.array(numbers, dtype=int), 500)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [0, 1, 5, 20, 40, -1, -2])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "r.atr"
    wfdb_annotations.write(path, SAMPLES, SYMBOLS, NUMBERS, 500)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FormatError, match="truncated, or of another kind"):
        wfdb_annotations.read(path)


def test_a_rate_that_is_none_is_refused(tmp_path):
    path = tmp_path / "r.atr"
    wfdb_annotations.write(path, SAMPLES, SYMBOLS, NUMBERS, 500)
    path.write_bytes(path.read_bytes().replace(b": 500", b": fa0"))
    with pytest.raises(FormatError, match="samples per second that it counts in; it says 'fa0'"):
        wfdb_annotations.read(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.atr"
    path.write_bytes(data)
    try:
        found = wfdb_annotations.read(path)
    except FormatError as error:
        assert "\n" not in str(error)
    else:
        assert len(found.samples) == len(found.symbols) == len(found.numbers) == len(found.notes)
