"""How ecg-selfsupervised calls things: leads in its order, its data sets, its labels; for reading its folders and for writing them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from einthoven.sources import zheng
from einthoven.sources.vocabulary import CODE, SCP, SNOMED

ORDER = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF", "X", "Y", "Z")
"""Its order of leads; 12 of them in everything that was published."""

FINDINGS = {"1AVB": "1dAVb", "RBBB": "RBBB", "LBBB": "LBBB", "SBRAD": "SB", "AFIB": "AF", "STACH": "ST"}
"""Its names for the six findings of CODE-test, in its order -> the study's."""

_SETS = {
    "cpsc_2018": "ICBEB2018",
    "cpsc_2018_extra": "ICBEB2018_2",
    "georgia": "Georgia",
    "ptb": "PTB",
    "ptb-xl": "PTB-XL",
    "st_petersburg_incart": "INCART",
}

DATASETS: dict[str, Callable[[str], str]] = {
    "ptbxl": lambda _: "ptb_xl",
    "zheng": lambda _: "Zheng2020",
    "ribeiro": lambda _: "Ribeiro_test",
    "cinc2020": lambda dataset: f"cinc_{_SETS.get(dataset, dataset)}",
}
"""Our source -> what it writes as ``dataset``, given ours."""


@cache
def snomed_of() -> dict[str, str]:
    """Abbreviation of the Challenges 2020 and 2021 -> SNOMED CT code; sinus rhythm was SNR in 2020, and is NSR since."""
    text = files("einthoven.sources").joinpath("snomed_cinc2021.csv").read_text(encoding="utf-8")
    known = {row["abbreviation"]: row["code"] for row in csv.DictReader(text.splitlines())}
    return {**known, "SNR": known["NSR"]}


@cache
def abbreviation_of() -> dict[str, str]:
    """SNOMED CT code -> its abbreviation of 2020, which ecg-selfsupervised wrote."""
    return {code: name for name, code in snomed_of().items()}


def dataset_of(dataset: str) -> str:
    """Our name for one of its data sets, where it is one of the Challenge's sets; else its own."""
    ours = {f"cinc_{theirs}": name for name, theirs in _SETS.items()}
    return ours.get(dataset, dataset)


def named(code: str, system: str | None) -> str:
    """Its name for a code of ours."""
    if system == SNOMED:
        return abbreviation_of().get(code, code)
    if system == CODE:
        return {ours: theirs for theirs, ours in FINDINGS.items()}.get(code, code)
    return code


def codes_of(names: set[str], dataset: str) -> tuple[dict[str, str], str]:
    """Its labels of one data set -> the codes that our source of that data set gives, and their vocabulary."""
    kind = dataset.lower()
    same = {name: name for name in names}
    if kind.startswith("ribeiro") and names <= FINDINGS.keys():
        return {name: FINDINGS[name] for name in names}, CODE
    if kind.startswith("zheng"):
        return same, zheng.SYSTEM
    if kind.startswith("ptb"):
        return same, SCP
    if names <= snomed_of().keys():
        return {name: snomed_of()[name] for name in names}, SNOMED
    return same, "CinC 2020 abbreviations" if kind.startswith("cinc") else "own"
