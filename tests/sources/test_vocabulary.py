"""Class lists against the tables they come from, and what labels say of a class."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest

from einthoven.sources import SOURCES
from einthoven.sources.vocabulary import (
    CLASSES,
    SCP,
    SNOMED,
    LabelClass,
    benchmark_part,
    benchmark_rows,
    own_classes,
    scp_names,
    snomed_names,
    targets,
)


def test_the_26_classes_stand_in_the_order_of_the_challenges_weights():
    text = files("einthoven.metrics").joinpath("cinc2021_weights.csv").read_text()
    header = next(line for line in text.splitlines() if not line.startswith("#"))
    assert header.split(",")[1:] == ["|".join(it.codes[SNOMED]) for it in CLASSES["cinc2021"]]


@pytest.mark.data
def test_names_and_abbreviations_are_those_of_the_challenge(data_root):
    rows = [
        row
        for name in ("scored", "unscored")
        for row in csv.DictReader(open(data_root / "cinc2021" / f"dx_mapping_{name}.csv", encoding="utf-8-sig"))
    ]
    assert snomed_names() == {row["SNOMEDCTCode"]: row["Dx"] for row in rows}
    abbreviations = {row["SNOMEDCTCode"]: row["Abbreviation"] for row in rows}
    for it in CLASSES["cinc2021"]:
        assert it.abbreviation == "|".join(abbreviations[code] for code in it.codes[SNOMED])


@pytest.mark.data
def test_ptb_xl_classes_are_those_of_its_statements(data_root):
    rows = list(csv.DictReader(open(data_root / "ptb-xl-metadata" / "scp_statements.csv", encoding="utf-8-sig")))
    assert scp_names() == {row[""]: row["description"] for row in rows}
    for name, column in [("super", "diagnostic_class"), ("sub", "diagnostic_subclass")]:
        assert {code: it.abbreviation for it in CLASSES[f"ptbxl_{name}"] for code in it.codes[SCP]} == {
            row[""]: row[column] for row in rows if row[column]
        }
    for name in ("diagnostic", "form", "rhythm"):
        assert {it.abbreviation for it in CLASSES[f"ptbxl_{name}"]} == {row[""] for row in rows if row[name]}


def test_the_lists_have_their_published_sizes():
    assert {name: len(classes) for name, classes in CLASSES.items()} == {
        "cinc2021": 26, "cpsc2018": 9, "ptbxl_super": 5, "ptbxl_sub": 23, "ptbxl_diagnostic": 44, "ptbxl_form": 19, "ptbxl_rhythm": 12, "ptbxl_all": 71,
    }  # fmt: skip
    for classes in CLASSES.values():
        assert len({it.abbreviation for it in classes}) == len(classes) and all(it.name for it in classes)


def test_any_equivalent_code_means_the_class():
    classes = CLASSES["cinc2021"]
    rbbb = [it.abbreviation for it in classes].index("CRBBB|RBBB")
    for code in ("713427006", "59118001"):
        found = targets({code: 1.0, "999999": 1.0}, SNOMED, classes)
        assert found[rbbb] == 1 and found.sum() == 1 and found.dtype == np.float32


def test_what_is_not_known_is_nan():
    classes = CLASSES["cinc2021"]
    assert np.isnan(targets(None, None, classes)).all()
    assert np.isnan(targets({"1": 1.0}, "AHA", classes)).all()
    scp = targets({"AFIB": 1.0, "NDT": 1.0}, SCP, classes)
    unknown = [it.abbreviation for it, value in zip(classes, scp) if np.isnan(value)]
    assert unknown == ["BBB", "Brady", "LAD", "PRWP", "RAD", "TAb"]
    assert scp[0] == 1 and np.nansum(scp) == 1


def test_uncertain_and_stated_absent_labels_are_told_apart():
    two = (LabelClass("a", "a", {"own": ("x", "y")}),)
    for labels, expected in [
        ({"x": 1.0, "y": np.nan}, 1),
        ({"x": 0.0, "y": 1.0}, 1),
        ({"x": 0.0}, 0),
        ({}, 0),
        ({"x": np.nan, "y": 0.0}, np.nan),
    ]:
        np.testing.assert_array_equal(targets(labels, "own", two), np.float32([expected]))


def test_ones_own_codes_become_classes():
    classes = own_classes(["b", "a", "b"], "own")
    assert [it.abbreviation for it in classes] == ["a", "b"]
    assert own_classes(["164889003"], SNOMED)[0].name == "atrial fibrillation"


@pytest.mark.data
def test_what_scp_codes_say_of_a_recording_its_snomed_codes_say_too(data_root):
    """The challenge translated PTB-XL's statements and added some of its own (a first-degree AV block, sinus rhythm beside bradycardia)."""
    translated = {int(ref.record[2:]): ref for ref in SOURCES["physionet2021"].records(data_root / "cinc2021" / "ptb-xl")}
    original = {int(ref.record): ref for ref in SOURCES["ptbxl"].records(data_root / "ptb-xl")}
    both = sorted(translated.keys() & original.keys())
    if not both:
        pytest.skip("no recording is in both corpora here")
    snomed, scp = (
        np.array([targets(refs[number].labels, refs[number].label_system, CLASSES["cinc2021"]) for number in both])
        for refs in (translated, original)
    )
    assert (scp == 1).sum() >= len(both) / 2
    assert (snomed[scp == 1] == 1).mean() > 0.95
    assert (snomed[scp == 0] == 0).mean() > 0.95


def test_the_benchmark_leaves_out_records_without_a_finding_and_classes_that_are_too_rare():
    label = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0], [np.nan] * 3])
    rows, classes = benchmark_part(label)
    assert rows.tolist() == [True, False, True, True, False] and classes.tolist() == [True, True, False]
    np.testing.assert_array_equal(benchmark_rows(label), rows)
    label[3, 1] = 0  # now the second class has one record: not more than one
    rows, classes = benchmark_part(label, min_samples=1)
    assert rows.tolist() == [True, False, True, False, False] and classes.tolist() == [True, False, False]


@pytest.mark.data
def test_the_nine_classes_of_2018_are_those_that_the_challenge_gave_the_same_recordings(data_root):
    known = {code for one in CLASSES["cpsc2018"] for code in one.codes[SNOMED]}
    for ref in SOURCES["physionet2021"].records(data_root / "cinc2021" / "cpsc_2018"):
        assert set(ref.labels) <= known and targets(ref.labels, ref.label_system, CLASSES["cpsc2018"]).sum() == 1
