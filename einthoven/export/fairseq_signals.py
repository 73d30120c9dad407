"""A store as the processed folder of fairseq-signals' newer pipeline, from which ECG-FM was trained.

::

    manifest.csv                                        every recording with its number ``idx``, over all sources
    <source>/records.csv, meta.csv, meta_split.csv, segmented.csv, segmented_split.csv
    <source>/org/<source>_<name>.mat                    mV at the store's rate
    <source>/preprocessed/<source>_<name>.mat           resampled by a straight line, each lead standardised over the whole recording
    <source>/segmented/<source>_<name>_<i>.mat          windows one after the other, the rest dropped
    <source>/labels/                                    labels.csv, y.npy, label_def.csv, pos_weight.txt (and labels/ over several sources)
    manifests/{train,valid,test}.tsv                    also cmsc/, identify/, and labelled/ where some recordings are not labelled

What differs from what the old programs would have written: ``org`` is what the store holds, at its rate and in whole microvolts, with limb
leads that were derived and gaps that were filled; patients are kept together by the store's split; persons have a column ``patient_id``
and, as numbers, a key ``patient_id`` in the files; ``prepare_clf_labels_args.yaml``, which is no plain YAML, is not written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.export.fairseq_labels import default_classes, write_labels
from einthoven.export.fairseq_manifests import Pieces, write_manifests
from einthoven.export.fairseq_recording import Entry, file_name, mat, refuse_one_name_twice, segment_length
from einthoven.export.folder import Exported, Tell, begin, finish, put, writing_table
from einthoven.leads import TWELVE, canonical
from einthoven.signal.resample import resample
from einthoven.signal.scale import moments
from einthoven.sources.vocabulary import LabelClass
from einthoven.store.layout import parts_of
from einthoven.store.read import Store
from einthoven.store.targets import targets_of

STAGES = ("org", "preprocessed", "segmented")
SCALINGS = ("zscore", "none")
MISSING = ("zero", "nan")
NAMES = {"code15": "code_15"}
"""Sources whose name in the old pipeline differs from ours."""
_NAMED_BY_PATH = ("physionet2021",)

_REGISTRY = ("idx", "source", "source_path", "save_file", "sample_rate", "sample_size")


def export(
    store: Store | Path | str,
    folder: Path | str,
    *,
    stage: Sequence[str] = STAGES,
    seconds: float = 5.0,
    fs: float = 500.0,
    leads: Sequence[str] = TWELVE,
    scaling: str = "zscore",
    missing: str = "zero",
    classes: Sequence[LabelClass] | None = None,
    progress: Tell | None = None,
) -> Exported:
    """Write the folder. An export that was stopped goes on when it is called again; a finished one is left as it is.

    stage    : which of the three kinds of files are written; the manifests need "segmented"
    seconds  : length of a segment
    fs       : rate of the stages "preprocessed" and "segmented" in Hz
    leads    : of the twelve; they are written in the standard order, since the files keep no names
    scaling  : "zscore", or "none": mV (``--no_standardization``)
    missing  : a lead that was not recorded is NaN in "org"; in the later stages "zero", as a masked lead is, or "nan", as the old pipeline
               left it, which ends a training with NaN
    classes  : the columns of the labels (sources.vocabulary); None: see ``fairseq_labels.default_classes``
    progress : is told (recordings done, of how many)

    Recordings of no part of the split are in ``meta.csv`` and in no manifest, as those that the old pipeline filtered. Raises StoreError
    for options that mean nothing, and where something else is in the folder.
    """
    store = store if isinstance(store, Store) else Store(store)
    folder = Path(folder).expanduser().absolute()
    plan = _Plan.of(stage, seconds, fs, leads, scaling, missing)
    options = {**plan.options(), "classes": None if classes is None else [one.abbreviation for one in classes]}
    if (done := begin(folder, store, "fairseq-signals", options)) is not None:
        return done
    names = _names(store)
    own = store.column("source")
    sources = list(dict.fromkeys(own.tolist()))
    label_notes: list[str] = []
    is_labelled = np.zeros(len(store), dtype=bool)
    for source in sources:
        rows = np.flatnonzero(own == source)
        is_labelled[rows] = _labels(store, folder / _old_name(source) / "labels", rows, classes, label_notes)
    if len(sources) > 1:
        _labels(store, folder / "labels", np.arange(len(store)), classes, [])
    pieces: list[Pieces] = []
    n_files = n_done = 0
    with writing_table(folder / "manifest.csv", _REGISTRY) as register:
        for source in sources:
            rows = np.flatnonzero(own == source)
            for said in _write_source(store, folder, source, rows, names, plan):
                register(said.registry)
                n_files += said.n_files
                n_done += 1
                if said.n_segments and said.split is not None:
                    stem = f"{_old_name(source)}/segmented/{said.stem}" if len(sources) > 1 else said.stem
                    pieces.append(Pieces(stem, said.n_segments, plan.n_window, said.split, said.person, bool(is_labelled[said.idx])))
                if progress is not None:
                    progress(n_done, len(store))
    notes = list(dict.fromkeys(label_notes))
    if "segmented" in plan.stages:
        root = f"{folder if len(sources) > 1 else folder / _old_name(sources[0]) / 'segmented'}".replace(os.sep, "/") + "/"
        write_manifests(folder / "manifests", root, pieces, tab=True)
    short = len(store) - sum(1 for one in pieces) - int(sum(name is None for name in store.column("split").tolist()))
    left_out = {f"shorter than {seconds:g} s, so in no manifest": short} if short and "segmented" in plan.stages else {}
    return finish(Exported(folder, len(store), n_files, left_out, tuple(notes)))


@dataclass(frozen=True)
class _Plan:
    stages: tuple[str, ...]
    seconds: float
    fs: float
    leads: tuple[str, ...]
    scaling: str
    missing: str

    @classmethod
    def of(cls, stage: Any, seconds: float, fs: float, leads: Sequence[str], scaling: str, missing: str) -> _Plan:
        stages = (stage,) if isinstance(stage, str) else tuple(stage)
        if not stages or not set(stages) <= set(STAGES):
            raise StoreError(f"expected stages among {', '.join(STAGES)}; got {', '.join(stages) or 'none'}")
        if scaling not in SCALINGS or missing not in MISSING:
            raise StoreError(f"expected scaling {' or '.join(SCALINGS)} and missing {' or '.join(MISSING)}; got {scaling}, {missing}")
        wanted = {canonical(name) for name in leads}
        if not wanted or not wanted <= set(TWELVE):
            raise StoreError(f"expected leads among {' '.join(TWELVE)}; got {' '.join(leads) or 'none'}")
        segment_length(seconds, fs)
        return cls(stages, float(seconds), float(fs), tuple(name for name in TWELVE if name in wanted), scaling, missing)

    @property
    def n_window(self) -> int:
        return segment_length(self.seconds, self.fs)

    def options(self) -> dict[str, Any]:
        return {
            **{"stage": list(self.stages), "seconds": self.seconds, "fs": self.fs, "leads": list(self.leads)},
            **{"scaling": self.scaling, "missing": self.missing},
        }


@dataclass(frozen=True)
class _Said:
    idx: int
    stem: str
    n_segments: int
    n_files: int
    split: str | None
    person: int | None
    registry: Mapping[str, Any]


def _old_name(source: str) -> str:
    return file_name(NAMES.get(source, source))


def _names(store: Store) -> list[str]:
    """``save_file`` of every row, without its ending: the source, and the record or, as the old pipeline named it, the path below the
    corpus's folder."""
    source, record, path = (store.column(name).tolist() for name in ("source", "record", "path"))
    names = []
    for of, name, file in zip(source, record, path):
        if of in _NAMED_BY_PATH and not Path(file).is_absolute():
            parts = list(Path(file).with_suffix("").parts)
            name = "/".join(parts[1:] if parts[0] == "training" else parts)
        names.append(f"{_old_name(of)}_{file_name(name)}")
    seen: dict[str, int] = {}
    for at, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[at] = f"{name}-{seen[name]}"
    refuse_one_name_twice(store, names)
    return names


