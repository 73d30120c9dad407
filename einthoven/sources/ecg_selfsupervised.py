"""Data sets that ecg-selfsupervised prepared: the raw array of all signals, its index, and the table of the recordings.

``memmap.npy`` has no NumPy header in spite of its name; ``memmap_meta.npz`` says where each recording begins and how long it is;
``df_memmap.pkl``, or the same saved as ``df_memmap.csv``, is the table.

The table is read without executing anything in the pickle. Without a table the signals are read, and nothing else is known of them. The
rate stands nowhere in the folder but in its name (``ptb_xl_fs100``): 100 Hz unless that says another. A lead that is 0 throughout was not
recorded: the preparation filled what was missing with zeros. Folds that are counted from 0 become 1 to 10, as PTB-XL's are, so that the
last two validate and test; a recording that no fold took (it has no label) trains.
"""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.io.demographics import sex_of, years
from einthoven.record import Record
from einthoven.sources.csv_table import unreadable
from einthoven.sources.ecg_selfsupervised_names import FINDINGS, ORDER, codes_of, dataset_of
from einthoven.sources.ecg_selfsupervised_signals import DAMAGED, META, SIGNALS, prepared_signals
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.pandas_pickle import read_frame, read_values
from einthoven.sources.reading import described, existing_root, refuse_problem
from einthoven.sources.vocabulary import CODE

__all__ = ["FACTS", "prepared_signals", "read", "records", "tables"]

FACTS = Facts(name="ecg-selfsupervised", url="https://github.com/tmehari/ecg-selfsupervised")

TABLES = ("df_memmap.csv", "df_memmap.pkl", "df.csv", "df.pkl")
LAYOUT = f"a folder that ecg-selfsupervised prepared, with {META}, {SIGNALS} and {TABLES[1]} (or {TABLES[0]}), or a folder of such folders"
LABELS = ("label_all", "label_txt", "label")
_SEX = {"0": "male", "1": "female"}
"""As PTB-XL numbers it."""


def records(root: Path | str, *, fs: float | None = None, labels: str | None = None) -> Iterator[RecordRef]:
    """Every recording, in the order of the signals.

    fs     : of the signals in Hz; None: as the folder's name says (``…_fs100``), else 100
    labels : the table's column of labels, text or numbers of lbl_itos; None: the first of label_all, label_txt, label

    Raises EinthovenError where the folder is none of these, or its parts do not fit one another.
    """
    root = existing_root(root, LAYOUT)
    folders = _folders(root)
    if not folders:
        raise EinthovenError(f"{root}: {META} is not in it; expected {LAYOUT}.")
    for folder in folders:
        prepared = prepared_signals(folder)
        rate = fs if fs is not None else _rate_of(folder)
        if not rate > 0:
            raise EinthovenError(f"expected a sampling frequency above 0 Hz; got fs={rate}.")
        table = _table(folder)
        columns, index = table if table is not None else ({}, list(range(len(prepared.start))))
        if len(index) != len(prepared.start):
            raise EinthovenError(
                f"{folder}: its table has {len(index)} rows where {META} has {len(prepared.start)} recordings; they are not of one run."
            )
        places = columns.get("data", list(range(len(index))))
        if sorted(place for place in places if isinstance(place, int)) != list(range(len(index))):
            raise EinthovenError(
                f"{folder}: expected the column data to number the recordings of {META}; save df_memmap, not df, as the table."
            )
        names = _names(columns, index, folder if len(folders) > 1 else None)
        found, system = _labels(folder, columns, labels)
        folds = _folds(folder, columns, len(index))
        for row in np.argsort(np.asarray(places, dtype=np.int64)).tolist():
            place = int(places[row])
            yield RecordRef(
                path=folder / prepared.files[prepared.file[place]],
                record=names[row],
                patient=_text(columns, "patient_id", row),
                labels=found[row],
                label_system=system if found[row] is not None else None,
                fold=folds[row],
                meta={**_meta(columns, row), "prepared": {"row": place, "fs": float(rate)}},
            )


def tables(root: Path) -> list[Path]:
    """The tables of every folder."""
    return [folder / name for folder in _folders(root) for name in (*TABLES, META) if (folder / name).is_file()]


def read(ref: RecordRef) -> Record:
    """A recording in mV. Raises FormatError where the raw array is shorter than its table says."""
    refuse_problem(ref)
    told = ref.meta["prepared"]
    prepared = prepared_signals(ref.path.parent)
    signal = prepared.signal(int(told["row"]))
    record = Record(signal, told["fs"], ORDER[: len(signal)], ref.record)
    return described(record, ref)


def _folders(root: Path) -> list[Path]:
    if (root / META).is_file():
        return [root]
    return sorted(path for path in root.iterdir() if (path / META).is_file()) if root.is_dir() else []


def _rate_of(folder: Path) -> float:
    found = re.search(r"_fs(\d+)$", folder.name)
    return float(found[1]) if found else 100.0


# ------------------------------------------------------------------------------------------------------------------ table


