"""What headers say of persons and moments, in the spellings of many makers."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from einthoven.io.demographics import (
    age_at,
    age_of,
    iso_moment,
    known,
    known_id,
    moment,
    moment_of,
    only_known,
    sex_of,
    stamp,
    stamped_day,
    years,
)  # fmt: skip


@pytest.mark.parametrize("text", ["", " ", "---", "xxxxx", "XXXXXX", "UNKNOWN", "Undefined", None, "N/A", "none", "?"])
def test_a_placeholder_says_nothing(text):
    assert known(text) is None and sex_of(text) is None


def test_what_is_said_of_a_person_is_understood():
    assert known(" 0815 ") == "0815" and known("x1") == "x1" and known("Nowak") == "Nowak"
    assert (sex_of("MALE"), sex_of("f"), sex_of("Other")) == ("male", "female", None)
    assert age_of("43", "YEARS") == 43 and age_of("6", "MONTHS") == 0.5 and age_of("73", "DAYS") == pytest.approx(0.2, abs=0.001)
    assert age_of("2", "WEEKS") == pytest.approx(0.0383, abs=1e-4) and age_of(5, None) == 5
    assert age_of("300", "YEARS") is None and age_of("x") is None and age_of("4", "FORTNIGHTS") is None and age_of(None) is None
    born, seen = moment("07-08-1979", "%m-%d-%Y"), moment("04-29-2023", "%m-%d-%Y")
    assert age_at(born, seen) == pytest.approx(43.81) and age_at(seen, born) is None and age_at(None, seen) is None
    assert moment("29.4.2023", "%m-%d-%Y") is None


def test_an_id_of_zeros_is_none():
    assert known_id("00000") is None and known_id("0815") == "0815" and known_id("---") is None and known_id(None) is None


def test_what_is_not_known_has_no_entry_but_a_nought_and_a_no_have():
    said = {"age": 0.0, "chagas": False, "sex": None, "report": "", "measurements": {}, "numbers": [], "device": "MAC 5"}
    assert only_known(said) == {"age": 0.0, "chagas": False, "device": "MAC 5"}


@pytest.mark.parametrize(
    ("text", "age"),
    [("44", 44), (44.5, 44.5), ("0", 0), ("120", 120), ("121", None), ("-1", None), ("nan", None), ("x", None), (None, None)],
)
def test_an_age_is_one_that_a_person_can_have(text, age):
    assert years(text) == age


def test_an_age_follows_from_dates_with_and_without_a_time_of_day():
    assert age_at(date(2000, 1, 1), datetime(2010, 1, 1, 23, 59)) == age_at(datetime(2000, 1, 1), date(2010, 1, 1)) == 10.0


def test_the_first_form_that_fits_is_taken():
    forms = ("%Y-%m-%d", "%b %d, %Y")
    assert moment("1980-02-03", *forms) == moment(" Feb 3, 1980 ", *forms) == datetime(1980, 2, 3)
    assert moment("3.2.1980", *forms) is None and moment("", *forms) is None and moment(None, *forms) is None


def test_numbers_are_a_moment_or_none():
    assert moment_of(2020, 2, 29, 7, 8) == datetime(2020, 2, 29, 7, 8)
    assert (
        moment_of(2021, 2, 29) is None
        and moment_of(0, 1, 1) is None
        and moment_of(2020, 1, 1, 24) is None
        and moment_of(10**30, 1, 1) is None
    )


def test_iso_moments_are_read():
    assert iso_moment("2020-03-12 10:00") == iso_moment("2020-03-12T10:00:00") == datetime(2020, 3, 12, 10)
    assert iso_moment("12.3.2020") is None and iso_moment("") is None and iso_moment(None) is None


@pytest.mark.parametrize(
    ("text", "time", "day"),
    [
        ("20081123194446.000-0500", datetime(2008, 11, 23, 19, 44, 46), datetime(2008, 11, 23, 19, 44, 46)),
        ("20081123194446.25", datetime(2008, 11, 23, 19, 44, 46, 250_000), datetime(2008, 11, 23, 19, 44, 46, 250_000)),
        ("2008112319", datetime(2008, 11, 23, 19), datetime(2008, 11, 23, 19)),
        ("20081123", None, datetime(2008, 11, 23)),
        ("19000101000000", None, datetime(1900, 1, 1)),  # a filling; but somebody may have been born then
        ("200811", None, None),
        ("20081323", None, None),
        ("2008-11-23", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_stamps_of_dicom_and_hl7_are_read(text, time, day):
    assert stamp(text) == time and stamped_day(text) == day