def _labels(store: Store, folder: Path, rows: np.ndarray, classes: Sequence[LabelClass] | None, notes: list[str]) -> np.ndarray:
    """Writes the label files of some rows; (row,) bool, whether anything is known of each."""
    classes = default_classes(store, rows) if classes is None else classes
    if not classes:
        return np.zeros(len(rows), dtype=bool)
    label = targets_of(store, rows, classes)
    labelled = ~np.isnan(label).all(axis=1)
    if not labelled.any():
        return labelled
    n_partly = int((np.isnan(label).any(axis=1) & labelled).sum())
    if n_partly:
        notes.append(f"{n_partly} recordings have labels that are not known: NaN in y.npy, which fairseq-signals' loss does not pass over")
    if not labelled.all():
        notes.append(f"{int((~labelled).sum())} unlabelled recordings are zeros in y.npy: train a diagnosis on manifests/labelled")
    write_labels(folder, [one.abbreviation for one in classes], rows, label, store.column("split")[rows])
    return labelled


# ------------------------------------------------------------------------------------------------------------- one source


def _write_source(store: Store, folder: Path, source: str, rows: np.ndarray, names: Sequence[str], plan: _Plan) -> Iterator[_Said]:
    """Files and tables of one source; says of each recording what the tables over all sources need."""
    place = folder / _old_name(source)
    n_leads = len(plan.leads)
    extra = [name for name in ("age", "diagnosis", "sex", "patient_id", "time") if _is_known(store, rows, name)]
    group = ["patient_id"] if "patient_id" in extra else []
    meta_columns = [
        *("idx", "path", "dataset", "save_file", "source", "save_path", "lead_order", "sample_rate", "sample_size", "units"),
        *("avail_leads", "nan_any", "nan_leads_any", "nan_leads", "constant_leads_any", "constant_leads"),
        *(f"mean_{at}" for at in range(n_leads)),
        *(f"std_{at}" for at in range(n_leads)),
        *extra,
    ]
    roots = {part["recipe"].get("name") or part["recipe"]["source"]: part["recipe"].get("root") for part in parts_of(store.facts)}
    which, sets = store.label_sets()
    segment_columns = ["path", "save_file", "sample_size"]
    with (
        writing_table(place / "records.csv", ["path", "dataset"]) as write_record,
        writing_table(place / "meta.csv", meta_columns) as write_meta,
        writing_table(place / "meta_split.csv", ["idx", "save_file", "split", *group]) as write_meta_split,
        writing_table(place / "segmented.csv", segment_columns) as write_segment,
        writing_table(place / "segmented_split.csv", ["idx", "save_file", "split", *group, *segment_columns[::2]]) as write_segment_split,
    ):
        for row in rows.tolist():
            entry = Entry(store, row, names[row], place, roots.get(source), sets[which[row]])
            org = entry.signal(plan.leads)
            n_files, n_segments = _write_signals(entry, org, plan, place)
            row_meta = entry.meta(org, plan.leads)
            write_record(entry.record())
            write_meta(row_meta)
            if entry.split is not None:
                write_meta_split({**row_meta, "split": entry.split})
            for segment in range(n_segments):
                line = {**row_meta, "split": entry.split, "sample_size": plan.n_window}
                line["path"] = (place / "segmented" / f"{entry.stem}_{segment}.mat").as_posix()
                write_segment(line)
                if entry.split is not None:
                    write_segment_split(line)
            registry = {**row_meta, "source_path": row_meta["path"]}
            yield _Said(row, entry.stem, n_segments, n_files, entry.split, entry.person, registry)


