"""A store as a data set that ecg-selfsupervised prepared: one raw array of all signals, its index, its table, and its statistics.

::

    memmap.npy (or memmap_0.npy …)   float32 (time, lead), all recordings one after the other, no header in spite of the name
    memmap_meta.npz                  start, length, shape, file_idx, dtype, filenames
    df_memmap.csv                    the table; lists are written as JSON
    lbl_itos.npy, lbl_itos.json      the names of the labels; those of PTB-XL's six label columns
    mean.npy, std.npy                averages over the recordings

No pickle is written, also not in the ``.npz``. Theirs, where a program asks for ``df_memmap.pkl``, is made in the folder by::

    python -c "import json, pandas as pd; t = pd.read_csv('df_memmap.csv');
               lists = [c for c in t if t[c].astype(str).str.startswith('[').all()];
               t[lists] = t[lists].map(json.loads); t.to_pickle('df_memmap.pkl')"

and for PTB-XL its dict of label names by ``pd.to_pickle(json.load(open('lbl_itos.json')), 'lbl_itos.pkl')``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from einthoven import whole
from einthoven.errors import StoreError
from einthoven.export.folder import Exported, Tell, begin, finish, whole_number, writing_table
from einthoven.leads import select
from einthoven.signal.resample import METHODS, resample
from einthoven.signal.scale import moments
from einthoven.sources.ecg_selfsupervised_names import DATASETS, FINDINGS, ORDER, named
from einthoven.sources.vocabulary import CLASSES, CODE, SCP, targets
from einthoven.store.read import Store
from einthoven.store.stratify import stratify

N_CHANNELS = 12
LISTS = {
    "label_all": "ptbxl_all",
    "label_diag": "ptbxl_diagnostic",
    "label_form": "ptbxl_form",
    "label_rhythm": "ptbxl_rhythm",
    "label_diag_subclass": "ptbxl_sub",
    "label_diag_superclass": "ptbxl_super",
}
"""Its label columns of PTB-XL, and the classes that they hold."""


def export(
    store: Store | Path | str,
    folder: Path | str,
    *,
    fs: float = 100.0,
    resampling: str = "image",
    max_rows: int | None = None,
    progress: Tell | None = None,
) -> Exported:
    """Write the folder. An export that was stopped goes on with the file at which it was; a finished one is left as it is.

    fs         : of the signals in Hz, at most the store's; the folder should be called ``…_fs100``, since the rate stands nowhere in it
    resampling : a method of signal.resample; "image" is theirs
    max_rows   : begin another file once one has as many rows (samples); None: one file
    progress   : is told (recordings done, of how many)

    Folds are the corpus's own where they are numbers; else the split becomes them: 9 validates, 10 tests, the rest trains. Recordings of
    no part of the split are left out. Raises StoreError for options that mean nothing, and where something else is in the folder.
    """
    store = store if isinstance(store, Store) else Store(store)
    folder = Path(folder).expanduser().absolute()
    if not 0 < fs <= store.fs:
        raise StoreError(f"expected a rate above 0 and at most the store's {store.fs:g} Hz; got fs={fs:g}")
    if resampling not in METHODS or (max_rows is not None and max_rows < 1):
        raise StoreError(
            f"expected a resampling method among {', '.join(METHODS)} and files of 1 row or more; got {resampling!r}, {max_rows}"
        )
    if (done := begin(folder, store, "ecg-selfsupervised", {"fs": fs, "resampling": resampling, "max_rows": max_rows})) is not None:
        return done
    rows = np.flatnonzero([part is not None for part in store.column("split").tolist()])
    files = _plan(store, rows, fs, resampling, max_rows)
    table = _Table(store, rows)
    means, sds = np.zeros(N_CHANNELS), np.zeros(N_CHANNELS)
    n_done = 0
    with writing_table(folder / "df_memmap.csv", table.columns) as write:
        for file in files:
            for signal, row in zip(_signals(store, folder, file, fs, resampling), file.rows):  # in this order it runs to its end
                mean, sd = (value.astype(np.float32) for value in moments(signal.T))
                means, sds = means + mean, sds + sd
                write(table.row(n_done, row) | {"data_mean": _json(mean), "data_std": _json(sd), "data_length": len(signal)})
                n_done += 1
                if progress is not None:
                    progress(n_done, len(rows))
    _write_index(folder, files, table)
    for name, total in (("mean", means), ("std", sds)):
        average = (total / max(len(rows), 1)).astype(np.float32)
        whole.write(folder / f"{name}.npy", lambda out, average=average: np.save(out, average), lasting=False)  # type: ignore[misc]
    left_out = {"in no part of the split": len(store) - len(rows)} if len(rows) < len(store) else {}
    return finish(Exported(folder, len(rows), len(files), left_out))


# ---------------------------------------------------------------------------------------------------------------- signals


@dataclass(frozen=True)
class _File:
    """One raw array: the store's rows in it, and the samples of each."""

    name: str
    rows: tuple[int, ...]
    lengths: tuple[int, ...]


