"""Which recordings train, which validate, which test: always whole patients.

A rule depends on (seed, source, patient) alone, never on the order of the rows; where the patient is not known, on the recording, and copies of it stay together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.sources.facts import RecordRef
from einthoven.store.layout import COUNTED, SPLITS, TABLE, local_folder, read_facts
from einthoven.store.patients import OF_A_PATIENT, OF_A_SIGNAL, Patients, columns_of, patients_of, refuse_shared_patients

if TYPE_CHECKING:
    import pyarrow as pa

STRATEGIES = ("random", "stratified", "fold", "source")
_NEEDED = {"random": (), "stratified": ("labels",), "fold": ("fold",), "source": ("meta",)}
_NAMES = {"train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2}


def split(
    store: Any,
    *,
    strategy: str = "random",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 1,
    valid_fold: Sequence[Any] | str | int = 9,
    test_fold: Sequence[Any] | str | int = 10,
    valid_source: Sequence[str] | str = (),
    test_source: Sequence[str] | str = (),
) -> np.ndarray:
    """A "train", "valid" or "test" for every row of a store (or of its pyarrow table): (row,) of text.

    random     : by patient; the fractions are of the recordings, as near as whole patients allow
    stratified : by patient, so that each label is as frequent in every part (iterative stratification: Sechidis et al.,
                 ECML PKDD 2011, over patients instead of examples)
    fold       : the corpus's own folds: ``valid_fold``, ``test_fold``, the rest trains; or its own train/valid/test
    source     : whole data sets by name test (``test_source``) or validate; without ``valid_source`` the validation part is
                 drawn by patient from the rest

    A recording whose patient is not known counts as a patient of its own; copies of one recording stay together (but for the strategy fold). Raises StoreError for what the store cannot give.
    """
    if strategy not in STRATEGIES:
        raise StoreError(f"expected a split strategy among {', '.join(STRATEGIES)}; got {strategy!r}")
    share = np.asarray(fractions, dtype=np.float64)
    if share.shape != (3,) or (share < 0).any() or not share.sum() > 0:
        raise StoreError(f"expected three fractions (train, valid, test), none below 0; got {tuple(fractions)}")
    share = share / share.sum()
    table = columns_of(store, [*OF_A_PATIENT, *OF_A_SIGNAL, *_NEEDED[strategy]])
    if strategy == "fold":
        part = _by_fold(table, valid_fold, test_fold)
    else:
        patients = patients_of(table, seed)
        if strategy == "random":
            part = _cut(patients.n_records, share)[patients.of_row]
        elif strategy == "stratified":
            part = _stratify(_label_matrix(table, patients), patients.n_records, share)[patients.of_row]
        else:
            part = _by_source(table, patients, share, valid_source, test_source)
    return np.array(SPLITS)[part]


def default_split(table: pa.Table) -> tuple[np.ndarray, dict[str, Any]]:
    """What ingest writes, and the rule in words: the corpus's ten folds (1–8, 9, 10) or own parts where it has them, else random
    by patient with seed 1. Folds that put one patient on two sides are nobody's split; the rule then says why in ``folds_not_used``."""
    rule: dict[str, Any] = {"strategy": "random", "fractions": [0.8, 0.1, 0.1], "seed": 1, "by": "patient"}
    rule["records_without_patient"] = table["patient"].null_count
    if are_a_split(set(table["fold"].unique().to_pylist())):
        try:
            return split(table, strategy="fold"), {"strategy": "fold", "valid_fold": 9, "test_fold": 10}
        except StoreError as error:
            rule["folds_not_used"] = str(error)
    return split(table, strategy="random", fractions=(0.8, 0.1, 0.1), seed=1), rule


def are_a_split(folds: Collection[str | None]) -> bool:
    """Whether these folds of a corpus, None where a recording has none, are the split that ingest writes."""
    return bool(folds) and (set(folds) == {str(fold) for fold in range(1, 11)} or ("test" in folds and set(folds) <= set(_NAMES)))


