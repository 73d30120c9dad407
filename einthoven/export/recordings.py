"""A store, or what a condition chooses of it, as files that any ECG program opens: WFDB, EDF+, DICOM, HL7 aECG or tables, one a recording.

Beside them lies a ``labels.csv`` with what the store knows of each: patient, age, sex, time, report, fold, labels. The folder is therefore a
corpus again: ``einthoven ingest folder FOLDER STORE``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from einthoven import io
from einthoven.errors import FormatError, StoreError
from einthoven.export.folder import Exported, Tell, begin, finish, whole_number, writing_table
from einthoven.io.converting import plain_name, writable
from einthoven.io.keeping import lost
from einthoven.record import Record
from einthoven.store.layout import REJECTED
from einthoven.store.read import Store
from einthoven.store.where import select

TABLE = "labels.csv"
KNOWN = ("record", "patient", "age", "sex", "time", "fold", "report", "label_system", "labels")


def export(
    store: Store | Path | str, folder: Path | str, *, to: str = "wfdb", where: str | None = None, progress: Tell | None = None
) -> Exported:
    """Write the folder. An export that was stopped goes on where it was; a finished one is left as it is.

    to       : a format of io.WRITERS, or an ending (wfdb, edf, dicom, aecg, csv, tsv)
    where    : only these recordings (einthoven.store.where): "quality.ok and age >= 18"
    progress : is told (recordings done, of how many)

    Signals are those of the store: in mV, at its rate. A recording of several corpora lies in a folder named as its corpus. ``fold`` is the
    published fold or, in a store without, the part of the split. What has no place (measurements, say) is counted in a note. A recording
    that the format cannot hold is set aside, with its reason, in the folder's rejected.csv. Raises StoreError for a condition that chooses
    nothing, and where something else is in the folder.
    """
    store = store if isinstance(store, Store) else Store(store)
    folder = Path(folder).expanduser().absolute()
    kind, suffix = writable(to)
    rows = np.arange(len(store)) if where is None else select(store, where)
    if not len(rows):
        raise StoreError(f"where {where!r} chooses none of the {len(store)} recordings; einthoven store {store.path} shows what is inside")
    if (done := begin(folder, store, "recordings", {"to": kind, "ending": suffix, "where": where})) is not None:
        return done
    about = _About(store, rows)
    n_rejected, without = 0, Counter[str]()
    with (
        writing_table(folder / TABLE, about.columns) as write,
        writing_table(folder / REJECTED, ("file", "record", "reason")) as set_aside,
    ):
        for n_done, (row, name) in enumerate(zip(rows.tolist(), _names(store, rows)), start=1):
            record = store.record(row)
            target = folder / f"{name}{suffix}"
            try:
                if not target.exists():  # from this very export, and whole
                    target.parent.mkdir(parents=True, exist_ok=True)
                    io.WRITERS[kind](record, target)
                write(about.line(row, name, record))
                without.update(field for field in lost(record, kind) if field not in KNOWN)
            except FormatError as error:
                n_rejected += 1
                set_aside({"file": target.name, "record": record.record, "reason": str(error).removeprefix(f"{target}: ")})
            if progress is not None:
                progress(n_done, len(rows))
    if not n_rejected:
        (folder / REJECTED).unlink()
    left_out = {"not chosen by the condition": len(store) - len(rows), f"{kind} cannot hold them ({REJECTED})": n_rejected}
    notes = tuple(f"without {field} of {n:,}: neither {kind} nor {TABLE} has a place for it" for field, n in without.items())
    n_files = len(rows) - n_rejected
    return finish(Exported(folder, n_files, n_files, {reason: n for reason, n in left_out.items() if n}, notes))


def _names(store: Store, rows: np.ndarray) -> Iterator[str]:
    """A path without ending for each recording, unique also where a disk does not tell capitals from small letters."""
    records, sources = store.column("record")[rows].tolist(), store.column("source")[rows].tolist()
    several = len(set(sources)) > 1
    taken: Counter[str] = Counter()
    for record, source in zip(records, sources):
        name = first = plain_name(f"{source}/{record}" if several else record)
        while taken[name.lower()]:
            taken[first.lower()] += 1
            name = f"{first}_{taken[first.lower()]}"
        taken[name.lower()] += 1
        yield name


class _About:
    """The rows of ``labels.csv``.

    own_column : labels that are stated absent or uncertain anywhere, which a list of what is present cannot say; and one label at least
                 where a recording is labelled with nothing, which is not the same as unlabelled
    """

    def __init__(self, store: Store, rows: np.ndarray):
        which, self.sets = store.label_sets()
        self.which = which
        here = [labels for number in np.unique(which[rows]).tolist() if (labels := self.sets[number]) is not None]
        codes = sorted({code for labels in here for code in labels})
        own = {code for labels in here for code, value in labels.items() if value != 1.0 or ";" in code or "|" in code}
        self.own_column = sorted(own) or (codes[:1] if any(not labels for labels in here) else [])
        if odd := sorted(set(self.own_column) & set(KNOWN)):
            raise StoreError(f"a label is called {odd[0]} as a column of {TABLE} is; rename it in the corpus's labels and ingest again")
        self.columns = (*KNOWN, *self.own_column)
        self.fold, self.split = store.column("fold"), store.column("split")
        self.has_folds = any(fold is not None for fold in self.fold[rows].tolist())

    def line(self, row: int, name: str, record: Record) -> dict[str, Any]:
        labels = self.sets[self.which[row]]
        out = {
            "record": name,
            "patient": record.patient,
            "age": whole_number(record.meta.get("age")),
            "sex": record.meta.get("sex"),
            "time": record.meta.get("time"),
            "fold": (self.fold if self.has_folds else self.split)[row],
            "report": record.meta.get("report"),
        }
        if labels is None:
            return out
        present = (code for code, value in labels.items() if value == 1.0 and code not in self.own_column)
        values = {code: labels.get(code, 0.0) for code in self.own_column}
        return out | {
            "label_system": record.label_system,
            "labels": ";".join(present),
            **{code: int(value) if value in (0.0, 1.0) else None for code, value in values.items()},
        }
