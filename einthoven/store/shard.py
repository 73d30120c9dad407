"""Making one shard: the unit of work of ingest, a pure function of a list of recordings to read.

Run twice, by whichever process, it writes the same bytes; the shard and then its part of the table appear by rename. The part's
presence therefore says that both are whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from einthoven.errors import EinthovenError
from einthoven.leads import LIMB, TWELVE, canonical, select
from einthoven.record import Record
from einthoven.signal.quality import check
from einthoven.signal.resample import resample
from einthoven.sources.facts import RecordRef
from einthoven.store.layout import UNFINISHED, schema, shard_bytes, shard_path, sync_folder, write_atomically, write_header

FINEST = 1.0
"""µV per count of a record whose peak allows it: ± 32.8 mV. The devices' own steps are 1 to 5 µV."""
COARSEST = 100.0
"""A record that would need more µV per count than this (beyond ± 3.2 V) is no ECG in mV."""
LONGEST_GAP = 0.2
"""Seconds that may be missing from a lead and be interpolated; a longer gap could hide a beat."""

_PEAK = 32767  # -32768 stays free
_PLACE = {name: position for position, name in enumerate(TWELVE)}


@dataclass(frozen=True)
class Job:
    """Shard ``shard`` of the store in ``store``: these recordings, at this rate.

    source : a name of einthoven.sources.SOURCES, or an object with ``read`` that can be sent to another process
    blamed : position in refs -> reason, for files that ended the process that read them
    """

    store: Path
    shard: int
    refs: tuple[RecordRef, ...]
    source: Any
    source_name: str
    root: Path
    fs: float
    resampling: str = "polyphase"
    blamed: Mapping[int, str] = field(default_factory=dict)

    @property
    def part(self) -> Path:
        """Where this shard's rows of the table lie until the store is finished."""
        return self.store / UNFINISHED / f"{self.shard:05d}.parquet"

    @property
    def journal(self) -> Path:
        """Where the worker says which of refs it is reading: what is left of it when a file kills it."""
        return self.store / UNFINISHED / f"{self.shard:05d}.at"

    @property
    def digest(self) -> str:
        """Changes when anything changes that the shard is made of, the contents of the files apart."""
        what = repr((self.refs, self.source_name, self.fs, self.resampling))
        return hashlib.sha256(what.encode()).hexdigest()


@dataclass(frozen=True)
class Made:
    """A finished shard: how many recordings went in and how many were set aside."""

    shard: int
    n_records: int
    n_rejected: int
    n_counts: int
    digest: str


@dataclass(frozen=True)
class Converted:
    """One recording as it lies in a shard: counts (lead, time) int16, and its row of the table without place and ids."""

    counts: np.ndarray
    row: dict[str, Any]


class Unusable(EinthovenError):
    """A recording that was read, but cannot go into a store."""


def resolve(source: Any) -> Any:
    """The source itself, from its name in the table of sources or as it came."""
    if not isinstance(source, str):
        return source
    from einthoven.sources import SOURCES

    return SOURCES[source]


def make_shard(job: Job, tick: Callable[[], None] | None = None) -> Made:
    """Read, check and convert the job's recordings; write the shard and its part of the table.

    A recording that cannot be used is set aside with its reason, whatever went wrong while it was read. ``tick`` is called
    after each recording.
    """
    made = finished(job)
    if made is not None:
        return made
    source = resolve(job.source)
    rows: list[dict[str, Any]] = []
    rejected: list[tuple[str, str, str]] = []
    offset = 0

    temporary = job.store / UNFINISHED / f"{job.shard:05d}.{secrets.token_hex(4)}.tmp"
    journal = os.open(job.journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with open(temporary, "wb") as file:
            write_header(file, 0)
            for position, ref in enumerate(job.refs):
                os.pwrite(journal, b"%d\n" % position, 0)
                try:
                    converted = _convert_ref(ref, source, job, position)
                except EinthovenError as error:
                    rejected.append((_relative(ref.path, job.root), ref.record, _reason(error, ref)))
                else:
                    file.write(converted.counts.data)
                    rows.append({**converted.row, "shard": job.shard, "offset": offset})
                    offset += converted.counts.size
                if tick is not None:
                    tick()
            write_header(file, offset)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, shard_path(job.store, job.shard))
    finally:
        os.close(journal)
        temporary.unlink(missing_ok=True)
    sync_folder(shard_path(job.store, job.shard).parent)
    made = Made(job.shard, len(rows), len(rejected), offset, job.digest)
    _write_part(job, made, rows, rejected)
    job.journal.unlink(missing_ok=True)
    return made