def side_of_fold(valid_fold: Any = 9, test_fold: Any = 10) -> Callable[[str], int]:
    """Fold -> 0 (train), 1 (valid) or 2 (test), as the strategy fold has it."""
    valid, test = names_of(valid_fold), names_of(test_fold)
    return lambda fold: _NAMES[fold] if fold in _NAMES else 2 if fold in test else 1 if fold in valid else 0


def refuse_torn_folds(refs: Iterable[RecordRef], way_out: str) -> None:
    """StoreError where the tables of a corpus give folds that would be its split, and that put a patient whom they name on two sides: known before
    a signal is read. ``way_out``: what to do about it."""
    usable = [ref for ref in refs if ref.problem is None]
    if not are_a_split({ref.fold for ref in usable}):
        return
    side = side_of_fold()
    of_patient: dict[str, int] = {}
    torn: dict[str, None] = {}
    for ref in usable:
        if ref.patient is not None and ref.fold is not None:
            here = side(ref.fold)
            if of_patient.setdefault(ref.patient, here) != here:
                torn[ref.patient] = None
    if torn:
        raise StoreError(
            f"the folds of this corpus put {len(torn)} patients on two sides of the split, for one {next(iter(torn))}, so that a test would meet "
            f"people of the training; {way_out}"
        )


def assign(path: Path | str, column: Sequence[str | None] | np.ndarray, rule: dict[str, Any] | None = None) -> None:
    """Write a split into a store's table, in the place of the one that is there; the table is replaced in one instant.

    column : "train", "valid", "test", or None for a recording that is in no part: nobody trains on it or tests with it
    rule   : what made it, kept beside it

    Columns that others added to the table stay. Raises StoreError when the split does not fit, or would put one patient on two sides.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = local_folder(path, "split")
    n_rows = read_facts(path)["counts"]["records"]
    column = np.array([None if part is None else str(part) for part in column], dtype=object)
    file = pq.ParquetFile(path / TABLE)
    if column.shape != (n_rows,):
        raise StoreError(f"expected a split for each of the {n_rows} rows of {path}; got shape {column.shape}")
    unknown = sorted(set(column.tolist()) - {*SPLITS, None})
    if unknown:
        raise StoreError(f"expected {', '.join(SPLITS)} in a split; got {', '.join(map(repr, unknown))}")
    table = file.read(columns=list(OF_A_PATIENT)).slice(0, n_rows)
    part = np.select([column == name for name in SPLITS], range(len(SPLITS)), default=-1)
    used = np.flatnonzero(part >= 0)
    refuse_shared_patients(table.take(used), part[used])
    metadata = {name: value for name, value in (file.schema_arrow.metadata or {}).items() if name != COUNTED}
    columns = file.schema_arrow.with_metadata({**metadata, b"split": json.dumps(rule or {"strategy": "given"}).encode()})
    place = columns.names.index("split")

    def write(out: Any) -> None:
        with pq.ParquetWriter(out, columns) as writer:
            first = 0
            for group in range(file.metadata.num_row_groups):
                rows = file.read_row_group(group).slice(0, n_rows - first)
                if not len(rows):  # of a corpus whose appending was interrupted; it is made again when it goes on
                    break
                values = pa.array(column[first : first + len(rows)]).cast(columns.field(place).type)
                writer.write_table(rows.set_column(place, columns.field(place), values).cast(columns), row_group_size=len(rows))
                first += len(rows)

    whole.write(path / TABLE, write)


def _cut(n_records: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A part for each patient, in their order, so that each part has its share of the recordings."""
    middle = (np.cumsum(n_records) - n_records / 2) / n_records.sum()
    part = np.searchsorted(np.cumsum(share)[:-1], middle, side="right")
    for empty in np.flatnonzero((share > 0) & (np.bincount(part, minlength=3) == 0)):
        largest = np.argmax(np.bincount(part, minlength=3))
        if (part == largest).sum() > 1:  # a part of few patients takes one rather than none
            part[np.flatnonzero(part == largest)[-1]] = empty
    return part


# -------------------------------------------------------------------------------------------------------------- strategies


