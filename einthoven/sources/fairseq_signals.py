"""What fairseq-signals made of a corpus, back into a store: processed folders, single ``.mat`` files, and manifests of them.

Read are the folder of the newer pipeline (``<source>/meta.csv`` beside ``org``, ``preprocessed``, ``segmented``, ``labels``), or one
source of it; a manifest (``train.tsv``), or a folder of manifests; and a folder of the ``.mat`` files of the older pipeline. A
standardised signal is mV again, by the mean and SD in its file; the windows of a recording are one recording again. What the windows left
over at the end is lost, and so is the rate of the recording, where only later stages are left. ``org`` of GE MUSE files holds units of the
device, which are no mV: ingest the XML.

Ages and sexes in the files of the older pipeline were overwritten there by 0 and 1: an age of 0, and a sex of 1, say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from einthoven import io
from einthoven.errors import EinthovenError, FormatError
from einthoven.leads import TWELVE, canonical
from einthoven.record import Record
from einthoven.sources import fairseq_tables, physionet2021
from einthoven.sources.facts import Facts, RecordRef
from einthoven.sources.fairseq_keys import is_number, keys_of, said_by
from einthoven.sources.fairseq_manifest import Listed, is_there, read_manifest
from einthoven.sources.fairseq_pieces import WHOLE, Found, grouped, pieces_of, segment_of
from einthoven.sources.fairseq_tables import Labels, Row
from einthoven.sources.reading import described, files, one_of, refuse_problem
from einthoven.sources.vocabulary import CODE

__all__ = ["FACTS", "read", "records", "tables"]

FACTS = Facts(name="fairseq-signals", url="https://github.com/Jwoo5/fairseq-signals")

LAYOUT = (
    "a processed folder of fairseq-signals (<source>/meta.csv beside org/, preprocessed/ or segmented/), .mat files, or manifests (.tsv)"
)
STAGES = (*WHOLE, "segmented")


def records(
    root: Path | str,
    *,
    stage: str = "best",
    segments: str = "join",
    split: str = "old",
    labels: Path | str | None = None,
    files: Path | str | None = None,
    leads: Sequence[str] | str | None = None,
    patient_id: str = "auto",
) -> Iterator[RecordRef]:
    """Every recording of a processed folder, of a folder of ``.mat`` files, or of manifests, in the order of its tables.

    stage      : which files of a processed folder are read; "best" takes the first of "org", "preprocessed", "segmented" that is there
    segments   : "join" those of a recording, where all of them from 0 on are there; or "keep" each as a recording, of one patient
    split      : "old" keeps train, valid and test, and leaves out what was filtered; "new": no parts, so that ingest divides by patient
    labels     : the folder with y.npy and label_def.csv; None: the one beside the files
    files      : where the files of a manifest are now, where they cannot be found
    leads      : names of the signals' rows, where they are not the twelve and no table says (``--leads``)
    patient_id : the key of that name in files without tables: "person", or "auto": a person where the file's name begins with it

    In files of preprocess_ecgiddb the key is the person; in those of preprocess_ptbxl as well, and names begin with it; in those of
    preprocess_physionet2021 it is the number of the recording, which says nothing.
    A row without file, a file without row and a filtered recording are given with their problem. Raises EinthovenError where nothing is
    there that we know, where tables contradict one another, and where one recording has segments on two sides of a split.
    """
    for name, value, known in (
        ("stage", stage, ("best", *STAGES)),
        ("segments", segments, ("join", "keep")),
        ("split", split, ("old", "new")),
        ("patient_id", patient_id, ("auto", "person")),
    ):
        one_of(name, value, known)
    root = Path(root).expanduser().absolute()
    own_labels = None if labels is None else Labels.at(Path(labels).expanduser())
    how = _How(stage, segments == "join", split == "old", own_labels, _lead_names(leads), patient_id)
    if manifests := _manifests(root):
        place = None if files is None else Path(files).expanduser().absolute()
        yield from _of_files((listed for path in manifests for listed in read_manifest(path, place)), how)
    elif sources := _source_folders(root):
        for source in sources:
            for ref in _of_source(source, how):
                # Two corpora may have a recording of one name.
                yield ref if len(sources) == 1 else replace(ref, record=f"{source.name}/{ref.record}")
    elif root.is_dir() and (found := _mat_files(root)):
        yield from _of_files((Listed(path, None, None) for path in found), how)
    else:
        what = "no such file or folder" if not root.exists() else "is neither" if root.is_file() else "nothing of that kind is in it"
        raise EinthovenError(f"{root}: {what}; expected {LAYOUT}.")


def tables(root: Path) -> list[Path]:
    """The manifests, or the tables and labels of every source."""
    if manifests := _manifests(root):
        return manifests
    names = ("meta.csv", "meta_split.csv", "labels/y.npy", "labels/label_def.csv", "labels/labels.csv")
    return [source / name for source in _source_folders(root) for name in names if (source / name).is_file()]


def read(ref: RecordRef) -> Record:
    """A recording in mV, its segments one after the other. Raises FormatError where a file cannot be read, or they do not fit one
    another."""
    refuse_problem(ref)
    paths = pieces_of(ref.path, int(ref.meta.get("segments", 1)))
    pieces = [io.read(path) for path in paths]
    for path, piece in zip(paths, pieces):
        if piece.fs != pieces[0].fs or piece.leads != pieces[0].leads:
            raise FormatError(f"{path}: {piece!r} does not continue {pieces[0]!r}; expected segments of one recording.")
    signal, leads = np.concatenate([piece.signal for piece in pieces], axis=1), ref.meta.get("lead_order", pieces[0].leads)
    if len(leads) != len(signal):
        raise FormatError(f"{ref.path}: has {len(signal)} rows where its leads are {' '.join(leads)}.")
    if (factor := ref.meta.get("millivolt_per_unit")) is not None:
        signal = signal * np.float32(factor)
    said = keys_of(ref.path)
    patient, labels, system, meta = said_by(ref.path, said, "auto")
    meta |= {name: value for name, value in pieces[0].meta.items() if name != "segment"}
    return described(Record(signal, pieces[0].fs, tuple(leads), ref.record, patient, labels, system, meta), ref)


# ---------------------------------------------------------------------------------------------------------------- listing


@dataclass(frozen=True)
class _How:
    stage: str
    join: bool
    keep_split: bool
    labels: Labels | None
    leads: tuple[str, ...] | None
    patient_id: str


def _lead_names(leads: Sequence[str] | str | None) -> tuple[str, ...] | None:
    names = leads.replace(",", " ").split() if isinstance(leads, str) else leads
    return None if names is None else tuple(canonical(name) for name in names)


def _manifests(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".tsv" else []
    return sorted(root.glob("*.tsv")) if root.is_dir() else []


def _source_folders(root: Path) -> list[Path]:
    """The folder itself, or those in it, that look like a source of the newer pipeline."""

    def is_source(path: Path) -> bool:
        return path.is_dir() and ((path / "meta.csv").is_file() or any((path / stage).is_dir() for stage in STAGES))

    if is_source(root):
        return [root]
    return sorted(path for path in root.iterdir() if is_source(path)) if root.is_dir() else []


def _mat_files(root: Path) -> list[Path]:
    return [path for path in files(root) if path.suffix == ".mat"]


def _of_source(source: Path, how: _How) -> Iterator[RecordRef]:
    """A source of the newer pipeline, by its tables."""
    there = [name for name in STAGES if (source / name).is_dir()]
    beside = not there and how.stage == "best" and any(source.glob("*.mat"))  # one stage, copied with its table
    stage = "org" if beside else how.stage if how.stage != "best" else there[0] if there else None
    if stage is None or (stage not in there and not beside):
        raise EinthovenError(f"{source}: the folder {stage or ', '.join(STAGES)} is not in it; expected {LAYOUT}.")
    folder = source if beside else source / stage
    if not (source / "meta.csv").is_file():
        yield from _of_files((Listed(path, None, None) for path in _mat_files(folder)), how)
        return
    parts = fairseq_tables.splits(source / "meta_split.csv") if how.keep_split and (source / "meta_split.csv").is_file() else None
    labels = how.labels or Labels.beside(source)
    if labels is not None and parts is not None and how.labels is None:
        labels.check_weights((row.idx, parts.get(row.stem, "")) for row in fairseq_tables.rows(source / "meta.csv"))
    segmented = _of_segments(folder, how) if stage == "segmented" else {}
    stems: set[str] = set()
    for row in fairseq_tables.rows(source / "meta.csv"):
        stems.add(row.stem)
        part = parts.get(row.stem) if parts is not None else None
        if stage == "segmented":
            mine = segmented.get(row.stem, [])
        else:
            mine = [Found(folder / f"{row.stem}.mat", row.stem, 1, None, None)]
        name = row.name
        if not mine:
            path = folder / f"{row.stem}_0.mat"
            yield RecordRef(path, name, row.patient, problem="meta.csv names this recording, and it has no segment (shorter than one?).")
        for one in mine:
            ref = _ref(replace(one, split=part, name=f"{name}{one.name.removeprefix(row.stem)}"), row, labels, how, stage)
            if parts is not None and part is None and ref.problem is None:
                ref = replace(ref, problem="meta_split.csv leaves this recording out (missing or constant leads?); split=new takes it.")
            yield ref
    if stage == "segmented":
        strays = [one for stem in segmented.keys() - stems for one in segmented[stem]]
    else:
        strays = [Found(path, path.stem, 1, None, None) for path in _mat_files(folder) if path.stem not in stems]
    for one in sorted(strays, key=lambda one: one.name):
        yield RecordRef(one.path, one.name, problem="meta.csv has no row for this file.")


def _of_segments(folder: Path, how: _How) -> dict[str, list[Found]]:
    """Stem of a recording -> what its segments become."""
    found: dict[str, list[Found]] = {}
    for one in grouped((Listed(path, None, None) for path in _mat_files(folder)), join=how.join, keep_split=how.keep_split):
        found.setdefault(segment_of(one.path.stem)[0], []).append(one)
    return found


def _of_files(listed: Iterable[Listed], how: _How) -> Iterator[RecordRef]:
    """Files of a folder or of manifests; tables are taken where they lie beside the files."""
    tables: dict[Path, tuple[dict[str, Row], Labels | None]] = {}
    found = grouped(listed, join=how.join, keep_split=how.keep_split)
    times = Counter(one.name for one in found)
    alone = len({one.path.parent.parent for one in found}) == 1
    for one in found:
        source = one.path.parent.parent
        if source not in tables:
            tables[source] = _beside(source) if one.path.parent.name in STAGES else ({}, None)
        rows, labels = tables[source]
        stem = one.name if one.name in rows else segment_of(one.path.stem)[0]
        row, stage = rows.get(stem), one.path.parent.name
        ref = _ref(one, row, how.labels or labels, how, stage if stage in STAGES else None)
        if times[one.name] > 1:
            ref = replace(ref, record=f"{source.name if stage in STAGES else stage}/{one.name}")
        elif row is not None:
            name = f"{row.name}{one.name.removeprefix(row.stem)}"
            ref = replace(ref, record=name if alone else f"{source.name}/{name}")
        if row is None and stage in physionet2021.DATASETS:
            ref = replace(ref, meta={**ref.meta, "dataset": stage})
        yield ref


def _beside(source: Path) -> tuple[dict[str, Row], Labels | None]:
    rows = {row.stem: row for row in fairseq_tables.rows(source / "meta.csv")} if (source / "meta.csv").is_file() else {}
    return rows, Labels.beside(source)


def _ref(one: Found, row: Row | None, labels: Labels | None, how: _How, stage: str | None = None) -> RecordRef:
    meta: dict[str, Any] = dict(row.meta) if row is not None else {}
    if one.n_segments > 1:
        meta["segments"] = one.n_segments
    leads = how.leads or (row.leads if row is not None else None)
    if leads is not None and leads != TWELVE:
        meta["lead_order"] = list(leads)
    problem = None if is_there(one.path) else "its file is not there, which a table or manifest names."
    patient, idx = (row.patient or one.person, row.idx) if row is not None else (one.person, None)
    if row is not None and stage == "org" and row.millivolt != 1.0:
        if row.millivolt is None:
            problem = problem or "its unit in meta.csv is no voltage; ingest the files that it was made of."
        else:
            meta["millivolt_per_unit"] = row.millivolt
    if row is None and problem is None and (how.patient_id == "person" or (labels is not None and how.labels is not None)):
        try:
            said = keys_of(one.path)
        except FormatError as error:
            problem, said = str(error).removeprefix(f"{one.path}: "), {}
        idx = int(said["idx"].item()) if is_number(said.get("idx")) else None
        if how.patient_id == "person" and patient is None:
            patient = said_by(one.path, said, how.patient_id)[0]
    known = labels.of(idx, row.diagnosis if row is not None else None) if labels is not None and idx is not None else None
    if labels is None and row is not None and row.labels is not None:
        known = dict(row.labels), CODE
    return RecordRef(
        path=one.path,
        record=one.name,
        patient=patient,
        labels=known[0] if known else None,
        label_system=known[1] if known else None,
        fold=one.split,
        meta=meta,
        problem=problem,
    )
