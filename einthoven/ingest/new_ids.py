"""Which recordings of a corpus a store has not got, by their ids; and whether the corpus still says the same of those that it has.

Under one ``source`` a record id is one recording. Of a corpus that is in the store and has grown, recordings whose ids are there are passed
over; what is in the files of those is not looked at again. Another corpus of the same source is refused at an id that is there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from einthoven.errors import StoreError
from einthoven.ingest.shard import as_text
from einthoven.sources.facts import RecordRef
from einthoven.store.corpora import Part
from einthoven.store.layout import ROWS, TABLE

if TYPE_CHECKING:
    import pyarrow as pa

_SAID = ("patient", "fold", "labels", "label_system")


class NewIds:
    """Passes recordings on whose ids the store has not got; for each that it has some hundred bytes are kept.

    path, facts : the store and its store.json
    source : under what name the corpus stands in the table
    own    : the parts of the store that are this corpus; none of a new one
    tables : names of its tables that have changed: what they say of recordings that are there is compared with the store

    ``n_gone`` : after all were passed on or over, the recordings of the corpus that the store has and the corpus has no longer
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], source: str, own: Sequence[Part] = (), tables: Sequence[str] = ()):
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self.path, self.source, self.tables = path, source, list(tables)
        table = pq.read_table(path / TABLE, columns=["record", "source"]).slice(0, facts["counts"]["records"])
        is_named = pc.equal(table["source"].cast("string"), source)
        self.row = np.flatnonzero(is_named.to_numpy()).astype(np.int64)  # in the table, of each id that is there
        self.ids = table["record"].filter(is_named).combine_chunks()
        hashes = np.fromiter((_hash(name.as_py()) for name in self.ids), np.uint64, len(self.ids))
        self.order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[self.order]
        self.is_own = np.zeros(len(self.row), dtype=bool)
        for part in own:
            self.is_own |= (self.row >= part.rows.start) & (self.row < part.rows.stop)
        self.has_grown = bool(own)
        self.seen = np.zeros(len(self.row), dtype=bool)
        self.paths: pa.Array | None = None
        self.said = self._said_there() if self.tables else None
        self.n_changed, self.example = 0, ""

    @property
    def n_gone(self) -> int:
        return int((self.is_own & ~self.seen).sum())

    def pass_on(self, refs: Iterable[RecordRef], module: Any, root: Path) -> Iterator[RecordRef]:
        """The recordings that the store has not got, in their order.

        module : the source; where ids go by the files that are there, its ``keep_ids`` gives those that the store has (einthoven.sources.kept_ids)

        Raises StoreError at an id that is another corpus's, and behind the last one where changed tables say something else of what is there.
        """
        if self.has_grown and hasattr(module, "keep_ids"):
            refs = module.keep_ids(refs, root, self.file_of)
        for ref in refs:
            there = self._find(as_text(ref.record))
            own = [at for at in there if self.is_own[at]]
            if own:
                self.seen[own] = True
                if self.said is not None:
                    self._compare(ref, own[0])
            elif there:
                raise StoreError(
                    f"{self.path} has a recording {ref.record} of {self.source} already, and {ref.path} is another; "
                    + (
                        "rename the file, or make a store anew in which each of the two corpora has a name of its own (name=…)"
                        if self.has_grown
                        else "give this corpus a name of its own (name=…), under which its record and patient ids mean others"
                    )
                )
            else:
                yield ref
        if self.n_changed:
            raise StoreError(
                f"{' and '.join(self.tables)} changed since {self.path} was made, and says something else of {self.n_changed} recordings that "
                f"are in it, the first {self.example}; make the store anew, or put back what it said"
            )

    def file_of(self, record: str) -> str | None:
        """The path, below the corpus's root, of the file that the store has under an id of this corpus; None where it has no such id."""
        there = [at for at in self._find(as_text(record)) if self.is_own[at]]
        if not there:
            return None
        if self.paths is None:
            import pyarrow.parquet as pq

            self.paths = pq.read_table(self.path / TABLE, columns=["path"])["path"].take(self.row).combine_chunks()
        # as the name of a file: bytes that are no text were written as text
        return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda it: chr(int(it[1], 16)), self.paths[there[0]].as_py())

    def _find(self, record: str) -> list[int]:
        """Positions in ``ids``; more than one where the corpus gave an id twice."""
        value, found = _hash(record), []
        at = int(np.searchsorted(self.hashes, value))
        while at < len(self.hashes) and self.hashes[at] == value:
            position = int(self.order[at])
            if self.ids[position].as_py() == record:
                found.append(position)
            at += 1
        return found

    # ------------------------------------------------------------------------------------------------ what the tables say

    def _said_there(self) -> np.ndarray:
        """(id, 3) uint64: the hashes of patient, fold and labels of each recording that is there."""
        import pyarrow.parquet as pq

        said = np.zeros((len(self.row), 3), dtype=np.uint64)
        at = first = 0
        for batch in pq.ParquetFile(self.path / TABLE).iter_batches(batch_size=ROWS, columns=list(_SAID)):
            end = at + int(np.searchsorted(self.row[at:], first + len(batch)))
            for row in batch.take(self.row[at:end] - first).to_pylist():
                said[at] = [
                    _hash(text) for text in (repr(row["patient"]), repr(row["fold"]), _of_labels(row["labels"], row["label_system"]))
                ]
                at += 1
            first += len(batch)
        return said

    def _compare(self, ref: RecordRef, at: int) -> None:
        """A patient and labels that the corpus does not name may stand in the file, which is not read again; a fold stands nowhere else."""
        assert self.said is not None
        labels = None if ref.labels is None else [(as_text(code), value) for code, value in ref.labels.items()]
        told = {
            "patient": None if ref.patient is None else repr(as_text(ref.patient)),
            "fold": repr(as_text(ref.fold)),
            "labels": None if labels is None else _of_labels(labels, as_text(ref.label_system)),
        }
        other = [name for (name, text), there in zip(told.items(), self.said[at]) if text is not None and _hash(text) != there]
        if other:
            self.n_changed += 1
            self.example = self.example or f"{ref.record} (its {' and '.join(other)})"


def _of_labels(labels: Sequence[tuple[str, float]] | None, system: str | None) -> str:
    """As the table keeps them: sorted, in single precision."""
    return repr(None if labels is None else (sorted((code, float(np.float32(value))) for code, value in labels), system))


def _hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little"))
