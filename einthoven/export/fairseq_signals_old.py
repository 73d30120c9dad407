"""A store as the files of fairseq-signals' older pipeline (``preprocess_physionet2021``, ``preprocess_ptbxl``): mV, labels inside each
file.

::

    <data set>/<record>_<i>.mat     feats (lead, time) mV, curr_sample_rate, patient_id, age, sex, label (26 classes of the Challenge 2021)
    manifests/{train,valid,test}.tsv, and cmsc/, identify/, labelled/ as ``fairseq_manifests`` says

What differs from what the old programs would have written: ``age`` and ``sex`` are right (theirs were overwritten by 0 and 1),
``patient_id`` is the person's number where the patient is known, and manifests keep patients on one side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.export.fairseq_manifests import Pieces, write_manifests
from einthoven.export.fairseq_recording import file_name, mat, rate, refuse_one_name_twice, segment_length
from einthoven.export.folder import Exported, Tell, begin, finish, put
from einthoven.leads import TWELVE, canonical
from einthoven.signal.resample import resample
from einthoven.sources.vocabulary import CLASSES, LabelClass
from einthoven.store.read import Store
from einthoven.store.targets import targets_of


def export(
    store: Store | Path | str,
    folder: Path | str,
    *,
    seconds: float = 5.0,
    fs: float = 500.0,
    leads: Sequence[str] = TWELVE,
    classes: Sequence[LabelClass] = CLASSES["cinc2021"],
    progress: Tell | None = None,
) -> Exported:
    """Write the folder. An export that was stopped goes on when it is called again; a finished one is left as it is.

    seconds  : length of a segment; what is left at the end of a recording is dropped
    fs       : of the files in Hz; other recordings are resampled by a straight line, as there
    leads    : of the twelve, in the order in which they are given
    classes  : the columns of ``label``; a file of an unlabelled recording has no such key
    progress : is told (recordings done, of how many)

    Recordings that lack one of the leads are left out, as there, and so are those of no part of the split. Raises StoreError for options
    that mean nothing, where a label is not known (a file can say yes and no only), and where something else is in the folder.
    """
    store = store if isinstance(store, Store) else Store(store)
    folder = Path(folder).expanduser().absolute()
    wanted = tuple(canonical(name) for name in leads)
    if not wanted or not set(wanted) <= set(TWELVE) or len(set(wanted)) < len(wanted):
        raise StoreError(f"expected leads among {' '.join(TWELVE)}, each once; got {' '.join(leads) or 'none'}")
    n_window = segment_length(seconds, fs)
    options = {"seconds": seconds, "fs": fs, "leads": list(wanted), "classes": [one.abbreviation for one in classes]}
    if (done := begin(folder, store, "fairseq-signals, older pipeline", options)) is not None:
        return done
    label = targets_of(store, np.arange(len(store)), classes)
    unknown = np.flatnonzero(np.isnan(label).any(axis=1) & ~np.isnan(label).all(axis=1))
    names = _names(store)
    pieces: list[Pieces] = []
    reasons = {"in no part of the split": 0, "lacks a lead": 0, f"shorter than {seconds:g} s": 0}
    n_files = 0
    splits, stored = store.column("split"), store.column("leads")
    for row in range(len(store)):
        if progress is not None:
            progress(row + 1, len(store))
        if splits[row] is None:
            reasons["in no part of the split"] += 1
            continue
        there = stored[row].split()
        if not set(wanted) <= set(there):
            reasons["lacks a lead"] += 1
            continue
        counts = store.counts(row)[[there.index(name) for name in wanted]]
        signal = counts * float(store.column("microvolt_per_count")[row]) / 1000
        feats = resample(signal, store.fs, fs, "linear-fractional")
        n_segments = feats.shape[1] // n_window
        if not n_segments:
            reasons[f"shorter than {seconds:g} s"] += 1
            continue
        is_labelled = not np.isnan(label[row]).any()
        keys = _keys(store, row, label[row] if is_labelled else None, fs)
        for segment in range(n_segments):
            window = feats[:, segment * n_window : (segment + 1) * n_window]
            put(folder / f"{names[row]}_{segment}.mat", mat({**keys, "feats": window}))
        n_files += n_segments
        person = int(store.patient_number[row]) if store.column("patient")[row] is not None else None
        pieces.append(Pieces(names[row], n_segments, n_window, splits[row], person, is_labelled))
    write_manifests(folder / "manifests", f"{folder}".replace(os.sep, "/"), pieces, tab=False)
    notes = (f"{len(unknown)} recordings have labels that are not known; their files have no label",) if len(unknown) else ()
    return finish(Exported(folder, len(pieces), n_files, {reason: n for reason, n in reasons.items() if n}, notes))


def _keys(store: Store, row: int, label: np.ndarray | None, fs: float) -> dict[str, Any]:
    age = float(store.column("age")[row])
    return {
        "age": np.int64(0 if np.isnan(age) else int(age)),
        "sex": np.int64(0 if store.column("sex")[row] == "male" else 1),
        **({} if label is None else {"label": label.astype(np.uint8)}),
        "patient_id": np.int64(store.patient_number[row]),
        "curr_sample_rate": rate(fs),
    }


def _names(store: Store) -> list[str]:
    """``<data set>/<record>`` of every row."""
    names = []
    for source, record, meta in zip(*(store.column(name).tolist() for name in ("source", "record", "meta"))):
        dataset = str((json.loads(meta) if meta else {}).get("dataset", source))
        names.append(f"{file_name(dataset)}/{file_name(record.removeprefix(f'{dataset}/'))}")
    refuse_one_name_twice(store, names)
    return names
