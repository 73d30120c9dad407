"""China Physiological Signal Challenge 2018 ("ICBEB2018" in the PTB-XL benchmark): 12-lead ECGs of eleven hospitals.

Recordings of 6 to 60 s, nine classes. The challenge's own release: one MATLAB struct per recording and ``REFERENCE.csv`` with up to three
of the classes 1 to 9 for each. Labels are written in the SNOMED CT codes in which the Challenges 2020 and 2021 published the same
recordings, "normal" as sinus rhythm, so that a model may be tested on either form. There are no folds: the benchmark made ten
(``store.stratify``), by label, sex and age.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from einthoven.errors import EinthovenError
from einthoven.sources.csv_table import read_csv
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import existing_root, files, read
from einthoven.sources.vocabulary import SNOMED

__all__ = ["CODES", "FACTS", "read", "records", "tables"]

FACTS = Facts(
    name="CPSC 2018",
    citation=(
        "Liu et al., An open access database for evaluating the algorithms of electrocardiogram rhythm and morphology abnormality detection, "
        "Journal of Medical Imaging and Health Informatics 8(7):1368-1373, 2018"
    ),
    url="http://2018.icbeb.org/Challenge.html",
    records=6_877,
    fs=500.0,
    label_system=SNOMED,
)

CODES = {
    "1": "426783006",
    "2": "164889003",
    "3": "270492004",
    "4": "164909002",
    "5": "59118001",
    "6": "284470004",
    "7": "164884008",
    "8": "429622005",
    "9": "164931005",
}
"""Number of a class -> its SNOMED CT code: normal, atrial fibrillation, first-degree AV block, left and right bundle branch block, premature
atrial and ventricular contraction, ST depression, ST elevation."""

TABLE = "REFERENCE.csv"
LAYOUT = f"the folder with {TABLE} and the recordings A0001.mat, …, in it or below"
_LABELS = ("First_label", "Second_label", "Third_label")


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every row of ``REFERENCE.csv``, in its order.

    A row whose file is not there, and a file that no row names, are given with their problem. Raises EinthovenError where the table is
    missing, lacks a column, or names a class that is none.
    """
    root = existing_root(root, LAYOUT)
    table = root / TABLE
    if not table.is_file():
        raise EinthovenError(f"{root}: {TABLE} is not in it; expected {LAYOUT}.")
    on_disk = {path.stem: path for path in files(root) if path.suffix == ".mat"}
    named = set()
    for line, row in read_csv(table, ("Recording", *_LABELS), "the challenge's table of labels"):
        name, classes = row["Recording"].strip(), [value for column in _LABELS if (value := row[column].strip())]
        if wrong := [value for value in classes if value not in CODES]:
            raise EinthovenError(f"{table}, line {line}: expected classes from 1 to 9; got {', '.join(wrong)}.")
        labels = {CODES[value]: 1.0 for value in classes}
        named.add(name)
        yield RecordRef(
            on_disk.get(name, root / f"{name}.mat"),
            name,
            labels=labels or None,
            label_system=SNOMED if labels else None,
            problem=None if name in on_disk else f"{TABLE}, line {line}: its file {name}.mat is not there.",
        )
    for name in sorted(on_disk.keys() - named):
        yield RecordRef(on_disk[name], name, problem=f"{TABLE} has no row for this file.")


def tables(root: Path) -> list[Path]:
    """Whose content makes the labels."""
    return [root / TABLE] if (root / TABLE).is_file() else []