def finished(job: Job) -> Made | None:
    """What this very job left when it was done before; None when it was not, or was another job."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(job.part).metadata or {}
        made = Made(**json.loads(metadata[b"made"]))
        size = shard_path(job.store, job.shard).stat().st_size
    except (FileNotFoundError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return None
    return made if made.digest == job.digest and size == shard_bytes(made.n_counts) else None


def _write_part(job: Job, made: Made, rows: list[dict[str, Any]], rejected: list[tuple[str, str, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = schema()
    table = pa.Table.from_pydict({name: [row.get(name) for row in rows] for name in columns.names}, schema=columns)
    table = table.replace_schema_metadata({"made": json.dumps(made.__dict__), "rejected": json.dumps(rejected, ensure_ascii=False)})
    write_atomically(job.part, lambda file: pq.write_table(table, file))


def _convert_ref(ref: RecordRef, source: Any, job: Job, position: int) -> Converted:
    if ref.problem:
        raise Unusable(ref.problem)
    if position in job.blamed:
        raise Unusable(job.blamed[position])
    try:
        record = source.read(ref)
        converted = convert(record, fs=job.fs, resampling=job.resampling)
        converted.row.update(_what_is_known(ref, record), source=job.source_name, path=_relative(ref.path, job.root))
    except EinthovenError:
        raise
    except Exception as error:  # one odd file among a million must not end the job; what it was is written down
        raise Unusable(f"could not be read: {type(error).__name__}: {error}") from error
    return converted


# -------------------------------------------------------------------------------------------------------------- one record


def convert(record: Record, *, fs: float, resampling: str = "polyphase") -> Converted:
    """A recording as a store keeps it: leads in the standard order and then the others, at the store's rate, int16.

    A lead of which nothing was recorded is left out, and so is one with a gap longer than LONGEST_GAP; shorter gaps are
    interpolated. Limb leads that follow from I and II are derived, as a signal contract does at prediction. Flat, clipped and
    derived leads are named in the row. Raises Unusable, with the reason.
    """
    leads = _lead_order(record.leads)
    signal = record.signal if leads.is_sorted else record.signal[leads.rows]
    names = leads.names
    if signal.shape[1] == 0:
        raise Unusable("has no samples")
    interrupted: tuple[str, ...] = ()
    n_filled = 0
    if not np.isfinite(signal.sum()):
        signal, names, interrupted, n_filled = _fill_gaps(signal, names, record.fs)
    quality = check(signal, record.fs, names)
    if quality.problem:
        raise Unusable(quality.problem)
    if record.fs != fs:
        signal = resample(signal, record.fs, fs, method=resampling)
    recorded = names
    if len(names) < len(TWELVE) and "I" in names and "II" in names:
        names = tuple(name for name in TWELVE if name in names or name in LIMB) + tuple(name for name in names if name not in _PLACE)
        signal = select(signal, recorded, names)

    microvolt = 1000.0 * max(float(signal.max()), -float(signal.min()))
    step = FINEST if microvolt <= _PEAK * FINEST else float(np.ceil(microvolt / _PEAK))
    if step > COARSEST:
        raise Unusable(f"its peak of {microvolt / 1000:.4g} mV cannot be an ECG's; check the unit and gain in the file")
    counts = np.ascontiguousarray(np.rint(signal * np.float32(1000.0 / step)), dtype=np.int16)

    exact = counts.astype(np.float64)
    mean = exact.mean(axis=1)
    exact -= mean[:, None]
    sd = np.sqrt(np.einsum("lt,lt->l", exact, exact) / exact.shape[1])
    row = {
        "fs": fs,
        "source_fs": record.fs,
        "n_samples": counts.shape[1],
        "leads": " ".join(names),
        "microvolt_per_count": step,
        "mean": (mean * (step / 1000)).astype(np.float32),
        "sd": (sd * (step / 1000)).astype(np.float32),
        "flat": " ".join(name for name, spread in zip(names, sd) if spread == 0),
        "clipped": " ".join(quality.clipped_leads),
        "derived": " ".join(name for name in names if name not in recorded),
        "interrupted": " ".join(interrupted),
        "n_filled": n_filled,
        "limb_residual": quality.limb_residual,
    }
    return Converted(counts, row)


@dataclass(frozen=True)
class _Leads:
    names: tuple[str, ...]
    rows: list[int]
    is_sorted: bool


def _lead_order(leads: tuple[str, ...]) -> _Leads:
    names = ["_".join(canonical(name).split()) for name in leads]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Unusable(f"has several leads of the name {' '.join(twice)} among {' '.join(leads)}")
    rows = sorted(range(len(names)), key=lambda row: (_PLACE.get(names[row], len(TWELVE)), row))
    return _Leads(tuple(names[row] for row in rows), rows, rows == list(range(len(names))))


def _fill_gaps(signal: np.ndarray, names: tuple[str, ...], fs: float) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], int]:
    """Without what was not recorded: (signal, names, interrupted leads, number of interpolated samples).

    Time at either end in which no lead was recorded is cut off.
    """
    recorded = np.isfinite(signal)
    instants = np.flatnonzero(recorded.any(axis=0))
    if instants.size == 0:
        raise Unusable("nothing was recorded: every sample of every lead is missing")
    signal, recorded = signal[:, instants[0] : instants[-1] + 1], recorded[:, instants[0] : instants[-1] + 1]
    time = np.arange(signal.shape[1])
    filled, kept, interrupted, n_filled = [], [], [], 0
    for lead, there, name in zip(signal, recorded, names):
        if not there.any():
            continue
        edges = np.diff(np.concatenate([[1], there, [1]]).astype(np.int8))
        longest = np.max(np.flatnonzero(edges == 1) - np.flatnonzero(edges == -1), initial=0)
        if longest > LONGEST_GAP * fs:
            interrupted.append(name)
            continue
        n_filled += int((~there).sum())
        filled.append(lead if there.all() else np.interp(time, time[there], lead[there]).astype(np.float32))
        kept.append(name)
    if not filled:
        raise Unusable(f"no lead without a gap longer than {LONGEST_GAP:g} s ({' '.join(interrupted)})")
    return np.stack(filled), tuple(kept), tuple(interrupted), n_filled


# ------------------------------------------------------------------------------------------------------- what else is known


def _what_is_known(ref: RecordRef, record: Record) -> dict[str, Any]:
    """Ids, labels and what the tables and the file say; the corpus's tables go before the file."""
    labelled = ref if ref.labels is not None else record
    meta = {**record.meta, **ref.meta}
    age, sex, time = meta.pop("age", None), meta.pop("sex", None), _time(meta)
    return {
        "record": ref.record,
        "patient": ref.patient if ref.patient is not None else record.patient,
        "labels": None if labelled.labels is None else sorted((str(code), float(value)) for code, value in labelled.labels.items()),
        "label_system": labelled.label_system,
        "fold": ref.fold,
        "age": None if age is None else float(age),
        "sex": sex,
        "time": time,
        "meta": json.dumps(meta, sort_keys=True, ensure_ascii=False, default=str) if meta else None,
    }


def _time(meta: dict[str, Any]) -> datetime | None:
    """Takes the time out of meta; one that is no date in ISO form stays there, as it is."""
    time = meta.get("time")
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            return None
    if not isinstance(time, datetime):
        return None
    del meta["time"]
    return time.replace(tzinfo=None)


def _reason(error: Exception, ref: RecordRef) -> str:
    """In one line, without the path, which stands beside it."""
    return " ".join(str(error).removeprefix(f"{ref.path}: ").split())


def _relative(path: Path, root: Path) -> str:
    path = Path(path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