def _plan(store: Store, rows: np.ndarray, fs: float, resampling: str, max_rows: int | None) -> list[_File]:
    exact = store.column("n_samples")[rows] * fs / store.fs
    lengths = np.ceil(exact - 1e-9) if resampling == "polyphase" and fs != store.fs else np.floor(exact + 1e-9)
    files: list[tuple[list[int], list[int]]] = []
    for row, length in zip(rows.tolist(), lengths.astype(int).tolist()):
        if not files or (max_rows is not None and sum(files[-1][1]) > max_rows):
            files.append(([], []))
        files[-1][0].append(row)
        files[-1][1].append(length)
    names = ["memmap.npy"] if max_rows is None else [f"memmap_{at}.npy" for at in range(len(files))]
    return [_File(name, tuple(mine), tuple(n)) for name, (mine, n) in zip(names, files)]


def _signals(store: Store, folder: Path, file: _File, fs: float, resampling: str) -> Iterator[np.ndarray]:
    """(time, lead) float32 of each recording of a file, which is written while they are given; a file that is there whole is read
    instead."""
    path = folder / file.name
    if path.is_file() and path.stat().st_size == 4 * N_CHANNELS * sum(file.lengths):
        start = 0
        for length in file.lengths:
            values = np.fromfile(path, dtype="<f4", count=length * N_CHANNELS, offset=4 * N_CHANNELS * start)
            start += length
            yield values.reshape(length, N_CHANNELS)
        return
    with whole.appearing(path, lasting=False) as part, open(part, "wb") as out:
        for row, length in zip(file.rows, file.lengths):
            record = store.record(row)
            at_rate = resample(record.signal, record.fs, fs, resampling)
            signal = np.nan_to_num(select(at_rate, record.leads, ORDER[:N_CHANNELS])).T.astype("<f4")
            if len(signal) != length:
                raise StoreError(
                    f"{record.record}: {len(signal)} samples at {fs:g} Hz where {length} were expected; name another resampling"
                )
            out.write(np.ascontiguousarray(signal).data)
            yield signal


def _write_index(folder: Path, files: Sequence[_File], table: _Table) -> None:
    starts = [np.concatenate([[0], np.cumsum(file.lengths)[:-1]]) for file in files]
    index: dict[str, Any] = {
        "start": np.concatenate(starts).astype(np.int64),
        "length": np.concatenate([file.lengths for file in files]).astype(np.int64),
        "shape": np.array([[sum(file.lengths), N_CHANNELS] for file in files], dtype=np.int64),
        "file_idx": np.repeat(np.arange(len(files)), [len(file.rows) for file in files]).astype(np.int64),
        "dtype": np.array("float32"),  # as text: the program reads it by str()
        "filenames": np.array([file.name for file in files]),
    }
    whole.write(folder / "memmap_meta.npz", lambda out: np.savez(out, **index), lasting=False)
    names = np.array(table.names if table.names else [], dtype=np.str_)
    whole.write(folder / "lbl_itos.npy", lambda out: np.save(out, names), lasting=False)
    if table.lists:
        whole.write_json(folder / "lbl_itos.json", table.lists, lasting=False)