def _is_known(store: Store, rows: np.ndarray, name: str) -> bool:
    if name == "diagnosis":
        return "SNOMED CT" in set(store.column("label_system")[rows].tolist())
    column = store.column("patient" if name == "patient_id" else name)[rows]
    return any(value is not None and value == value for value in column.tolist())


def _write_signals(entry: Entry, org: np.ndarray, plan: _Plan, place: Path) -> tuple[int, int]:
    """Writes the files of a recording; how many, and how many segments it has."""
    n_files = 0
    if "org" in plan.stages:
        put(place / "org" / f"{entry.stem}.mat", mat({**entry.keys(org.shape[1], entry.store.fs), "feats": org}))
        n_files += 1
    if plan.stages == ("org",):
        return n_files, 0
    at_rate = resample(org, entry.store.fs, plan.fs, "linear")
    keys = entry.keys(at_rate.shape[1], plan.fs)
    if plan.scaling == "zscore":
        mean, sd = (values[:, None] for values in moments(at_rate))
        with np.errstate(invalid="ignore", divide="ignore"):
            feats = np.where(sd == 0, 0.0, (at_rate - mean) / sd)
        keys |= {"mean": mean, "std": sd}
    else:
        feats = at_rate
    if plan.missing == "zero":
        feats = np.nan_to_num(feats, nan=0.0)
    if "preprocessed" in plan.stages:
        put(place / "preprocessed" / f"{entry.stem}.mat", mat({**keys, "feats": feats}))
        n_files += 1
    if "segmented" not in plan.stages:
        return n_files, 0
    n_segments = feats.shape[1] // plan.n_window
    for segment in range(n_segments):
        window = feats[:, segment * plan.n_window : (segment + 1) * plan.n_window]
        own = {**keys, "curr_sample_size": np.int64(plan.n_window), "segment_i": np.int64(segment), "feats": window}
        put(place / "segmented" / f"{entry.stem}_{segment}.mat", mat(own))
    return n_files + n_segments, n_segments
