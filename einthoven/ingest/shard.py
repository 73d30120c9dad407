"""Making one shard: the unit of work of ingest, a pure function of a list of recordings to read.

Run twice, by whichever process, it writes the same bytes; the shard and then its part of the table appear by rename. The part's
presence therefore says that both are whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from einthoven import whole
from einthoven.errors import EinthovenError, StoreError
from einthoven.ingest.counts import Converted, Unusable, convert
from einthoven.record import Record
from einthoven.sources.facts import RecordRef
from einthoven.store.layout import UNFINISHED, schema, shard_bytes, shard_path, write_header


@dataclass(frozen=True)
class Job:
    """Shard ``shard`` of the store in ``store``: these recordings, at this rate.

    source : a name of einthoven.sources.SOURCES, or an object with ``read`` that can be sent to another process
    root_is_there : the corpus is a folder that whoever listed it has seen, and every worker must see
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
    root_is_there: bool = False
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


def resolve(source: Any) -> Any:
    """The source itself, from its name in the table of sources or as it came."""
    if not isinstance(source, str):
        return source
    from einthoven.sources import SOURCES

    if source not in SOURCES:
        raise StoreError(f"there is no source {source!r}; there are {', '.join(SOURCES)}")
    return SOURCES[source]


def make_shard(job: Job, tick: Callable[[], None] | None = None) -> Made:
    """Read, check and convert the job's recordings; write the shard and its part of the table.

    A recording that cannot be used is set aside with its reason, whatever went wrong while it was read. ``tick`` is called
    after each recording.
    """
    made = finished(job)
    if made is not None:
        return made
    _refuse_unseen(job)
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
                    rejected.append((_relative(ref.path, job.root), as_text(ref.record), _reason(error, ref, job.root)))
                else:
                    file.write(converted.counts.data)
                    rows.append({**converted.row, "shard": job.shard, "offset": offset})
                    offset += converted.counts.size
                if tick is not None:
                    tick()
            write_header(file, offset)
            file.flush()
            os.fsync(file.fileno())
        if (made := finished(job)) is not None:  # by a worker that was taken for dead
            return made
        job.part.unlink(missing_ok=True)  # one of another job, which must not vouch for these bytes
        os.replace(temporary, shard_path(job.store, job.shard))
    finally:
        os.close(journal)
        temporary.unlink(missing_ok=True)
    # A power cut may take back these two names, never the bytes under them: then the shard is made again.
    made = Made(job.shard, len(rows), len(rejected), offset, job.digest)
    _write_part(job, made, rows, rejected)
    job.journal.unlink(missing_ok=True)
    return made


def _refuse_unseen(job: Job) -> None:
    """StoreError on a machine that lacks the folders: else it would reject every recording as not there."""
    for folder in (job.store / UNFINISHED, *([job.root] if job.root_is_there else [])):
        if not folder.exists():
            raise StoreError(
                f"{folder} is not to be seen on {socket.gethostname()}; corpus and store must lie where every worker sees them, under one name"
            )


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
    whole.write(job.part, lambda file: pq.write_table(table, file), lasting=False)


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


# ------------------------------------------------------------------------------------------------------- what else is known


def _what_is_known(ref: RecordRef, record: Record) -> dict[str, Any]:
    """Ids, labels and what the tables and the file say; the corpus's tables go before the file."""
    labelled = ref if ref.labels is not None else record
    labels = None
    if labelled.labels is not None:
        labels = sorted((as_text(code), float(value)) for code, value in labelled.labels.items())
    meta = {**record.meta, **ref.meta}
    age, sex, time = meta.pop("age", None), meta.pop("sex", None), _time(meta)
    return {
        "record": as_text(ref.record),
        "patient": as_text(ref.patient if ref.patient is not None else record.patient),
        "labels": labels,
        "label_system": as_text(labelled.label_system),
        "fold": as_text(ref.fold),
        "age": None if age is None else float(age),
        "sex": as_text(sex),
        "time": time,
        "meta": as_text(json.dumps(meta, sort_keys=True, ensure_ascii=False, default=str)) if meta else None,
    }


def as_text(value: Any) -> Any:
    """Text that can be written as UTF-8: names of files and fields of headers come in bytes of any kind."""
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode("utf-8")


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


def _reason(error: Exception, ref: RecordRef, root: Path) -> str:
    """In one line, without the path, which stands beside it; another file of the record is named from the corpus's root."""
    return as_text(" ".join(str(error).removeprefix(f"{ref.path}: ").replace(f"{root}{os.sep}", "").split()))


def _relative(path: Path, root: Path) -> str:
    path = Path(path)
    return as_text(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix())