def _by_fold(table: Any, valid_fold: Any, test_fold: Any) -> np.ndarray:
    n_without = table["fold"].null_count
    if n_without:
        raise StoreError(f"{n_without} of {len(table)} recordings have no published fold; use strategy random or stratified")
    folds = table["fold"].combine_chunks()
    folds = folds if hasattr(folds, "dictionary") else folds.dictionary_encode()
    words = folds.dictionary.to_pylist()
    known = set(folds.unique().to_pylist())
    if known <= set(_NAMES):
        of_word = [_NAMES.get(fold, 0) for fold in words]
    else:
        valid, test = names_of(valid_fold), names_of(test_fold)
        missing = sorted((valid | test) - known)
        if missing:
            raise StoreError(
                f"there is no fold {', '.join(missing)} here; the folds are {', '.join(sorted(known, key=lambda fold: (len(fold), fold)))}"
            )
        of_word = [2 if fold in test else 1 if fold in valid else 0 for fold in words]
    part = np.array(of_word, dtype=np.int64)[folds.indices.to_numpy()]
    refuse_shared_patients(table, part)
    return part


def _by_source(table: Any, patients: Patients, share: np.ndarray, valid_source: Any, test_source: Any) -> np.ndarray:
    valid, test = names_of(valid_source), names_of(test_source)
    names = data_sets_of(table)
    missing = sorted((valid | test) - set(names))
    if missing or not test:
        problem = f"there is no data set {', '.join(missing)} here" if missing else "strategy source needs test_source"
        raise StoreError(f"{problem}; the data sets are {', '.join(sorted(set(names)))}")
    part = np.array([2 if name in test else 1 if name in valid else 0 for name in names])
    if not valid and share[:2].sum() > 0:
        rest = part == 0
        numbers, of_row = np.unique(patients.of_row[rest], return_inverse=True)
        part[rest] = _cut(np.bincount(of_row, minlength=len(numbers)), np.array([*share[:2], 0.0]) / share[:2].sum())[of_row]
    refuse_shared_patients(table, part)
    return part


def data_sets_of(table: Any) -> list[str]:
    """The data set of each row: what the source's meta calls ``dataset`` (PhysioNet 2021 joins seven), else the source."""
    pairs = zip(table["source"].to_pylist(), table["meta"].to_pylist())
    return [str((json.loads(meta) if meta else {}).get("dataset", source)) for source, meta in pairs]


def names_of(value: Any) -> set[str]:
    """Of one, or of several, as a split's options name folds and data sets."""
    return {str(value)} if isinstance(value, (str, int)) else {str(one) for one in value}


def _label_matrix(table: Any, patients: Patients) -> np.ndarray:
    """(patient, label) bool: has a recording with the label; the last column: has a recording that nobody labelled."""
    column = [None if labels is None else [code for code, value in labels if value == 1.0] for labels in table["labels"].to_pylist()]
    place = {code: at for at, code in enumerate(sorted({code for codes in column if codes for code in codes}))}
    matrix = np.zeros((len(patients.n_records), len(place) + 1), dtype=bool)
    for patient, codes in zip(patients.of_row, column):
        matrix[patient, [place[code] for code in codes] if codes is not None else -1] = True
    return matrix


def _stratify(labels: np.ndarray, n_records: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Sechidis's iterative stratification: the rarest label that is left goes first, each of its patients to where it is most wanted."""
    part = np.full(len(labels), -1)
    wanted = share[:, None] * labels.sum(axis=0)  # (part, label) patients
    room = share * n_records.sum()
    left = labels.sum(axis=0)
    while left.any():
        label = np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max))
        for patient in np.flatnonzero(labels[:, label] & (part < 0)):
            most = np.flatnonzero(wanted[:, label] == wanted[:, label].max())
            here = most[np.argmax(room[most])]
            part[patient] = here
            wanted[here] -= labels[patient]
            room[here] -= n_records[patient]
            left = left - labels[patient]
    rest = np.flatnonzero(part < 0)
    if len(rest):
        room = np.maximum(room, 0)
        part[rest] = _cut(n_records[rest], room / room.sum() if room.sum() > 0 else share)
    return part
