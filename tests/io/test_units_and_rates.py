"""Units of voltage, sampling frequencies, and texts, in the spellings that are met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from einthoven import io
from einthoven.errors import FormatError
from einthoven.io.bare_array import settled
from einthoven.io.rates import is_rate, simplest
from einthoven.io.sidecar import Told, sidecars
from einthoven.io.texts import decoded, one_line
from einthoven.io.units import in_millivolt, other_units, to_millivolt

PATH = Path("x.any")


@pytest.mark.parametrize("unit", ["uV", "µV", "\u03bcV", "UV", "microvolt", "MICROVOLTS", " uv ", "ÂµV", "Î¼V"])
def test_a_microvolt_is_known_in_every_spelling(unit):
    assert in_millivolt(unit) == 1e-3


def test_other_units_are_told_apart():
    assert (in_millivolt("V"), in_millivolt("mV"), in_millivolt("nV")) == (1e3, 1.0, 1e-6)
    assert [in_millivolt(unit) for unit in ("mmHg", "", None, "mVolts/s", "counts", "m")] == [None] * 6


def test_leads_come_in_millivolt_and_what_is_no_voltage_keeps_its_unit():
    signal, names, others = to_millivolt(PATH, np.array([[1, 2.0], [3, np.inf], [5, 6]]), ["ii", "resp", "v1"], ["uV", "Ohm", "V"])
    np.testing.assert_array_equal(signal, np.array([[1e-3, 2e-3], [3, np.nan], [5e3, 6e3]], dtype=np.float32))
    assert names == ("II", "resp", "V1") and others == {"resp": "Ohm"} and signal.dtype == np.float32


def test_one_of_the_twelve_in_no_voltage_is_refused():
    with pytest.raises(FormatError, match=r"x.any: lead V1 is in 'adu', expected mV, uV or V: .* mend"):
        other_units(PATH, ["II", "V1", "V2"], ["mV", "adu", "adu"])


@pytest.mark.parametrize(
    ("fs", "is_one"),
    [(500, True), (0.5, True), (1e6, True), (1e6 + 1, False), (0, False), (-1, False), (np.nan, False), (np.inf, False), (None, False)],
)
def test_a_rate_is_above_zero_and_believable(fs, is_one):
    assert is_rate(fs) is is_one


def test_a_rounded_duration_means_the_simplest_rate():
    assert simplest(650_000, 1805.556, 0.0005) == 360.0 and simplest(10, 0.03, 1e-12) == pytest.approx(10 / 0.03)


def test_a_text_is_read_in_the_encoding_that_it_has():
    for data in ("µV".encode(), "µV".encode("utf-8-sig"), "µV".encode("utf-16"), "µV".encode("latin-1")):
        assert decoded(data) == "µV"
    assert one_line(" a\0b\t\tc\n") == "a b c"


def test_a_sidecar_is_told_from_a_file_of_its_own(tmp_path):
    names = ["a.csv", "a.json", "alone.json", "signals.json", "b.npy", "b.JSON"]
    paths = [tmp_path / name for name in names]
    assert sidecars(paths) == {tmp_path / name for name in ("a.json", "signals.json", "b.JSON")}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("RECORDS", True), ("RECORDS-500", True), ("README.md", True), ("SHA256SUMS.txt", True), ("r1.csv", False), ("my RECORDS", False)],
)
def test_what_a_corpus_has_beside_its_recordings_is_known_by_name(name, is_one):
    assert io.is_companion(Path(name)) is is_one


def test_what_is_said_and_told_differently_is_refused():
    said = Told(500.0, None, ("I",))
    assert settled(PATH, said, Told(None, "mV", ("I",))) == Told(500.0, "mV", ("I",))
    with pytest.raises(FormatError, match=r"its rate is 500.0; it was told 250.0"):
        settled(PATH, said, Told(250.0))
