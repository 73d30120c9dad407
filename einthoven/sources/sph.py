"""SPH: 12-lead ECGs of 10 to 60 s from Shandong Provincial Hospital, labelled with the statements of the AHA, ACC and HRS.

The release on figshare: ``metadata.csv`` and ``records/A00001.h5``, …, each an array ``ecg`` (lead, time) of float16 in mV at 500 Hz. Files
called ``SPH00001.h5``, as some copies have them, are the same recordings.

A recording has statements separated by ``;``, each a primary code and any modifiers (``60+310;22``). Labels are these statements as they
stand (label system "AHA"), or with ``labels="snomed"`` the SNOMED CT codes of the Challenge 2021 that say the same; a statement without
such a code then gives no label, and all of them stand in ``meta["statements"]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError, FormatError
from einthoven.io.demographics import sex_of, years
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.csv_table import read_csv
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import described, existing_root, files, one_of, refuse_problem
from einthoven.sources.vocabulary import SNOMED

__all__ = ["FACTS", "LABELS", "SNOMED_OF", "read", "records", "snomed", "tables"]

AHA = "AHA"
FACTS = Facts(
    name="SPH",
    licence="CC BY 4.0",
    citation=(
        "Liu et al., A large-scale multi-label 12-lead electrocardiogram database with standardized diagnostic statements, "
        "Scientific Data 9:272, 2022"
    ),
    url="https://doi.org/10.6084/m9.figshare.c.5779802.v1",
    records=25_770,
    patients=24_666,
    fs=500.0,
    label_system=AHA,
)

SNOMED_OF = {
    "21": "427084000",
    "22": "426177001",
    "23": "427393009",
    "30": "284470004",
    "50": "164889003",
    "51": "164890007",
    "82": "270492004",
    "101": "445118002",
    "104": "164909002",
    "105": "713426002",
    "106": "59118001",
    "120": "47665007",
    "121": "39732003",
    "125": "251146004",
    "147": "164934002",
    "147+367": "59931005",
}
"""AHA statement -> SNOMED CT code of a class of the Challenge 2021: sinus tachycardia, sinus bradycardia, sinus arrhythmia, premature atrial
contraction, atrial fibrillation, atrial flutter, first-degree AV block, left anterior fascicular block, left bundle branch block, incomplete
and complete right bundle branch block, right and left axis deviation, low voltage, T wave abnormal, T wave inversion. A modifier changes
the meaning where it stands here; otherwise it only refines it."""

LABELS = ("aha", "snomed")
TABLE = "metadata.csv"
LAYOUT = f"the folder with {TABLE} and records/A00001.h5, …"
_COLUMNS = ("ECG_ID", "AHA_Code", "Patient_ID", "Age", "Sex")
MAX_SAMPLES = 500 * 600
"""Ten times the longest recording of the release: what a damaged header promises is not allocated."""


def records(root: Path | str, *, labels: str = "aha") -> Iterator[RecordRef]:
    """Every row of ``metadata.csv``, in its order.

    labels : "aha" for the statements as they are, "snomed" for the codes of the Challenge 2021

    A row whose file is not there, and a file that no row names, are given with their problem. Raises EinthovenError where the table is
    missing, lacks a column or cannot be read.
    """
    one_of("labels", labels, LABELS)
    root = existing_root(root, LAYOUT)
    table = root / TABLE
    if not table.is_file():
        raise EinthovenError(f"{root}: {TABLE} is not in it; expected {LAYOUT}.")
    on_disk = {re.sub(r"^SPH(?=\d{5}$)", "A", path.stem): path for path in files(root) if path.suffix == ".h5"}
    named: set[str] = set()
    for line, row in read_csv(table, _COLUMNS, f"the table of {FACTS.name}"):
        name, problem = row["ECG_ID"].strip(), None
        if name in named:
            problem = f"{TABLE}, line {line}: names {name} a second time."
        elif name not in on_disk:
            problem = f"{TABLE}, line {line}: its file {name}.h5 is not there."
        named.add(name)
        yield _ref(row, name, on_disk.get(name, root / "records" / f"{name}.h5"), labels, problem)
    for name in sorted(on_disk.keys() - named):
        yield RecordRef(on_disk[name], name, problem=f"{TABLE} has no row for this file.")


def tables(root: Path) -> list[Path]:
    """Whose content makes the labels."""
    return [root / TABLE] if (root / TABLE).is_file() else []


def read(ref: RecordRef) -> Record:
    """A recording in mV. Raises FormatError where its file is no such array, or of another length than the table says."""
    refuse_problem(ref)
    import h5py

    try:
        with h5py.File(ref.path, "r") as file:
            shape, kind = tuple(file["ecg"].shape), file["ecg"].dtype.kind
            if len(shape) != 2 or shape[0] != len(TWELVE) or shape[1] > MAX_SAMPLES or kind != "f":
                raise FormatError(
                    f"{ref.path}: expected ecg of shape (lead=12, time up to {MAX_SAMPLES}), floating point; got {shape}, {file['ecg'].dtype}."
                )
            if (n := ref.meta.get("n_samples")) is not None and n != shape[1]:
                raise FormatError(f"{ref.path}: expected {n} samples, as {TABLE} says; it has {shape[1]}: copy the file again.")
            signal = np.asarray(file["ecg"], dtype=np.float32)
    except (OSError, KeyError, AttributeError, RuntimeError) as error:
        raise FormatError(f"{ref.path}: cannot be read as HDF5 with an array named ecg: {error}.") from error
    return described(Record(signal, FACTS.fs or 0.0, TWELVE), ref)


def snomed(statements: list[str]) -> dict[str, float]:
    """The SNOMED CT codes that AHA statements have: code -> 1.0."""
    codes = (SNOMED_OF.get(statement) or SNOMED_OF.get(statement.split("+")[0]) for statement in statements)
    return {code: 1.0 for code in codes if code is not None}


def _ref(row: dict[str, str], name: str, path: Path, labels: str, problem: str | None) -> RecordRef:
    statements = [text.strip() for text in row["AHA_Code"].split(";") if text.strip()]
    meta: dict[str, Any] = {}
    if (age := years(row["Age"])) is not None:
        meta["age"] = age
    if sex := sex_of(row["Sex"]):
        meta["sex"] = sex
    if row.get("Date"):
        meta["time"] = row["Date"].strip()
    if (n := _number(row.get("N"))) is not None:
        meta["n_samples"] = int(n)
    known = (*_COLUMNS, "N", "Date")
    numbers = {key: value for key, text in row.items() if key not in known and (value := _number(text)) is not None}
    if numbers:
        meta["measurements"] = numbers
    if not statements:
        found, system = None, None
    elif labels == "snomed":
        found, system, meta["statements"] = snomed(statements), SNOMED, statements
    else:
        found, system = dict.fromkeys(statements, 1.0), AHA
    return RecordRef(path, name, row["Patient_ID"].strip() or None, labels=found, label_system=system, meta=meta, problem=problem)


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None