# ------------------------------------------------------------------------------------------------------------------ table


class _Table:
    """The rows of ``df_memmap.csv``."""

    def __init__(self, store: Store, rows: np.ndarray):
        self.store, self.rows = store, rows
        self.which, self.sets = store.label_sets()
        self.systems = store.column("label_system")
        there = {system for system in self.systems[rows].tolist() if system is not None}
        self.is_scp = there == {SCP}
        self.texts = {row: self._text(row) for row in rows.tolist()}
        names = {name for text in self.texts.values() for name in text}
        self.names = list(FINDINGS) if there == {CODE} else sorted(names)
        self.place = {name: at for at, name in enumerate(self.names)}
        self.folds = dict(zip(rows.tolist(), self._folds()))
        self.lists: dict[str, list[str]] = {}
        if self.is_scp:
            of_row = [self._of_lists(row) for row in rows.tolist()]
            self.lists = {column: sorted({name for one in of_row for name in one[column]}) for column in LISTS}
        self.columns = [
            *("data", "label", "sex", "age", "dataset", "strat_fold", "data_mean", "data_std", "data_length", "data_original"),
            *("label_txt", "patient_id"),
            *(f"{column}{ending}" for column in self.lists for ending in ("", "_filtered", "_filtered_numeric")),
        ]

    def row(self, number: int, row: int) -> dict[str, Any]:
        store = self.store
        source = store.column("source")[row]
        meta = json.loads(store.column("meta")[row] or "{}")
        dataset = str(meta.get("dataset", source))
        out = {
            "data": number,
            "label": _json([self.place[name] for name in self.texts[row]]),
            "sex": store.column("sex")[row],
            "age": whole_number(float(store.column("age")[row])),
            "dataset": DATASETS[source](dataset) if source in DATASETS else dataset,
            "strat_fold": self.folds[row],
            "data_original": f"{store.column('record')[row]}.npy",
            "label_txt": _json(self.texts[row]),
            "patient_id": store.column("patient")[row],
        }
        if self.is_scp:
            for column, found in self._of_lists(row).items():
                numbers = [self.lists[column].index(name) for name in found]
                out |= {column: _json(found), f"{column}_filtered": _json(found), f"{column}_filtered_numeric": _json(numbers)}
        return out

    def _text(self, row: int) -> list[str]:
        labels = self.sets[self.which[row]]
        return [named(code, self.systems[row]) for code, value in (labels or {}).items() if value == 1.0]

    def _of_lists(self, row: int) -> dict[str, list[str]]:
        labels = self.sets[self.which[row]]
        return {
            column: [one.abbreviation for one, value in zip(CLASSES[key], targets(labels, SCP, CLASSES[key])) if value == 1]
            for column, key in LISTS.items()
        }

    def _folds(self) -> list[int]:
        """Its folds: those of the corpus, or 9 and 10 for validation and test, and for the rest 1 to 8, each label as often in every
        one."""
        folds = self.store.column("fold")[self.rows].tolist()
        if all(fold is not None and str(fold).isdecimal() for fold in folds):
            return [int(fold) for fold in folds]
        out = [{"valid": 9, "test": 10}.get(part, 0) for part in self.store.column("split")[self.rows].tolist()]
        person = self.store.patient_number[self.rows]
        train = sorted({int(person[at]) for at, fold in enumerate(out) if fold == 0})
        place = {number: at for at, number in enumerate(train)}
        labels: list[list[str]] = [[] for _ in train]
        for at, row in enumerate(self.rows.tolist()):
            if out[at] == 0:
                labels[place[int(person[at])]].extend(self.texts[row] or ["none"])
        drawn = stratify(labels, sorted({name for one in labels for name in one}), [1 / 8] * 8)
        return [fold or int(drawn[place[int(person[at])]]) + 1 for at, fold in enumerate(out)]


def _json(values: Any) -> str:
    return json.dumps(values.tolist() if isinstance(values, np.ndarray) else values, ensure_ascii=False)
