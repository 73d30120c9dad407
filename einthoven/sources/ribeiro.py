"""CODE-test: 827 12-lead ECGs of the Telehealth Network of Minas Gerais, labelled for six abnormalities.

``ecg_tracings.hdf5`` holds one array ``tracings`` (exam, 4096, 12) at 400 Hz, exams of 7 and 10 s padded with zeros at both ends. The
padding is cut off: otherwise it would enter the mean and be taken for a flat line. ecg-selfsupervised counted the empty rows and cut half
of them from each end, which is the same where both ends are padded alike.

The numbers are taken as mV, as ecg-selfsupervised took them; the unit is not certain (tracings of CODE-15 % look twice as large as other
corpora's), which a scaling by record does not mind. Labels are those of the gold standard of three cardiologists, yes or no for each of the
six; what single readers and the published network said stands in ``meta["readers"]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import EinthovenError, FormatError
from einthoven.io.demographics import sex_of, years
from einthoven.leads import TWELVE
from einthoven.record import Record
from einthoven.sources.csv_table import read_csv
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.reading import described, existing_root, refuse_problem
from einthoven.sources.vocabulary import CODE

if TYPE_CHECKING:
    import h5py

__all__ = ["CODES", "FACTS", "read", "records", "tables", "unpadded"]

FACTS = Facts(
    name="CODE-test",
    licence="CC BY 4.0",
    citation="Ribeiro et al., Automatic diagnosis of the 12-lead ECG using a deep neural network, Nature Communications 11:1760, 2020",
    url="https://doi.org/10.5281/zenodo.3625006",
    records=827,
    patients=827,
    fs=400.0,
    label_system=CODE,
)

CODES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
SIGNALS, GOLD, ATTRIBUTES, READERS = "ecg_tracings.hdf5", "annotations/gold_standard.csv", "attributes.csv", "annotations"
LAYOUT = f"the folder with {SIGNALS}, {GOLD} and {ATTRIBUTES}"


def records(root: Path | str) -> Iterator[RecordRef]:
    """Every exam, in the order of the array, which numbers them: ``record`` is "0", "1", ….

    Raises EinthovenError where a file is missing, or the tables and the array do not fit each other.
    """
    root = existing_root(root, LAYOUT)
    if missing := [name for name in (SIGNALS, GOLD, ATTRIBUTES) if not (root / name).is_file()]:
        raise EinthovenError(f"{root}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in it; expected {LAYOUT}.")
    with _tracings(root / SIGNALS) as tracings:
        n_exams = len(tracings)
    gold, people = _findings(root / GOLD, n_exams), _table(root / ATTRIBUTES, ("age", "sex"), n_exams)
    others = [path for path in sorted((root / READERS).glob("*.csv")) if path != root / GOLD]
    readers = {path.stem: _findings(path, n_exams) for path in others}
    for exam in range(n_exams):
        meta: dict[str, Any] = {}
        if (age := years(people[exam]["age"])) is not None:
            meta["age"] = age
        if sex := sex_of(people[exam]["sex"]):
            meta["sex"] = sex
        if readers:
            meta["readers"] = {name: [code for code, value in rows[exam].items() if value == 1] for name, rows in readers.items()}
        yield RecordRef(root / SIGNALS, str(exam), labels=gold[exam], label_system=CODE, meta=meta)


def tables(root: Path) -> list[Path]:
    """Whose content makes the labels."""
    return [root / name for name in (GOLD, ATTRIBUTES) if (root / name).is_file()]


def read(ref: RecordRef) -> Record:
    """An exam without its padding. Raises FormatError where the array cannot be read, or the exam is empty."""
    refuse_problem(ref)
    with _tracings(ref.path) as tracings:
        signal = unpadded(np.asarray(tracings[int(ref.record)], dtype=np.float32).T)
    if signal.shape[1] == 0:
        raise FormatError(f"{ref.path}: exam {ref.record} is all zeros.")
    return described(Record(signal, FACTS.fs or 0.0, TWELVE), ref)


def unpadded(signal: np.ndarray) -> np.ndarray:
    """(lead, time) without the samples at its ends at which every lead is exactly 0."""
    there = np.flatnonzero((signal != 0).any(axis=0))
    return signal[:, there[0] : there[-1] + 1] if len(there) else signal[:, :0]


@contextmanager
def _tracings(path: Path) -> Iterator[h5py.Dataset]:
    """(exam, time, lead), of which nothing is read yet; what goes wrong with it is a FormatError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            tracings = file["tracings"]
            if tracings.ndim != 3 or tracings.shape[2] != len(TWELVE):
                raise FormatError(f"{path}: expected tracings of shape (exam, time, lead=12); got {tracings.shape}.")
            yield tracings
    except (OSError, KeyError, AttributeError, IndexError) as error:
        raise FormatError(f"{path}: cannot be read as HDF5 with an array named tracings: {error}.") from error


def _table(path: Path, columns: tuple[str, ...], n_exams: int) -> list[dict[str, str]]:
    found = [row for _, row in read_csv(path, columns, f"a table of {FACTS.name}")]
    if len(found) != n_exams:
        raise EinthovenError(f"{path}: expected a row for each of {n_exams} exams in {SIGNALS}; it has {len(found)}.")
    return found


def _findings(path: Path, n_exams: int) -> list[dict[str, float]]:
    out = []
    for line, row in enumerate(_table(path, CODES, n_exams), start=2):
        try:
            values = {code: float(row[code]) for code in CODES}
        except ValueError:
            raise EinthovenError(f"{path}, line {line}: expected 0 or 1 for each of {' '.join(CODES)}; got {list(row.values())}.") from None
        if not set(values.values()) <= {0.0, 1.0}:
            raise EinthovenError(f"{path}, line {line}: expected 0 or 1 for each of {' '.join(CODES)}; got {list(values.values())}.")
        out.append(values)
    return out