def _table(folder: Path) -> tuple[dict[str, list[Any]], list[Any]] | None:
    path = next((folder / name for name in TABLES[:2] if (folder / name).is_file()), None)
    if path is None:
        return None
    if path.suffix == ".pkl":
        return read_frame(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise unreadable(path, error) from error
    if any(len(line) != len(header) for line in lines):
        raise EinthovenError(f"{path}: its rows have another number of cells than its header.")
    columns = {name: [_value(line[at]) for line in lines] for at, name in enumerate(header)}
    index = columns.pop(header[0]) if header[0] in ("", "ecg_id", "index") else list(range(len(lines)))
    return columns, index


def _value(text: str) -> Any:
    """A cell as the value that it was: a list, a dict or a number as Python or JSON writes it, else the text."""
    if text[:1] in "[{" and text:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None


def _names(columns: Mapping[str, list[Any]], index: list[Any], folder: Path | None) -> list[str]:
    originals = columns.get("data_original")
    names = [PurePosixPath(str(name)).stem for name in originals] if originals is not None else [str(number) for number in index]
    if max(Counter(names).values(), default=0) > 1:
        names = [str(number) for number in index] if len(set(map(str, index))) == len(index) else [str(at) for at in range(len(index))]
    return [f"{folder.name}/{name}" for name in names] if folder is not None else names


def _text(columns: Mapping[str, list[Any]], name: str, row: int) -> str | None:
    value = columns[name][row] if name in columns else None
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _meta(columns: Mapping[str, list[Any]], row: int) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if (age := years(_text(columns, "age", row) or "")) is not None:
        meta["age"] = age
    stated = _text(columns, "sex", row) or ""
    if sex := _SEX.get(stated) or sex_of(stated):
        meta["sex"] = sex
    if dataset := _text(columns, "dataset", row):
        meta["dataset"] = dataset_of(dataset)
    return meta


def _folds(folder: Path, columns: Mapping[str, list[Any]], n_rows: int) -> list[str | None]:
    folds = columns.get("strat_fold")
    if folds is None:
        return [None] * n_rows
    try:
        numbers = [int(fold) for fold in folds]
    except (ValueError, TypeError, OverflowError):
        raise EinthovenError(f"{folder}: expected numbers in its table's column strat_fold.") from None
    first = min((fold for fold in numbers if fold >= 0), default=1)
    return [str(max(fold + (1 if first == 0 else 0), 1)) for fold in numbers]


def _labels(folder: Path, columns: Mapping[str, list[Any]], wanted: str | None) -> tuple[list[dict[str, float] | None], str]:
    """The labels of every row, and their vocabulary."""
    n_rows = max(map(len, columns.values()), default=len(prepared_signals(folder).start))
    name = wanted or next((name for name in LABELS if name in columns), None)
    if name is None:
        return [None] * n_rows, ""
    if name not in columns:
        raise EinthovenError(f"{folder}: its table has no column {name}; it has {', '.join(columns)}.")
    cells = columns[name]
    if any(isinstance(one, int) for cell in cells for one in _list(cell)):
        names = _names_of_labels(folder, name)
        try:
            cells = [[names[int(one)] for one in _list(cell)] for cell in cells]
        except (IndexError, ValueError):
            raise EinthovenError(f"{folder}: its column {name} numbers more labels than lbl_itos names ({len(names)}).") from None
    codes = [[str(one) for one in _list(cell)] for cell in cells]
    return _vocabulary(codes, str((columns.get("dataset") or [""])[0]))


def _list(cell: Any) -> Sequence[Any]:
    return cell if isinstance(cell, list) else []


def _names_of_labels(folder: Path, column: str) -> list[str]:
    for name in ("lbl_itos.pkl", "lbl_itos.npy"):
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".pkl":
            found = read_values(path)
        else:
            try:
                found = np.load(path, allow_pickle=False).tolist()
            except (OSError, *DAMAGED) as error:
                raise EinthovenError(f"{path}: cannot be read as an array of names ({error}).") from error
        if isinstance(found, dict):
            key = next(
                (
                    key
                    for key in (column, column.removesuffix("_numeric").removesuffix("_filtered"), column.removeprefix("label_"), "all")
                    if key in found
                ),
                "",
            )
            found = found.get(key)
        if isinstance(found, list):
            return [str(one) for one in found]
    raise EinthovenError(f"{folder}: its column {column} numbers labels, and no lbl_itos names them.")


def _vocabulary(codes: list[list[str]], dataset: str) -> tuple[list[dict[str, float] | None], str]:
    """Names of labels as codes of the vocabulary that the data set's own source gives."""
    code_of, system = codes_of({name for one in codes for name in one}, dataset)
    if system == CODE:  # the gold standard says yes or no for each of the six
        return [{code: float(name in one) for name, code in FINDINGS.items()} for one in codes], CODE
    return [dict.fromkeys((code_of[name] for name in one), 1.0) if one else None for one in codes], system
